/**
 * Calls in a gateway's name: from the gateway, from the payer's browser that it
 * sent back, or from whoever knows the address. None is believed. A call about a
 * payment that we know makes a plan to ask, which is stored before anything else,
 * and then the asking itself, within a short time: if that fails or this process
 * ends, the reconciler goes by the plan.
 *
 * It is asked within the request, and not after the answer, since a process of a
 * serverless platform may end with its last answer, and since the payer's browser
 * is to see how the payment stands.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { Gateway, GatewayName, IncomingCall, Notification } from "../gateways/mod.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import { transact } from "../kv/transact.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { putPayment } from "./records.ts";
import { learn, settle } from "./confirm.ts";
import type { PaymentServices } from "./needs.ts";
import { MINUTE_MS, SECOND_MS } from "../time.ts";

export type { IncomingCall } from "../gateways/mod.ts";

/** What a call came to. */
export interface Received {
  /** What to answer the gateway. */
  answer: { status: 200 | 400 | 500; body: Record<string, string | number | boolean> };
  /**
   * The payment, if the caller knew the gateway's name for it beside its reference,
   * and so is whom the gateway told; otherwise null.
   */
  payment: Payment | null;
}

/** How long a caller waits for the gateway to be asked; many give up after ten seconds. */
const ASKING_MS = 6 * SECOND_MS;
/** What is to be asked within this time anyway needs no other plan. */
const SOON_MS = MINUTE_MS;

/**
 * Takes a call in a gateway's name, and does what it is good for.
 *
 * @param requestId Names the exchange.
 * @throws {AppError} `not_found` if the gateway is not offered
 */
export async function receiveCall(
  services: PaymentServices,
  name: GatewayName,
  call: IncomingCall,
  requestId: string,
): Promise<Received> {
  const gateway = services.gateways.get(name);
  if (!gateway) throw new AppError("not_found", "No such page");
  const by: Caller = { actor: `gateway:${name}`, requestId, idempotencyKey: null };
  const notice = await gateway.readNotification(call);
  const taken = await take(services, gateway, notice, by);
  services.metrics.notifications.add({ gateway: name, outcome: taken.outcome });
  return {
    answer: gateway.answerOf(notice, taken.outcome !== "not_stored"),
    payment: isInformed(notice, taken.payment) ? taken.payment : null,
  };
}

interface Taken {
  outcome: "unreadable" | "unknown" | "strange" | "useless" | "taken" | "too_many" | "not_stored";
  payment: Payment | null;
}

async function take(
  services: PaymentServices,
  gateway: Gateway,
  notice: Notification | null,
  by: Caller,
): Promise<Taken> {
  const { store, log } = services;
  if (!notice) return { outcome: "unreadable", payment: null };
  let payment: Payment | null = null;
  try {
    payment = await store.get(keys.payment(notice.reference));
    // What is not known is not asked about, however well it is made up.
    if (!payment || payment.channel !== gateway.name) return { outcome: "unknown", payment: null };
    if (notice.confirmation) {
      const { confirmation } = notice;
      return { outcome: "taken", payment: await settle(services, payment, { confirmation }, by) };
    }
    if (gateway.isMobileMoney) return await takeUnproven(services, payment, notice, by);
    if (isStrange(notice, payment)) {
      log.warn("payment.strange_call", { paymentId: payment.id, channel: payment.channel });
      return { outcome: "strange", payment };
    }
    if (payment.status === "reversed") return { outcome: "useless", payment };
    return await askSoon(services, payment, notice, by);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log.warn("payment.call_not_stored", { channel: gateway.name, error });
    return { outcome: "not_stored", payment };
  }
}

/** Somebody names another order than the one that belongs to the payment. */
function isStrange({ trackingId }: Notification, payment: Payment): boolean {
  if (payment.trackingId === null || trackingId === null) return false;
  return !isSame(trackingId, payment.trackingId);
}

/** It cannot be asked, so a claim that it was paid is for a person. Any other claim is nothing. */
async function takeUnproven(
  services: PaymentServices,
  payment: Payment,
  { kind }: Notification,
  by: Caller,
): Promise<Taken> {
  if (kind !== undefined && kind !== "completed") return { outcome: "useless", payment };
  return {
    outcome: "taken",
    payment: await learn(services, payment, { kind: "unsigned" }, { by }),
  };
}

/** Plans to ask at once, and asks. */
async function askSoon(
  services: PaymentServices,
  payment: Payment,
  { trackingId }: Notification,
  by: Caller,
): Promise<Taken> {
  let planned: Payment;
  try {
    planned = await planCheck(services, payment, by);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind !== "rate_limited") throw error;
    // The gateway was asked often of late, and will be again by itself.
    return { outcome: "too_many", payment };
  }
  const signal = AbortSignal.timeout(ASKING_MS);
  try {
    return {
      outcome: "taken",
      payment: await settle(services, planned, { trackingId, signal }, by),
    };
  } catch (error) {
    // The plan is stored, so the caller need not come again.
    services.log.warn("payment.not_confirmed", { paymentId: payment.id, error });
    return { outcome: "taken", payment: planned };
  }
}

/** Stores that a payment is to be asked about now. One read and one commit, unless it soon is anyway. */
async function planCheck(services: PaymentServices, seen: Payment, by: Caller): Promise<Payment> {
  const now = services.clock();
  const guard = services.limiter.guard("payment_check", seen.id);
  if (guard) services.limiter.expectRoom(guard);
  const eventIds = [newId(now), newId(now)] as const;
  const reads = { payment: keys.payment(seen.id), invoice: keys.invoice(seen.invoiceId) };
  return await transact(services, reads, ({ payment: before, invoice }, writes) => {
    if (!before || !invoice) throw new AppError("not_found", "No such payment");
    const { nextCheckAt } = before;
    if (nextCheckAt !== null && nextCheckAt <= now + SOON_MS) return before;
    return putPayment(writes, {
      before,
      invoice,
      fields: { nextCheckAt: now, checks: 0 },
      action: "payment.call",
      event: null,
      eventIds,
      by,
      now,
    }).payment;
  }, {
    operation: operationOf({ ...by, guards: guard ? [guard] : [] }, "payment.call", null, { now }),
  });
}

/** Whether a caller has shown that the gateway told it of the payment. */
function isInformed(notice: Notification | null, payment: Payment | null): boolean {
  const said = notice?.trackingId ?? null;
  return said !== null && payment !== null && payment.trackingId !== null &&
    isSame(said, payment.trackingId);
}

function isSame(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
