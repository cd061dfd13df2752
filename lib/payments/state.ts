/**
 * What becomes of a payment when something is learnt about it: the decisions,
 * without the store and without the gateways.
 *
 * What is learnt comes late, twice and in any order, so a payment only ever moves
 * up a ladder: whatever the order, it ends where the strongest word puts it.
 *
 * | rung | state                                                               |
 * | ---- | ------------------------------------------------------------------- |
 * | 0    | created                                                             |
 * | 1    | pending                                                             |
 * | 2    | needs review, since nobody who could be believed has said anything  |
 * | 3    | failed: payers try again                                            |
 * | 4    | needs review, since what the gateway said does not fit              |
 * | 5    | failed, as a person decided                                         |
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

/** Something learnt about a payment. */
export type Finding =
  /** The gateway said it: when asked, or in a call that it signed. */
  | {
    kind: "told";
    confirmation: Confirmation;
    /** The gateway's name that was asked about; null if it was not asked, or without one. */
    askedId: string | null;
    /** Which of the gateway's names belong to other payments. */
    takenIds: ReadonlySet<string>;
  }
  /** The gateway was asked and gave no answer that says anything. */
  | { kind: "silent" }
  /** The gateway cannot be asked. */
  | { kind: "unaskable" }
  /** Somebody called in the name of a gateway that cannot be asked, without a signature. */
  | { kind: "unsigned" }
  /** The gateway would not begin it, or could not be reached. */
  | { kind: "refused"; reason: string }
  /** The gateway ended it because we asked for that. */
  | { kind: "cancelled" }
  /** A person decided. */
  | { kind: "resolved"; resolution: Resolution; amountMinor: number };

