/** The overdue job runs once a day in the morning, and resumes where it stopped. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { runJob } from "../../../cron/_job.ts";
import { jobsOf } from "../../../cron/mod.ts";
import { HealthMonitor } from "../../../lib/health/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { isOverdueJobDue, OVERDUE_JOB, overdueSchedule } from "../../../lib/invoices/overdue.ts";
import { nextDue } from "../../../lib/jobs/timetable.ts";
import { startApp, TEST_START, type TestApp } from "../../support/program/app.ts";
import { FaultyKv } from "../../support/store/faulty_kv.ts";
import { startTill } from "../../support/program/till.ts";
import { billMany, eventNames, first, goTo, put, storedEvents } from "./_overdue.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;

/** The real job. */
function jobOf({ services }: TestApp) {
  const job = jobsOf(services, new HealthMonitor(services)).find(({ name }) =>
    name === OVERDUE_JOB
  );
  if (!job) throw new Error("There is no such job");
  return job;
}

Deno.test("the overdue job runs once a day, at eight o'clock of the shop's winter time", async () => {
  await using app = await startTill({ env: { REMINDER_DAYS: "1" } });
  await app.bill({ dueOn: "2026-06-15" });
  const runs: string[] = [];

  for (let minutes = 0; minutes < 3 * 24 * 60; minutes += 30) {
    const status = await runJob(app.services, jobOf(app));
    if (status !== "skipped") {
      runs.push(`${new Date(app.services.clock()).toISOString().slice(0, 16)} ${status}`);
    }
    app.advance(30 * 60_000);
  }

  deepEqual(runs, [
    "2026-06-15T09:00 ok", // it was never done
    "2026-06-16T05:00 ok",
    "2026-06-17T05:00 ok",
    "2026-06-18T05:00 ok",
  ]);
  deepEqual(await eventNames(app), ["overdue", "reminder 1"]);
});

Deno.test("the overdue job stays due until its walk is complete, and resumes where it stopped", async () => {
  await using app = await startApp();
  await billMany(app, 150);
  goTo(app, "2026-06-25T05:00:00Z");
  const stopped = new AbortController();
  const job = jobOf(app);
  const outcomes: unknown[] = [];
  // Its time is over after the first page.
  const slow = {
    ...job,
    run: (...[services, , by]: Parameters<typeof job.run>) => {
      const over = new AbortController();
      over.abort();
      return job.run(services, over.signal, by);
    },
  };

  for (let i = 0; i < 5 && await isOverdueJobDue(app.services); i++) {
    equal(await runJob(app.services, slow, { signal: stopped.signal }), "ok");
    outcomes.push((await app.services.store.get(keys.jobRun(OVERDUE_JOB)))?.outcome);
    app.advance(5 * 60_000);
  }

  const bills = await app.services.store.list(keys.invoices, { limit: 200 });
  const counts = { marked: 0, reminded: 0, failed: 0 };
  const day = "2026-06-25";
  deepEqual(outcomes, [
    {
      ...{ ...counts, day, looked: 100, marked: 100, isMore: true },
      resumeFrom: `open/${bills[99]!.value.id}`,
    },
    { ...counts, day, looked: 50, marked: 50, resumeFrom: "partially_paid/", isMore: true },
    { ...counts, day, looked: 0 },
  ]);
  equal((await storedEvents(app)).length, 150);
});

Deno.test("the overdue job starts from the beginning on another day", async () => {
  await using app = await startApp();
  await billMany(app, 120, "2026-06-25");
  goTo(app, "2026-06-25T05:00:00Z");
  const job = jobOf(app);
  const over = new AbortController();
  over.abort();
  await runJob(app.services, { ...job, run: (s, _, by) => job.run(s, over.signal, by) });
  equal(await isOverdueJobDue(app.services), true);

  app.advance(DAY_MS);
  await runJob(app.services, job);

  equal((await storedEvents(app)).length, 120);
  equal(await isOverdueJobDue(app.services), false);
});

Deno.test("the overdue job stores nothing after another run has taken its lease", async () => {
  await using app = await startApp();
  await billMany(app, 20);
  goTo(app, "2026-06-25T05:00:00Z");
  const job = jobOf(app);
  let status: string | undefined;
  const overtaken = {
    ...job,
    timeLimitMs: 1_000,
    async run(...[services, signal, by]: Parameters<typeof job.run>) {
      // The clock says that its lease is over, and another instance begins.
      app.advance(60_000);
      status = await runJob(services, job);
      app.advance(-60_000);
      const later = await app.services.store.get(keys.invoice((await first(app)).id));
      equal(typeof later?.overdueAt, "string");
      await put({ kv: new FaultyKv(app.services.kv) }, keys.invoice(later!.id), {
        ...later!,
        overdueAt: null,
      });
      return await job.run(services, signal, by);
    },
  };

  const late = await runJob(app.services, overtaken);

  deepEqual([late, status], ["lost", "ok"]);
  equal((await storedEvents(app)).length, 20);
  equal((await first(app)).overdueAt, null);
});

Deno.test("overdueSchedule() is once a day at eight o'clock of winter time", () => {
  for (
    const [timeZone, schedule] of [
      ["Africa/Dar_es_Salaam", "0 5 * * *"],
      ["UTC", "0 8 * * *"],
      ["America/New_York", "0 13 * * *"],
      ["America/St_Johns", "30 11 * * *"],
      ["Asia/Kathmandu", "15 2 * * *"],
      ["Asia/Tokyo", "0 23 * * *"],
      ["Pacific/Kiritimati", "0 18 * * *"],
      ["Pacific/Pago_Pago", "0 19 * * *"],
    ] as const
  ) {
    equal(overdueSchedule(timeZone), schedule, timeZone);
  }
  for (const timeZone of Intl.supportedValuesOf("timeZone")) {
    const schedule = overdueSchedule(timeZone);
    const at = nextDue(schedule, TEST_START);
    equal(nextDue(schedule, at) - at, DAY_MS, timeZone);
    // Nowhere so close to midnight that summer would make another day of it.
    const hour = new Intl.DateTimeFormat("en", { timeZone, hour: "numeric", hourCycle: "h23" });
    ok(Math.abs(Number(hour.format(at)) - 8) <= 2, timeZone);
  }
});
