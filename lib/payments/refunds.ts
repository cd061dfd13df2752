/**
 * Refunds: money returned to its payer.
 *
 * A gateway's refund is stored as `requested` before the gateway is called, and counts as returned
 * from then on, so that refunds together never exceed what was received. It stops counting only
 * when it is known to be refused. An unknown outcome is for an operator to decide: a second request
 * might pay twice.
 *
 * @module
 */
import { AppError, invalidField } from "../errors.ts";
import { GatewayError } from "../gateways/mod.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Payment, PaymentChannel, Refund } from "../kv/payment_records.ts";
import { transact } from "../kv/mod.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "../entities/caller.ts";
import { putPayment } from "./records.ts";
import { followUp } from "./confirm.ts";
import { effectsOf, reportEffects, reportUnclearRefund } from "./effects.ts";
import { afterCheck } from "./schedule.ts";
import { refundedOf } from "./state.ts";
import { type PaymentServices, unknownPayment } from "./mod.ts";
import { isoTime } from "../time.ts";

/** A refund to request from the gateway, or one that was made by hand. */
export interface NewRefund {
  /** A completed payment of the invoice. */
  paymentId: string;
  /** In minor units; at most what was received and not refunded yet. */
  amountMinor: number;
  /** The reason, one line. */
  reason: string;
  /** The receipt of a refund made by hand; when absent the gateway makes it. */
  reference?: string | undefined;
}

/** An operator's decision about a refund that was requested from a gateway. */
export interface RefundDecision {
  /** Whether the money was returned. */
  outcome: "completed" | "refused";
  /** The evidence. */
  reference: string;
}

/** Refunds of one payment; each is part of its record. */
export const REFUNDS_MAX = 20;

/** Gateways that make refunds on request; all others are refunded by hand. */
const REFUNDING: ReadonlySet<PaymentChannel> = new Set<PaymentChannel>(["pesapal"]);
/** Methods that can be refunded in part; mobile money is refunded in full only. */
const CARD = /visa|master|amex|american|card/i;

/**
 * Refunds a payment, or a part of it. One read, one or two reads and commits, and one call to the
 * gateway if it makes the refund.
 *
 * @returns The payment; this refund is its last one, `requested` until the gateway has made it.
 * @throws {AppError} `not_found`; `invalid_input`; `conflict` if the gateway does not make it
 */
export async function refundPayment(
  services: PaymentServices,
  invoiceId: string,
  input: NewRefund,
  by: Caller,
): Promise<Payment> {
  const now = services.clock();
  const id = newId(now);
  const eventIds = [newId(now), newId(now)] as const;
  const reads = { payment: keys.payment(input.paymentId), invoice: keys.invoice(invoiceId) };
  const effects = await transact(services, reads, ({ payment: before, invoice }, writes) => {
    if (!invoice) throw new AppError("not_found", "No such invoice");
    if (before?.invoiceId !== invoiceId) {
      throw invalidField("paymentId", "This invoice has no such payment", "unknown");
    }
    const refund = newRefund(before, input, { id, at: isoTime(now), by: by.actor });
    const isMade = refund.status === "completed";
    const refunds = [...before.refunds, refund];
    const event = isMade ? "payment.refunded" : null;
    const written = putPayment(writes, {
      before,
      invoice,
      fields: {
        refunds,
        ...(isMade ? {} : afterCheck({ ...before, refunds }, now, "changed")),
      },
      action: "payment.refund",
      event,
      eventIds,
      by,
      now,
    });
    return effectsOf(before, invoice, written);
  }, {
    operation: operationOf(by, "payment.refund", [invoiceId, input], {
      now,
      keepMs: MONEY_RECEIPT_MS,
    }),
  });
  await reportEffects(services, effects);
  const { payment } = effects;
  const refund = payment.refunds.find((refund) => refund.id === id);
  // A refund that an earlier call under this key requested is not requested again.
  if (!refund) return await latest(services, payment);
  return refund.status === "completed"
    ? payment
    : await requestRefund(services, payment, refund, by);
}

/**
 * Decides a refund whose outcome the gateway did not report. Two reads and one commit.
 *
 * @throws {AppError} `not_found`; `conflict` if it was decided before
 */
export async function resolveRefund(
  services: PaymentServices,
  { paymentId, refundId }: { paymentId: string; refundId: string },
  { outcome, reference }: RefundDecision,
  by: Caller,
): Promise<Payment> {
  const seen = await services.store.get(keys.payment(paymentId));
  if (!seen?.refunds.some(({ id }) => id === refundId)) {
    throw new AppError("not_found", "No such refund");
  }
  return await finishRefund(services, seen, { id: refundId, status: outcome, reference }, {
    by,
    action: "payment.resolve_refund",
    isStrict: true,
  });
}

