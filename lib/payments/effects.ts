/**
 * The effects of a payment's change on this instance: log lines, counters, and alerts where an
 * operator has to act. Mails and webhooks follow from an event in the commit itself.
 *
 * @module
 */
import { raiseAlert, resolveAlert } from "../alerts/mod.ts";
import { creditMinor } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import type { PaymentWriteResult } from "./records.ts";
import type { PaymentServices } from "./mod.ts";
import { DAY_MS } from "../time.ts";

/** Open while payments wait for an operator's decision. */
const REVIEW_ALERT = "payments_need_review";

/** A change of a payment, compared with its state before. */
export interface PaymentEffects {
  /** The payment after the change. */
  payment: Payment;
  /** Its state before. */
  before: Pick<Payment, "status" | "problem">;
  /** Whether this change paid the invoice in full. */
  hasPaid: boolean;
  /** Whether this change increased the credit on the invoice. */
  hasOverpaid: boolean;
  /** Why the evidence was rejected; null if it was accepted. */
  rejected: string | null;
}

/** Derives the effects of a change that was written. */
export function effectsOf(
  before: Pick<Payment, "status" | "problem">,
  invoiceBefore: Invoice,
  { payment, invoice }: PaymentWriteResult,
  rejected: string | null = null,
): PaymentEffects {
  const { status, problem } = before;
  return {
    payment,
    before: { status, problem },
    hasPaid: invoice.status === "paid" && invoiceBefore.status !== "paid",
    hasOverpaid: creditMinor(invoice) > creditMinor(invoiceBefore),
    rejected,
  };
}

/** Logs and counts a change, and raises the alerts that follow from it. Never throws. */
export async function reportEffects(
  services: PaymentServices,
  effects: PaymentEffects,
): Promise<void> {
  const { before, payment, rejected, hasOverpaid } = effects;
  const { log, metrics } = services;
  const { id: paymentId, channel, status, problem } = payment;
  if (rejected !== null) log.warn("payment.not_believed", { paymentId, channel, rejected });
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
    await raiseWarning(services, "payment_reversed", "A gateway reversed a payment", detail);
  }
  if (status === "completed" && problem !== null && problem !== before.problem) {
    const title = "A gateway returned more or less than was requested";
    await raiseWarning(services, "payment_partly_reversed", title, detail);
  }
  if (hasOverpaid) {
    const title = "An invoice is overpaid";
    await raiseWarning(services, "invoice_overpaid", title, detail);
  }
}

/** Raises the alert for a refund whose outcome is unknown. Never throws. */
export async function reportUnclearRefund(
  services: PaymentServices,
  { id }: Payment,
): Promise<void> {
  const detail = `Payment ${id}: check the gateway's portal, then decide the refund`;
  const title = "The outcome of a refund is unknown";
  await raiseWarning(services, "refund_unclear", title, detail);
}

/** Raises or resolves the alert for payments that wait for a decision. One read. @throws {AppError} `unavailable` */
export async function updateReviewAlert(services: PaymentServices): Promise<{ waiting: number }> {
  const waiting = await countReviews(services);
  if (waiting > 0) await raiseReview(services, `Payments waiting: ${waiting}`);
  else await resolveAlert(services, REVIEW_ALERT);
  return { waiting };
}

/** Counts payments that wait for a decision, up to 100. One read. */
export async function countReviews({ store }: Pick<PaymentServices, "store">): Promise<number> {
  return (await store.list(keys.paymentsByStatus("needs_review"), { limit: 100 })).length;
}

async function raiseReview(services: PaymentServices, detail: string): Promise<void> {
  await raiseAlert(services, {
    name: REVIEW_ALERT,
    severity: "warning",
    title: "Payments need review",
    detail,
    quietMs: null,
  });
}

async function raiseWarning(
  services: PaymentServices,
  name: string,
  title: string,
  detail: string,
): Promise<void> {
  await raiseAlert(services, { name, severity: "warning", title, detail, quietMs: DAY_MS });
}
