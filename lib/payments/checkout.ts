/**
 * Payments: attempts to have an invoice paid through a gateway.
 *
 * An attempt is stored before the gateway hears of it, and its id is the
 * reference that the gateway is given. Whatever breaks after that leaves a
 * payment that can be asked about; an attempt is never repeated, another one is
 * begun.
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
import type { CheckoutSlot, Payment, PaymentStatus } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import { transact } from "../kv/transact.ts";
import type { Language } from "../languages.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "../entities/caller.ts";
import {
  listByIndex,
  listEntities,
  type Page,
  PAGE_MAX,
  type PageRequest,
} from "../entities/page.ts";
import { newPayment, putNewPayment, putPayment, trackingKey } from "./records.ts";
import { followUp, learn, unknownPayment } from "./confirm.ts";
import { newsOf, tellNews } from "./effects.ts";
import { firstCheckAt } from "./schedule.ts";
import { isOpen, PROBLEMS } from "./state.ts";
import type { PaymentServices } from "./needs.ts";
import { MINUTE_MS } from "../time.ts";

export type { Payment, PaymentChannel, PaymentStatus, Refund } from "../kv/payment_records.ts";
export type { GatewayName, MobileProvider } from "../gateways/mod.ts";

/** How somebody wants to pay. */
export interface NewCheckout {
  /** One that is offered. */
  gateway: GatewayName;
  /** In minor units, up to what is owed; all of that when absent. */
  amountMinor?: number | undefined;
  /** As people write it: the account of mobile money; that of the buyer when absent. */
  phone?: string | undefined;
  /** Whose mobile money it is; needed there. */
  provider?: MobileProvider | undefined;
  /** That of the page on which the payer chose, and comes back to; the browser's when absent. */
  language?: Language | undefined;
}

/** Which payments are listed: those for which all of it holds. */
export interface PaymentFilter {
  /** Only payments in this state; null for all. */
  status: PaymentStatus | null;
  /** Only payments of this invoice; null for all. */
  invoiceId: string | null;
}

/** So long the gateway's page that a payer was sent to is handed out again. */
const REUSE_MS = 20 * MINUTE_MS;
/** So long a payer's telephone is asked; another push would ask for the same money again. */
const PUSH_MS = 2 * MINUTE_MS;
/** Longer than any call to a gateway: what is not begun by then never will be. */
const STARTING_MS = MINUTE_MS;
/** How often a checkout looks again at an attempt that others begin at the same time. */
const LOOKS_MAX = 5;

/**
 * Begins a payment of an invoice, or finds the one that is under way: the page
 * that the payer was sent to is handed out again, a telephone is not asked twice.
 * Six round trips, two of them commits, and a call to the gateway.
 *
 * @returns The attempt. `pending` is to be paid, at its `redirectUrl` if it has
 * one; `failed` says why in `problem`; `created` may have reached the gateway or
 * not, which nobody is to wait for.
 * @throws {AppError} `not_found`; `invalid_input`; `conflict` if the invoice is
 * not to be paid or a telephone is being asked; `unavailable`
 */
export async function startCheckout(
  services: PaymentServices,
  invoiceId: string,
  input: NewCheckout,
  by: Caller,
): Promise<Payment> {
  const gateway = services.gateways.get(input.gateway);
  if (!gateway) throw invalidField("gateway", "This way to pay is not offered", "not_offered");
  if (gateway.isMobileMoney && input.provider === undefined) {
    throw invalidField("provider", "Say whose mobile money it is", "required");
  }
  if (gateway.breaker === "open") {
    throw new AppError("unavailable", "This way to pay does not work at the moment", {
      retryAfterMs: MINUTE_MS,
    });
  }
  const phone = await phoneOf(services, input);
  for (let look = 1; look <= LOOKS_MAX; look++) {
    const begun = await beginOnce(services, invoiceId, { input, gateway, phone }, by);
    if (begun.kind === "again") continue;
    const { paymentId } = begun;
    if (begun.kind === "open") return await getPayment(services, paymentId);
    return await callGateway(services, gateway, { invoiceId, paymentId }, { input, by });
  }
  throw new AppError("unavailable", "Others begin to pay this invoice", { retryAfterMs: 1_000 });
}

/** A payment. @throws {AppError} `not_found` */
export async function getPayment({ store }: PaymentServices, id: string): Promise<Payment> {
  const payment = await store.get(keys.payment(id));
  if (!payment) throw unknownPayment();
  return payment;
}

/** The last payments of an invoice, newest first, up to {@linkcode PAGE_MAX}. Two round trips. */
export async function listPayments(
  services: PaymentServices,
  invoiceId: string,
): Promise<Payment[]> {
  const page = { limit: PAGE_MAX, cursor: null };
  return (await searchPayments(services, { invoiceId, status: null }, page)).data;
}

