/**
 * Operator actions on payments: record one by hand, check one at its gateway, and decide one whose
 * outcome the gateway does not report.
 *
 * @module
 */
import { AppError, invalidField } from "../errors.ts";
import { newId } from "../ids.ts";
import { voidInvoice } from "../invoices/mod.ts";
import * as keys from "../kv/keys.ts";
import type { Payment, Resolution } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "../entities/caller.ts";
import {
  newPayment,
  putNewPayment,
  putPayment,
  putPaymentEvent,
  putWorth,
  trackingKey,
} from "./records.ts";
import { cancelOpenOrders, confirmPayment, followUp } from "./confirm.ts";
import { effectsOf, reportEffects } from "./effects.ts";
import { transitionOf } from "./state.ts";
import { type PaymentServices, unknownPayment } from "./mod.ts";
import { DAY_MS, isoTime } from "../time.ts";

/** How money arrived outside of our gateways. */
export const PAYMENT_METHODS = ["cash", "bank", "mobile_money", "cheque", "card", "other"] as const;

/** Money that an operator saw arrive. */
export interface ManualPayment {
  /** In minor units of the invoice's currency; may exceed the balance due. */
  amountMinor: number;
  /** How it arrived. */
  method: (typeof PAYMENT_METHODS)[number];
  /** The receipt; unique among manual payments, so that none is recorded twice. */
  reference: string;
  /** ISO 8601; now when absent. */
  receivedAt?: string | undefined;
  /** Internal notes; may be empty. */
  notes: string;
}

/** An operator's decision about a payment. */
export interface Decision {
  /** Whether it was paid. */
  outcome: Resolution["outcome"];
  /** The amount paid, in minor units; the requested amount when absent. */
  amountMinor?: number | undefined;
  /** The evidence: where the gateway's portal or the bank shows it. */
  reference: string;
  /** The reason for the decision. */
  reason: string;
}

/** The clocks of those who write receipts may be ahead. */
const AHEAD_MS = DAY_MS;

/**
 * Records a payment that no gateway processed. One read and one commit.
 *
 * @throws {AppError} `not_found`; `conflict` for a draft or void invoice, or a
 * receipt that another payment has; `invalid_input`
 */
export async function recordPayment(
  services: PaymentServices,
  invoiceId: string,
  input: ManualPayment,
  by: Caller,
): Promise<Payment> {
  const now = services.clock();
  const id = newId(now);
  const eventIds = [newId(now), newId(now)] as const;
  const receivedAt = input.receivedAt === undefined ? now : Date.parse(input.receivedAt);
  if (receivedAt > now + AHEAD_MS) {
    throw invalidField("receivedAt", "The date is in the future", "in_future");
  }
  const reads = {
    invoice: keys.invoice(invoiceId),
    owner: trackingKey("manual", input.reference),
  };
  const effects = await transact(services, reads, ({ invoice, owner }, writes) => {
    if (!invoice) throw new AppError("not_found", "No such invoice");
    if (invoice.status === "draft" || invoice.status === "void") {
      throw new AppError("conflict", `Cannot record a payment: the invoice is ${invoice.status}`);
    }
    if (owner !== null) {
      throw new AppError("conflict", "Another payment is already recorded under this reference");
    }
    const { amountMinor, method, reference, notes } = input;
    const payment = newPayment(
      {
        id,
        invoiceId,
        channel: "manual",
        status: "completed",
        currency: invoice.currency,
        amountMinor,
        receivedMinor: amountMinor,
        trackingId: reference,
        method,
        notes,
        completedAt: isoTime(receivedAt),
      },
      by,
      now,
    );
    putNewPayment(writes, payment);
    const change = { action: "payment.record", eventIds, by, now };
    const after = putWorth(writes, invoice, { before: null, payment }, change);
    const event = "payment.completed";
    putPaymentEvent(writes, event, { payment, invoice: after }, change);
    const before = { status: "created", problem: null } as const;
    return effectsOf(before, invoice, { payment, invoice: after });
  }, {
    operation: operationOf(by, "payment.record", [invoiceId, input], {
      now,
      keepMs: MONEY_RECEIPT_MS,
    }),
  });
  await reportEffects(services, effects);
  if (effects.hasPaid) await cancelOpenOrders(services, invoiceId, { by: followUp(by) });
  return effects.payment;
}

/** Queries the gateway about a payment now. @throws what `confirmPayment()` throws */
export async function checkPayment(
  services: PaymentServices,
  id: string,
  by: Caller,
): Promise<Payment> {
  return await confirmPayment(services, { reference: id }, by);
}

/**
 * Decides the outcome of a payment that failed, needs review, or whose gateway cannot be queried.
 * Two reads and one commit.
 *
 * @throws {AppError} `not_found`; `conflict` if the gateway can still report the outcome, nothing is
 * left to decide, or the reference belongs to another payment
 */
export async function resolvePayment(
  services: PaymentServices,
  id: string,
  { outcome, amountMinor, reference, reason }: Decision,
  by: Caller,
): Promise<Payment> {
  const now = services.clock();
  const eventIds = [newId(now), newId(now)] as const;
  const seen = await services.store.get(keys.payment(id));
  if (!seen) throw unknownPayment();
  const gateway = seen.channel === "manual" ? undefined : services.gateways.get(seen.channel);
  const reads = {
    payment: keys.payment(id),
    invoice: keys.invoice(seen.invoiceId),
    owner: trackingKey(seen.channel, reference),
  };
  const decision = { outcome, amountMinor, reference, reason };
  const effects = await transact(services, reads, ({ payment: before, invoice, owner }, writes) => {
    if (!before || !invoice) throw unknownPayment();
    requireUndecided(before, { canBeQueried: gateway !== undefined && !gateway.isMobileMoney });
    if (outcome === "completed" && owner !== null && owner !== id) {
      throw new AppError("conflict", "Another payment is already recorded under this reference");
    }
    const resolution: Resolution = {
      outcome,
      reference,
      reason,
      at: isoTime(now),
      by: by.actor,
    };
    const evidence = {
      kind: "resolved",
      resolution,
      amountMinor: amountMinor ?? before.amountMinor,
    } as const;
    const { fields, event } = transitionOf(before, evidence, now);
    const action = "payment.resolve";
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
  }, {
    operation: operationOf(by, "payment.resolve", [id, decision], {
      now,
      keepMs: MONEY_RECEIPT_MS,
    }),
  });
  await reportEffects(services, effects);
  if (effects.hasPaid) await cancelOpenOrders(services, seen.invoiceId, { by: followUp(by) });
  return effects.payment;
}

/** Voids an invoice and cancels its open orders. @throws what `voidInvoice()` throws */
export async function withdrawInvoice(
  services: PaymentServices,
  id: string,
  reason: string,
  by: Caller,
): Promise<Invoice> {
  const invoice = await voidInvoice(services, id, reason, by);
  await cancelOpenOrders(services, id, { by: followUp(by) });
  return invoice;
}

function requireUndecided(
  { status, channel }: Payment,
  { canBeQueried }: { canBeQueried: boolean },
): void {
  if (channel === "manual" || status === "completed" || status === "reversed") {
    throw new AppError(
      "conflict",
      `Cannot decide this payment: it is ${channel === "manual" ? "recorded by hand" : status}`,
    );
  }
  if (canBeQueried && (status === "created" || status === "pending")) {
    throw new AppError(
      "conflict",
      "Cannot decide a payment that the gateway can still report on: check it first",
    );
  }
}
