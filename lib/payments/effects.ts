/**
 * What people and programs are told after a payment has changed: the log, the
 * counts, and an alert where somebody has to look. What has to reach others
 * surely is an event of the commit itself.
 *
 * @module
 */
import { raiseAlert, resolveAlert } from "../alerts/mod.ts";
import { creditMinor } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { EventType } from "../kv/outbox_records.ts";
import type { Payment } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import type { Booked } from "./records.ts";
import type { PaymentServices } from "./needs.ts";
import { DAY_MS } from "../time.ts";

/** Open while payments wait for a person. */
const REVIEW_ALERT = "payments_need_review";

/** What has become of a payment, compared with what was there before. */
export interface News {
  /** As it is now. */
  payment: Payment;
  /** What it was. */
  before: Pick<Payment, "status" | "problem">;
  /** Whether its invoice is paid by it and was not before. */
  hasPaid: boolean;
  /** Whether its invoice has more money on it than before, and than is owed. */
  hasOverpaid: boolean;
  /** Whether others are told of it by an event of the same commit. */
  hasEvent: boolean;
  /** Why what was learnt was not believed; null if it was. */
  disbelief: string | null;
}

/** What a change of a payment has made of it and of its invoice. */
export function newsOf(
  before: Pick<Payment, "status" | "problem">,
  invoiceBefore: Invoice,
  { payment, invoice }: Booked,
  { event, disbelief = null }: { event: EventType | null; disbelief?: string | null },
): News {
  const { status, problem } = before;
  return {
    payment,
    before: { status, problem },
    hasPaid: invoice.status === "paid" && invoiceBefore.status !== "paid",
    hasOverpaid: creditMinor(invoice) > creditMinor(invoiceBefore),
    hasEvent: event !== null,
    disbelief,
  };
}

/** Tells it. Never throws. */
export async function tellNews(services: PaymentServices, news: News): Promise<void> {
  const { before, payment, disbelief, hasOverpaid } = news;
  const { log, metrics } = services;
  const { id: paymentId, channel, status, problem } = payment;
  if (disbelief !== null) log.warn("payment.not_believed", { paymentId, channel, disbelief });
  const isMoved = status !== before.status;
  if (isMoved) {
    log.info("payment.moved", { paymentId, channel, from: before.status, status, problem });
    metrics.payments.add({ channel, status });
  }
  const detail = `Payment ${paymentId} of invoice ${payment.invoiceId}`;
  if (status === "needs_review" && isMoved) {
    await raiseReview(services, `Payment ${paymentId}: ${problem}`);
  }
  if (status === "reversed" && isMoved) {
    await raiseNotice(services, "payment_reversed", "A gateway took a payment back", detail);
  }
  if (status === "completed" && problem !== null && problem !== before.problem) {
    const title = "A gateway took back more or less than was asked for";
    await raiseNotice(services, "payment_partly_reversed", title, detail);
  }
  if (hasOverpaid) {
    const title = "More was paid on an invoice than is owed";
    await raiseNotice(services, "invoice_overpaid", title, detail);
  }
}

/** Says that a refund may or may not have been made. Never throws. */
export async function tellUnclearRefund(services: PaymentServices, { id }: Payment): Promise<void> {
  const detail = `Payment ${id}: look into its portal, and decide about the refund`;
  const title = "A gateway did not say whether it pays back";
  await raiseNotice(services, "refund_unclear", title, detail);
}

/** Whether payments wait for a person is looked at anew. One read. Never throws but for the store. */
export async function reviewAlert(services: PaymentServices): Promise<{ waiting: number }> {
  const waiting = await countReviews(services);
  if (waiting > 0) await raiseReview(services, `${waiting} wait`);
  else await resolveAlert(services, REVIEW_ALERT);
  return { waiting };
}

/** How many payments wait for a person; counts up to 100. One read. */
export async function countReviews({ store }: Pick<PaymentServices, "store">): Promise<number> {
  return (await store.list(keys.paymentsByStatus("needs_review"), { limit: 100 })).length;
}

async function raiseReview(services: PaymentServices, detail: string): Promise<void> {
  await raiseAlert(services, {
    name: REVIEW_ALERT,
    severity: "warning",
    title: "Payments wait for somebody to decide",
    detail,
    quietMs: null,
  });
}

async function raiseNotice(
  services: PaymentServices,
  name: string,
  title: string,
  detail: string,
): Promise<void> {
  await raiseAlert(services, { name, severity: "warning", title, detail, quietMs: DAY_MS });
}
