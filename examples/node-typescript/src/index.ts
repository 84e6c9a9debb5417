import { z } from 'zod';
import { formatAmount, totalOf } from './money.ts';

const Invoice = z.object({
  customer: z.string().min(1),
  lines: z.array(z.object({ text: z.string(), cents: z.int(), count: z.int().positive() })).min(1),
});

/** Adds an invoice up. What a function throws is the error that its caller sees, so that a bad invoice names its field. */
export default function handler(
  event: unknown,
  context: { log(level: string, message: string, fields?: object): void },
) {
  const invoice = Invoice.parse(event);
  const cents = totalOf(invoice.lines);
  context.log('info', 'added up', { lines: invoice.lines.length, cents });
  return { customer: invoice.customer, total: formatAmount(cents) };
}
