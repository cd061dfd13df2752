/**
 * Watch rules raise alerts, and resolve them after a quiet period.
 */
import { deepStrictEqual as deepEqual, match, strictEqual as equal } from "node:assert/strict";
import { type Job, runJob } from "../../../cron/_job.ts";
import type { AlertChannel, AlertNotification } from "../../../lib/alerts/channels.ts";
import type { ErrorContext, ErrorTracker } from "../../../lib/telemetry/error_tracking.ts";
import { HOUR_MS, MINUTE_MS, SECOND_MS } from "../../../lib/time.ts";
import type { DueJob } from "../../../lib/jobs/timetable.ts";
import { reportUnexpected, watch } from "../../../lib/health/watch.ts";
import { ErrorRate } from "../../../lib/telemetry/error_rate.ts";
import { type Instances, START, startInstances } from "../../support/processes/instances.ts";

/** A channel that keeps what it delivers. */
function listener(): { notifications: AlertNotification[]; channels: AlertChannel[] } {
  const notifications: AlertNotification[] = [];
  const deliver = (notification: AlertNotification) => {
    notifications.push(notification);
    return Promise.resolve({ isDelivered: true as const });
  };
  return { notifications, channels: [{ name: "listener", deliver }] };
}

function statesOf(notifications: AlertNotification[]): string[] {
  return notifications.map(({ state, name }) => `${name} ${state}`);
}

/** A minute of all instances, as in the timetable. */
async function minute(instances: Instances): Promise<void> {
  for (const { services, monitor } of instances.all) await watch(services, monitor);
  await instances.notified();
  instances.advance(MINUTE_MS);
}

Deno.test("a store that does not answer is raised by each instance, and resolved after three quiet minutes", async () => {
  const { notifications, channels } = listener();
  await using instances = await startInstances({ count: 2, channels });
  await minute(instances);
  equal(notifications.length, 0);

  for (const { kv } of instances.all) kv.readFault = () => "hang";
  for (let i = 0; i < 3; i++) await minute(instances);
  deepEqual(statesOf(notifications), ["store_unhealthy raised", "store_unhealthy raised"]);
  match(notifications[0]!.detail, /does not answer/);
  for (const { kv } of instances.all) kv.heal();
  for (let i = 0; i < 5; i++) await minute(instances);

  deepEqual(statesOf(notifications).slice(2), [
    "store_unhealthy resolved",
    "store_unhealthy resolved",
  ]);
  equal(notifications[0]!.severity, "critical");
});

Deno.test("a store that only one instance cannot reach is raised and resolved once", async () => {
  const { notifications, channels } = listener();
  await using instances = await startInstances({ count: 2, channels });
  const one = instances.at(0);
  // It reads, and its probe's write fails: the incident itself is stored.
  one.kv.commitFault = ({ keys: [key] }) => key?.[0] === "probe" ? "lost-before" : "ok";

  for (let i = 0; i < 10; i++) await minute(instances);
  deepEqual(statesOf(notifications), ["store_unhealthy raised"]);
  one.kv.heal();
  for (let i = 0; i < 5; i++) await minute(instances);

  deepEqual(statesOf(notifications), ["store_unhealthy raised", "store_unhealthy resolved"]);
});

Deno.test("too many unexpected errors are raised at once, and resolved after ten quiet minutes", async () => {
  const reported: ErrorContext[] = [];
  const errorTracker: ErrorTracker = {
    start() {},
    report: (_, context = {}) => void reported.push(context),
    timed() {},
    monitored: (_, run) => run(),
    flush: () => Promise.resolve(),
  };
  const { notifications, channels } = listener();
  await using instances = await startInstances({ count: 2, channels, errorTracker, errorsMax: 3 });
  const { services } = instances;
  const fail = () => reportUnexpected(services, new Error("x"), { requestId: "req-1" });

  for (let i = 0; i < 3; i++) fail();
  await instances.notified();
  equal(notifications.length, 0);
  for (let i = 0; i < 20; i++) fail();
  await instances.notified();
  deepEqual(statesOf(notifications), ["errors raised"]);
  for (let i = 0; i < 9; i++) await minute(instances);
  deepEqual(statesOf(notifications), ["errors raised"]);
  for (let i = 0; i < 8; i++) await minute(instances);

  deepEqual(statesOf(notifications), ["errors raised", "errors resolved"]);
  equal(reported.length, 23);
  deepEqual(reported[0], { requestId: "req-1" });
});