/** What follows from a finding. */
export interface Verdict {
  /** The fields that get new values; none when nothing is new. */
  fields: Partial<Payment>;
  /** What others are told of; null for nothing. */
  event: EventType | null;
  /** Why what was learnt was not believed, for the log; null if it was. */
  disbelief: string | null;
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

/** Why a payment failed or waits for a person. */
export const PROBLEMS: Readonly<Record<ProblemName, string>> = Object.freeze({
  unsigned: "Somebody called in the gateway's name without a signature",
  unanswered: "The gateway did not say what became of it, and cannot be asked",
  reference: "The gateway has it under another reference",
  tracking: "The gateway answered about another payment",
  taken: "The gateway's name for it belongs to another payment",
  amount: "The gateway says that another amount was paid",
  currency: "The gateway says that another currency was paid",
  failed: "The gateway says that it failed",
  reversed: "The gateway took it back",
  partlyReversed: "The gateway took back more or less than was asked for; look into its portal",
  expired: "Nothing was paid in time",
  closed: "Somebody looked into it and found that nothing was paid",
  cancelled: "It was ended, since the invoice needs no payment any more",
});

/** Problems that the gateway's own word puts an end to. */
const SOFT: ReadonlySet<string | null> = new Set([PROBLEMS.unsigned, PROBLEMS.unanswered]);

/** Whether the payer may still be under way with it. */
export function isOpen({ status }: Pick<Payment, "status">): boolean {
  return status === "created" || status === "pending";
}

/** What went back of a payment or is about to, in minor units. */
export function refundedOf({ refunds }: Pick<Payment, "refunds">): number {
  return refunds.reduce(
    (sum, { status, amountMinor }) => status === "refused" ? sum : sum + amountMinor,
    0,
  );
}

/** What a payment is worth to its invoice, in minor units. Nothing of it counts once it is reversed. */
export function worthOf(payment: Payment): { paidMinor: number; refundedMinor: number } {
  if (payment.status !== "completed") return { paidMinor: 0, refundedMinor: 0 };
  const refundedMinor = refundedOf(payment);
  return { paidMinor: payment.receivedMinor - refundedMinor, refundedMinor };
}

/** Decides what a finding makes of a payment. @param now Milliseconds UTC. */
export function verdictOf(payment: Payment, finding: Finding, now: number): Verdict {
  switch (finding.kind) {
    case "told":
      return verdictOfAnswer(payment, finding, now);
    case "silent":
      return verdictOfSilence(payment, "silent", now);
    case "unaskable":
      return verdictOfSilence(payment, "unaskable", now);
    case "unsigned":
      return move(payment, { status: "needs_review", problem: PROBLEMS.unsigned }, now) ?? NOTHING;
    case "refused":
      return move(payment, { status: "failed", problem: finding.reason }, now) ?? NOTHING;
    case "cancelled":
      return quiet(move(payment, { status: "failed", problem: PROBLEMS.cancelled }, now));
    case "resolved":
      return verdictOfPerson(payment, finding, now);
    default:
      return finding satisfies never;
  }
}

type Told = Extract<Finding, { kind: "told" }>;
type Step = Partial<Payment> & Pick<Payment, "status" | "problem">;

const NOTHING: Verdict = { fields: {}, event: null, disbelief: null };

function verdictOfAnswer(payment: Payment, told: Told, now: number): Verdict {
  const { confirmation } = told;
  const mismatch = mismatchOf(payment, told);
  const known = mismatch === null ? { trackingId: trackingIdOf(payment, told) } : {};
  const noNews = () =>
    verdictOfRepetition(payment, known, { wasAsked: told.askedId !== null, now });
  switch (confirmation.state) {
    case "unknown":
      return verdictOfSilence(payment, "silent", now);
    case "pending":
      if (confirmation.reference !== null && !isOurs(payment, confirmation)) {
        return { ...verdictOfSilence(payment, "silent", now), disbelief: PROBLEMS.reference };
      }
      return move(payment, { ...known, status: "pending", problem: null }, now) ?? noNews();
    case "failed": {
      if (!isOurs(payment, confirmation)) {
        return { ...verdictOfSilence(payment, "silent", now), disbelief: PROBLEMS.reference };
      }
      const problem = confirmation.reason ?? PROBLEMS.failed;
      return move(payment, { ...known, status: "failed", problem }, now) ?? noNews();
    }
    case "completed":
      return mismatch === null
        ? completion(payment, confirmation, known, now) ?? noNews()
        : doubt(payment, mismatch, now) ?? { ...noNews(), disbelief: mismatch };
    case "reversed": {
      const stranger = strangerOf(payment, told);
      return stranger === null
        ? reversal(payment, confirmation, now) ?? noNews()
        : doubt(payment, stranger, now) ?? { ...noNews(), disbelief: stranger };
    }
    default:
      return confirmation.state satisfies never;
  }
}

/** The gateway said nothing new: when it is asked next, or that the payment's time is over. */
function verdictOfRepetition(
  payment: Payment,
  known: Partial<Payment>,
  { wasAsked, now }: { wasAsked: boolean; now: number },
): Verdict {
  // Whoever repeats what was signed once makes nothing happen.
  if (!wasAsked) return { ...NOTHING, fields: known };
  const fields = { ...known, ...afterCheck({ ...payment, ...known }, now, "answered") };
  if (!isOpen(payment) || fields.nextCheckAt !== null) return { ...NOTHING, fields };
  const step: Step = { ...known, status: "failed", problem: PROBLEMS.expired };
  const verdict = quiet(move(payment, step, now));
  // The order was ended before it was asked about.
  return { ...verdict, fields: { ...verdict.fields, nextCheckAt: null } };
}

function verdictOfSilence(payment: Payment, news: "silent" | "unaskable", now: number): Verdict {
  const fields = afterCheck(payment, now, news);
  if (!isOpen(payment) || fields.nextCheckAt !== null) return { ...NOTHING, fields };
  // Nobody can have paid what the gateway had no name for: the payer was not sent there.
  const isNameless = news === "silent" && payment.trackingId === null;
  return isNameless
    ? quiet(move(payment, { status: "failed", problem: PROBLEMS.expired }, now))
    : move(payment, { status: "needs_review", problem: PROBLEMS.unanswered }, now) ?? NOTHING;
}

function doubt(payment: Payment, problem: string, now: number): Verdict | null {
  const verdict = move(payment, { status: "needs_review", problem }, now);
  return verdict && { ...verdict, disbelief: problem };
}

function completion(
  payment: Payment,
  { amount, confirmationCode, method }: Confirmation,
  known: Partial<Payment>,
  now: number,
): Verdict | null {
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
 * That a payment is reversed is how the gateway says, too, that it has paid back
 * what we asked it to.
 */
function reversal(payment: Payment, { amount }: Confirmation, now: number): Verdict | null {
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
    disbelief: null,
  };
}

function verdictOfPerson(
  payment: Payment,
  { resolution, amountMinor }: Extract<Finding, { kind: "resolved" }>,
  now: number,
): Verdict {
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

/** Takes a step; null if it does not lead up the ladder. */
function move(payment: Payment, step: Step, now: number): Verdict | null {
  const after: Payment = { ...payment, ...step };
  if (rungOf(after) <= rungOf(payment)) return null;
  return {
    fields: { ...step, ...afterCheck(after, now, "changed") },
    event: eventOf(after),
    disbelief: null,
  };
}

function quiet(verdict: Verdict | null): Verdict {
  return verdict ? { ...verdict, event: null } : NOTHING;
}

function rungOf({ status, problem, resolution }: Payment): number {
  switch (status) {
    case "created":
      return 0;
    case "pending":
      return 1;
    case "needs_review":
      return SOFT.has(problem) ? 2 : 4;
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
function strangerOf(payment: Payment, { confirmation, askedId, takenIds }: Told): string | null {
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
function mismatchOf(payment: Payment, told: Told): string | null {
  const { amount } = told.confirmation;
  const stranger = strangerOf(payment, told);
  if (stranger !== null) return stranger;
  if (amount === null) return PROBLEMS.amount;
  if (amount.currency !== payment.currency) return PROBLEMS.currency;
  return amount.minor === payment.amountMinor ? null : PROBLEMS.amount;
}

function trackingIdOf(
  { trackingId }: Payment,
  { confirmation: { trackingIds }, askedId }: Told,
): string | null {
  if (trackingId !== null) return trackingId;
  return trackingIds.find((id) => askedId === null || isSameId(id, askedId)) ?? null;
}

/** Gateways write the same GUID in capitals and without. */
function isSameId(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