/** @throws {AppError} `conflict`, `invalid_input` */
function newRefund(
  payment: Payment,
  { amountMinor, reason, reference }: NewRefund,
  { id, at, by }: Pick<Refund, "id" | "at" | "by">,
): Refund {
  if (payment.status !== "completed") {
    throw new AppError("conflict", `Cannot refund this payment: it is ${payment.status}`);
  }
  const left = payment.receivedMinor - refundedOf(payment);
  if (amountMinor > left) {
    throw invalidField(
      "amountMinor",
      `Cannot refund ${amountMinor}: at most ${left} (minor units) of this payment is refundable`,
      "too_much",
    );
  }
  if (payment.refunds.length >= REFUNDS_MAX) {
    throw new AppError("conflict", `Cannot refund: a payment has at most ${REFUNDS_MAX} refunds`);
  }
  if (reference !== undefined) {
    const through = "hand";
    return { id, amountMinor, reason, reference, through, status: "completed", at, by };
  }
  expectRefundable(payment, amountMinor);
  return {
    id,
    amountMinor,
    reason,
    reference: "",
    through: "gateway",
    status: "requested",
    at,
    by,
  };
}

/** Refuses what the gateway would not do. @throws {AppError} `conflict`, `invalid_input` */
function expectRefundable(payment: Payment, amountMinor: number): void {
  const { channel, confirmationCode, refunds, method, receivedMinor } = payment;
  const isOffered = REFUNDING.has(channel) && confirmationCode !== null;
  if (!isOffered) {
    const message =
      "The gateway does not make this refund: return the money by hand and give its reference";
    throw invalidField("reference", message, "required");
  }
  if (refunds.some(({ through, status }) => through === "gateway" && status !== "refused")) {
    throw new AppError(
      "conflict",
      "The gateway refunds a payment only once: return the rest by hand and give its reference",
    );
  }
  if (amountMinor !== receivedMinor && !CARD.test(method ?? "")) {
    throw new AppError("conflict", "The gateway refunds mobile money in full only");
  }
}

/** Requests a stored refund from the gateway. */
async function requestRefund(
  services: PaymentServices,
  payment: Payment,
  refund: Refund,
  by: Caller,
): Promise<Payment> {
  const { gateways, log } = services;
  const { id, channel, confirmationCode, currency } = payment;
  const gateway = channel === "manual" ? undefined : gateways.get(channel);
  const end = (status: Refund["status"], reference: string) =>
    finishRefund(services, payment, { id: refund.id, status, reference }, {
      by: followUp(by),
      action: "payment.refund",
      isStrict: false,
    });
  const { amountMinor: minor, reason } = refund;
  try {
    const asked = await gateway?.refund({
      confirmationCode: confirmationCode ?? "",
      amount: { currency, minor },
      by: by.actor,
      reason,
    });
    if (asked) return await end("requested", asked.message);
    await end("refused", "The gateway makes no refunds");
    throw new AppError(
      "conflict",
      "The gateway makes no refunds: return the money by hand and give its reference",
    );
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    log.warn("payment.refund_failed", { paymentId: id, channel, error });
    if (error.outcome === "unknown") {
      await reportUnclearRefund(services, payment);
      return await latest(services, payment);
    }
    await end("refused", error.message);
    throw new AppError("conflict", `The gateway refused the refund. ${error.message}`, {
      cause: error,
    });
  }
}

/** Stores the outcome of a requested refund; one that was decided meanwhile stays. */
async function finishRefund(
  services: PaymentServices,
  { id, invoiceId }: Payment,
  { id: refundId, status, reference }: Pick<Refund, "id" | "status" | "reference">,
  { by, action, isStrict }: { by: Caller; action: string; isStrict: boolean },
): Promise<Payment> {
  const now = services.clock();
  const eventIds = [newId(now), newId(now)] as const;
  const reads = { payment: keys.payment(id), invoice: keys.invoice(invoiceId) };
  const effects = await transact(services, reads, ({ payment: before, invoice }, writes) => {
    if (!before || !invoice) throw unknownPayment();
    const found = before.refunds.find((refund) => refund.id === refundId);
    const isOpen = found?.status === "requested";
    if (!isOpen && isStrict) throw new AppError("conflict", "This refund is already decided");
    const refunds = before.refunds.map((refund): Refund =>
      isOpen && refund.id === refundId ? { ...refund, status, reference } : refund
    );
    // A refund that the gateway makes is published when the gateway has accepted it.
    const event = isOpen && status !== "refused" ? "payment.refunded" : null;
    const written = putPayment(writes, {
      before,
      invoice,
      fields: { refunds },
      action,
      event,
      eventIds,
      by,
      now,
    });
    return effectsOf(before, invoice, written);
  }, {
    operation: operationOf(by, action, [refundId, status], { now, keepMs: MONEY_RECEIPT_MS }),
  });
  await reportEffects(services, effects);
  return effects.payment;
}

async function latest({ store }: PaymentServices, payment: Payment): Promise<Payment> {
  return await store.get(keys.payment(payment.id)) ?? payment;
}
