/**
 * The daily walk over unpaid invoices: it marks overdue ones and writes reminders. Each invoice is
 * decided in a transaction of its own by its state then, so the walk may run often, late and on
 * several instances at once.
 *
 * @module
 */
import { putChange } from "../entities/mod.ts";
import { AppError } from "../errors.ts";
import { isId, newId } from "../ids.ts";
import { AWAITED, type DueRules, dueStep } from "./due.ts";
import * as keys from "../kv/keys.ts";
import type { JobRun } from "../kv/job_records.ts";
import type { Invoice } from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import type { Writes } from "../kv/transaction.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { invoiceFacts, putEvent, putInvoiceEvent } from "../outbox/events.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Config } from "../config/mod.ts";
import type { Log } from "../telemetry/mod.ts";
import { businessDate, SECOND_MS } from "../time.ts";
import { lastDue } from "../jobs/timetable.ts";

/** What marking and reminding need. */
export interface OverdueServices extends StoreServices {
  /** Whose days count, and on which of them buyers are reminded. */
  readonly config: Pick<Config, "timeZone" | "reminderDays">;
  /** Records invoices that could not be marked. */
  readonly log: Log;
}

/** The name of the job. */
export const OVERDUE_JOB = "overdue";

/** When people read their mail: an hour of standard time in the shop's zone. */
const HOUR = 8;
/** Time limit of one run; a serverless instance may not live much longer. */
const BUDGET_MS = 40 * SECOND_MS;
/** Invoices read at once. */
const PAGE_SIZE = 100;
/** Invoices written concurrently: enough to hide the latency of a remote store. */
const WRITES_AT_ONCE = 8;

/** The bounds of a walk. */
export interface OverdueOptions {
  /** Milliseconds; the current page is completed. */
  budgetMs: number;
  /** The `resumeFrom` of an earlier run of the day; null or absent for the beginning. */
  resumeFrom?: string | null;
  /** Ends it after the page. */
  signal?: AbortSignal;
}

/** The result of a walk. */
export interface OverdueReport {
  /** Invoices read. */
  looked: number;
  /** Invoices marked as overdue. */
  marked: number;
  /** Reminders written. */
  reminded: number;
  /** Invoices that could not be stored; the log has them. */
  failed: number;
  /** The resume position; null at the end. */
  resumeFrom: string | null;
}

/**
 * Marks overdue invoices (event `invoice.overdue`) and writes reminders (`invoice.reminder`), each
 * once.
 *
 * It walks the index of states: a hundred open or partly paid invoices cost twelve reads in two
 * rounds, and each change one read and one commit more. Paid, void and written-off invoices cost
 * nothing.
 *
 * @throws {AppError} `unavailable`; `conflict` when another run of the job has taken over;
 * `malformed` for an invalid `resumeFrom`
 */
export async function markOverdue(
  services: OverdueServices,
  { budgetMs, resumeFrom = null, signal }: OverdueOptions,
  by: Caller,
): Promise<OverdueReport> {
  const startedAt = performance.now();
  const isOver = () => signal?.aborted === true || performance.now() - startedAt >= budgetMs;
  const counts = { looked: 0, marked: 0, reminded: 0, failed: 0 };
  let place: Place | null = placeOf(resumeFrom);
  do {
    place = await walkPage(services, place, counts, by);
  } while (place !== null && !isOver());
  return { ...counts, resumeFrom: place && `${place.status}/${place.after}` };
}

/**
 * When the walk is due, as five fields of cron in UTC: at 08:00 standard time of the zone, so that
 * all instances agree.
 */
export function overdueSchedule(timeZone: string): string {
  const format = new Intl.DateTimeFormat("en", {
    timeZone,
    hour: "numeric",
    minute: "numeric",
    hourCycle: "h23",
  });
  const parts = Object.fromEntries(
    format.formatToParts(WINTER).map(({ type, value }) => [type, Number(value)]),
  );
  const minutes = (24 + HOUR - (parts.hour ?? 0)) * 60 - (parts.minute ?? 0);
  return `${minutes % 60} ${Math.floor(minutes / 60) % 24} * * *`;
}

/** A moment of winter in the northern hemisphere, midnight UTC. */
const WINTER = Date.UTC(2026, 0, 1);

/** Whether today's walk is not complete. One read. @throws {AppError} `unavailable` */
export async function isOverdueJobDue({ store, clock, config }: OverdueServices): Promise<boolean> {
  const last = await store.get(keys.jobRun(OVERDUE_JOB));
  const dueAt = lastDue(overdueSchedule(config.timeZone), clock());
  return !last?.lastOkAt || Date.parse(last.lastOkAt) < dueAt;
}

/**
 * One run of the job `overdue`: continues today's walk.
 *
 * @returns The outcome of the run; `isMore` while the walk is not complete.
 * @throws as {@linkcode markOverdue} does
 */
