/**
 * When a gateway is queried about a payment next. Nothing depends on callbacks: one may be lost.
 *
 * @module
 */
import type { Payment } from "../kv/payment_records.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../time.ts";

/** Waits from the start of a payment or its last change; after these, once a day. */
const WAITS_MS: readonly number[] = [
  30 * SECOND_MS,
  MINUTE_MS,
  2 * MINUTE_MS,
  5 * MINUTE_MS,
  10 * MINUTE_MS,
  30 * MINUTE_MS,
  HOUR_MS,
  3 * HOUR_MS,
  6 * HOUR_MS,
  12 * HOUR_MS,
  DAY_MS,
];
/** Age after which an unpaid order is over, if the gateway still says that it is unpaid. */
const EXPIRY_MS = 7 * DAY_MS;
/** The same for an order without an id of the gateway: no payer was sent there. */
const NAMELESS_EXPIRY_MS = HOUR_MS;
/** Age after which a gateway that never answers is queried no more. */
const SILENT_EXPIRY_MS = 30 * DAY_MS;
/** Age up to which a failed payment is queried: payers retry on the gateway's page within a day. */
const FAILED_MS = DAY_MS;
/** The wait before the last query of a payment that failed later than that. */
const LAST_CHANCE_MS = 30 * MINUTE_MS;
/** Time for a callback of a gateway that cannot be queried; after it the payment needs review. */
export const UNASKABLE_MS: number = 30 * MINUTE_MS;
/** Days after completion: a gateway can reverse a payment for months. */
const AFTER_DAYS: readonly number[] = [1, 3, 7, 14, 30, 60, 90, 120];

/** When a payment that starts now is queried first, milliseconds UTC. */
export function firstCheckAt(now: number): number {
  return now + WAITS_MS[0]!;
}

/**
 * When a payment is queried next.
 *
 * @param result How the query ended; `changed` when the payment has just changed.
 */
export function afterCheck(
  payment: Payment,
  now: number,
  result: "answered" | "silent" | "unaskable" | "changed" = "answered",
): Pick<Payment, "nextCheckAt" | "checks"> {
  const checks = result === "changed" ? 0 : payment.checks + 1;
  return { checks, nextCheckAt: nextCheckAt({ ...payment, checks }, now, result) };
}

/**
 * Whether the query that is due is the last one of an unpaid order. The order must be cancelled
 * before it, or a later payment would go unseen.
 */
export function isLastCheck(payment: Payment, now: number): boolean {
  const { status, trackingId, resolution } = payment;
  const isUnpaid = status === "created" || status === "pending" || status === "failed";
  return isUnpaid && trackingId !== null && resolution === null &&
    afterCheck(payment, now).nextCheckAt === null;
}

function nextCheckAt(payment: Payment, now: number, result: string): number | null {
  const { channel, status, trackingId, checks, createdAt } = payment;
  if (channel === "manual") return null;
  const age = now - Date.parse(createdAt);
  const next = now + (WAITS_MS[checks] ?? DAY_MS);
  switch (status) {
    case "created":
    case "pending": {
      if (result === "unaskable") return age < UNASKABLE_MS ? now + UNASKABLE_MS - age : null;
      const expiry = result === "silent" && trackingId !== null
        ? SILENT_EXPIRY_MS
        : trackingId === null
        ? NAMELESS_EXPIRY_MS
        : EXPIRY_MS;
      return age < expiry ? next : null;
    }
    case "failed": {
      if (trackingId === null || payment.resolution !== null || result === "unaskable") return null;
      // A payer who has just seen the failure may be retrying.
      if (result === "changed" && age >= FAILED_MS) return now + LAST_CHANCE_MS;
      return age < (result === "silent" ? SILENT_EXPIRY_MS : FAILED_MS) ? next : null;
    }
    case "completed":
      return result === "unaskable" ? null : afterCompletion(payment, now);
    case "needs_review":
    case "reversed":
      return null;
    default:
      return status satisfies never;
  }
}

function afterCompletion({ completedAt, refunds }: Payment, now: number): number | null {
  const since = Date.parse(completedAt ?? "");
  const next = AFTER_DAYS.map((days) => since + days * DAY_MS).find((at) => at > now) ?? null;
  const isWaiting = refunds.some(({ status, at }) =>
    status === "requested" && now - Date.parse(at) < SILENT_EXPIRY_MS
  );
  return isWaiting ? Math.min(now + DAY_MS, next ?? Infinity) : next;
}
