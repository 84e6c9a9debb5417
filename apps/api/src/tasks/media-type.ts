/** How bytes of a content type are shown inside JSON. */
export type Shape = 'json' | 'text' | 'bytes';

/** What a content type says about its bytes. Text in another character set than UTF-8 is shown as bytes. */
export function shapeOf(contentType: string): Shape {
  if (contentType === 'application/json') return 'json'; // nearly always
  const [type = '', ...parameters] = contentType.toLowerCase().split(';');
  const essence = type.trim();
  if (essence === 'application/json' || essence.endsWith('+json')) return 'json';
  const isText = essence.startsWith('text/') || essence === 'application/xml' || essence.endsWith('+xml');
  if (!isText) return 'bytes';
  const charset = parameters.map((parameter) => parameter.trim()).find((parameter) => parameter.startsWith('charset='));
  const name = charset?.slice('charset='.length).replaceAll('"', '') ?? 'utf-8';
  return ['utf-8', 'utf8', 'us-ascii', 'ascii'].includes(name) ? 'text' : 'bytes';
}