/** A page of payments, newest first. */
export async function searchPayments(
  services: PaymentServices,
  { status, invoiceId }: PaymentFilter,
  page: PageRequest,
): Promise<Page<Payment>> {
  const isWanted = (payment: Payment) => status === null || payment.status === status;
  if (invoiceId !== null) {
    const list = `payments/invoice/${invoiceId}`;
    const prefix = keys.paymentsByInvoice(invoiceId);
    return await listByIndex(services, list, prefix, keys.payment, page, isWanted);
  }
  if (status !== null) {
    const list = `payments/status/${status}`;
    const prefix = keys.paymentsByStatus(status);
    return await listByIndex(services, list, prefix, keys.payment, page, isWanted);
  }
  return await listEntities(services, "payments", keys.payments, page);
}

/** What the first commit has come to. */
type Begun =
  /** Others were faster: look again. */
  | { kind: "again" }
  /** An attempt is under way, or this is what an earlier call began. */
  | { kind: "open"; paymentId: string }
  /** This call has begun one. */
  | { kind: "new"; paymentId: string };

interface Beginning {
  input: NewCheckout;
  gateway: Gateway;
  phone: string | null;
}

async function beginOnce(
  services: PaymentServices,
  invoiceId: string,
  { input, gateway, phone }: Beginning,
  by: Caller,
): Promise<Begun> {
  const now = services.clock();
  const id = newId(now);
  const slotKey = keys.checkoutSlot(invoiceId, gateway.name);
  // The same wish in another language is the same wish.
  const { language: _, ...wish } = input;
  const seen = await services.store.get(slotKey);
  const reads = {
    invoice: keys.invoice(invoiceId),
    slot: slotKey,
    open: keys.payment(seen?.paymentId ?? id),
  };
  const begun = await transact(services, reads, ({ invoice, slot, open }, writes): Begun => {
    if (!invoice) throw new AppError("not_found", "No such invoice");
    const amountMinor = amountOf(invoice, input, gateway);
    if ((slot?.paymentId ?? null) !== (seen?.paymentId ?? null)) return { kind: "again" };
    const inUse = slot && slot.exp > now && open && isOpen(open) ? open : null;
    if (inUse && slot && isReusable(inUse, { amountMinor, gateway, now })) {
      // Written, so that the same request under its key is told of the same attempt.
      putSlot(slot);
      return { kind: "open", paymentId: inUse.id };
    }
    const payer = phone ?? (gateway.isMobileMoney ? invoice.billTo.phone : null);
    if (gateway.isMobileMoney && payer === null) {
      throw invalidField("phone", "Say which telephone is to be asked", "required");
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
  }, {
    operation: operationOf(by, "payment.start", [invoiceId, wish], {
      now,
      keepMs: MONEY_RECEIPT_MS,
    }),
  });
  // What an earlier call under this key began is not begun again, whatever became of it.
  return begun.kind === "new" && begun.paymentId !== id ? { ...begun, kind: "open" } : begun;
}

/** How much is to be paid. @throws {AppError} `conflict`, `invalid_input` */
function amountOf(invoice: Invoice, { amountMinor }: NewCheckout, gateway: Gateway): number {
  if (!isPayable(invoice)) {
    throw new AppError("conflict", `An invoice that is ${invoice.status} is not to be paid`);
  }
  const owed = owedMinor(invoice);
  const minor = amountMinor ?? owed;
  if (minor > owed) throw invalidField("amountMinor", "More than is owed", "too_much");
  const refusal = gateway.refusalOf({ currency: invoice.currency, minor });
  if (refusal !== null) throw invalidField("gateway", refusal, "amount_refused");
  return minor;
}

/** Whether an open attempt is handed out again. @throws {AppError} `conflict` if nothing can be done but wait */
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
      ? "The telephone is being asked; wait before it is asked again"
      : "A payment is being started; try again in a moment",
    { retryAfterMs: (isAsked ? PUSH_MS : STARTING_MS) - age },
  );
}

/** Tells the gateway of a payment that is stored, and stores what it said. */
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
    return await noteStarted(services, payment, checkout, by);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    log.warn("payment.not_started", { paymentId, channel: gateway.name, error });
    // It may have reached the gateway: nobody is sent there, and it is asked about.
    if (error.outcome === "unknown") return payment;
    const reason = error.outcome === "refused"
      ? error.message
      : "The gateway could not be reached; nothing was paid";
    return await learn(services, payment, { kind: "refused", reason }, {
      by,
      action: "payment.start",
    });
  }
}

/** Stores what the gateway calls a payment and where it is paid. News of it may have come first. */
async function noteStarted(
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
  const news = await transact(services, reads, ({ payment: before, invoice, owner }, writes) => {
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
    const booked = putPayment(writes, {
      ...{ before, invoice, fields, action, event, eventIds, by, now },
    });
    return newsOf(before, invoice, booked, { event });
  }, { operation: operationOf(by, "payment.start", id, { now, keepMs: MONEY_RECEIPT_MS }) });
  await tellNews(services, news);
  return news.payment;
}

async function phoneOf(
  { config }: PaymentServices,
  { phone }: NewCheckout,
): Promise<string | null> {
  if (phone === undefined) return null;
  const normalized = await normalizePhone(phone, config.defaultRegion);
  if (normalized === null) throw invalidField("phone", "Not a phone number", "not_a_phone");
  return normalized;
}
