/** A line of what the Engine says of a pull. */
export interface PullEvent {
  readonly id?: string;
  readonly status?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

/** Layers of one image that are looked at; no image has more. */
const MAX_LAYERS = 512;

/** Adds up what a pull says of each layer. */
export class PullProgress {
  readonly #layers = new Map<string, { current: number; total: number; isDone: boolean }>();

  see({ id, status, progressDetail }: PullEvent): void {
    if (id === undefined || (this.#layers.size >= MAX_LAYERS && !this.#layers.has(id))) return;
    const known = this.#layers.get(id) ?? { current: 0, total: 0, isDone: false };
    if (status === 'Downloading' && progressDetail?.total !== undefined) {
      known.current = progressDetail.current ?? 0;
      known.total = progressDetail.total;
    } else if (status === 'Download complete' || status === 'Pull complete' || status === 'Already exists') {
      known.current = known.total;
      known.isDone = true;
    } else if (status !== 'Pulling fs layer' && status !== 'Waiting') return;
    this.#layers.set(id, known);
  }

  /** `3 of 7 layers, 12 of 80 MiB` */
  get text(): string {
    const layers = [...this.#layers.values()];
    const mebibytes = (part: 'current' | 'total') =>
      Math.round(layers.reduce((sum, layer) => sum + layer[part], 0) / 1_048_576);
    const done = layers.filter(({ isDone }) => isDone).length;
    return `${done} of ${layers.length} layers, ${mebibytes('current')} of ${mebibytes('total')} MiB`;
  }
}
