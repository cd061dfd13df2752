/**
 * The reconciler: queries gateways about payments whose check is due, so that each ends as its
 * gateway has it, even when no callback came and this process was killed at any point. It works
 * from an index alone.
 *
 * @module
 */
import type { GatewayName } from "../gateways/mod.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import type { Listed } from "../kv/store.ts";
import type { Caller } from "../entities/caller.ts";
import { confirmLoaded } from "./confirm.ts";
import { countReviews, reportUnclearRefund, updateReviewAlert } from "./effects.ts";
import type { PaymentServices } from "./mod.ts";

/** The bounds of a run. */
export interface ReconcileOptions {
  /** Milliseconds; the next run continues. */
  budgetMs: number;
  /** Payments to query at most. */
  limit: number;
  /** Ends the run. */
  signal?: AbortSignal;
}

/** The result of a run. */
export interface ReconcileResult {
  /** Payments that were queried. */
  asked: number;
  /** Of those, payments with another status now. */
  moved: number;
  /** Skipped because their gateway is down. */
  skipped: number;
  /** Payments whose result could not be stored. */
  failed: number;
  /** Payments that need review, up to 100. */
  waiting: number;
  /** Whether more are due. */
  isMore: boolean;
}

/** Due entries read at once. */
const PAGE_SIZE = 100;
/** Concurrent calls to gateways: enough to hide their latency, few enough for their limits. */
const CALLS_AT_ONCE = 4;

/**
 * Queries every payment that is due, within the budget. Three reads when none is.
 *
 * @throws {AppError} `unavailable`
 */
export async function reconcile(
  services: PaymentServices,
  { budgetMs, limit, signal }: ReconcileOptions,
  by: Caller,
): Promise<ReconcileResult> {
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
  const { waiting } = await updateReviewAlert(services);
  return { ...counts, waiting, isMore };
}

/** The health of gateways and payments. */
export interface PaymentsHealth {
  /** `degraded` when an operator should act. */
  status: "healthy" | "degraded";
  /** The reason; null when healthy. */
  reason: string | null;
}

/** Checks gateways and payments; no check without a configured gateway. One read. */
export async function checkPayments(
  services: Pick<PaymentServices, "store" | "gateways">,
): Promise<Record<string, PaymentsHealth>> {
  const { gateways } = services;
  if (gateways.size === 0) return {};
  const down = [...gateways.values()].filter(({ breaker }) => breaker === "open")
    .map(({ name }) => name);
  const waiting = await countReviews(services);
  const reasons = [
    ...down.map((name) => `${name} does not answer`),
    ...(waiting > 0 ? [`Payments that need review: ${waiting}`] : []),
  ];
  const reason = reasons.length > 0 ? reasons.join("; ") : null;
  return { gateways: { status: reason ? "degraded" : "healthy", reason } };
}

async function reconcileOne(
  services: PaymentServices,
  payment: Payment,
  counts: Pick<ReconcileResult, "asked" | "moved" | "skipped" | "failed">,
  { by, signal }: { by: Caller; signal?: AbortSignal | undefined },
): Promise<void> {
  if (isDown(services, payment.channel)) {
    counts.skipped++;
    return;
  }
  counts.asked++;
  try {
    const { status } = await confirmLoaded(services, payment, { signal }, by);
    if (status !== payment.status) counts.moved++;
    // A process ended before the gateway was called, or before its answer was stored.
    const isUnclear = payment.refunds.some(({ status, reference }) =>
      status === "requested" && reference === ""
    );
    if (isUnclear) await reportUnclearRefund(services, payment);
  } catch (error) {
    // One failure must not stop the others.
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
