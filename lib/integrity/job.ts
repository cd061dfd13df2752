/**
 * The sweep job: every night and on request, in several short runs, with a stored
 * report.
 *
 * The progress of a sweep is stored every few seconds. After an interruption the
 * next run repeats what was not stored, and counts repairs by their records, so an
 * interrupted sweep ends with the same result.
 *
 * @module
 */
import { type AlertServices, raiseAlert, resolveAlert } from "../alerts/mod.ts";
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import { FINDINGS_MAX, sweep, type SweepReport } from "./mod.ts";
import * as keys from "../kv/keys.ts";
import type { JobRun } from "../kv/job_records.ts";
import type { Finding, RepairRecord, SweepRecord, SweepRun } from "../kv/sweep_records.ts";
import { transact } from "../kv/mod.ts";
import type { Writes } from "../kv/transaction.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { listEntities, type Page, type PageRequest } from "../entities/page.ts";
import { repair } from "./repair.ts";
import { isoTime, SECOND_MS } from "../time.ts";
import { lastDue } from "../jobs/timetable.ts";

export type { SweepRecord } from "../kv/sweep_records.ts";
export { LEFT_UNREPAIRED, SWEEP_STATUSES } from "../kv/sweep_records.ts";

/** When a sweep is due: five fields of cron, UTC. */
export const SWEEP_SCHEDULE = "0 1 * * *";

/** The incident of a sweep with findings left; the next sweep without any resolves it. */
export const SWEEP_FOUND = "sweep_found";

/** The time of one run of the job; an instance may not live much longer. */
const BUDGET_MS = 40 * SECOND_MS;
/** The time between two stored states; an interruption repeats no more than that. */
const SLICE_MS = 2 * SECOND_MS;
/** Stored reports: two months of nights. */
const KEPT_MAX = 60;
/** The size of a report's findings as JSON: the report must fit a value of the store. */
const FINDINGS_BYTES_MAX = 48_000;
/** Repairs in the details of a sweep. */
const REPAIRS_SHOWN = 150;
/** Entries per page when counting. */
const COUNT_PAGE = 500;
/** Findings in a log event. */
const LOGGED_MAX = 10;

/** The services that the job needs. */
export type SweepServices = AlertServices;

/** A sweep with its repairs. */
export interface SweepDetails extends SweepRecord {
  /** The first 150, oldest first. */
  repairs: RepairRecord[];
}

/** The options of a requested sweep. */
export interface SweepRequest {
  /** Whether the sweep repairs what it can. */
  isRepairing: boolean;
}

/**
 * Requests a sweep, which the job then runs. Returns the pending or running sweep
 * if there is one, with or without repairs.
 *
 * @throws {AppError} `unavailable`
 */
export async function requestSweep(
  services: SweepServices,
  request: SweepRequest,
  by: Caller,
): Promise<SweepDetails> {
  const now = services.clock();
  const id = newId(now);
  const sweepId = await transact(services, { run: keys.sweepRun }, ({ run }, writes) => {
    if (run?.sweepId) return run.sweepId;
    putNewSweep(writes, run, newSweep(id, request, { by, now }));
    return id;
  }, { operation: operationOf(by, "sweep.ask", request, { now }) });
  return await getSweep(services, sweepId);
}

/** A sweep with its repairs. Two reads. @throws {AppError} `not_found` */
export async function getSweep({ store }: SweepServices, id: string): Promise<SweepDetails> {
  const found = await store.get(keys.sweep(id));
  if (!found) throw new AppError("not_found", "Sweep not found");
  const listed = await store.list(keys.repairsOf(id), { limit: REPAIRS_SHOWN });
  return { ...found, repairs: listed.map(({ value }) => value) };
}

/** A page of the stored sweeps, newest first; the first may be pending or running. */
export function listSweeps(services: SweepServices, page: PageRequest): Promise<Page<SweepRecord>> {
  return listEntities(services, "sweeps", keys.sweeps, page);
}

/** Whether a sweep is pending, running or due. One read. @throws {AppError} `unavailable` */
export async function isSweepJobDue({ store, clock }: SweepServices): Promise<boolean> {
  const run = await store.get(keys.sweepRun);
  return run === null || run.sweepId !== null || run.nightAt < lastDue(SWEEP_SCHEDULE, clock());
}

