/**
 * How payments are written: the record with every index of it, and what it is
 * worth to its invoice, in one commit. Nothing else writes them, but what erases a
 * client's data, which changes neither.
 *
 * @module
 */
import { newEntity, putChange } from "../entities/audit.ts";
import { AppError } from "../errors.ts";
import { putMoney } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { EventType } from "../kv/outbox_records.ts";
import type { Payment, PaymentChannel } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import type { Writes } from "../kv/transact.ts";
import { MINOR_MAX } from "../money.ts";
import type { Caller } from "../entities/caller.ts";
import { putEvent, putInvoiceEvent } from "../outbox/events.ts";
import { worthOf } from "./state.ts";

/** What a new payment is told. */
export type PaymentParts =
  & Pick<Payment, "id" | "invoiceId" | "channel" | "status" | "currency" | "amountMinor">
  & Partial<Payment>;

/** A payment of which nothing is known yet but what `parts` say. @param now Milliseconds UTC. */
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

/** Where it is kept that a gateway's name for a payment, or a receipt, is taken: whatever its capitals. */
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

/** A change of a payment, and of the invoice by what it is worth. */
export interface PaymentChange {
  /** The payment as it was read in this transaction. */
  before: Payment;
  /** Its invoice as it was read in this transaction. */
  invoice: Invoice;
  /** The fields that get new values. */
  fields: Partial<Payment>;
  /** The use case, such as `payment.confirm`. */
  action: string;
  /** What others are told of; null for nothing. */
  event: EventType | null;
  /** Drawn before the decision: two, for the event and for what follows from it. */
  eventIds: readonly [string, string];
  /** Who is named in the history. */
  by: Caller;
  /** Milliseconds UTC. */
  now: number;
}

/** A payment and its invoice as they are after a change. */
export interface Booked {
  /** As it is now. */
  payment: Payment;
  /** As it is now. */
  invoice: Invoice;
}

/** Writes a change of a payment, its indexes, its invoice's money and state, and what happened. */
export function putPayment(writes: Writes, change: PaymentChange): Booked {
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

/** Writes what a payment has become worth to its invoice, and that it is paid if it has become so. */
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
    throw new AppError("conflict", "The invoice has more money on it than can be counted");
  }
  const after = putMoney(writes, invoice, { paidMinor, refundedMinor }, { action, by, now });
  if (after.status === "paid" && invoice.status !== "paid") {
    putInvoiceEvent(writes, { id: eventIds[1], type: "invoice.paid", invoice: after }, now);
  }
  return after;
}

/** Writes what happened to a payment. */
export function putPaymentEvent(
  writes: Writes,
  type: EventType,
  { payment, invoice }: Booked,
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
