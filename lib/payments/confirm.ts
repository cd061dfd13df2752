/**
 * Confirming payments: the only way from what a gateway says to money on an
 * invoice. A callback, the payer's browser, the reconciler and an operator all
 * come through here, at once and again and again.
 *
 * A call is never believed: it makes us ask, over a connection of our own, unless
 * what it says is signed. Then one commit over payment and invoice decides.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { type Confirmation, GatewayError } from "../gateways/mod.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import { transact } from "../kv/transact.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "../entities/caller.ts";
import { putPayment, trackingKey } from "./records.ts";
import { type News, newsOf, tellNews } from "./effects.ts";
import { isLastCheck } from "./schedule.ts";
import { type Finding, isOpen, verdictOf } from "./state.ts";
import type { PaymentServices } from "./needs.ts";

/** What is to be confirmed, and what is known of it already. */
export interface Confirming {
  /** The payment's id. */
  reference: string;
  /** What a caller says that the gateway calls it; used only while we do not know better. */
  trackingId?: string | null | undefined;
  /** What the gateway said and signed; it is asked when absent. */
  confirmation?: Confirmation | null | undefined;
  /** Ends asking. */
  signal?: AbortSignal | undefined;
}

/** Payments of one invoice that are looked at when it needs no more. */
const ORDERS_MAX = 100;
/** Names that a gateway may have for one payment; one more is asked about. */
const NAMES_MAX = 4;

/**
 * Learns how a payment stands and writes what follows. One read, then one read
 * and one commit, and one call to the gateway unless it has said so already.
 *
 * @returns The payment as it is now; as it was, when the gateway cannot be reached.
 * @throws {AppError} `not_found`; `conflict` for a manual payment; `unavailable`
 */
export async function confirmPayment(
  services: PaymentServices,
  { reference, trackingId = null, confirmation = null, signal }: Confirming,
  by: Caller,
): Promise<Payment> {
  const payment = await services.store.get(keys.payment(reference));
  if (!payment) throw unknownPayment();
  return await settle(services, payment, { trackingId, confirmation, signal }, by);
}

/** The same for a payment that was just read. */
export async function settle(
  services: PaymentServices,
  payment: Payment,
  { trackingId = null, confirmation = null, signal }: Omit<Confirming, "reference">,
  by: Caller,
): Promise<Payment> {
  const finding: Finding | null = confirmation
    ? { kind: "told", confirmation, askedId: null, takenIds: new Set() }
    : await ask(services, payment, trackingId, signal);
  return finding ? await learn(services, payment, finding, { by, signal }) : payment;
}

/**
 * Writes what follows from a finding, and tells it. One read and one commit; no
 * commit when nothing is new.
 *
 * @param seen The payment as it was when the gateway was asked.
 */
export async function learn(
  services: PaymentServices,
  seen: Payment,
  finding: Finding,
  { by, signal, action = "payment.confirm" }: {
    by: Caller;
    signal?: AbortSignal | undefined;
    action?: string;
  },
): Promise<Payment> {
  const now = services.clock();
  const eventIds = [newId(now), newId(now)] as const;
  const names = namesIn(finding);
  const nameKey = (i: number) => trackingKey(seen.channel, names[i] ?? names[0] ?? seen.id);
  const reads = {
    payment: keys.payment(seen.id),
    invoice: keys.invoice(seen.invoiceId),
    name0: nameKey(0),
    name1: nameKey(1),
    name2: nameKey(2),
    name3: nameKey(3),
  };
  const news = await transact(services, reads, (found, writes): News => {
    const { payment: before, invoice } = found;
    if (!before || !invoice) throw unknownPayment();
    const owners = [found.name0, found.name1, found.name2, found.name3];
    const takenIds = new Set(
      names.filter((_, i) => owners[i] !== null && owners[i] !== before.id),
    );
    const known = finding.kind === "told" ? { ...finding, takenIds } : finding;
    const { fields, event, disbelief } = verdictOf(before, known, now);
    if (isSuperseded(before, seen) && !("status" in fields)) {
      // Somebody has asked since, or wants it asked again: that plan holds.
      delete fields.nextCheckAt;
      delete fields.checks;
    }
    const booked = putPayment(writes, {
      before,
      invoice,
      fields,
      action,
      event,
      eventIds,
      by,
      now,
    });
    return newsOf(before, invoice, booked, { event, disbelief });
  }, {
    operation: operationOf(by, action, [seen.id, finding.kind], { now, keepMs: MONEY_RECEIPT_MS }),
  });
  await tellNews(services, news);
  if (news.hasPaid) await cancelOpenOrders(services, seen.invoiceId, { by: followUp(by), signal });
  return news.payment;
}

