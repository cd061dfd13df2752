/**
 * Checkout: attempts to pay an invoice through a gateway.
 *
 * An attempt is stored before the gateway is called, and its id is the gateway's reference.
 * Whatever fails after that leaves a payment that can be queried; an attempt is never repeated, the
 * next one is a new payment.
 *
 * @module
 */
import { normalizePhone } from "../contact.ts";
import { AppError, invalidField } from "../errors.ts";
import {
  type Gateway,
  GatewayError,
  type GatewayName,
  type MobileProvider,
} from "../gateways/mod.ts";
import { newId } from "../ids.ts";
import { invoiceUrl } from "../invoices/links.ts";
import { isPayable, owedMinor } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { CheckoutSlot, Payment } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import type { Language } from "../languages.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "../entities/caller.ts";
import { newPayment, putNewPayment, putPayment, trackingKey } from "./records.ts";
import { applyEvidence, followUp } from "./confirm.ts";
import { effectsOf, reportEffects } from "./effects.ts";
import { firstCheckAt } from "./schedule.ts";
import { isOpen, PROBLEMS } from "./state.ts";
import { getPayment, type PaymentServices, unknownPayment } from "./mod.ts";
import { MINUTE_MS } from "../time.ts";

/** How a payer wants to pay. */
export interface NewCheckout {
  /** A configured gateway. */
  gateway: GatewayName;
  /** In minor units, at most the balance due; all of it when absent. */
  amountMinor?: number | undefined;
  /** The mobile money account, in any spelling; the buyer's number when absent. */
  phone?: string | undefined;
  /** The mobile money provider; required for mobile money. */
  provider?: MobileProvider | undefined;
  /** The language of the page to return to; the browser's when absent. */
  language?: Language | undefined;
}

/** How long a payer is sent to the same page of the gateway again. */
const REUSE_MS = 20 * MINUTE_MS;
/** How long a prompt on a payer's phone is open; another push would ask for the same money again. */
const PUSH_MS = 2 * MINUTE_MS;
/** Longer than any call to a gateway: an attempt that has not started by then never will. */
const STARTING_MS = MINUTE_MS;
/** Attempts to reserve a payment while others do so for the same invoice. */
const RESERVES_MAX = 5;

/**
 * Starts a payment of an invoice, or returns the open one: the payer is sent to the same page
 * again, and a phone is not prompted twice. Six round trips, two of them commits, and a call to the
 * gateway.
 *
 * @returns The attempt. `pending` waits for the payer, at its `redirectUrl` if it has one; `failed`
 * has the reason in `problem`; `created` may or may not have reached the gateway.
 * @throws {AppError} `not_found`; `invalid_input`; `conflict` if the invoice is not payable or a
 * phone is being prompted; `unavailable`
 */
export async function startCheckout(
  services: PaymentServices,
  invoiceId: string,
  input: NewCheckout,
  by: Caller,
): Promise<Payment> {
  const gateway = services.gateways.get(input.gateway);
  if (!gateway) {
    throw invalidField("gateway", "This payment method is not available", "not_offered");
  }
  if (gateway.isMobileMoney && input.provider === undefined) {
    throw invalidField("provider", "A mobile money provider is required", "required");
  }
  if (gateway.breaker === "open") {
    throw new AppError("unavailable", "This payment method is temporarily unavailable", {
      retryAfterMs: MINUTE_MS,
    });
  }
  const phone = await phoneOf(services, input);
  for (let look = 1; look <= RESERVES_MAX; look++) {
    const reserved = await reserveAttempt(services, invoiceId, { input, gateway, phone }, by);
    if (reserved.kind === "again") continue;
    const { paymentId } = reserved;
    if (reserved.kind === "open") return await getPayment(services, paymentId);
    return await callGateway(services, gateway, { invoiceId, paymentId }, { input, by });
  }
  throw new AppError(
    "unavailable",
    "Another payment of this invoice is being started. Try again in a moment",
    { retryAfterMs: 1_000 },
  );
}

/** How the first commit ended. */
type ReserveResult =
  /** Another call was faster: try again. */
  | { kind: "again" }
  /** An attempt is open, or an earlier call under this key started it. */
  | { kind: "open"; paymentId: string }
  /** This call has stored a new attempt. */
  | { kind: "new"; paymentId: string };

