/** The registry that a name without one means, and what a credentials file calls it. */
const DOCKER_HUB = 'docker.io';
const DOCKER_HUB_KEY = 'https://index.docker.io/v1/';

/** Tells whether a reference names an image by its content, and so means one image for ever. */
export function isById(reference: string): boolean {
  return /^sha256:[0-9a-f]{64}$/.test(reference);
}

/** The registry that an image comes from, as `docker.io` or `registry.example.com:5000`. */
export function registryOf(reference: string): string {
  const [first = '', ...rest] = reference.split('/');
  const isRegistry = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  return isRegistry ? first : DOCKER_HUB;
}

/** The names by which a credentials file may know a registry, the best first. */
export function credentialKeysOf(registry: string): string[] {
  if (registry === DOCKER_HUB) return [DOCKER_HUB_KEY, DOCKER_HUB, 'index.docker.io', 'registry-1.docker.io'];
  return [registry, `https://${registry}`, `http://${registry}`, `https://${registry}/v1/`, `https://${registry}/v2/`];
}

/** The name with the tag that it means where it says neither tag nor digest: without one the Engine would pull all tags. */
export function withTag(reference: string): string {
  const last = reference.slice(reference.lastIndexOf('/') + 1);
  return /[:@]/.test(last) ? reference : `${reference}:latest`;
}