/**
 * Ends orders that wait to be paid on an invoice that needs no more, so that a
 * page somebody left open takes no money. What the gateway does not end is paid
 * too much if it is paid, and seen. Never throws.
 */
export async function cancelOpenOrders(
  services: PaymentServices,
  invoiceId: string,
  { by, signal }: { by: Caller; signal?: AbortSignal | undefined },
): Promise<void> {
  const { store, gateways, log } = services;
  try {
    const entries = await store.list(keys.paymentsByInvoice(invoiceId), { limit: ORDERS_MAX });
    const payments = await store.getMany(entries.map(({ value }) => keys.payment(value)));
    for (const payment of payments) {
      if (!payment || payment.channel === "manual" || payment.trackingId === null) continue;
      const mayBePaid = isOpen(payment) ||
        payment.status === "failed" && payment.nextCheckAt !== null;
      const gateway = gateways.get(payment.channel);
      if (!mayBePaid || !gateway) continue;
      const { trackingId } = payment;
      if (await gateway.cancel({ trackingId }, signal)) {
        await learn(services, payment, { kind: "cancelled" }, { by, action: "payment.cancel" });
      }
    }
  } catch (error) {
    log.warn("payment.not_cancelled", { invoiceId, error });
  }
}

/** Who goes on after a caller's own write, which alone has its key and passes its limits. */
export function followUp(by: Caller): Caller {
  // A job's guard is its lease, which every write of the run has to pass.
  const guards = by.actor.startsWith("job:") ? by.guards ?? [] : [];
  return { ...by, idempotencyKey: null, guards };
}

/** There is no such payment. */
export function unknownPayment(): AppError {
  return new AppError("not_found", "No such payment");
}

/** Asks a gateway; null if that was not even tried, which is no attempt. */
async function ask(
  { gateways, log, clock }: PaymentServices,
  payment: Payment,
  saidId: string | null,
  signal: AbortSignal | undefined,
): Promise<Finding | null> {
  const { id, channel, trackingId, currency, amountMinor } = payment;
  if (channel === "manual") {
    throw new AppError("conflict", "There is nobody to ask about a payment recorded by hand");
  }
  const gateway = gateways.get(channel);
  if (!gateway) return { kind: "unaskable" };
  const askedId = trackingId ?? saidId;
  // Those that send the payer to a page know an order by their own name for it alone.
  if (askedId === null && !gateway.isMobileMoney) return { kind: "silent" };
  try {
    if (trackingId !== null && !gateway.isMobileMoney && isLastCheck(payment, clock())) {
      await gateway.cancel({ trackingId }, signal);
    }
    const amount = { currency, minor: amountMinor };
    const asked = { reference: id, trackingId: askedId, amount };
    const confirmation = await gateway.queryStatus(asked, signal);
    if (!confirmation) return { kind: "unaskable" };
    return { kind: "told", confirmation, askedId, takenIds: new Set() };
  } catch (error) {
    if (signal?.aborted) return null;
    if (!(error instanceof GatewayError)) throw error;
    log.warn("payment.not_asked", { paymentId: id, channel, error });
    return error.code === "down" ? null : { kind: "silent" };
  }
}

/** What a finding calls the payment, without doubles. */
function namesIn(finding: Finding): string[] {
  if (finding.kind !== "told") return [];
  const { askedId, confirmation } = finding;
  const names = askedId === null
    ? confirmation.trackingIds
    : [askedId, ...confirmation.trackingIds];
  return [...new Set(names)].slice(0, NAMES_MAX);
}

function isSuperseded(found: Payment, seen: Payment): boolean {
  return found.checks !== seen.checks || found.nextCheckAt !== seen.nextCheckAt;
}
