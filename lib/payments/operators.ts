/**
 * What operators do about payments: record one that they saw, ask about one, and
 * decide what became of one of which the gateway gives no clear word.
 *
 * @module
 */
import { AppError, invalidField } from "../errors.ts";
import { newId } from "../ids.ts";
import { voidInvoice } from "../invoices/mod.ts";
import * as keys from "../kv/keys.ts";
import type { Payment, Resolution } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import { transact } from "../kv/transact.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "../entities/caller.ts";
import {
  newPayment,
  putNewPayment,
  putPayment,
  putPaymentEvent,
  putWorth,
  trackingKey,
} from "./records.ts";
import { cancelOpenOrders, confirmPayment, followUp, unknownPayment } from "./confirm.ts";
import { newsOf, tellNews } from "./effects.ts";
import { verdictOf } from "./state.ts";
import type { PaymentServices } from "./needs.ts";
import { DAY_MS, isoTime } from "../time.ts";

/** How money came in that no gateway of ours took. */
export const PAYMENT_METHODS = ["cash", "bank", "mobile_money", "cheque", "card", "other"] as const;

/** Money that somebody saw come in. */
export interface ManualPayment {
  /** In minor units of the invoice's currency; may be more than is owed. */
  amountMinor: number;
  /** How it came. */
  method: (typeof PAYMENT_METHODS)[number];
  /** The receipt, unique among them: a payment is not recorded twice. */
  reference: string;
  /** ISO 8601; now when absent. */
  receivedAt?: string | undefined;
  /** The shop's own; may be empty. */
  notes: string;
}

/** What an operator found out about a payment. */
export interface Decision {
  /** What became of it. */
  outcome: Resolution["outcome"];
  /** What was paid, in minor units; what was asked for when absent. */
  amountMinor?: number | undefined;
  /** The evidence: where the gateway's portal or the bank shows it. */
  reference: string;
  /** Why it is decided so. */
  reason: string;
}

/** Clocks of those who write receipts may be ahead. */
const AHEAD_MS = DAY_MS;

/**
 * Records a payment that no gateway took. One read and one commit.
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
    throw invalidField("receivedAt", "It is in the future", "in_future");
  }
  const reads = {
    invoice: keys.invoice(invoiceId),
    owner: trackingKey("manual", input.reference),
  };
  const news = await transact(services, reads, ({ invoice, owner }, writes) => {
    if (!invoice) throw new AppError("not_found", "No such invoice");
    if (invoice.status === "draft" || invoice.status === "void") {
      throw new AppError("conflict", `An invoice that is ${invoice.status} is not paid`);
    }
    if (owner !== null) {
      throw new AppError("conflict", "A payment with this reference was recorded before");
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
    return newsOf(before, invoice, { payment, invoice: after }, { event });
  }, {
    operation: operationOf(by, "payment.record", [invoiceId, input], {
      now,
      keepMs: MONEY_RECEIPT_MS,
    }),
  });
  await tellNews(services, news);
  if (news.hasPaid) await cancelOpenOrders(services, invoiceId, { by: followUp(by) });
  return news.payment;
}

/** Asks the gateway about a payment now. @throws what `confirmPayment()` throws */
export async function checkPayment(
  services: PaymentServices,
  id: string,
  by: Caller,
): Promise<Payment> {
  return await confirmPayment(services, { reference: id }, by);
}

/**
 * Decides what became of a payment. Only where the gateway cannot tell: what
 * cannot be asked about, what failed, and what waits for a person.
 *
 * @throws {AppError} `not_found`; `conflict` if the gateway is to be asked
 * instead, nothing is left to decide, or the evidence belongs to another payment
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
  const news = await transact(services, reads, ({ payment: before, invoice, owner }, writes) => {
    if (!before || !invoice) throw unknownPayment();
    expectUndecided(before, { canBeAsked: gateway !== undefined && !gateway.isMobileMoney });
    if (outcome === "completed" && owner !== null && owner !== id) {
      throw new AppError("conflict", "This evidence is that of another payment");
    }
    const resolution: Resolution = {
      outcome,
      reference,
      reason,
      at: isoTime(now),
      by: by.actor,
    };
    const finding = {
      kind: "resolved",
      resolution,
      amountMinor: amountMinor ?? before.amountMinor,
    } as const;
    const { fields, event } = verdictOf(before, finding, now);
    const action = "payment.resolve";
    const booked = putPayment(writes, {
      ...{ before, invoice, fields, action, event, eventIds, by, now },
    });
    return newsOf(before, invoice, booked, { event });
  }, {
    operation: operationOf(by, "payment.resolve", [id, decision], {
      now,
      keepMs: MONEY_RECEIPT_MS,
    }),
  });
  await tellNews(services, news);
  if (news.hasPaid) await cancelOpenOrders(services, seen.invoiceId, { by: followUp(by) });
  return news.payment;
}

/** Makes an invoice no longer owed, and ends what a payer may be under way with. @throws what `voidInvoice()` throws */
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

function expectUndecided(
  { status, channel }: Payment,
  { canBeAsked }: { canBeAsked: boolean },
): void {
  if (channel === "manual" || status === "completed" || status === "reversed") {
    throw new AppError("conflict", "There is nothing to decide about this payment");
  }
  if (canBeAsked && (status === "created" || status === "pending")) {
    throw new AppError("conflict", "The gateway knows what became of it; have it asked");
  }
}
