/**
 * Sweeps as operators see them: every night and when somebody asks, in as many
 * short runs of the job as it takes, with a report that stays.
 *
 * How far a sweep has come is stored every few seconds. What was not stored when
 * an instance ended is looked at again by the next run, and a repair that was
 * made in it is known by its own record: so a sweep that was interrupted ends as
 * one that was not.
 *
 * @module
 */
import { type AlertServices, raiseAlert, resolveAlert } from "../alerts/mod.ts";
import { AppError } from "../errors.ts";
import { newId } from "../ids.ts";
import { sweep, type SweepReport } from "./sweep.ts";
import * as keys from "../kv/keys.ts";
import type { JobRun } from "../kv/records.ts";
import type { Finding, RepairRecord, SweepRecord, SweepRun } from "../kv/sweep_records.ts";
import { transact, type Writes } from "../kv/transact.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { listEntities, type Page, type PageRequest } from "../entities/page.ts";
import { repair } from "./repair.ts";
import { isoTime, SECOND_MS } from "../time.ts";
import { lastDue } from "../jobs/timetable.ts";

export type { Finding, RepairRecord, SweepRecord } from "../kv/sweep_records.ts";

/** When a sweep is due: five fields of cron, UTC. */
export const SWEEP_SCHEDULE = "0 1 * * *";

/** The incident of a sweep that left something wrong; it ends with the next one that does not. */
export const SWEEP_FOUND = "sweep_found";

/** How long one run of the job works; an instance may not live for much more. */
const BUDGET_MS = 40 * SECOND_MS;
/** After so long what was done is stored, and is not done again. */
const SLICE_MS = 2 * SECOND_MS;
/** Reports that are kept; two months of nights. */
const KEPT_MAX = 60;
/** Findings that a report lists. */
const FINDINGS_MAX = 150;
/** Of a report's findings as JSON: with the rest of it they fit a value of the store. */
const FINDINGS_BYTES_MAX = 48_000;
/** Repairs that are shown with a report. */
const REPAIRS_SHOWN = 150;
/** Entries counted at once. */
const COUNT_PAGE = 500;
/** Findings that the log names. */
const LOGGED_MAX = 10;

/** What sweeping needs of Services. */
export type SweepServices = AlertServices;

/** A sweep, and what it mended. */
export interface SweepDetails extends SweepRecord {
  /** The first 150, oldest first. */
  repairs: RepairRecord[];
}

/** What a sweep is asked to do. */
export interface SweepWish {
  /** Whether it mends what it can. */
  isRepairing: boolean;
}

/**
 * Asks for a sweep, which the job then does. While one waits or is under way,
 * that is the answer, whatever it does.
 *
 * @throws {AppError} `unavailable`
 */
export async function askForSweep(
  services: SweepServices,
  wish: SweepWish,
  by: Caller,
): Promise<SweepDetails> {
  const now = services.clock();
  const id = newId(now);
  const sweepId = await transact(services, { run: keys.sweepRun }, ({ run }, writes) => {
    if (run?.sweepId) return run.sweepId;
    putNewSweep(writes, run, newSweep(id, wish, { by, now }));
    return id;
  }, { operation: operationOf(by, "sweep.ask", wish, { now }) });
  return await getSweep(services, sweepId);
}

/** A sweep with what it mended. @throws {AppError} `not_found` */
export async function getSweep({ store }: SweepServices, id: string): Promise<SweepDetails> {
  const found = await store.get(keys.sweep(id));
  if (!found) throw new AppError("not_found", "No such sweep");
  const listed = await store.list(keys.repairsOf(id), { limit: REPAIRS_SHOWN });
  return { ...found, repairs: listed.map(({ value }) => value) };
}

/** A page of the sweeps that are kept, newest first; the first may be under way. */
export function listSweeps(services: SweepServices, page: PageRequest): Promise<Page<SweepRecord>> {
  return listEntities(services, "sweeps", keys.sweeps, page);
}

/** Whether the job has anything to do. One read. @throws {AppError} `unavailable` */
export async function isSweepWanted({ store, clock }: SweepServices): Promise<boolean> {
  const run = await store.get(keys.sweepRun);
  return run === null || run.sweepId !== null || run.nightAt < lastDue(SWEEP_SCHEDULE, clock());
}

/** Options for {@linkcode runSweep}. */
export interface RunSweepOptions {
  /** Ends it between two slices; the next run goes on. */
  signal: AbortSignal;
  /** Its lease fences all that is written. */
  by: Caller;
  /** How long to go on, in milliseconds; 40 s when absent. */
  budgetMs?: number;
  /** After how long what was done is stored, in milliseconds; 2 s when absent. */
  sliceMs?: number;
}