/** Options for {@linkcode runSweep}. */
export interface RunSweepOptions {
  /** Ends the run between two slices; the next run continues. */
  signal: AbortSignal;
  /** The lease of the caller fences all writes. */
  by: Caller;
  /** The time of the run, in milliseconds; 40 s if absent. */
  budgetMs?: number;
  /** The time between two stored states, in milliseconds; 2 s if absent. */
  sliceMs?: number;
}

/**
 * One run of the job `sweep`: continues the running sweep, or begins the due one,
 * within its time. The last run stores the report, and raises an alert if findings
 * are left.
 *
 * @returns The outcome of the job; with `isMore` before the end of the sweep.
 * @throws {AppError} `unavailable`; `conflict` when another run has continued the sweep
 */
export async function runSweep(
  services: SweepServices,
  { signal, by, budgetMs = BUDGET_MS, sliceMs = SLICE_MS }: RunSweepOptions,
): Promise<JobRun["outcome"]> {
  const startedAt = performance.now();
  let state = await currentSweep(services, by);
  if (state === null) return {};
  for (;;) {
    state = await takeStep(services, state, { by, sliceMs });
    const { record } = state;
    if (record.status === "done") {
      const { id, isRepairing, findingsTotal, repairsTotal } = record;
      const repairs = isRepairing ? { repairs: repairsTotal } : {};
      return { sweepId: id, entries: entriesOf(record), findings: findingsTotal, ...repairs };
    }
    if (signal.aborted || performance.now() - startedAt >= budgetMs) {
      return { sweepId: record.id, entries: entriesOf(record), isMore: true };
    }
  }
}

/** The entries that a sweep has checked. */
export function entriesOf({ counts }: Pick<SweepRecord, "counts">): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** A stored sweep: its report so far, and its position. */
interface State {
  run: SweepRun;
  record: SweepRecord;
}

/** The pending or running sweep; a new one if the nightly sweep is due; null for none. */
async function currentSweep(services: SweepServices, by: Caller): Promise<State | null> {
  const now = services.clock();
  const night = lastDue(SWEEP_SCHEDULE, now);
  const run = await services.store.get(keys.sweepRun);
  if (run?.sweepId) {
    const record = await services.store.get(keys.sweep(run.sweepId));
    if (record) return { run, record };
  } else if (run && run.nightAt >= night) {
    return null;
  }
  const id = newId(now);
  return await transact(services, { run: keys.sweepRun }, (found, writes) => {
    expectStep(found.run, run);
    const record = newSweep(id, { isRepairing: false }, { by, now });
    return { run: putNewSweep(writes, found.run, record, night), record };
  }, { operation: operationOf(by, "sweep.begin", null, { now }) });
}

/** Runs one slice of a sweep and stores the result. */
async function takeStep(
  services: SweepServices,
  { run, record }: State,
  { by, sliceMs }: { by: Caller; sliceMs: number },
): Promise<State> {
  const { id } = record;
  const { store, clock } = services;
  const startedAt = record.startedAt ?? isoTime(clock());
  const slice = await sweep(services, {
    budgetMs: sliceMs,
    resumeFrom: run.resumeFrom,
    ...(record.isRepairing
      ? { repair: (defect) => repair(services, defect, { sweepId: id, by }) }
      : {}),
  });
  let next: SweepRecord = { ...withSlice(record, slice), startedAt, status: "running" };
  if (slice.isComplete) {
    const repairsTotal = record.isRepairing ? await countRepairs(services, id) : 0;
    next = { ...next, repairsTotal, status: "done", endedAt: isoTime(clock()) };
    // Before the commit of the last step: an instance that dies in between alerts again.
    await reportFindings(services, next);
  }
  const now = clock();
  return await transact({ store }, { run: keys.sweepRun }, (found, writes) => {
    expectStep(found.run, run);
    writes.set(keys.sweep(id), next);
    return { run: putRun(writes, run, slice), record: next };
  }, { operation: operationOf(by, "sweep.step", null, { now }) });
}

/** Prevents two runs of one sweep from taking the same step. */
function expectStep(found: SweepRun | null, seen: SweepRun | null): void {
  if (found?.step === seen?.step) return;
  throw new AppError("conflict", "Another run has continued the sweep");
}

