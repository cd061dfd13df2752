/**
 * Callbacks: calls in a gateway's name, from the gateway, from the payer's browser that it sends
 * back, or from anybody who knows the address. None is trusted. A callback about a known payment
 * schedules a check, which is stored first, and then queries the gateway within a short time. If
 * that fails or this process ends, the reconciler does the scheduled check.
 *
 * The query happens before the answer: a serverless process may end with its last answer, and the
 * payer's browser is to see the payment's state.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import type { Gateway, GatewayCallback, GatewayName, IncomingCall } from "../gateways/mod.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import { transact } from "../kv/mod.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { putPayment } from "./records.ts";
import { applyEvidence, confirmLoaded } from "./confirm.ts";
import type { PaymentServices } from "./mod.ts";
import { MINUTE_MS, SECOND_MS } from "../time.ts";

export type { IncomingCall } from "../gateways/mod.ts";

/** How a callback is answered. */
export interface CallResult {
  /** The answer for the gateway. */
  answer: { status: 200 | 400 | 500; body: Record<string, string | number | boolean> };
  /** The payment, if the caller also knew the gateway's id for it; otherwise null. */
  payment: Payment | null;
}

/** Time limit of the query; many callers give up after ten seconds. */
const QUERY_MS = 6 * SECOND_MS;
/** A check that is due within this time anyway is not scheduled again. */
const SOON_MS = MINUTE_MS;

/**
 * Handles a callback.
 *
 * @throws {AppError} `not_found` if the gateway is not configured
 */
export async function receiveCall(
  services: PaymentServices,
  name: GatewayName,
  call: IncomingCall,
  requestId: string,
): Promise<CallResult> {
  const gateway = services.gateways.get(name);
  if (!gateway) throw new AppError("not_found", "No such page");
  const by: Caller = { actor: `gateway:${name}`, requestId, idempotencyKey: null };
  const callback = await gateway.readCallback(call);
  const handled = await handle(services, gateway, callback, by);
  services.metrics.callbacks.add({ gateway: name, outcome: handled.outcome });
  return {
    answer: gateway.answerOf(callback, handled.outcome !== "not_stored"),
    payment: hasShownId(callback, handled.payment) ? handled.payment : null,
  };
}

interface HandledCall {
  outcome: "unreadable" | "unknown" | "strange" | "useless" | "taken" | "too_many" | "not_stored";
  payment: Payment | null;
}

async function handle(
  services: PaymentServices,
  gateway: Gateway,
  callback: GatewayCallback | null,
  by: Caller,
): Promise<HandledCall> {
  const { store, log } = services;
  if (!callback) return { outcome: "unreadable", payment: null };
  let payment: Payment | null = null;
  try {
    payment = await store.get(keys.payment(callback.reference));
    // Only known payments are queried, or anybody could make us call the gateway.
    if (!payment || payment.channel !== gateway.name) return { outcome: "unknown", payment: null };
    if (callback.confirmation) {
      const { confirmation } = callback;
      return {
        outcome: "taken",
        payment: await confirmLoaded(services, payment, { confirmation }, by),
      };
    }
    if (gateway.isMobileMoney) return await acceptUnsigned(services, payment, callback, by);
    if (isOtherOrder(callback, payment)) {
      log.warn("payment.strange_call", { paymentId: payment.id, channel: payment.channel });
      return { outcome: "strange", payment };
    }
    if (payment.status === "reversed") return { outcome: "useless", payment };
    return await queryNow(services, payment, callback, by);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log.warn("payment.call_not_stored", { channel: gateway.name, error });
    return { outcome: "not_stored", payment };
  }
}

/** Whether a callback names another order than the payment's. */
function isOtherOrder({ trackingId }: GatewayCallback, payment: Payment): boolean {
  if (payment.trackingId === null || trackingId === null) return false;
  return !isSame(trackingId, payment.trackingId);
}

/** The gateway cannot be queried: a claim that it was paid needs review, any other is ignored. */
async function acceptUnsigned(
  services: PaymentServices,
  payment: Payment,
  { kind }: GatewayCallback,
  by: Caller,
): Promise<HandledCall> {
  if (kind !== undefined && kind !== "completed") return { outcome: "useless", payment };
  return {
    outcome: "taken",
    payment: await applyEvidence(services, payment, { kind: "unsigned" }, { by }),
  };
}

/** Schedules a check, then does it. */
async function queryNow(
  services: PaymentServices,
  payment: Payment,
  { trackingId }: GatewayCallback,
  by: Caller,
): Promise<HandledCall> {
  let scheduled: Payment;
  try {
    scheduled = await scheduleCheck(services, payment, by);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind !== "rate_limited") throw error;
    // The gateway was queried often recently, and the reconciler will query it again.
    return { outcome: "too_many", payment };
  }
  const signal = AbortSignal.timeout(QUERY_MS);
  try {
    return {
      outcome: "taken",
      payment: await confirmLoaded(services, scheduled, { trackingId, signal }, by),
    };
  } catch (error) {
    // The check is scheduled, so the gateway need not repeat its callback.
    services.log.warn("payment.not_confirmed", { paymentId: payment.id, error });
    return { outcome: "taken", payment: scheduled };
  }
}

/** Schedules a check of a payment for now. One read and one commit; one read if a check is due soon. */
async function scheduleCheck(
  services: PaymentServices,
  seen: Payment,
  by: Caller,
): Promise<Payment> {
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

/** Whether a caller has shown the gateway's id for the payment. */
function hasShownId(callback: GatewayCallback | null, payment: Payment | null): boolean {
  const named = callback?.trackingId ?? null;
  return named !== null && payment !== null && payment.trackingId !== null &&
    isSame(named, payment.trackingId);
}

function isSame(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