interface AttemptRequest {
  input: NewCheckout;
  gateway: Gateway;
  phone: string | null;
}

async function reserveAttempt(
  services: PaymentServices,
  invoiceId: string,
  { input, gateway, phone }: AttemptRequest,
  by: Caller,
): Promise<ReserveResult> {
  const now = services.clock();
  const id = newId(now);
  const slotKey = keys.checkoutSlot(invoiceId, gateway.name);
  // The same request in another language is the same request.
  const { language: _, ...request } = input;
  const seen = await services.store.get(slotKey);
  const reads = {
    invoice: keys.invoice(invoiceId),
    slot: slotKey,
    open: keys.payment(seen?.paymentId ?? id),
  };
  const reserved = await transact(
    services,
    reads,
    ({ invoice, slot, open }, writes): ReserveResult => {
      if (!invoice) throw new AppError("not_found", "No such invoice");
      const amountMinor = amountOf(invoice, input, gateway);
      if ((slot?.paymentId ?? null) !== (seen?.paymentId ?? null)) return { kind: "again" };
      const inUse = slot && slot.exp > now && open && isOpen(open) ? open : null;
      if (inUse && slot && isReusable(inUse, { amountMinor, gateway, now })) {
        // Written, so that a repeated request under its key gets the same attempt.
        putSlot(slot);
        return { kind: "open", paymentId: inUse.id };
      }
      const payer = phone ?? (gateway.isMobileMoney ? invoice.billTo.phone : null);
      if (gateway.isMobileMoney && payer === null) {
        throw invalidField("phone", "A phone number is required for mobile money", "required");
      }
      putNewPayment(
        writes,
        newPayment(
          {
            id,
            invoiceId,
            channel: gateway.name,
            status: "created",
            currency: invoice.currency,
            amountMinor,
            payerPhone: payer,
            nextCheckAt: firstCheckAt(now),
          },
          by,
          now,
        ),
      );
      putSlot({ paymentId: id, exp: now + REUSE_MS });
      return { kind: "new", paymentId: id };

      function putSlot(slot: CheckoutSlot): void {
        writes.set(slotKey, slot, { expireIn: slot.exp - now });
      }
    },
    {
      operation: operationOf(by, "payment.start", [invoiceId, request], {
        now,
        keepMs: MONEY_RECEIPT_MS,
      }),
    },
  );
  // An attempt that an earlier call under this key started is not started again.
  return reserved.kind === "new" && reserved.paymentId !== id
    ? { ...reserved, kind: "open" }
    : reserved;
}

/** The amount to pay. @throws {AppError} `conflict`, `invalid_input` */
function amountOf(invoice: Invoice, { amountMinor }: NewCheckout, gateway: Gateway): number {
  if (!isPayable(invoice)) {
    throw new AppError("conflict", `Cannot pay this invoice: it is ${invoice.status}`);
  }
  const owed = owedMinor(invoice);
  const minor = amountMinor ?? owed;
  if (minor > owed) {
    throw invalidField(
      "amountMinor",
      `At most ${owed} (minor units) is due on this invoice`,
      "too_much",
    );
  }
  const refusal = gateway.refusalOf({ currency: invoice.currency, minor });
  if (refusal !== null) throw invalidField("gateway", refusal, "amount_refused");
  return minor;
}

/** Whether an open attempt is used again. @throws {AppError} `conflict` if the payer has to wait */
function isReusable(
  { status, createdAt, redirectUrl, amountMinor }: Payment,
  wanted: { amountMinor: number; gateway: Gateway; now: number },
): boolean {
  const age = wanted.now - Date.parse(createdAt);
  const isPage = redirectUrl !== null;
  if (isPage) return age < REUSE_MS && amountMinor === wanted.amountMinor;
  const isStarting = status === "created" && age < STARTING_MS;
  const isAsked = wanted.gateway.isMobileMoney && age < PUSH_MS;
  if (!isStarting && !isAsked) return false;
  throw new AppError(
    "conflict",
    isAsked
      ? "A payment request was just sent to this phone. Wait before sending another"
      : "A payment of this invoice is being started. Try again in a moment",
    { retryAfterMs: (isAsked ? PUSH_MS : STARTING_MS) - age },
  );
}

