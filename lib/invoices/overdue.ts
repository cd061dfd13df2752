/**
 * The daily walk over what is to be paid: it notes what is overdue, and has
 * buyers reminded. Each invoice is decided on within its own transaction by what
 * it says then, so that it does not matter how often, how late or by how many the
 * walk is made.
 *
 * @module
 */
import { putChange } from "../entities/audit.ts";
import { AppError } from "../errors.ts";
import { isId, newId } from "../ids.ts";
import { AWAITED, type DueRules, dueStep } from "./due.ts";
import * as keys from "../kv/keys.ts";
import type { Invoice, JobRun } from "../kv/records.ts";
import { transact, type Writes } from "../kv/transact.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { invoiceFacts, putEvent, putInvoiceEvent } from "../outbox/events.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Config } from "../config/mod.ts";
import type { Log } from "../telemetry/log.ts";
import { businessDate, SECOND_MS } from "../time.ts";
import { lastDue } from "../jobs/timetable.ts";

/** What marking and reminding need. */
export interface OverdueServices extends StoreServices {
  /** Whose days count, and on which of them buyers are reminded. */
  readonly config: Pick<Config, "timeZone" | "reminderDays">;
  /** Records invoices that could not be marked. */
  readonly log: Log;
}

/** What the job is called. */
export const OVERDUE_JOB = "overdue";

/** When people read their mail, as an hour of the shop's winter. */
const HOUR = 8;
/** How long one run of the job works; an instance may not live for much more. */
const BUDGET_MS = 40 * SECOND_MS;
/** Invoices read at once. */
const PAGE_SIZE = 100;
/** Invoices written at once: enough to hide that a store is far away. */
const WRITES_AT_ONCE = 8;

/** How far a walk goes. */
export interface OverdueOptions {
  /** Milliseconds after which it ends; the page that it has begun is finished. */
  budgetMs: number;
  /** Where a walk of the same day ended; null or absent for the beginning. */
  resumeFrom?: string | null;
  /** Ends it after the page. */
  signal?: AbortSignal;
}

/** What a walk did. */
export interface OverdueReport {
  /** Invoices that it looked at. */
  looked: number;
  /** That it noted as overdue. */
  marked: number;
  /** Whose buyers are to be reminded. */
  reminded: number;
  /** Of which nothing could be stored; the log has them. */
  failed: number;
  /** Where to go on; null at the end. */
  resumeFrom: string | null;
}

/**
 * Notes which invoices are overdue (`invoice.overdue` tells of it), and whose
 * buyers are to be reminded (`invoice.reminder`), each once.
 *
 * It goes by the index of states: of what is open or partly paid, a hundred
 * invoices cost twelve reads in two rounds, and each of which something is to be
 * noted one read and one commit more. What is paid, void or given up costs nothing.
 *
 * @throws {AppError} `unavailable`, or `conflict` when another run of the job has
 * taken over; `malformed` for a `resumeFrom` that is of no report
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
 * When the walk is due, as five fields of cron in UTC: at eight in the shop's
 * winter. Fixed by the zone, so that all instances agree.
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

/** Midnight in UTC, where it is winter on most of the Earth's land. */
const WINTER = Date.UTC(2026, 0, 1);

/** Whether today's walk is not made to its end. One read. @throws {AppError} `unavailable` */
export async function isOverdueWanted({ store, clock, config }: OverdueServices): Promise<boolean> {
  const last = await store.get(keys.jobRun(OVERDUE_JOB));
  const dueAt = lastDue(overdueSchedule(config.timeZone), clock());
  return !last?.lastOkAt || Date.parse(last.lastOkAt) < dueAt;
}

/**
 * One run of the job `overdue`: today's walk, from where the run before ended.
 *
 * @returns What the job tells; `isMore` while the end is not reached.
 * @throws as {@linkcode markOverdue} does
 */
export async function runOverdue(
  services: OverdueServices,
  { signal, by, budgetMs = BUDGET_MS }: { signal: AbortSignal; by: Caller; budgetMs?: number },
): Promise<JobRun["outcome"]> {
  const day = businessDate(services.clock(), services.config.timeZone);
  const last = await services.store.get(keys.jobRun(OVERDUE_JOB));
  const outcome: JobRun["outcome"] = last?.outcome ?? {};
  // What was walked over on another day is to be walked over again.
  const before = outcome.day === day && outcome.isMore === true ? outcome.resumeFrom : null;
  const { resumeFrom, ...counts } = await markOverdue(services, {
    budgetMs,
    resumeFrom: typeof before === "string" ? before : null,
    signal,
  }, by);
  return { day, ...counts, ...(resumeFrom === null ? {} : { resumeFrom, isMore: true }) };
}

/** Where a walk is: behind the invoice `after` of a state, or at its beginning if that is empty. */
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
    throw new AppError("malformed", "The walk cannot go on from there: no walk ended there");
  }
  return { status, after };
}

/** Walks over a page. @returns Where the next one begins; null if there is none. */
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
    // One that cannot be stored must not keep the others from it.
    services.log.error("invoice.not_marked", { invoiceId: id, error });
    counts.failed++;
  }
}

/** With these the others would fare no better. */
const ENDING: ReadonlySet<string> = new Set(["unavailable", "outcome_unknown", "conflict"]);

/** What one invoice became, decided on as it is now. One read and one commit. */
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
    // Each invoice is an intent of its own, and is known by what it says.
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
