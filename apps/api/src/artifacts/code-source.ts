import type { CodeLocation } from '@pilum/core/schemas/artifact.ts';
import type { ArtifactSpecInput } from '@pilum/core/schemas/artifact-spec.ts';
import type { Problem } from '@pilum/core/schemas/check.ts';
import type { CodeForm } from '@pilum/core/spec/fields.ts';
import { isLayer, LAYER_CODE, runtimeRow } from '@pilum/core/spec/runtimes.ts';

/** The source of a version's code, as its spec names it. */
export type CodeSource =
  | { readonly kind: 'inline'; readonly text: string; readonly fileName: string }
  | {
      readonly kind: 'blob';
      readonly digest: string;
      readonly format: CodeLocation['format'];
      readonly fileName?: string;
    };

type Code = ArtifactSpecInput['code'];

/** Says whether there is more than an image: files, given inline or by digest. */
export const hasFiles = (code: Code) => code?.inline !== undefined || code?.digest !== undefined;

/** Says whether code is one file, which needs a name, and no archive. */
export const isOneFile = (code: Code) =>
  hasFiles(code) && (code?.inline !== undefined || (code?.format ?? 'file') === 'file');

/** Returns the problems of the field `code`: a form that the runtime does not take, and fields that contradict each other. */
export function codeProblems({ runtime, code }: ArtifactSpecInput): Problem[] {
  if (code === undefined) return [];
  const { inline, digest, format, image } = code;
  const where = '/body/code';
  const forms = isLayer(runtime) ? LAYER_CODE : runtimeRow(runtime).codeFrom;
  const refused = (field: string, form: CodeForm) => [
    { where: `${where}/${field}`, what: `is not for runtime ${runtime}: ${forms[form]}` },
  ];
  if (image !== undefined && forms.image !== true) return refused('image', 'image');
  if (inline !== undefined && forms.inline !== true) return refused('inline', 'inline');
  if (format !== undefined && forms[format] !== true) return refused('format', format);
  if (inline !== undefined && digest !== undefined) return [{ where, what: 'has both inline and digest; give one' }];
  if (inline === undefined && digest === undefined) {
    const ways = `${forms.inline === true ? 'inline or ' : ''}digest${forms.image === true ? ', or image' : ''}`;
    if (image === undefined) return [{ where, what: `needs ${ways}` }];
    return format === undefined ? [] : [{ where: `${where}/format`, what: 'is for code given by digest' }];
  }
  if (inline === '') return [{ where: `${where}/inline`, what: 'is empty' }];
  if (inline !== undefined && format !== undefined && format !== 'file') {
    return [{ where: `${where}/format`, what: 'is for code given by digest; inline code is a file' }];
  }
  return [];
}

/** Returns the source of valid code; null for a spec without code. */
export function sourceOf(code: Code, entry: string | undefined): CodeSource | null {
  if (code?.inline !== undefined) return { kind: 'inline', text: code.inline, fileName: fileOf(entry ?? '') };
  if (code?.digest === undefined) return null;
  const { digest, format = 'file' } = code;
  if (format !== 'file') return { kind: 'blob', digest, format };
  return { kind: 'blob', digest, format, fileName: fileOf(entry ?? '') };
}

/** Returns the file that an entry names. */
export const fileOf = (entry: string) => entry.split('#', 1)[0] ?? '';