/** Starts a stored payment at the gateway, and stores the answer. */
async function callGateway(
  services: PaymentServices,
  gateway: Gateway,
  { invoiceId, paymentId }: { invoiceId: string; paymentId: string },
  { input, by: first }: { input: NewCheckout; by: Caller },
): Promise<Payment> {
  const { config, store, log } = services;
  const by = followUp(first);
  const [payment, invoice] = await Promise.all([
    getPayment(services, paymentId),
    store.get(keys.invoice(invoiceId)),
  ]);
  if (!invoice) throw new AppError("not_found", "No such invoice");
  const { currency, amountMinor: minor, payerPhone } = payment;
  const { name, email, phone } = invoice.billTo;
  const isSentBack = !gateway.isMobileMoney;
  const query = input.language === undefined ? "" : `?lang=${input.language}`;
  try {
    const checkout = await gateway.startCheckout({
      reference: payment.id,
      amount: { currency, minor },
      description: `Invoice ${invoice.number}`,
      payer: { name, email, phone: payerPhone ?? phone },
      ...(input.provider === undefined ? {} : { provider: input.provider }),
      returnUrl: isSentBack
        ? `${config.publicUrl}/payments/${gateway.name}/callback${query}`
        : invoiceUrl(config, invoice.id) + query,
      notificationUrl: `${config.publicUrl}/payments/${gateway.name}/${
        isSentBack ? "ipn" : "callback"
      }`,
    });
    return await recordStart(services, payment, checkout, by);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    log.warn("payment.not_started", { paymentId, channel: gateway.name, error });
    // It may have reached the gateway: the payer is not sent there, and the reconciler queries it.
    if (error.outcome === "unknown") return payment;
    const reason = error.outcome === "refused"
      ? error.message
      : "The gateway could not be reached; nothing was paid";
    return await applyEvidence(services, payment, { kind: "refused", reason }, {
      by,
      action: "payment.start",
    });
  }
}

/** Stores the gateway's id and page of a payment. A callback may have come first. */
async function recordStart(
  services: PaymentServices,
  { id, invoiceId, channel }: Payment,
  checkout: { trackingId: string | null; redirectUrl: string | null },
  by: Caller,
): Promise<Payment> {
  const now = services.clock();
  const eventIds = [newId(now), newId(now)] as const;
  const reads = {
    payment: keys.payment(id),
    invoice: keys.invoice(invoiceId),
    owner: trackingKey(channel, checkout.trackingId ?? id),
  };
  const effects = await transact(services, reads, ({ payment: before, invoice, owner }, writes) => {
    if (!before || !invoice) throw unknownPayment();
    const isTaken = owner !== null && owner !== id;
    const isOther = before.trackingId !== null && checkout.trackingId !== null &&
      before.trackingId.toLowerCase() !== checkout.trackingId.toLowerCase();
    const isDoubtful = (isTaken || isOther) && isOpen(before);
    const fields: Partial<Payment> = isDoubtful
      ? {
        status: "needs_review",
        problem: isTaken ? PROBLEMS.taken : PROBLEMS.tracking,
        nextCheckAt: null,
      }
      : {
        trackingId: before.trackingId ?? (isTaken ? null : checkout.trackingId),
        ...(isOpen(before) ? { status: "pending", redirectUrl: checkout.redirectUrl } : {}),
      };
    const event = isDoubtful ? "payment.needs_review" : null;
    const action = "payment.start";
    const written = putPayment(writes, {
      before,
      invoice,
      fields,
      action,
      event,
      eventIds,
      by,
      now,
    });
    return effectsOf(before, invoice, written);
  }, { operation: operationOf(by, "payment.start", id, { now, keepMs: MONEY_RECEIPT_MS }) });
  await reportEffects(services, effects);
  return effects.payment;
}

async function phoneOf(
  { config }: PaymentServices,
  { phone }: NewCheckout,
): Promise<string | null> {
  if (phone === undefined) return null;
  const normalized = await normalizePhone(phone, config.defaultRegion);
  if (normalized === null) throw invalidField("phone", "This is not a phone number", "not_a_phone");
  return normalized;
}
