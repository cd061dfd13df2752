/**
 * Jobs that did not finish in time are detected, and no others.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import type { JobRun } from "../../../lib/jobs/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS } from "../../../lib/time.ts";
import {
  type DueJob,
  jobProblems,
  lastDue,
  nextDue,
  storeTimetable,
  type Timetable,
} from "../../../lib/jobs/timetable.ts";
import { newSeed } from "../../support/store/faulty_kv.ts";
import { startApp } from "../../support/program/app.ts";

const at = (text: string) => Date.parse(`2026-06-${text}Z`);

function runOf(job: string, lastOkAt: number | null, fields: Partial<JobRun> = {}): JobRun {
  const time = isoTime(lastOkAt ?? 0);
  return {
    job,
    runId: "r",
    status: "ok",
    outcome: {},
    error: null,
    failures: 0,
    durationMs: 1,
    startedAt: time,
    endedAt: time,
    lastOkAt: lastOkAt === null ? null : time,
    ...fields,
  };
}

function timetableOf(since: number, jobs: DueJob[], resumedAt = since): Timetable {
  const entries = jobs.map(({ name, schedule, withinMs }) =>
    [name, { schedule, withinMs, since: isoTime(since) }] as const
  );
  return { jobs: Object.fromEntries(entries), resumedAt: isoTime(resumedAt) };
}

const BACKUP: DueJob = { name: "backup", schedule: "0 2 * * *", withinMs: 2 * HOUR_MS };
const SHIP: DueJob = { name: "ship_log", schedule: "* * * * *", withinMs: 3 * MINUTE_MS };
const WATCH: DueJob = { name: "watch", schedule: "* * * * *", withinMs: 3 * MINUTE_MS };

Deno.test("lastDue() and nextDue() return the moments of a schedule in UTC, to a second", () => {
  const daily = "0 2 * * *";

  equal(lastDue(daily, at("15T02:00:00")), at("15T02:00:00"));
  equal(lastDue(daily, at("15T01:59:58")), at("14T02:00:00"));
  equal(nextDue(daily, at("15T02:00:00")), at("16T02:00:00"));
  equal(nextDue(daily, at("15T01:59:58")), at("15T02:00:00"));
  // A timer that is early by less than a second is not early.
  equal(lastDue(daily, at("15T01:59:59.200")), at("15T02:00:00"));
  equal(nextDue(daily, at("15T01:59:59.200")), at("16T02:00:00"));
  // 14 June 2026 is a Sunday.
  equal(lastDue("0 4 * * SUN", at("15T09:00:00")), at("14T04:00:00"));
  equal(nextDue("*/5 * * * *", at("15T09:00:00")), at("15T09:05:00"));
});

Deno.test("jobProblems() is empty before a job's first due time, and after it finished", () => {
  const timetable = timetableOf(at("15T09:00:00"), [BACKUP]);
  const problems = (runs: JobRun[], now: string) => jobProblems({ timetable, runs }, at(now));

  deepEqual(jobProblems({ timetable: null, runs: [] }, at("30T00:00:00")), []);
  deepEqual(problems([], "16T03:59:59"), []);
  const [missed] = problems([], "16T04:00:01");
  deepEqual(missed, {
    job: "backup",
    isFailing: false,
    reason: "backup was due at 2026-06-16T02:00:00.000Z and has not finished",
  });
  deepEqual(problems([runOf("backup", at("16T02:20:00"))], "16T04:00:01"), []);
  equal(problems([runOf("backup", at("16T02:20:00"))], "17T04:00:01").length, 1);
  // It runs each time, and leaves the rest to the next run for ever.
  equal(problems([runOf("backup", null)], "16T04:00:01").length, 1);
});

Deno.test("jobProblems() reports that a job fails, and not also that it is late", () => {
  const timetable = timetableOf(at("15T09:00:00"), [BACKUP]);
  const failed = { status: "failed", failures: 3, error: "AppError: No such bucket" } as const;

  const problems = jobProblems(
    { timetable, runs: [runOf("backup", at("15T10:00:00"), failed), runOf("gone", null, failed)] },
    at("17T09:00:00"),
  );

  deepEqual(problems, [{
    job: "backup",
    isFailing: true,
    reason: "backup failed 3 times: AppError: No such bucket",
  }]);
});

Deno.test("jobProblems() counts from when jobs resumed after an outage", () => {
  const resumedAt = at("16T05:00:00");
  const timetable = timetableOf(at("15T09:00:00"), [WATCH, SHIP, BACKUP], resumedAt);
  const runs = [runOf("ship_log", at("16T01:00:00")), runOf("backup", at("15T10:00:00"))];
  const late = (now: number, watchedAt: number, upSince = 0) =>
    jobProblems({ timetable, runs: [runOf("watch", watchedAt), ...runs] }, now, upSince)
      .map(({ job }) => job);

  deepEqual(late(resumedAt + MINUTE_MS, resumedAt), []);
  deepEqual(late(resumedAt + 3 * MINUTE_MS + 1, resumedAt + 3 * MINUTE_MS), ["ship_log"]);
  deepEqual(late(resumedAt + 2 * HOUR_MS + 1, resumedAt + 2 * HOUR_MS), ["ship_log", "backup"]);
  // While nothing runs, that is what is said, and by one that was up meanwhile.
  const down = at("17T09:00:00");
  deepEqual(late(down, resumedAt), ["watch"]);
  deepEqual(late(down, resumedAt, down - MINUTE_MS), []);
});

Deno.test("jobProblems() reports a job exactly when its due time and allowance are over", () => {
  const minutes = fc.integer({ min: 0, max: 3 * 24 * 60 });
  const schedule = fc.constantFrom("* * * * *", "*/5 * * * *", "0 2 * * *", "0 4 * * SUN");
  fc.assert(
    fc.property(schedule, minutes, minutes, minutes, (schedule, done, within, wait) => {
      const since = at("15T00:00:00");
      const okAt = since + done * MINUTE_MS;
      const withinMs = within * MINUTE_MS;
      const timetable = timetableOf(since, [{ name: "x", schedule, withinMs }]);
      const dueAt = nextDue(schedule, okAt);
      const now = okAt + wait * MINUTE_MS;

      const isLate = jobProblems({ timetable, runs: [runOf("x", okAt)] }, now).length > 0;

      ok(dueAt > okAt && dueAt <= okAt + 7 * DAY_MS);
      equal(isLate, now > dueAt + withinMs);
    }),
    { seed: newSeed("timetable") | 0, numRuns: 300 },
  );
});

Deno.test("storeTimetable() writes changes, and reads once when there are none", async () => {
  await using app = await startApp();
  const { services } = app;
  const stored = async () => (await services.store.get(keys.timetable))!;

  await storeTimetable(services, [BACKUP, SHIP]);
  const first = await stored();
  app.advance(HOUR_MS);
  await storeTimetable(services, [BACKUP, SHIP]);
  const same = await stored();
  await storeTimetable(services, [{ ...BACKUP, schedule: "0 3 * * *" }]);
  const changed = await stored();

  deepEqual(same, first);
  deepEqual(Object.keys(changed.jobs), ["backup"]);
  match(changed.jobs.backup!.since, /T10:00:00/);
  equal(changed.resumedAt, first.resumedAt);
  equal(keys.isDurable(keys.timetable), false);
});