export async function runOverdue(
  services: OverdueServices,
  { signal, by, budgetMs = BUDGET_MS }: { signal: AbortSignal; by: Caller; budgetMs?: number },
): Promise<JobRun["outcome"]> {
  const day = businessDate(services.clock(), services.config.timeZone);
  const last = await services.store.get(keys.jobRun(OVERDUE_JOB));
  const outcome: JobRun["outcome"] = last?.outcome ?? {};
  // A position of another day does not count: every invoice is due for a look again.
  const before = outcome.day === day && outcome.isMore === true ? outcome.resumeFrom : null;
  const { resumeFrom, ...counts } = await markOverdue(services, {
    budgetMs,
    resumeFrom: typeof before === "string" ? before : null,
    signal,
  }, by);
  return { day, ...counts, ...(resumeFrom === null ? {} : { resumeFrom, isMore: true }) };
}

/** A position: behind the invoice `after` of a state, or at the state's beginning if that is empty. */
interface Place {
  status: typeof AWAITED[number];
  after: string;
}

type Counts = Omit<OverdueReport, "resumeFrom">;

const BEGINNING: Place = { status: AWAITED[0], after: "" };

function placeOf(resumeFrom: string | null): Place {
  if (resumeFrom === null) return BEGINNING;
  const [name, after = "", ...rest] = resumeFrom.split("/");
  const status = AWAITED.find((status) => status === name);
  if (!status || rest.length > 0 || !(after === "" || isId(after))) {
    throw new AppError("malformed", "Invalid resume position");
  }
  return { status, after };
}

/** Processes a page. @returns The next position; null at the end. */
async function walkPage(
  services: OverdueServices,
  { status, after }: Place,
  counts: Counts,
  by: Caller,
): Promise<Place | null> {
  const { store, clock, config: { timeZone, reminderDays } } = services;
  const prefix = keys.invoicesByStatus(status);
  const listed = await store.list(prefix, { limit: PAGE_SIZE, start: [...prefix, after, ""] });
  const found = await store.getMany(listed.map(({ value }) => keys.invoice(value)));
  const rules = { now: clock(), timeZone, reminderDays };
  const due = found.filter((invoice) => invoice !== null)
    .filter((invoice) => dueStep(invoice, rules) !== null);
  counts.looked += found.length;
  for (let i = 0; i < due.length; i += WRITES_AT_ONCE) {
    const some = due.slice(i, i + WRITES_AT_ONCE);
    await Promise.all(some.map(({ id }) => markOne(services, id, rules, counts, by)));
  }
  if (listed.length === PAGE_SIZE) return { status, after: String(listed.at(-1)!.key.at(-1)) };
  const next = AWAITED[AWAITED.indexOf(status) + 1];
  return next === undefined ? null : { status: next, after: "" };
}

async function markOne(
  services: OverdueServices,
  id: string,
  rules: DueRules,
  counts: Counts,
  by: Caller,
): Promise<void> {
  try {
    const { isNews, reminder } = await markIfDue(services, id, rules, by);
    if (isNews) counts.marked++;
    if (reminder !== null) counts.reminded++;
  } catch (error) {
    if (error instanceof AppError && ENDING.has(error.kind)) throw error;
    // One failure must not stop the others.
    services.log.error("invoice.not_marked", { invoiceId: id, error });
    counts.failed++;
  }
}

/** Errors that every further invoice would meet as well. */
const ENDING: ReadonlySet<string> = new Set(["unavailable", "outcome_unknown", "conflict"]);

/** Decides one invoice by its present state. One read and one commit. */
async function markIfDue(
  services: OverdueServices,
  id: string,
  rules: DueRules,
  by: Caller,
): Promise<{ isNews: boolean; reminder: number | null }> {
  const { now } = rules;
  const [overdueId, reminderId] = [newId(now), newId(now)];
  const key = keys.invoice(id);
  return await transact(services, { before: key }, ({ before }, writes) => {
    const step = before && dueStep(before, rules);
    if (!before || !step) return { isNews: false, reminder: null };
    const { fields, isNews, reminder } = step;
    const action = isNews ? "invoice.overdue" : "invoice.remind";
    const change = { entity: "invoice", action, key, before, fields, by, now } as const;
    const invoice = putChange(writes, change);
    if (isNews) {
      putInvoiceEvent(writes, { id: overdueId, type: "invoice.overdue", invoice }, now);
    }
    if (reminder !== null) putReminder(writes, { id: reminderId, invoice, days: reminder }, now);
    return { isNews, reminder };
    // Each invoice is an operation of its own; its state tells whether it is done.
  }, { operation: operationOf({ ...by, idempotencyKey: null }, "invoice.due", null, { now }) });
}

function putReminder(
  writes: Writes,
  { id, invoice, days }: { id: string; invoice: Invoice; days: number },
  now: number,
): void {
  const { clientId, leadId } = invoice;
  const subject = { invoiceId: invoice.id, clientId, ...(leadId === null ? {} : { leadId }) };
  const data = { ...invoiceFacts(invoice), days };
  putEvent(writes, { id, type: "invoice.reminder", subject, data }, now);
}
