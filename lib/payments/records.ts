/**
 * Writes of payments: the record, all of its indexes, and the money on its invoice, in one commit.
 * Nothing else writes payments, except the erasure of a client, which changes none of these.
 *
 * @module
 */
import { newEntity, putChange } from "../entities/mod.ts";
import { AppError } from "../errors.ts";
import { putMoney } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { EventType } from "../kv/outbox_records.ts";
import type { Payment, PaymentChannel } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import type { Writes } from "../kv/transaction.ts";
import { MINOR_MAX } from "../money.ts";
import type { Caller } from "../entities/caller.ts";
import { putEvent, putInvoiceEvent } from "../outbox/events.ts";
import { worthOf } from "./state.ts";

/** The fields that a new payment starts with. */
export type PaymentParts =
  & Pick<Payment, "id" | "invoiceId" | "channel" | "status" | "currency" | "amountMinor">
  & Partial<Payment>;

/** A new payment; fields that `parts` does not have are empty. @param now Milliseconds UTC. */
export function newPayment(parts: PaymentParts, by: Caller, now: number): Payment {
  return {
    ...newEntity(parts.id, by, now),
    receivedMinor: 0,
    refunds: [],
    trackingId: null,
    confirmationCode: null,
    method: null,
    redirectUrl: null,
    payerPhone: null,
    problem: null,
    completedAt: null,
    nextCheckAt: null,
    checks: 0,
    notes: "",
    resolution: null,
    ...parts,
  };
}

/** The index key of a gateway's id for a payment, or of a receipt; upper and lower case are the same. */
export function trackingKey(channel: PaymentChannel, trackingId: string): keys.Key<string> {
  return keys.paymentByTracking(channel, trackingId.toLowerCase());
}

/** Every index entry that a payment has. */
export function indexesOf(payment: Payment): keys.Key<string>[] {
  const { id, invoiceId, status, channel, trackingId, nextCheckAt } = payment;
  return [
    keys.paymentByInvoice(invoiceId, id),
    keys.paymentByStatus(status, id),
    ...(trackingId === null ? [] : [trackingKey(channel, trackingId)]),
    ...(nextCheckAt === null ? [] : [keys.paymentDue(nextCheckAt, id)]),
  ];
}

/** Writes a new payment with its indexes. */
export function putNewPayment(writes: Writes, payment: Payment): void {
  writes.set(keys.payment(payment.id), payment);
  for (const key of indexesOf(payment)) writes.set(key, payment.id);
}

/** A change of a payment and of the money on its invoice. */
export interface PaymentChange {
  /** The payment as it was read in this transaction. */
  before: Payment;
  /** Its invoice as it was read in this transaction. */
  invoice: Invoice;
  /** The fields that get new values. */
  fields: Partial<Payment>;
  /** The use case, such as `payment.confirm`. */
  action: string;
  /** The event to write; null for none. */
  event: EventType | null;
  /** Drawn before the decision: one for the event, one for `invoice.paid`. */
  eventIds: readonly [string, string];
  /** Who is named in the history. */
  by: Caller;
  /** Milliseconds UTC. */
  now: number;
}

/** A payment and its invoice after a change. */
export interface PaymentWriteResult {
  /** The payment after the change. */
  payment: Payment;
  /** The invoice after the change. */
  invoice: Invoice;
}

/** Writes a change of a payment with its indexes, its invoice's money and status, and the event. */
export function putPayment(writes: Writes, change: PaymentChange): PaymentWriteResult {
  const { before, fields, action, event, by, now } = change;
  const key = keys.payment(before.id);
  const payment = putChange(writes, { entity: "payment", action, key, before, fields, by, now });
  if (payment === before) return { payment, invoice: change.invoice };

  const kept = new Set(indexesOf(payment).map(keys.keyText));
  for (const index of indexesOf(before)) {
    if (!kept.has(keys.keyText(index))) writes.delete(index);
  }
  for (const index of indexesOf(payment)) writes.set(index, payment.id);
  const invoice = putWorth(writes, change.invoice, { before, payment }, change);
  if (event) putPaymentEvent(writes, event, { payment, invoice }, change);
  return { payment, invoice };
}

/** Writes the money that a payment adds to its invoice, and `invoice.paid` when that pays it in full. */
export function putWorth(
  writes: Writes,
  invoice: Invoice,
  { before, payment }: { before: Payment | null; payment: Payment },
  { action, eventIds, by, now }: Pick<PaymentChange, "action" | "eventIds" | "by" | "now">,
): Invoice {
  const was = before ? worthOf(before) : { paidMinor: 0, refundedMinor: 0 };
  const is = worthOf(payment);
  const paidMinor = is.paidMinor - was.paidMinor;
  const refundedMinor = is.refundedMinor - was.refundedMinor;
  if (paidMinor === 0 && refundedMinor === 0) return invoice;
  if (invoice.paidMinor + paidMinor > MINOR_MAX) {
    throw new AppError(
      "conflict",
      `Cannot record the payment: the invoice would exceed ${MINOR_MAX} minor units`,
    );
  }
  const after = putMoney(writes, invoice, { paidMinor, refundedMinor }, { action, by, now });
  if (after.status === "paid" && invoice.status !== "paid") {
    putInvoiceEvent(writes, { id: eventIds[1], type: "invoice.paid", invoice: after }, now);
  }
  return after;
}

/** Writes an event about a payment. */
export function putPaymentEvent(
  writes: Writes,
  type: EventType,
  { payment, invoice }: PaymentWriteResult,
  { eventIds, now }: Pick<PaymentChange, "eventIds" | "now">,
): void {
  putEvent(writes, {
    id: eventIds[0],
    type,
    subject: { paymentId: payment.id, invoiceId: invoice.id, clientId: invoice.clientId },
    data: {
      channel: payment.channel,
      status: payment.status,
      currency: payment.currency,
      amountMinor: payment.amountMinor,
      receivedMinor: payment.receivedMinor,
      invoiceStatus: invoice.status,
    },
  }, now);
}