function putRun(writes: Writes, run: SweepRun, { resumeFrom, isComplete }: SweepReport): SweepRun {
  const next = {
    ...run,
    step: run.step + 1,
    resumeFrom,
    sweepId: isComplete ? null : run.sweepId,
  };
  writes.set(keys.sweepRun, next);
  return next;
}

function newSweep(
  id: string,
  { isRepairing }: SweepRequest,
  { by: { actor, requestId }, now }: { by: Caller; now: number },
): SweepRecord {
  return {
    id,
    isRepairing,
    requestId,
    by: actor,
    status: "pending",
    requestedAt: isoTime(now),
    startedAt: null,
    endedAt: null,
    counts: {},
    findings: [],
    findingsTotal: 0,
    criticalTotal: 0,
    repairsTotal: 0,
    durationMs: 0,
  };
}

/** Writes a pending sweep, and deletes the oldest beyond {@linkcode KEPT_MAX}. */
function putNewSweep(
  writes: Writes,
  run: SweepRun | null,
  record: SweepRecord,
  nightAt: number = run?.nightAt ?? 0,
): SweepRun {
  const all = [record.id, ...run?.kept ?? []];
  for (const id of all.slice(KEPT_MAX)) writes.delete(keys.sweep(id));
  const next: SweepRun = {
    step: (run?.step ?? 0) + 1,
    sweepId: record.id,
    resumeFrom: null,
    nightAt,
    kept: all.slice(0, KEPT_MAX),
  };
  writes.set(keys.sweep(record.id), record);
  writes.set(keys.sweepRun, next);
  return next;
}

/** A report with the results of one more slice. */
function withSlice(record: SweepRecord, slice: SweepReport): SweepRecord {
  const counts = { ...record.counts };
  for (const [name, count] of Object.entries(slice.counts)) {
    counts[name] = (counts[name] ?? 0) + count;
  }
  return {
    ...record,
    counts,
    findings: truncated([...record.findings, ...slice.findings]),
    findingsTotal: record.findingsTotal + slice.findingsTotal,
    criticalTotal: record.criticalTotal + slice.criticalTotal,
    repairsTotal: record.repairsTotal + slice.repairsTotal,
    durationMs: record.durationMs + slice.durationMs,
  };
}

/** The first findings, up to {@linkcode FINDINGS_MAX} and {@linkcode FINDINGS_BYTES_MAX}. */
function truncated(findings: Finding[]): Finding[] {
  let bytes = 0;
  const end = findings.findIndex((finding) => {
    bytes += new TextEncoder().encode(JSON.stringify(finding)).length + 1;
    return bytes > FINDINGS_BYTES_MAX;
  });
  return findings.slice(0, Math.min(FINDINGS_MAX, end < 0 ? findings.length : end));
}

/** Counts the records of repairs: a killed run has not stored the count of its last slice. */
async function countRepairs({ store }: SweepServices, id: string): Promise<number> {
  const prefix = keys.repairsOf(id);
  let count = 0;
  let after: readonly (string | number)[] | null = null;
  for (;;) {
    const page = await store.listStored(prefix, {
      limit: COUNT_PAGE,
      ...(after ? { start: [...after, ""] } : {}),
    });
    count += page.length;
    if (page.length < COUNT_PAGE) return count;
    after = page.at(-1)!.key;
  }
}

/** Raises an alert if findings are left; resolves it if none are. */
async function reportFindings(services: SweepServices, record: SweepRecord): Promise<void> {
  const { id, findings, findingsTotal, criticalTotal } = record;
  if (findingsTotal === 0) return await resolveAlert(services, SWEEP_FOUND);
  services.log.error("sweep.found", {
    sweepId: id,
    findingsTotal,
    findings: findings.slice(0, LOGGED_MAX),
  });
  const count = `${findingsTotal} ${findingsTotal === 1 ? "finding" : "findings"}`;
  const checks = [...new Set(findings.map(({ check }) => check))].join(", ");
  await raiseAlert(services, {
    name: SWEEP_FOUND,
    severity: criticalTotal > 0 ? "critical" : "warning",
    title: `Sweep: ${count} left, ${criticalTotal} critical`,
    detail: `${checks}; see /api/v2/system/sweeps/${id}`,
    quietMs: null,
  });
}
