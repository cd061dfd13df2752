/**
 * The state machine of a payment: pure decisions, without the store and the gateways.
 *
 * Evidence comes late, twice and in any order, so a payment only ever moves up in rank: whatever
 * the order, it ends where the strongest evidence puts it.
 *
 * | rank | state                                                               |
 * | ---- | ------------------------------------------------------------------- |
 * | 0    | created                                                             |
 * | 1    | pending                                                             |
 * | 2    | needs review: no trusted evidence so far                            |
 * | 3    | failed: payers may retry                                            |
 * | 4    | needs review: the gateway's answer does not match                   |
 * | 5    | failed, by an operator's decision                                   |
 * | 6    | completed                                                           |
 * | 7    | reversed                                                            |
 *
 * @module
 */
import type { Confirmation } from "../gateways/mod.ts";
import type { EventType } from "../kv/outbox_records.ts";
import type { Payment, Refund, Resolution } from "../kv/payment_records.ts";
import { afterCheck } from "./schedule.ts";
import { isoTime } from "../time.ts";

/** Evidence about a payment. */
export type Evidence =
  /** An answer of the gateway: to a query, or in a signed callback. */
  | {
    kind: "answer";
    confirmation: Confirmation;
    /** The gateway's id that was queried; null without a query, or for a query by reference. */
    askedId: string | null;
    /** Which of the gateway's ids belong to other payments. */
    takenIds: ReadonlySet<string>;
  }
  /** The gateway was queried and gave no usable answer. */
  | { kind: "silent" }
  /** The gateway cannot be queried. */
  | { kind: "unaskable" }
  /** An unsigned callback in the name of a gateway that cannot be queried. */
  | { kind: "unsigned" }
  /** The gateway refused to start it, or could not be reached. */
  | { kind: "refused"; reason: string }
  /** The gateway cancelled it at our request. */
  | { kind: "cancelled" }
  /** An operator decided. */
  | { kind: "resolved"; resolution: Resolution; amountMinor: number };

/** What follows from evidence. */
export interface Transition {
  /** The fields that get new values; none when nothing changes. */
  fields: Partial<Payment>;
  /** The event to write; null for none. */
  event: EventType | null;
  /** Why the evidence was rejected, for the log; null if it was accepted. */
  rejected: string | null;
}

/** Names of {@linkcode PROBLEMS}. */
export type ProblemName =
  | "unsigned"
  | "unanswered"
  | "reference"
  | "tracking"
  | "taken"
  | "amount"
  | "currency"
  | "failed"
  | "reversed"
  | "partlyReversed"
  | "expired"
  | "closed"
  | "cancelled";

/** Why a payment failed or needs review; stored and shown as they are. */
export const PROBLEMS: Readonly<Record<ProblemName, string>> = Object.freeze({
  unsigned: "An unsigned callback reported this payment",
  unanswered: "The gateway reported no outcome and cannot be queried",
  reference: "The gateway reports it under another reference",
  tracking: "The gateway's answer is about another payment",
  taken: "The gateway's id belongs to another payment",
  amount: "The gateway reports another amount",
  currency: "The gateway reports another currency",
  failed: "The gateway reports that it failed",
  reversed: "The gateway reversed it",
  partlyReversed: "The gateway returned more or less than was requested: check its portal",
  expired: "No payment arrived in time",
  closed: "An operator decided that nothing was paid",
  cancelled: "Cancelled: the invoice needs no further payment",
});

