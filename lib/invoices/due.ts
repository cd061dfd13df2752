/**
 * Due dates: when an invoice is overdue, and when its buyer is reminded. Days are dates in the
 * shop's time zone and are counted as dates, so that a day of 23 or 25 hours counts as one.
 *
 * @module
 */
import type { Invoice } from "../kv/records.ts";
import { businessDate, DAY_MS, isoTime } from "../time.ts";

/** The states in which payment is awaited; a written-off invoice is not among them. */
export const AWAITED = ["open", "partially_paid"] as const;

/** Whether the due date is over. */
export function isOverdue(
  { status, dueOn }: Pick<Invoice, "status" | "dueOn">,
  today: string,
): boolean {
  return isAwaited(status) && dueOn < today;
}

/** The time and the rules to decide by. */
export interface DueRules {
  /** Milliseconds UTC. */
  now: number;
  /** The shop's time zone, an IANA name. */
  timeZone: string;
  /** Days from the due date on which buyers are reminded; negative before it. */
  reminderDays: readonly number[];
}

/** What has become due of an invoice. */
export interface DueStep {
  /** The fields that get new values. */
  fields: Partial<Invoice>;
  /** Whether it has become overdue. */
  isNews: boolean;
  /** The reminder to send, by its days from the due date; null for none. */
  reminder: number | null;
}

/**
 * What has become due of an invoice and is not recorded yet; null for nothing. Of several reminders
 * only the newest is sent, and none whose day was over when the invoice was issued.
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

/** Fields that follow from a new due date: the overdue mark is removed if it no longer holds, and past reminders are not sent. */
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

/** Fields that follow from a new state: an invoice that awaits no payment is not overdue. */
export function markIn(
  status: Invoice["status"],
  { overdueAt }: Invoice,
): Pick<Invoice, "overdueAt"> {
  return overdueAt && !isAwaited(status) ? { overdueAt: null } : {};
}

/** Why an invoice's overdue mark is wrong; null if it is not. */
export function markFault({ status, dueOn, overdueAt }: Invoice): string | null {
  if (!overdueAt) return null;
  if (!isAwaited(status)) return `The invoice is ${status} and marked as overdue`;
  // In any time zone the date is at most a day ahead of the date in UTC.
  return dueOn <= overdueAt.slice(0, 10)
    ? null
    : "The invoice was marked as overdue before its due date was over";
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
