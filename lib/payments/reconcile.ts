/**
 * The reconciler: asks gateways about payments that are due to be asked about,
 * so that each ends as the gateway has it, though no call of theirs ever came
 * and this process was killed at any point. It goes by an index and nothing else.
 *
 * @module
 */
import type { GatewayName } from "../gateways/mod.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import type { Listed } from "../kv/store.ts";
import type { Caller } from "../entities/caller.ts";
import { settle } from "./confirm.ts";
import { countReviews, reviewAlert, tellUnclearRefund } from "./effects.ts";
import type { PaymentServices } from "./needs.ts";

/** How long and how far a run goes. */
export interface ReconcileOptions {
  /** Milliseconds; what is left is the next run's. */
  budgetMs: number;
  /** Payments that are asked about at most. */
  limit: number;
  /** Ends the run. */
  signal?: AbortSignal;
}

/** What a run did. */
export interface Reconciled {
  /** Payments that were asked about. */
  asked: number;
  /** Of those, how many have another state now. */
  moved: number;
  /** Left alone, since their gateway is down. */
  skipped: number;
  /** Of which nothing could be stored. */
  failed: number;
  /** That wait for a person, up to 100. */
  waiting: number;
  /** Whether more are due than were asked about. */
  isMore: boolean;
}

/** Due entries read at once. */
const PAGE_SIZE = 100;
/** Calls to gateways under way at once: enough to hide that they are slow, few enough to be welcome. */
const CALLS_AT_ONCE = 4;

/**
 * Asks about every payment that is due, within the budget. With nothing due it is
 * three reads.
 *
 * @throws {AppError} `unavailable`
 */
export async function reconcile(
  services: PaymentServices,
  { budgetMs, limit, signal }: ReconcileOptions,
  by: Caller,
): Promise<Reconciled> {
  const { store, clock } = services;
  const startedAt = performance.now();
  const isOver = () => signal?.aborted === true || performance.now() - startedAt >= budgetMs;
  const counts = { asked: 0, moved: 0, skipped: 0, failed: 0 };
  const end = keys.paymentDue(clock() + 1, "");
  let after: keys.Key<string> | null = null;
  let isMore = false;
  for (;;) {
    const due: Listed<string>[] = await store.list(keys.paymentsDue, {
      limit: PAGE_SIZE,
      end,
      ...(after ? { start: [...after, ""] } : {}),
    });
    const payments = await store.getMany(due.map(({ value }) => keys.payment(value)));
    await inParallel(payments, async (payment) => {
      if (!payment) return;
      if (isOver() || counts.asked >= limit) {
        isMore = true;
        return;
      }
      await reconcileOne(services, payment, counts, { by, signal });
    });
    after = due.at(-1)?.key ?? null;
    if (isMore || due.length < PAGE_SIZE) break;
  }
  const { waiting } = await reviewAlert(services);
  return { ...counts, waiting, isMore };
}

/** How the gateways are, and whether payments wait for a person. */
export interface PaymentsHealth {
  /** `degraded` when somebody should look. */
  status: "healthy" | "degraded";
  /** Why; null when nothing is wrong. */
  reason: string | null;
}

/** How the gateways and the payments are: nothing where none is offered. One read. */
export async function lookAtPayments(
  services: Pick<PaymentServices, "store" | "gateways">,
): Promise<Record<string, PaymentsHealth>> {
  const { gateways } = services;
  if (gateways.size === 0) return {};
  const down = [...gateways.values()].filter(({ breaker }) => breaker === "open")
    .map(({ name }) => name);
  const waiting = await countReviews(services);
  const reasons = [
    ...down.map((name) => `${name} does not answer`),
    ...(waiting > 0 ? [`${waiting} payments wait for somebody to decide`] : []),
  ];
  const reason = reasons.length > 0 ? reasons.join("; ") : null;
  return { gateways: { status: reason ? "degraded" : "healthy", reason } };
}

async function reconcileOne(
  services: PaymentServices,
  payment: Payment,
  counts: Pick<Reconciled, "asked" | "moved" | "skipped" | "failed">,
  { by, signal }: { by: Caller; signal?: AbortSignal | undefined },
): Promise<void> {
  if (isDown(services, payment.channel)) {
    counts.skipped++;
    return;
  }
  counts.asked++;
  try {
    const { status } = await settle(services, payment, { signal }, by);
    if (status !== payment.status) counts.moved++;
    // A process ended before the gateway was asked, or had said that it was.
    const isUnclear = payment.refunds.some(({ status, reference }) =>
      status === "requested" && reference === ""
    );
    if (isUnclear) await tellUnclearRefund(services, payment);
  } catch (error) {
    // One that cannot be stored must not keep the others from it.
    services.log.error("payment.not_reconciled", { paymentId: payment.id, error });
    counts.failed++;
  }
}

function isDown(
  { gateways }: Pick<PaymentServices, "gateways">,
  channel: GatewayName | "manual",
): boolean {
  return channel !== "manual" && gateways.get(channel)?.breaker === "open";
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) await work(items[next++]!);
  };
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, worker));
}