/** Problems that an answer of the gateway ends. */
const PROVISIONAL: ReadonlySet<string | null> = new Set([PROBLEMS.unsigned, PROBLEMS.unanswered]);
/** How records of earlier versions begin with the same two. */
const PROVISIONAL_BEFORE =
  /^(?:Somebody called in the gateway's name|The gateway did not say what)/;

/** Whether the payer may still complete it. */
export function isOpen({ status }: Pick<Payment, "status">): boolean {
  return status === "created" || status === "pending";
}

/** The money returned of a payment, requested refunds included, in minor units. */
export function refundedOf({ refunds }: Pick<Payment, "refunds">): number {
  return refunds.reduce(
    (sum, { status, amountMinor }) => status === "refused" ? sum : sum + amountMinor,
    0,
  );
}

/** The money that a payment adds to its invoice, in minor units; none once it is reversed. */
export function worthOf(payment: Payment): { paidMinor: number; refundedMinor: number } {
  if (payment.status !== "completed") return { paidMinor: 0, refundedMinor: 0 };
  const refundedMinor = refundedOf(payment);
  return { paidMinor: payment.receivedMinor - refundedMinor, refundedMinor };
}

/** Decides what follows from evidence about a payment. @param now Milliseconds UTC. */
export function transitionOf(payment: Payment, evidence: Evidence, now: number): Transition {
  switch (evidence.kind) {
    case "answer":
      return transitionOfAnswer(payment, evidence, now);
    case "silent":
      return transitionOfSilence(payment, "silent", now);
    case "unaskable":
      return transitionOfSilence(payment, "unaskable", now);
    case "unsigned":
      return move(payment, { status: "needs_review", problem: PROBLEMS.unsigned }, now) ?? NOTHING;
    case "refused":
      return move(payment, { status: "failed", problem: evidence.reason }, now) ?? NOTHING;
    case "cancelled":
      return quiet(move(payment, { status: "failed", problem: PROBLEMS.cancelled }, now));
    case "resolved":
      return transitionOfDecision(payment, evidence, now);
    default:
      return evidence satisfies never;
  }
}

type Answer = Extract<Evidence, { kind: "answer" }>;
type Step = Partial<Payment> & Pick<Payment, "status" | "problem">;

const NOTHING: Transition = { fields: {}, event: null, rejected: null };

function transitionOfAnswer(payment: Payment, answer: Answer, now: number): Transition {
  const { confirmation } = answer;
  const mismatch = mismatchOf(payment, answer);
  const known = mismatch === null ? { trackingId: trackingIdOf(payment, answer) } : {};
  const unchanged = () =>
    transitionOfRepetition(payment, known, { wasAsked: answer.askedId !== null, now });
  switch (confirmation.state) {
    case "unknown":
      return transitionOfSilence(payment, "silent", now);
    case "pending":
      if (confirmation.reference !== null && !isOurs(payment, confirmation)) {
        return { ...transitionOfSilence(payment, "silent", now), rejected: PROBLEMS.reference };
      }
      return move(payment, { ...known, status: "pending", problem: null }, now) ?? unchanged();
    case "failed": {
      if (!isOurs(payment, confirmation)) {
        return { ...transitionOfSilence(payment, "silent", now), rejected: PROBLEMS.reference };
      }
      const problem = confirmation.reason ?? PROBLEMS.failed;
      return move(payment, { ...known, status: "failed", problem }, now) ?? unchanged();
    }
    case "completed":
      return mismatch === null
        ? completion(payment, confirmation, known, now) ?? unchanged()
        : doubt(payment, mismatch, now) ?? { ...unchanged(), rejected: mismatch };
    case "reversed": {
      const otherPayment = otherPaymentOf(payment, answer);
      return otherPayment === null
        ? reversal(payment, confirmation, now) ?? unchanged()
        : doubt(payment, otherPayment, now) ?? { ...unchanged(), rejected: otherPayment };
    }
    default:
      return confirmation.state satisfies never;
  }
}

/** The gateway's answer changes nothing: schedules the next query, or expires the payment. */
function transitionOfRepetition(
  payment: Payment,
  known: Partial<Payment>,
  { wasAsked, now }: { wasAsked: boolean; now: number },
): Transition {
  // A signed callback that is repeated has no effect.
  if (!wasAsked) return { ...NOTHING, fields: known };
  const fields = { ...known, ...afterCheck({ ...payment, ...known }, now, "answered") };
  if (!isOpen(payment) || fields.nextCheckAt !== null) return { ...NOTHING, fields };
  const step: Step = { ...known, status: "failed", problem: PROBLEMS.expired };
  const transition = quiet(move(payment, step, now));
  // The order was cancelled before this query.
  return { ...transition, fields: { ...transition.fields, nextCheckAt: null } };
}

function transitionOfSilence(
  payment: Payment,
  answer: "silent" | "unaskable",
  now: number,
): Transition {
  const fields = afterCheck(payment, now, answer);
  if (!isOpen(payment) || fields.nextCheckAt !== null) return { ...NOTHING, fields };
  // Without an id of the gateway the payer was never sent there: nothing can have been paid.
  const isNameless = answer === "silent" && payment.trackingId === null;
  return isNameless
    ? quiet(move(payment, { status: "failed", problem: PROBLEMS.expired }, now))
    : move(payment, { status: "needs_review", problem: PROBLEMS.unanswered }, now) ?? NOTHING;
}

function doubt(payment: Payment, problem: string, now: number): Transition | null {
  const transition = move(payment, { status: "needs_review", problem }, now);
  return transition && { ...transition, rejected: problem };
}

function completion(
  payment: Payment,
  { amount, confirmationCode, method }: Confirmation,
  known: Partial<Payment>,
  now: number,
): Transition | null {
  return move(payment, {
    ...known,
    status: "completed",
    problem: null,
    receivedMinor: amount?.minor ?? payment.amountMinor,
    completedAt: isoTime(now),
    confirmationCode,
    method,
  }, now);
}

/**
 * A gateway reports a refund that we requested as a reversal, too.
 */
function reversal(payment: Payment, { amount }: Confirmation, now: number): Transition | null {
  const asked = payment.refunds.filter(({ through, status }) =>
    through === "gateway" && status !== "refused"
  );
  const isPart = amount !== null && amount.currency === payment.currency &&
    amount.minor < payment.receivedMinor;
  if (payment.status !== "completed" || (asked.length === 0 && !isPart)) {
    return move(payment, { status: "reversed", problem: PROBLEMS.reversed }, now);
  }
  const askedMinor = asked.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  const isAll = refundedOf(payment) === payment.receivedMinor;
  const isAsAsked = asked.length > 0 && (isAll || amount?.minor === askedMinor);
  const isOdd = !isAsAsked && payment.problem === null;
  if (!isOdd && asked.every(({ status }) => status === "completed")) return null;
  const refunds = payment.refunds.map((refund): Refund =>
    refund.status === "requested" ? { ...refund, status: "completed" } : refund
  );
  return {
    fields: {
      refunds,
      ...(isOdd ? { problem: PROBLEMS.partlyReversed } : {}),
      ...afterCheck({ ...payment, refunds }, now, "changed"),
    },
    event: isOdd ? "payment.needs_review" : null,
    rejected: null,
  };
}

function transitionOfDecision(
  payment: Payment,
  { resolution, amountMinor }: Extract<Evidence, { kind: "resolved" }>,
  now: number,
): Transition {
  const { outcome, reference } = resolution;
  const step: Step = outcome === "failed"
    ? { status: "failed", problem: PROBLEMS.closed, resolution }
    : {
      status: "completed",
      problem: null,
      resolution,
      receivedMinor: amountMinor,
      completedAt: isoTime(now),
      trackingId: payment.trackingId ?? reference,
    };
  return move(payment, step, now) ?? NOTHING;
}

/** Makes a transition; null if it does not lead to a higher rank. */
function move(payment: Payment, step: Step, now: number): Transition | null {
  const after: Payment = { ...payment, ...step };
  if (rankOf(after) <= rankOf(payment)) return null;
  return {
    fields: { ...step, ...afterCheck(after, now, "changed") },
    event: eventOf(after),
    rejected: null,
  };
}

function quiet(transition: Transition | null): Transition {
  return transition ? { ...transition, event: null } : NOTHING;
}

function rankOf({ status, problem, resolution }: Payment): number {
  switch (status) {
    case "created":
      return 0;
    case "pending":
      return 1;
    case "needs_review":
      return PROVISIONAL.has(problem) || PROVISIONAL_BEFORE.test(problem ?? "") ? 2 : 4;
    case "failed":
      return resolution ? 5 : 3;
    case "completed":
      return 6;
    case "reversed":
      return 7;
    default:
      return status satisfies never;
  }
}

function eventOf({ status }: Payment): EventType | null {
  switch (status) {
    case "created":
    case "pending":
      return null;
    case "completed":
    case "failed":
    case "reversed":
    case "needs_review":
      return `payment.${status}`;
    default:
      return status satisfies never;
  }
}

function isOurs({ id }: Payment, { reference }: Confirmation): boolean {
  return reference?.toLowerCase() === id;
}

/** Why an answer is not about this payment; null if it is. */
function otherPaymentOf(
  payment: Payment,
  { confirmation, askedId, takenIds }: Answer,
): string | null {
  if (!isOurs(payment, confirmation)) return PROBLEMS.reference;
  const { trackingIds } = confirmation;
  const expected = payment.trackingId ?? askedId;
  const isIt = expected === null
    ? trackingIds.length > 0
    : trackingIds.some((id) => isSameId(id, expected));
  if (!isIt) return PROBLEMS.tracking;
  return trackingIds.some((id) => takenIds.has(id)) ? PROBLEMS.taken : null;
}

/** Why an answer does not prove that this payment was paid; null if it does. */
function mismatchOf(payment: Payment, answer: Answer): string | null {
  const { amount } = answer.confirmation;
  const otherPayment = otherPaymentOf(payment, answer);
  if (otherPayment !== null) return otherPayment;
  if (amount === null) return PROBLEMS.amount;
  if (amount.currency !== payment.currency) return PROBLEMS.currency;
  return amount.minor === payment.amountMinor ? null : PROBLEMS.amount;
}

function trackingIdOf(
  { trackingId }: Payment,
  { confirmation: { trackingIds }, askedId }: Answer,
): string | null {
  if (trackingId !== null) return trackingId;
  return trackingIds.find((id) => askedId === null || isSameId(id, askedId)) ?? null;
}

/** Gateways write the same GUID in upper and lower case. */
function isSameId(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
