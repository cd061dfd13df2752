/**
 * Confirmation: the only way from a gateway's word to money on an invoice. Callbacks, the payer's
 * browser, the reconciler and operators all come through here, concurrently and repeatedly.
 *
 * A callback is never trusted: unless it is signed, the gateway is queried over a connection of our
 * own. Then one commit over payment and invoice decides.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { type Confirmation, GatewayError } from "../gateways/mod.ts";
import { newId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import { transact } from "../kv/mod.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "../entities/caller.ts";
import { putPayment, trackingKey } from "./records.ts";
import { effectsOf, type PaymentEffects, reportEffects } from "./effects.ts";
import { isLastCheck } from "./schedule.ts";
import { type Evidence, isOpen, transitionOf } from "./state.ts";
import { type PaymentServices, unknownPayment } from "./mod.ts";

/** A payment to confirm, and what is known about it. */
export interface ConfirmInput {
  /** The payment's id. */
  reference: string;
  /** The gateway's id as the caller names it; used only while none is stored. */
  trackingId?: string | null | undefined;
  /** A signed answer of the gateway; it is queried when absent. */
  confirmation?: Confirmation | null | undefined;
  /** Ends the query. */
  signal?: AbortSignal | undefined;
}

/** Payments of one invoice that are checked for open orders. */
const ORDERS_MAX = 100;
/** Ids that a gateway may have for one payment; further ones are ignored. */
const IDS_MAX = 4;

/**
 * Queries the gateway about a payment and writes what follows. One read, then one read and one
 * commit, and one call to the gateway unless a signed answer is given.
 *
 * @returns The payment after it; unchanged when the gateway cannot be reached.
 * @throws {AppError} `not_found`; `conflict` for a manual payment; `unavailable`
 */
export async function confirmPayment(
  services: PaymentServices,
  { reference, trackingId = null, confirmation = null, signal }: ConfirmInput,
  by: Caller,
): Promise<Payment> {
  const payment = await services.store.get(keys.payment(reference));
  if (!payment) throw unknownPayment();
  return await confirmLoaded(services, payment, { trackingId, confirmation, signal }, by);
}

/** The same as {@linkcode confirmPayment} for a payment that was just read: one read less. */
export async function confirmLoaded(
  services: PaymentServices,
  payment: Payment,
  { trackingId = null, confirmation = null, signal }: Omit<ConfirmInput, "reference">,
  by: Caller,
): Promise<Payment> {
  const evidence: Evidence | null = confirmation
    ? { kind: "answer", confirmation, askedId: null, takenIds: new Set() }
    : await queryGateway(services, payment, trackingId, signal);
  return evidence ? await applyEvidence(services, payment, evidence, { by, signal }) : payment;
}

/**
 * Writes what follows from evidence, and reports it. One read and one commit; no commit when
 * nothing changes.
 *
 * @param seen The payment as it was before the query.
 */
export async function applyEvidence(
  services: PaymentServices,
  seen: Payment,
  evidence: Evidence,
  { by, signal, action = "payment.confirm" }: {
    by: Caller;
    signal?: AbortSignal | undefined;
    action?: string;
  },
): Promise<Payment> {
  const now = services.clock();
  const eventIds = [newId(now), newId(now)] as const;
  const names = idsIn(evidence);
  const nameKey = (i: number) => trackingKey(seen.channel, names[i] ?? names[0] ?? seen.id);
  const reads = {
    payment: keys.payment(seen.id),
    invoice: keys.invoice(seen.invoiceId),
    name0: nameKey(0),
    name1: nameKey(1),
    name2: nameKey(2),
    name3: nameKey(3),
  };
  const effects = await transact(services, reads, (found, writes): PaymentEffects => {
    const { payment: before, invoice } = found;
    if (!before || !invoice) throw unknownPayment();
    const owners = [found.name0, found.name1, found.name2, found.name3];
    const takenIds = new Set(
      names.filter((_, i) => owners[i] !== null && owners[i] !== before.id),
    );
    const known = evidence.kind === "answer" ? { ...evidence, takenIds } : evidence;
    const { fields, event, rejected } = transitionOf(before, known, now);
    if (isSuperseded(before, seen) && !("status" in fields)) {
      // Another query was made or scheduled since: its schedule holds.
      delete fields.nextCheckAt;
      delete fields.checks;
    }
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
    return effectsOf(before, invoice, written, rejected);
  }, {
    operation: operationOf(by, action, [seen.id, evidence.kind], { now, keepMs: MONEY_RECEIPT_MS }),
  });
  await reportEffects(services, effects);
  if (effects.hasPaid) {
    await cancelOpenOrders(services, seen.invoiceId, { by: followUp(by), signal });
  }
  return effects.payment;
}

/**
 * Cancels open orders of an invoice that needs no more payment, so that a gateway page left open
 * takes no money. An order that the gateway does not cancel and that is paid becomes credit. Never
 * throws.
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
        await applyEvidence(services, payment, { kind: "cancelled" }, {
          by,
          action: "payment.cancel",
        });
      }
    }
  } catch (error) {
    log.warn("payment.not_cancelled", { invoiceId, error });
  }
}

/** The caller for further writes: the idempotency key and the limits belong to its first write. */
export function followUp(by: Caller): Caller {
  // A job's guard is its lease: every write of the run must pass it.
  const guards = by.actor.startsWith("job:") ? by.guards ?? [] : [];
  return { ...by, idempotencyKey: null, guards };
}

/** Queries a gateway; null when no attempt was made. */
async function queryGateway(
  { gateways, log, clock }: PaymentServices,
  payment: Payment,
  namedId: string | null,
  signal: AbortSignal | undefined,
): Promise<Evidence | null> {
  const { id, channel, trackingId, currency, amountMinor } = payment;
  if (channel === "manual") {
    throw new AppError(
      "conflict",
      "Cannot check a payment that was recorded by hand: no gateway knows it",
    );
  }
  const gateway = gateways.get(channel);
  if (!gateway) return { kind: "unaskable" };
  const askedId = trackingId ?? namedId;
  // Gateways with a payment page know an order by their own id only.
  if (askedId === null && !gateway.isMobileMoney) return { kind: "silent" };
  try {
    if (trackingId !== null && !gateway.isMobileMoney && isLastCheck(payment, clock())) {
      await gateway.cancel({ trackingId }, signal);
    }
    const amount = { currency, minor: amountMinor };
    const asked = { reference: id, trackingId: askedId, amount };
    const confirmation = await gateway.queryStatus(asked, signal);
    if (!confirmation) return { kind: "unaskable" };
    return { kind: "answer", confirmation, askedId, takenIds: new Set() };
  } catch (error) {
    if (signal?.aborted) return null;
    if (!(error instanceof GatewayError)) throw error;
    log.warn("payment.not_asked", { paymentId: id, channel, error });
    return error.code === "down" ? null : { kind: "silent" };
  }
}

/** The gateway's ids in the evidence, each once. */
function idsIn(evidence: Evidence): string[] {
  if (evidence.kind !== "answer") return [];
  const { askedId, confirmation } = evidence;
  const names = askedId === null
    ? confirmation.trackingIds
    : [askedId, ...confirmation.trackingIds];
  return [...new Set(names)].slice(0, IDS_MAX);
}

function isSuperseded(found: Payment, seen: Payment): boolean {
  return found.checks !== seen.checks || found.nextCheckAt !== seen.nextCheckAt;
}
