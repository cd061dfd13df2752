/**
 * Refunds: money that goes back to whoever paid it.
 *
 * A refund that a gateway is to make is stored as `requested` before the gateway
 * is asked, and counts as paid back from then on, so that no two refunds together
 * can be more than was received. It stops counting only when it is known not to be
 * made; where that is not known, it is for a person to find out, for asking again
 * might pay back twice.
 *
 * @module
 */
import { AppError, invalidField } from "../errors.ts";
import { GatewayError } from "../gateways/mod.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Payment, PaymentChannel, Refund } from "../kv/payment_records.ts";
import { transact } from "../kv/transact.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "../entities/caller.ts";
import { putPayment } from "./records.ts";
import { followUp, unknownPayment } from "./confirm.ts";
import { newsOf, tellNews, tellUnclearRefund } from "./effects.ts";
import { afterCheck } from "./schedule.ts";
import { refundedOf } from "./state.ts";
import type { PaymentServices } from "./needs.ts";
import { isoTime } from "../time.ts";

/** A refund to make, or one that was made by hand. */
export interface NewRefund {
  /** A completed payment of the invoice. */
  paymentId: string;
  /** In minor units; up to what was received and has not gone back. */
  amountMinor: number;
  /** Why, one line. */
  reason: string;
  /** Where a refund made by hand can be found outside; without it the gateway is asked. */
  reference?: string | undefined;
}

/** What an operator found out about a refund that a gateway was asked for. */
export interface RefundDecision {
  /** Whether the money went back. */
  outcome: "completed" | "refused";
  /** Where that can be seen. */
  reference: string;
}

/** Refunds of one payment; each is part of its record. */
export const REFUNDS_MAX = 20;

/** Gateways that pay back when asked; with all others somebody does it by hand. */
const REFUNDING: ReadonlySet<PaymentChannel> = new Set<PaymentChannel>(["pesapal"]);
/** Methods of which a part can go back; mobile money goes back whole. */
const CARD = /visa|master|amex|american|card/i;

/**
 * Pays back a payment, or a part of it. One read, one or two reads and commits,
 * and one call to the gateway if it makes the refund.
 *
 * @returns The payment; its last refund is this one, `requested` until the gateway
 * has made it.
 * @throws {AppError} `not_found`; `invalid_input`; `conflict` if it is more than
 * is left, or the gateway will not do it
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
  const news = await transact(services, reads, ({ payment: before, invoice }, writes) => {
    if (!invoice) throw new AppError("not_found", "No such invoice");
    if (before?.invoiceId !== invoiceId) {
      throw invalidField("paymentId", "The invoice has no such payment", "unknown");
    }
    const refund = newRefund(before, input, { id, at: isoTime(now), by: by.actor });
    const isMade = refund.status === "completed";
    const refunds = [...before.refunds, refund];
    const event = isMade ? "payment.refunded" : null;
    const booked = putPayment(writes, {
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
    return newsOf(before, invoice, booked, { event });
  }, {
    operation: operationOf(by, "payment.refund", [invoiceId, input], {
      now,
      keepMs: MONEY_RECEIPT_MS,
    }),
  });
  await tellNews(services, news);
  const { payment } = news;
  const refund = payment.refunds.find((refund) => refund.id === id);
  // What an earlier call under this key asked for is not asked for again.
  if (!refund) return await latest(services, payment);
  return refund.status === "completed" ? payment : await askGateway(services, payment, refund, by);
}

/**
 * Decides about a refund of which the gateway gave no clear word. One read and one commit.
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
  return await endRefund(services, seen, { id: refundId, status: outcome, reference }, {
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
    throw new AppError("conflict", `A payment that is ${payment.status} is not paid back`);
  }
  const left = payment.receivedMinor - refundedOf(payment);
  if (amountMinor > left) {
    throw invalidField("amountMinor", `Only ${left} are left to pay back`, "too_much");
  }
  if (payment.refunds.length >= REFUNDS_MAX) {
    throw new AppError("conflict", `A payment has at most ${REFUNDS_MAX} refunds`);
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

/** What the gateway will not do is not asked of it. @throws {AppError} `conflict`, `invalid_input` */
function expectRefundable(payment: Payment, amountMinor: number): void {
  const { channel, confirmationCode, refunds, method, receivedMinor } = payment;
  const isOffered = REFUNDING.has(channel) && confirmationCode !== null;
  if (!isOffered) {
    const message = "Nobody pays this back by itself; do it, and say where it can be found";
    throw invalidField("reference", message, "required");
  }
  if (refunds.some(({ through, status }) => through === "gateway" && status !== "refused")) {
    throw new AppError("conflict", "The gateway pays a payment back once; do the rest by hand");
  }
  if (amountMinor !== receivedMinor && !CARD.test(method ?? "")) {
    throw new AppError("conflict", "The gateway pays mobile money back whole, or not at all");
  }
}

/** Asks the gateway to make a refund that is stored. */
async function askGateway(
  services: PaymentServices,
  payment: Payment,
  refund: Refund,
  by: Caller,
): Promise<Payment> {
  const { gateways, log } = services;
  const { id, channel, confirmationCode, currency } = payment;
  const gateway = channel === "manual" ? undefined : gateways.get(channel);
  const end = (status: Refund["status"], reference: string) =>
    endRefund(services, payment, { id: refund.id, status, reference }, {
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
    await end("refused", "The gateway does not pay back");
    throw new AppError("conflict", "The gateway does not pay back; do it by hand");
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    log.warn("payment.refund_failed", { paymentId: id, channel, error });
    if (error.outcome === "unknown") {
      await tellUnclearRefund(services, payment);
      return await latest(services, payment);
    }
    await end("refused", error.message);
    throw new AppError("conflict", `Nothing was paid back. ${error.message}`, { cause: error });
  }
}

/** Stores what became of a requested refund. What was decided meanwhile stays. */
async function endRefund(
  services: PaymentServices,
  { id, invoiceId }: Payment,
  { id: refundId, status, reference }: Pick<Refund, "id" | "status" | "reference">,
  { by, action, isStrict }: { by: Caller; action: string; isStrict: boolean },
): Promise<Payment> {
  const now = services.clock();
  const eventIds = [newId(now), newId(now)] as const;
  const reads = { payment: keys.payment(id), invoice: keys.invoice(invoiceId) };
  const news = await transact(services, reads, ({ payment: before, invoice }, writes) => {
    if (!before || !invoice) throw unknownPayment();
    const found = before.refunds.find((refund) => refund.id === refundId);
    const isOpen = found?.status === "requested";
    if (!isOpen && isStrict) throw new AppError("conflict", "This refund was decided before");
    const refunds = before.refunds.map((refund): Refund =>
      isOpen && refund.id === refundId ? { ...refund, status, reference } : refund
    );
    // What waits for the gateway is told of when the gateway has taken it.
    const event = isOpen && status !== "refused" ? "payment.refunded" : null;
    const booked = putPayment(writes, {
      ...{ before, invoice, fields: { refunds }, action, event, eventIds, by, now },
    });
    return newsOf(before, invoice, booked, { event });
  }, {
    operation: operationOf(by, action, [refundId, status], { now, keepMs: MONEY_RECEIPT_MS }),
  });
  await tellNews(services, news);
  return news.payment;
}

async function latest({ store }: PaymentServices, payment: Payment): Promise<Payment> {
  return await store.get(keys.payment(payment.id)) ?? payment;
}
