/** The form in which bytes of a content type appear inside JSON. */
export type Shape = 'json' | 'text' | 'bytes';

/** Returns the form for a content type. Text in a character set other than UTF-8 appears as bytes. */
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
