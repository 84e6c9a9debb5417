import type { CodeLocation } from '@pilum/core/schemas/artifact.ts';
import { type ArtifactSpecInput, NEEDS_IMAGE } from '@pilum/core/schemas/artifact-spec.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';

/** Where a version's code comes from, before it has a location. */
export type CodeSource =
  | { readonly kind: 'inline'; readonly text: string; readonly fileName: string }
  | {
      readonly kind: 'blob';
      readonly digest: string;
      readonly format: CodeLocation['format'];
      readonly fileName?: string;
    };

/** What is wrong with `code`, whatever is to become of it. */
export function codeProblems({ runtime, code }: ArtifactSpecInput): Problem[] {
  if (code === undefined) return [];
  const { inline, digest, format, image } = code;
  const where = '/body/code';
  const takesImage = NEEDS_IMAGE[runtime];
  if (image !== undefined && !takesImage) return [{ where: `${where}/image`, what: `is not for runtime ${runtime}` }];
  if (inline !== undefined && digest !== undefined) return [{ where, what: 'has both inline and digest; give one' }];
  if (inline === undefined && digest === undefined) {
    if (image === undefined) return [{ where, what: `needs inline or digest${takesImage ? ', or image' : ''}` }];
    return format === undefined ? [] : [{ where: `${where}/format`, what: 'is for code given by digest' }];
  }
  if (inline === '') return [{ where: `${where}/inline`, what: 'is empty' }];
  if (inline !== undefined && format !== undefined && format !== 'file') {
    return [{ where: `${where}/format`, what: 'is for code given by digest; inline code is a file' }];
  }
  return [];
}

/** Where code that has no problems comes from; null where there is none. */
export function sourceOf(code: ArtifactSpecInput['code'], entry: string | undefined): CodeSource | null {
  if (code?.inline !== undefined) return { kind: 'inline', text: code.inline, fileName: fileOf(entry ?? '') };
  if (code?.digest === undefined) return null;
  const { digest, format = 'file' } = code;
  if (format !== 'file') return { kind: 'blob', digest, format };
  return { kind: 'blob', digest, format, fileName: fileOf(entry ?? '') };
}

/** The file that an entry names. */
export const fileOf = (entry: string) => entry.split('#', 1)[0] ?? '';