/**
 * One run of the job `sweep`: as much of the sweep that is under way, or due, as
 * there is time for. At its end the report is stored, and people are told if
 * something is left wrong.
 *
 * @returns What the job tells; `isMore` while the end is not reached.
 * @throws {AppError} `unavailable`; `conflict` when another run has gone on with it
 */
export async function runSweep(
  services: SweepServices,
  { signal, by, budgetMs = BUDGET_MS, sliceMs = SLICE_MS }: RunSweepOptions,
): Promise<JobRun["outcome"]> {
  const startedAt = performance.now();
  let state = await underWay(services, by);
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

/** Entries that a sweep has looked at. */
export function entriesOf({ counts }: Pick<SweepRecord, "counts">): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/** A sweep as it is stored: its report so far, and where it goes on. */
interface State {
  run: SweepRun;
  record: SweepRecord;
}

/** The sweep to go on with, begun for the night if that is due; null for none. */
async function underWay(services: SweepServices, by: Caller): Promise<State | null> {
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

/** One slice of a sweep, stored. */
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
      ? { mend: (broken) => repair(services, broken, { sweepId: id, by }) }
      : {}),
  });
  let next: SweepRecord = { ...withSlice(record, slice), startedAt, status: "running" };
  if (slice.isComplete) {
    const repairsTotal = record.isRepairing ? await countRepairs(services, id) : 0;
    next = { ...next, repairsTotal, status: "done", endedAt: isoTime(clock()) };
    // Before it is stored that this was the end: then it is told whatever comes between.
    await tell(services, next);
  }
  const now = clock();
  return await transact({ store }, { run: keys.sweepRun }, (found, writes) => {
    expectStep(found.run, run);
    writes.set(keys.sweep(id), next);
    return { run: putRun(writes, run, slice), record: next };
  }, { operation: operationOf(by, "sweep.step", null, { now }) });
}

/** Two runs of one sweep cannot both take a step. */
function expectStep(found: SweepRun | null, seen: SweepRun | null): void {
  if (found?.step === seen?.step) return;
  throw new AppError("conflict", "Another run has gone on with the sweep");
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
  { isRepairing }: SweepWish,
  { by: { actor, requestId }, now }: { by: Caller; now: number },
): SweepRecord {
  return {
    ...{ id, isRepairing, requestId, by: actor },
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

/** Writes a sweep that is to be done, and deletes those that are kept no more. */
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

/** A report with what one more slice found. */
function withSlice(record: SweepRecord, slice: SweepReport): SweepRecord {
  const counts = { ...record.counts };
  for (const [name, count] of Object.entries(slice.counts)) {
    counts[name] = (counts[name] ?? 0) + count;
  }
  return {
    ...record,
    counts,
    findings: listed([...record.findings, ...slice.findings]),
    findingsTotal: record.findingsTotal + slice.findingsTotal,
    criticalTotal: record.criticalTotal + slice.criticalTotal,
    repairsTotal: record.repairsTotal + slice.repairsTotal,
    durationMs: record.durationMs + slice.durationMs,
  };
}

/** The first of the findings, as many as there is room for. */
function listed(findings: Finding[]): Finding[] {
  let bytes = 0;
  const end = findings.findIndex((finding) => {
    bytes += new TextEncoder().encode(JSON.stringify(finding)).length + 1;
    return bytes > FINDINGS_BYTES_MAX;
  });
  return findings.slice(0, Math.min(FINDINGS_MAX, end < 0 ? findings.length : end));
}

/** By their records: a run that was killed has not told of all that it mended. */
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

/** Tells people what is left wrong, or that nothing is. */
async function tell(services: SweepServices, record: SweepRecord): Promise<void> {
  const { id, findings, findingsTotal, criticalTotal } = record;
  if (findingsTotal === 0) return await resolveAlert(services, SWEEP_FOUND);
  services.log.error("sweep.found", {
    sweepId: id,
    findingsTotal,
    findings: findings.slice(0, LOGGED_MAX),
  });
  const checks = [...new Set(findings.map(({ check }) => check))].join(", ");
  await raiseAlert(services, {
    name: SWEEP_FOUND,
    severity: criticalTotal > 0 ? "critical" : "warning",
    title: `The sweep left ${findingsTotal} things wrong, ${criticalTotal} of them critical`,
    detail: `${checks}; /api/v2/system/sweeps/${id} has them`,
    quietMs: null,
  });
}
