/**
 * Events: what happened, written in the commit that made it happen. Mail and
 * webhooks follow from them afterwards, so no request waits for either, and
 * nothing that was acknowledged goes untold.
 *
 * @module
 */
import * as keys from "../kv/keys.ts";
import type { EventType, OutboxEvent } from "../kv/outbox_records.ts";
import type { Invoice } from "../kv/records.ts";
import type { Writes } from "../kv/transact.ts";
import { isoTime } from "../time.ts";

export type { EventType, OutboxEvent } from "../kv/outbox_records.ts";

/**
 * Writes that something happened. One key a commit, however many messages follow
 * from it. The commit wakes the outbox of this process, which dispatches it at once.
 *
 * @param id Drawn before the decision, so that every attempt writes the same.
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

/** Writes that something happened to an invoice, which is as given now. */
export function putInvoiceEvent(
  writes: Writes,
  { id, type, invoice }: { id: string; type: EventType; invoice: Invoice },
  now: number,
): void {
  const { clientId, leadId } = invoice;
  const subject = { invoiceId: invoice.id, clientId, ...(leadId === null ? {} : { leadId }) };
  putEvent(writes, { id, type, subject, data: invoiceFacts(invoice) }, now);
}

/** What an event says of an invoice: nothing personal. */
export function invoiceFacts(
  { number, status, currency, totalMinor, paidMinor, dueOn, revision }: Invoice,
): OutboxEvent["data"] {
  return { number, status, currency, totalMinor, paidMinor, dueOn, revision };
}
