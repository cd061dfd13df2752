/**
 * When a gateway is asked about a payment next. Nothing depends on its calls:
 * whoever only waited for one would never hear of a payment whose call was lost.
 *
 * @module
 */
import type { Payment } from "../kv/payment_records.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from "../time.ts";

/** From the beginning of a payment, or the last news of it; later every day. */
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
/** After which nobody pays any more, if the gateway says so. */
const EXPIRY_MS = 7 * DAY_MS;
/** The same for what the gateway never gave a name: nobody was sent there to pay. */
const NAMELESS_EXPIRY_MS = HOUR_MS;
/** A gateway that never answers is not asked for ever. */
const SILENT_EXPIRY_MS = 30 * DAY_MS;
/** Payers try again on the gateway's page, within a day. */
const FAILED_MS = DAY_MS;
/** How long payers have for that if they failed later than most. */
const LAST_CHANCE_MS = 30 * MINUTE_MS;
/** Within which a gateway that cannot be asked has called, or a person has to look. */
export const UNASKABLE_MS: number = 30 * MINUTE_MS;
/** Since completion: money can be taken back for months. */
const AFTER_DAYS: readonly number[] = [1, 3, 7, 14, 30, 60, 90, 120];

/** When a payment that begins now is looked at first, milliseconds UTC. */
export function firstCheckAt(now: number): number {
  return now + WAITS_MS[0]!;
}

/**
 * When a payment is asked about next.
 *
 * @param news `answered`, `silent` or `unaskable`: what came of asking; `changed`
 * if it has just become what it is.
 */
export function afterCheck(
  payment: Payment,
  now: number,
  news: "answered" | "silent" | "unaskable" | "changed" = "answered",
): Pick<Payment, "nextCheckAt" | "checks"> {
  const checks = news === "changed" ? 0 : payment.checks + 1;
  return { checks, nextCheckAt: nextCheckAt({ ...payment, checks }, now, news) };
}

/**
 * Whether nobody asks any more if the gateway says once again that an order is not
 * paid. It has to be ended there first: whoever paid it later would pay unseen.
 */
export function isLastCheck(payment: Payment, now: number): boolean {
  const { status, trackingId, resolution } = payment;
  const isUnpaid = status === "created" || status === "pending" || status === "failed";
  return isUnpaid && trackingId !== null && resolution === null &&
    afterCheck(payment, now).nextCheckAt === null;
}

function nextCheckAt(payment: Payment, now: number, news: string): number | null {
  const { channel, status, trackingId, checks, createdAt } = payment;
  if (channel === "manual") return null;
  const age = now - Date.parse(createdAt);
  const next = now + (WAITS_MS[checks] ?? DAY_MS);
  switch (status) {
    case "created":
    case "pending": {
      if (news === "unaskable") return age < UNASKABLE_MS ? now + UNASKABLE_MS - age : null;
      const expiry = news === "silent" && trackingId !== null
        ? SILENT_EXPIRY_MS
        : trackingId === null
        ? NAMELESS_EXPIRY_MS
        : EXPIRY_MS;
      return age < expiry ? next : null;
    }
    case "failed": {
      if (trackingId === null || payment.resolution !== null || news === "unaskable") return null;
      // Whoever was just told that it failed may be trying again.
      if (news === "changed" && age >= FAILED_MS) return now + LAST_CHANCE_MS;
      return age < (news === "silent" ? SILENT_EXPIRY_MS : FAILED_MS) ? next : null;
    }
    case "completed":
      return news === "unaskable" ? null : afterCompletion(payment, now);
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
