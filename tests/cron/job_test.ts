/**
 * A job runs once a minute, on one instance, within its time limit, and its result
 * is recorded.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { type Job, type JobOutcome, runJob, type RunStatus } from "../../cron/_job.ts";
import type { AlertChannel, AlertNotification } from "../../lib/alerts/channels.ts";
import type { ErrorTracker } from "../../lib/telemetry/error_tracking.ts";
import { AppError } from "../../lib/errors.ts";
import { listJobRuns } from "../../lib/jobs/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import { transact } from "../../lib/kv/mod.ts";
import { currentContext } from "../../lib/telemetry/mod.ts";
import { type Caller, operationOf } from "../../lib/entities/caller.ts";
import type { Services } from "../../lib/app/mod.ts";
import { HOUR_MS, MINUTE_MS, SECOND_MS, sleep } from "../../lib/time.ts";
import { START, startInstances } from "../support/processes/instances.ts";

function jobOf(run: Job["run"], fields: Partial<Job> = {}): Job {
  return { name: "outbox", schedule: "* * * * *", timeLimitMs: 30 * SECOND_MS, run, ...fields };
}

const DONE = () => Promise.resolve({ sent: 2 });

function listener(): { notifications: AlertNotification[]; channels: AlertChannel[] } {
  const notifications: AlertNotification[] = [];
  const deliver = (notification: AlertNotification) => {
    notifications.push(notification);
    return Promise.resolve({ isDelivered: true as const });
  };
  return { notifications, channels: [{ name: "listener", deliver }] };
}

Deno.test("a run is recorded in the log and in the store", async () => {
  await using instances = await startInstances();
  const { services } = instances;
  let context: ReturnType<typeof currentContext>;
  const job = jobOf((_services, _signal, caller) => {
    context = currentContext();
    equal(caller.actor, "job:outbox");
    equal(caller.requestId, context?.requestId);
    return DONE();
  });

  equal(await runJob(services, job), "ok");

  equal(context!.job, "outbox");
  const [line, ...others] = instances.events("job.ran");
  equal(others.length, 0);
  equal(line!.jobName, "outbox");
  equal(line!.job, "outbox");
  equal(line!.status, "ok");
  deepEqual(line!.outcome, { sent: 2 });
  equal(typeof line!.durationMs, "number");
  equal(line!.kvCommits, 2);
  const [run] = await listJobRuns(services);
  deepEqual(run, {
    job: "outbox",
    runId: context!.requestId,
    status: "ok",
    outcome: { sent: 2 },
    error: null,
    startedAt: new Date(START).toISOString(),
    endedAt: new Date(START).toISOString(),
    durationMs: 0,
    failures: 0,
    lastOkAt: new Date(START).toISOString(),
  });
});

Deno.test("three instances run each minute once", async () => {
  await using instances = await startInstances({ count: 3 });
  const minutes: number[] = [];
  const job = jobOf((services) => {
    minutes.push((services.clock() - START) / MINUTE_MS);
    return DONE();
  });

  const statuses: RunStatus[] = [];
  for (let minute = 0; minute < 10; minute++) {
    statuses.push(
      ...await Promise.all(instances.all.map(({ services }) => runJob(services, job))),
    );
    instances.advance(100);
    // A clock behind the others'.
    statuses.push(await runJob(instances.services, job));
    instances.advance(MINUTE_MS - 100);
  }

  deepEqual(minutes, Array.from({ length: 10 }, (_, minute) => minute));
  equal(statuses.filter((status) => status === "ok").length, 10);
  equal(statuses.filter((status) => status === "skipped").length, 30);
});

Deno.test("a timer that fires a little early counts for the minute it was meant for", async () => {
  await using instances = await startInstances();
  const { services } = instances;

  equal(await runJob(services, jobOf(DONE)), "ok");
  instances.advance(MINUTE_MS - 3);
  equal(await runJob(services, jobOf(DONE)), "ok");
  instances.advance(3);
  equal(await runJob(services, jobOf(DONE)), "skipped");
});

Deno.test("a job run by hand runs although the minute had its run, but not beside another run", async () => {
  await using instances = await startInstances({ count: 2 });
  const [one, two] = [instances.at(0).services, instances.at(1).services];
  const { promise: going, resolve: go } = Promise.withResolvers<void>();
  const { promise: started, resolve: start } = Promise.withResolvers<void>();
  const slow = jobOf(async () => {
    start();
    await going;
    return {};
  });
  await runJob(instances.services, jobOf(DONE));

  const running = runJob(one, slow, { isByHand: true });
  await started;
  const beside = await runJob(two, jobOf(DONE), { isByHand: true });
  go();

  equal(await running, "ok");
  equal(beside, "skipped");
});

Deno.test("the writes of a run are guarded by its lease", async () => {
  await using instances = await startInstances({ count: 2 });
  const [one, two] = [instances.at(0), instances.at(1)];
  const write = (services: Services, caller: Caller) =>
    transact(services, {}, (_, writes) => writes.set(keys.productBySlug("x"), "y"), {
      operation: operationOf(caller, "x", null, { now: services.clock() }),
    });
  const superseded = jobOf(async (_services, _signal, caller) => {
    instances.advance(HOUR_MS);
    equal(await runJob(two.services, jobOf(DONE)), "ok");
    await write(one.services, caller);
    return {};
  });

  equal(await runJob(one.services, superseded), "lost");

  equal(await one.services.store.get(keys.productBySlug("x")), null);
  equal((await listJobRuns(one.services))[0]!.status, "ok");
  deepEqual(instances.events("alert.raised"), []);
});

Deno.test("a run over its time limit is aborted, recorded, and raises an alert", async () => {
  const { notifications, channels } = listener();
  await using instances = await startInstances({ channels });
  const job = jobOf(async (_services, signal) => {
    await sleep(HOUR_MS, signal);
    return {};
  }, { timeLimitMs: 50 });

  equal(await runJob(instances.services, job), "timed_out");

  const [run] = await listJobRuns(instances.services);
  equal(run!.status, "timed_out");
  equal(run!.error, "TimeLimitError: The job outbox took over 50 ms");
  equal(run!.failures, 1);
  deepEqual(notifications.map(({ state, name }) => [state, name]), [[
    "raised",
    "job_failed:outbox",
  ]]);
  equal((await instances.services.store.get(keys.lease("outbox")))!.until, 0);
});

Deno.test("a run that obeys its abort signal and leaves the rest to the next succeeds", async () => {
  await using instances = await startInstances();
  const job = jobOf(async (_services, signal) => {
    await sleep(HOUR_MS, signal).catch(() => {});
    return { isMore: true };
  }, { timeLimitMs: 50 });

  equal(await runJob(instances.services, job), "ok");
});

Deno.test("a run that ignores its abort signal is abandoned, and its lease expires", async () => {
  await using instances = await startInstances();
  const { services } = instances;
  const { promise, resolve } = Promise.withResolvers<JobOutcome>();
  const startedAt = performance.now();

  const status = await runJob(services, jobOf(() => promise, { timeLimitMs: 50 }));

  ok(performance.now() - startedAt < 8_000);
  equal(status, "timed_out");
  instances.advance(10 * SECOND_MS);
  equal(await runJob(services, jobOf(DONE), { isByHand: true }), "skipped");
  instances.advance(MINUTE_MS);
  equal(await runJob(services, jobOf(DONE)), "ok");
  resolve({});
});

Deno.test("a run stopped by the shutdown of its instance is not a failure", async () => {
  await using instances = await startInstances();
  const { services } = instances;
  const stop = new AbortController();
  const job = jobOf(async (_services, signal) => {
    stop.abort();
    await sleep(HOUR_MS, signal);
    return {};
  });

  equal(await runJob(services, job, { signal: stop.signal }), "stopped");

  const [run] = await listJobRuns(services);
  equal(run!.status, "stopped");
  equal(run!.failures, 0);
  deepEqual(instances.events("alert.raised"), []);
  equal((await services.store.get(keys.lease("outbox")))!.until, 0);
});

Deno.test("a failing job raises one alert, counts its failures, and is resolved by its next success", async () => {
  const { notifications, channels } = listener();
  await using instances = await startInstances({ count: 3, channels });
  const failing = jobOf(() => {
    throw new AppError("unavailable", "No mail to asha@example.com", {
      cause: new TypeError("refused"),
    });
  });
  const minute = async (job: Job) => {
    const all = await Promise.all(instances.all.map(({ services }) => runJob(services, job)));
    instances.advance(MINUTE_MS);
    return all.filter((status) => status !== "skipped");
  };

  for (let i = 0; i < 4; i++) deepEqual(await minute(failing), ["failed"]);
  const [failed] = await listJobRuns(instances.services);
  deepEqual(await minute(jobOf(DONE)), ["ok"]);
  deepEqual(await minute(jobOf(DONE)), ["ok"]);

  equal(failed!.error, "AppError: No mail to [redacted]");
  equal(failed!.failures, 4);
  equal(failed!.lastOkAt, null);
  deepEqual(notifications.map(({ state }) => state), ["raised", "resolved"]);
  const [raised, resolved] = notifications as [AlertNotification, AlertNotification];
  equal(raised.title, "The job outbox failed");
  equal(raised.detail, "AppError: No mail to [redacted]");
  equal(resolved.count, 4);
  const [run] = await listJobRuns(instances.services);
  equal(run!.failures, 0);
  const [line] = instances.events("job.ran");
  match(JSON.stringify(line!.error), /TypeError.*refused/);
  ok(!instances.logLines.join().includes("asha"));
});

Deno.test("a job without work does not start: no lease, no record, no line in the log", async () => {
  await using instances = await startInstances();
  const { services } = instances;
  let isDue = false;
  const job = jobOf(DONE, { isDue: () => Promise.resolve(isDue) });

  equal(await runJob(services, job), "skipped");
  deepEqual(await listJobRuns(services), []);
  equal(await services.store.get(keys.lease("outbox")), null);
  deepEqual(instances.events("job.ran"), []);
  // By hand it runs without asking isDue().
  equal(await runJob(services, job, { isByHand: true }), "ok");
  isDue = true;
  instances.advance(MINUTE_MS);
  equal(await runJob(services, job), "ok");
});

Deno.test("a job whose work cannot be determined is left to the next minute", async () => {
  await using instances = await startInstances();
  const job = jobOf(DONE, { isDue: () => Promise.reject(new AppError("unavailable", "No")) });

  equal(await runJob(instances.services, job), "skipped");

  equal(instances.events("job.not_claimed").length, 1);
});

Deno.test("a run that leaves work to the next one succeeds, but the job is not done", async () => {
  await using instances = await startInstances();
  const { services } = instances;
  const more = jobOf(() => Promise.resolve({ isMore: true, sent: 1 }));

  equal(await runJob(services, more), "ok");
  const [first] = await listJobRuns(services);
  instances.advance(MINUTE_MS);
  equal(await runJob(services, jobOf(DONE)), "ok");
  const [second] = await listJobRuns(services);
  instances.advance(MINUTE_MS);
  equal(await runJob(services, more), "ok");
  const [third] = await listJobRuns(services);

  deepEqual([first?.lastOkAt, first?.failures], [null, 0]);
  equal(second?.lastOkAt, new Date(START + MINUTE_MS).toISOString());
  equal(third?.lastOkAt, second?.lastOkAt);
});

Deno.test("a heartbeat is sent when the work is done or has failed, and otherwise not", async () => {
  const received: string[] = [];
  const stop = new AbortController();
  const serving = { hostname: "127.0.0.1", port: 0, onListen() {}, signal: stop.signal };
  const server = Deno.serve(serving, (request) => {
    received.push(new URL(request.url).pathname);
    return new Response();
  });
  await using instances = await startInstances();
  const url = `http://127.0.0.1:${server.addr.port}/s3cret`;
  const { config } = instances.services;
  const services = {
    ...instances.services,
    config: { ...config, heartbeats: [{ job: "outbox", url }] },
  };
  const minute = async (job: Job) => {
    await runJob(services, job);
    instances.advance(MINUTE_MS);
    return received.splice(0);
  };

  deepEqual(await minute(jobOf(DONE)), ["/s3cret"]);
  deepEqual(await minute(jobOf(DONE, { name: "other" })), []);
  deepEqual(await minute(jobOf(() => Promise.resolve({ isMore: true }))), []);
  deepEqual(await minute(jobOf(DONE, { isDue: () => Promise.resolve(false) })), []);
  deepEqual(await minute(jobOf(() => Promise.reject(new Error("x")))), ["/s3cret/fail"]);

  ok(!instances.logLines.join().includes("s3cret"));
  stop.abort();
  await server.finished;
});

Deno.test("the error tracker receives each run, and is flushed before the job ends", async () => {
  const calls: string[] = [];
  const errorTracker: ErrorTracker = {
    start() {},
    report() {},
    timed() {},
    async monitored({ name, schedule, timeLimitMs }, run) {
      calls.push(`${name} ${schedule} ${timeLimitMs}`);
      try {
        return await run();
      } catch (error) {
        calls.push(String(error));
        throw error;
      }
    },
    flush: () => Promise.resolve(void calls.push("flush")),
  };
  await using instances = await startInstances({ errorTracker });

  await runJob(instances.services, jobOf(DONE));
  instances.advance(MINUTE_MS);
  await runJob(instances.services, jobOf(() => Promise.reject(new Error("no"))));
  await runJob(instances.services, jobOf(DONE));

  deepEqual(calls, [
    "outbox * * * * * 30000",
    "flush",
    "outbox * * * * * 30000",
    "Error: no",
    "flush",
  ]);
});

Deno.test("a job of every instance runs on each, also while the store is down", async () => {
  const { notifications, channels } = listener();
  await using instances = await startInstances({ count: 2, channels });
  let runs = 0;
  const job = jobOf(() => Promise.resolve({ run: ++runs }), { isEverywhere: true });
  const runAll = () => Promise.all(instances.all.map(({ services }) => runJob(services, job)));

  deepEqual(await runAll(), ["ok", "ok"]);
  for (const { kv } of instances.all) kv.readFault = () => "error";
  deepEqual(await runAll(), ["ok", "ok"]);

  equal(runs, 4);
  equal(notifications.length, 0);
  equal(instances.events("job.not_recorded").length, 2);
});

Deno.test("a job that cannot be claimed does not run, and raises no alert", async () => {
  const { notifications, channels } = listener();
  await using instances = await startInstances({ channels });
  const { kv } = instances.at(0);
  kv.readFault = () => "hang";

  equal(await runJob(instances.services, jobOf(() => Promise.reject(new Error("ran")))), "skipped");

  equal(notifications.length, 0);
  equal(instances.events("job.not_claimed").length, 1);
});