Deno.test("ErrorRate counts five minutes, to ten seconds", () => {
  let now = START;
  const rate = new ErrorRate(() => now);

  for (let i = 0; i < 100; i++) {
    rate.add();
    now += 10 * SECOND_MS;
  }

  equal(rate.count(), 29);
  now += 10 * MINUTE_MS;
  equal(rate.count(), 0);
  rate.add();
  now -= MINUTE_MS;
  equal(rate.count(), 0);
  rate.add();
  equal(rate.count(), 1);
});

const JOBS: DueJob[] = [
  { name: "watch", schedule: "* * * * *", withinMs: 3 * MINUTE_MS },
  { name: "ship_log", schedule: "* * * * *", withinMs: 3 * MINUTE_MS },
  { name: "backup", schedule: "0 10 * * *", withinMs: 2 * HOUR_MS },
];

function jobNamed(name: string, isMore = false): Job {
  const run = () => Promise.resolve({ isMore });
  return { name, schedule: "* * * * *", timeLimitMs: 30 * SECOND_MS, run };
}

/** A minute in which the watch and these jobs run. */
async function jobMinute(instances: Instances, ...jobs: Job[]): Promise<void> {
  for (const { services, monitor } of instances.all) {
    const run = async () => ({ ...await watch(services, monitor, { jobs: JOBS }) });
    await runJob(services, { ...jobNamed("watch"), isEverywhere: true, run });
    for (const job of jobs) await runJob(services, job);
  }
  await instances.notified();
  instances.advance(MINUTE_MS);
}

Deno.test("a job that no longer runs is raised once, by one instance, and resolved when it runs", async () => {
  const { notifications, channels } = listener();
  await using instances = await startInstances({ count: 2, channels });

  for (let i = 0; i < 10; i++) await jobMinute(instances, jobNamed("ship_log"));
  equal(notifications.length, 0);
  for (let i = 0; i < 3; i++) await jobMinute(instances);
  equal(notifications.length, 0);
  for (let i = 0; i < 4; i++) await jobMinute(instances);
  deepEqual(statesOf(notifications), ["job_missed:ship_log raised"]);
  match(
    notifications[0]!.detail,
    /^ship_log was due at 2026-06-15T09:10:00.000Z and has not finished$/,
  );
  for (let i = 0; i < 6; i++) await jobMinute(instances, jobNamed("ship_log"));

  deepEqual(statesOf(notifications), [
    "job_missed:ship_log raised",
    "job_missed:ship_log resolved",
  ]);
});

Deno.test("a job that never finishes is missed, and one that fails is only reported as failing", async () => {
  const { notifications, channels } = listener();
  await using instances = await startInstances({ channels });
  await jobMinute(instances, jobNamed("ship_log"), jobNamed("backup", true));
  const failing = { ...jobNamed("ship_log"), run: () => Promise.reject(new Error("x")) };

  instances.advance(3 * HOUR_MS);
  // No job ran meanwhile: that is not reported for each of them.
  for (let i = 0; i < 3; i++) await jobMinute(instances, failing, jobNamed("backup", true));
  deepEqual(statesOf(notifications), ["job_failed:ship_log raised"]);
  for (let i = 0; i < 2 * 60; i++) await jobMinute(instances, failing, jobNamed("backup", true));

  deepEqual(statesOf(notifications), ["job_failed:ship_log raised", "job_missed:backup raised"]);
});
