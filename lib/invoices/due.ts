/**
 * What time makes of an invoice: that it is overdue, and that its buyer is to be
 * reminded. Days are dates in the shop's time zone and are counted as dates, so
 * that a day of 23 or 25 hours is a day.
 *
 * @module
 */
import type { Invoice } from "../kv/records.ts";
import { businessDate, DAY_MS, isoTime } from "../time.ts";

/** The states in which an invoice is to be paid by its day. One that was given up is no more. */
export const AWAITED = ["open", "partially_paid"] as const;

/** Whether the last day on which it could have been paid in time is over. */
export function isOverdue(
  { status, dueOn }: Pick<Invoice, "status" | "dueOn">,
  today: string,
): boolean {
  return isAwaited(status) && dueOn < today;
}

/** By what it is decided. */
export interface DueRules {
  /** Milliseconds UTC. */
  now: number;
  /** The shop's, of the IANA database. */
  timeZone: string;
  /** Days from the due date on which buyers are reminded, less than 0 before it. */
  reminderDays: readonly number[];
}

/** What is to be noted of an invoice, and told. */
export interface DueStep {
  /** The fields that get new values. */
  fields: Partial<Invoice>;
  /** It is overdue, and that is not noted yet. */
  isNews: boolean;
  /** The reminder to send, by its days from the due date; null for none. */
  reminder: number | null;
}

/**
 * What has become due of an invoice and is not noted yet; null for nothing. Of
 * several reminders whose day has come only the newest is sent, and none of those
 * whose day was over when the invoice was issued.
 */
export function dueStep(
  invoice: Invoice,
  { now, timeZone, reminderDays }: DueRules,
): DueStep | null {
  const { status, dueOn, issuedAt, overdueAt, remindedDays = -Infinity } = invoice;
  if (!isAwaited(status) || issuedAt === null) return null;
  const today = businessDate(now, timeZone);
  const isNews = isOverdue(invoice, today) && !overdueAt;
  const toldDays = Math.max(remindedDays, daysAfter(dueOn, dateOf(issuedAt, timeZone)));
  const newest = Math.max(...reminderDays.filter((days) => days <= daysAfter(dueOn, today)));
  const reminder = newest > toldDays ? newest : null;
  if (!isNews && reminder === null) return null;
  const fields = {
    ...(isNews ? { overdueAt: isoTime(now) } : {}),
    ...(reminder === null ? {} : { remindedDays: reminder }),
  };
  return { fields, isNews, reminder };
}

/** What a new due date changes: the mark goes if it is not true of it, and what lies behind is not told. */
export function movedTo(
  dueOn: string,
  { status, dueOn: before, overdueAt }: Invoice,
  { now, timeZone }: Pick<DueRules, "now" | "timeZone">,
): Partial<Invoice> {
  if (dueOn === before) return {};
  const isMarkTrue = !overdueAt || dueOn < dateOf(overdueAt, timeZone);
  const isTold = isAwaited(status);
  return {
    dueOn,
    ...(isMarkTrue ? {} : { overdueAt: null }),
    ...(isTold ? { remindedDays: daysAfter(dueOn, businessDate(now, timeZone)) } : {}),
  };
}

/** What a new state changes: what nobody waits for is not overdue. */
export function markIn(
  status: Invoice["status"],
  { overdueAt }: Invoice,
): Pick<Invoice, "overdueAt"> {
  return overdueAt && !isAwaited(status) ? { overdueAt: null } : {};
}

/** What an invoice's mark does not agree with. */
export function markFault({ status, dueOn, overdueAt }: Invoice): string | null {
  if (!overdueAt) return null;
  if (!isAwaited(status)) return `It is ${status} and marked as overdue`;
  // Wherever the shop is or was, its date is at most a day ahead of that in UTC.
  return dueOn <= overdueAt.slice(0, 10) ? null : "It was marked as overdue before it was";
}

function isAwaited(status: Invoice["status"]): boolean {
  return AWAITED.some((awaited) => awaited === status);
}

function dateOf(time: string, timeZone: string): string {
  return businessDate(Date.parse(time), timeZone);
}

/** How many days `date` is after `dueOn`. */
function daysAfter(dueOn: string, date: string): number {
  return (Date.parse(date) - Date.parse(dueOn)) / DAY_MS;
}
