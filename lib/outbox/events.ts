/**
 * Events: what happened, written in the same commit. Mail and webhooks follow from
 * them afterwards, so no request waits for a delivery, and everything acknowledged
 * is delivered.
 *
 * @module
 */
import * as keys from "../kv/keys.ts";
import type { EventType, OutboxEvent } from "../kv/outbox_records.ts";
import type { Invoice } from "../kv/records.ts";
import type { Writes } from "../kv/transaction.ts";
import { isoTime } from "../time.ts";

export type { EventType, OutboxEvent } from "../kv/outbox_records.ts";

/**
 * Writes an event: one key, however many messages follow from it. The commit wakes
 * the outbox of this process, which dispatches it at once.
 *
 * @param id Drawn before the transaction, so that every attempt writes the same.
 * @param now Milliseconds UTC.
 */
export function putEvent(
  writes: Writes,
  { id, type, subject, data = {} }: {
    id: string;
    type: EventType;
    subject: OutboxEvent["subject"];
    data?: OutboxEvent["data"];
  },
  now: number,
): void {
  writes.set(keys.outboxEvent(id), { id, type, at: isoTime(now), subject, data });
}

/** Writes an event about an invoice, with the facts of its given state. */
export function putInvoiceEvent(
  writes: Writes,
  { id, type, invoice }: { id: string; type: EventType; invoice: Invoice },
  now: number,
): void {
  const { clientId, leadId } = invoice;
  const subject = { invoiceId: invoice.id, clientId, ...(leadId === null ? {} : { leadId }) };
  putEvent(writes, { id, type, subject, data: invoiceFacts(invoice) }, now);
}

/** The facts about an invoice in an event; no personal data. */
export function invoiceFacts(
  { number, status, currency, totalMinor, paidMinor, dueOn, revision }: Invoice,
): OutboxEvent["data"] {
  return { number, status, currency, totalMinor, paidMinor, dueOn, revision };
}
