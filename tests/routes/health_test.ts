/**
 * Health is what a pinger without credentials can act on: a status from a real
 * write and read, within a bound, at the cost of one look however many ask.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { type Job, runJob } from "../../cron/_job.ts";
import { HealthMonitor } from "../../lib/health/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import { DEADLINES } from "../../lib/kv/deadlines.ts";
import { transact } from "../../lib/kv/mod.ts";
import { operationOf } from "../../lib/entities/caller.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS, SECOND_MS } from "../../lib/time.ts";
import { storeTimetable } from "../../lib/jobs/timetable.ts";
import { createApp } from "../../routes/mod.ts";
import { accessLog } from "../support/program/answers.ts";
import { TEST_START, TESTER } from "../support/program/app.ts";
import { asAdmin, SHORT_DEADLINES, startShop, type TestShop } from "../support/program/shop.ts";

/** Reads beside that of the probe, in the meantime of it; the runs of jobs are listed. */
const PROBES = 3;

Deno.test("GET /health says that all is well, after a write and a read", async () => {
  await using app = await startShop({ env: { APP_VERSION: "2026.6.1" } });
  app.advance(90_500);

  const { status, headers, body } = await app.get("/health");

  equal(status, 200);
  equal(headers.get("content-type"), "application/json");
  equal(headers.get("cache-control"), "no-store");
  ok(headers.has("x-request-id"));
  const { latencyMs } = body.checks.store;
  ok(latencyMs >= 0 && latencyMs < 500);
  deepEqual(body, {
    status: "healthy",
    version: "2026.6.1",
    uptimeS: 90,
    at: "2026-06-15T09:01:30.500Z",
    checks: {
      jobs: { status: "healthy" },
      backup: { status: "healthy" },
      restoreProof: { status: "healthy" },
      store: { status: "healthy", latencyMs },
    },
  });
  deepEqual([app.kv.commits, app.kv.reads], [1, 1 + PROBES]);
});

for (
  const path of [
    "/health",
    "/health/",
    "/health/live",
    "/health/live/",
    "/health/ready",
    "/health/ready/",
  ]
) {
  Deno.test(`HEAD ${path} answers as GET does, without a body`, async () => {
    await using app = await startShop();

    const get = await app.get(path);
    const head = await app.request("HEAD", path);

    for (const { status, headers } of [get, head]) {
      equal(status, 200);
      equal(headers.get("content-type"), "application/json");
      equal(headers.get("cache-control"), "no-store");
      ok(!headers.has("location"));
    }
    ok(get.text.length > 2);
    equal(head.text, "");
  });
}

Deno.test("50 pings at once share one look at the store", async () => {
  await using app = await startShop();
  // Without sockets, all of them arrive before the look of the first has its answer.
  const program = createApp(app.services, app.monitor);
  const held = app.kv.holdNextRead();

  const pings = Array.from({ length: 50 }, async () => await program.request("/health"));
  await held.answered;
  held.release();
  const answers = await Promise.all(pings);

  deepEqual([...new Set(answers.map(({ status }) => status))], [200]);
  deepEqual([app.kv.commits, app.kv.reads], [1, 1 + PROBES]);
  equal(new Set(answers.map(({ headers }) => headers.get("x-request-id"))).size, 50);
  await app.get("/health");
  equal(app.kv.commits, 2);
});

Deno.test("GET /health looks at jobs and backups every ten seconds, however often it is asked", async () => {
  await using app = await startShop();

  for (let second = 0; second < 21; second++) {
    await app.get("/health");
    app.advance(SECOND_MS);
  }

  deepEqual([app.kv.commits, app.kv.reads], [21, 21 + 3 * PROBES]);
});

/** Stores something as it would be found there. */
async function store<T>({ services }: TestShop, key: keys.Key<T>, value: T): Promise<void> {
  const operation = operationOf(TESTER, "test", null, { now: services.clock() });
  await transact(services, {}, (_, writes) => writes.set(key, value), { operation });
}

const DRILL = {
  kind: "drill",
  backupId: "b1",
  isProven: true,
  problem: null,
  findings: 0,
} as const;

Deno.test("GET /health is degraded when the newest backup is of over 26 hours ago, and never unhealthy", async () => {
  await using app = await startShop();
  const look = async () => {
    const { status, body } = await app.get("/health", app.adminKey);
    return [status, body.status, body.checks.backup];
  };
  const pointInTime = isoTime(TEST_START);
  await store(app, keys.newestBackup, { id: "b1", epoch: "e", pointInTime });

  app.advance(26 * HOUR_MS);
  const young = await look();
  app.advance(MINUTE_MS);
  const old = await look();
  app.advance(400 * DAY_MS);
  const [status, word] = await look();

  deepEqual(young, [200, "healthy", { status: "healthy", ageS: 26 * 3_600, reason: null }]);
  deepEqual(old, [200, "degraded", {
    status: "degraded",
    ageS: 26 * 3_600 + 60,
    reason: `The last backup is from ${pointInTime}, over 26 hours ago`,
  }]);
  deepEqual([status, word], [200, "degraded"]);
  deepEqual((await app.get("/health")).body.checks.backup, { status: "degraded" });
});

Deno.test("GET /health waits 26 hours for the first backup, and eight days for the first proof", async () => {
  await using app = await startShop();
  const look = async () => {
    const { backup, restoreProof } = (await app.get("/health", app.adminKey)).body.checks;
    return [backup.status, backup.ageS, restoreProof.status, restoreProof.ageS];
  };

  app.advance(26 * HOUR_MS);
  deepEqual(await look(), ["healthy", null, "healthy", null]);
  app.advance(MINUTE_MS);
  deepEqual(await look(), ["degraded", null, "healthy", null]);
  app.advance(7 * DAY_MS);
  deepEqual(await look(), ["degraded", null, "degraded", null]);
  // An instance that has just begun knows from the store how long that has been so.
  const backup = { schedule: "0 2 * * *", withinMs: HOUR_MS, since: isoTime(TEST_START) };
  const at = isoTime(TEST_START);
  await store(app, keys.timetable, { jobs: { backup }, resumedAt: at });
  const fresh = new HealthMonitor(app.services);
  equal((await fresh.check()).checks.backup?.status, "degraded");
});

Deno.test("GET /health is degraded when no restore was proven for eight days, or the last was not", async () => {
  await using app = await startShop();
  const at = isoTime(TEST_START);
  const proof = { ...DRILL, at, pointInTime: at, entries: 1, durationMs: 1 };
  const look = async () => (await app.get("/health", app.adminKey)).body.checks.restoreProof;
  await store(app, keys.newestProof, proof);

  app.advance(8 * DAY_MS);
  const young = await look();
  app.advance(MINUTE_MS);
  const old = await look();
  await store(app, keys.newestProof, { ...proof, isProven: false, problem: "It is damaged" });
  app.advance(MINUTE_MS);
  const failed = await look();

  deepEqual([young.status, young.ageS], ["healthy", 8 * 86_400]);
  equal(old.status, "degraded");
  deepEqual([failed.status, failed.reason], [
    "degraded",
    "Backup b1 cannot be restored: It is damaged",
  ]);
});

Deno.test("GET /health is degraded while a job fails, or was not done in time", async () => {
  await using app = await startShop();
  const { services } = app;
  const look = async (key?: string) => (await app.get("/health", key)).body;
  const job = (fields: Partial<Job>): Job => ({
    name: "outbox",
    schedule: "* * * * *",
    timeLimitMs: MINUTE_MS,
    run: () => Promise.resolve({}),
    ...fields,
  });
  const reject = () => Promise.reject(new Error("No mail to asha@example.com"));
  await storeTimetable(services, [{ name: "outbox", schedule: "* * * * *", withinMs: MINUTE_MS }]);
  await runJob(services, job({}));
  const well = await look(app.adminKey);

  app.advance(MINUTE_MS);
  await runJob(services, job({ run: reject }));
  const failing = await look(app.adminKey);
  const strangers = await look();
  app.advance(MINUTE_MS);
  await runJob(services, job({}));
  const mended = await look();
  app.advance(3 * MINUTE_MS);
  const missed = await look(app.adminKey);

  deepEqual(well.checks.jobs, { status: "healthy", reason: null });
  equal(failing.status, "degraded");
  equal(failing.checks.jobs.reason, "outbox failed: Error: No mail to [redacted]");
  deepEqual(strangers.checks.jobs, { status: "degraded" });
  equal(mended.status, "healthy");
  match(
    missed.checks.jobs.reason,
    /^outbox was due at 2026-06-15T09:03:00.000Z and has not finished$/,
  );
});

Deno.test("GET /health has no check of backups where none are configured", async () => {
  await using app = await startShop();
  const { storage: _, ...services } = app.services;

  const { checks } = await new HealthMonitor(services).check();

  deepEqual(Object.keys(checks).sort(), ["jobs", "store"]);
});

Deno.test("GET /health says that it could not look, when only that fails", async () => {
  await using app = await startShop();
  await app.kv.corrupt([...keys.timetable]);

  const { body, status } = await app.get("/health", app.adminKey);
  const again = await app.get("/health");

  equal(status, 200);
  deepEqual(body.checks.jobs, {
    status: "degraded",
    reason: "The check failed: see health.check_failed in the log",
  });
  equal(body.checks.store.status, "healthy");
  equal(again.body.status, "degraded");
  await app.kv.restore([...keys.timetable]);
  equal((await app.get("/health")).body.status, "healthy");
});

Deno.test("GET /health says 503 within a bound while the store hangs, and recovers", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES });
  app.kv.isHanging = true;
  const startedAt = performance.now();

  const sick = await app.get("/health");
  const head = await app.request("HEAD", "/health");
  const ready = await app.get("/health/ready");
  const tookMs = performance.now() - startedAt;

  equal(sick.status, 503);
  equal(sick.headers.get("cache-control"), "no-store");
  equal(sick.headers.get("content-type"), "application/json");
  equal(sick.body.status, "unhealthy");
  deepEqual(sick.body.checks.store, { status: "unhealthy", latencyMs: null });
  equal(head.status, 503);
  equal(ready.status, 503);
  deepEqual(ready.body, { status: "not_ready" });
  ok(tookMs < 2_000, `It took ${tookMs} ms`);
  app.kv.isHanging = false;
  equal((await app.get("/health")).status, 200);
  equal((await app.get("/health/ready")).status, 200);
});

Deno.test("a pinger that waits ten seconds gets its answer from a store that hangs", () => {
  ok(DEADLINES.commitMs + DEADLINES.readMs < 10_000);
});

Deno.test("GET /health/live says that the process answers, and asks the store nothing", async () => {
  await using app = await startShop();
  app.kv.isHanging = true;

  const { status, body } = await app.get("/health/live");

  equal(status, 200);
  deepEqual(body, { status: "live" });
  deepEqual([app.kv.commits, app.kv.reads], [0, 0]);
});

Deno.test("GET /health/ready says 503 once the instance is stopping, which stays live and healthy", async () => {
  await using app = await startShop();
  const before = await app.get("/health/ready");

  app.monitor.stop();
  const after = await app.get("/health/ready");

  deepEqual([before.status, before.body], [200, { status: "ready" }]);
  deepEqual([after.status, after.body], [503, { status: "not_ready" }]);
  equal((await app.get("/health/live")).status, 200);
  equal((await app.get("/health")).body.status, "healthy");
});

Deno.test("GET /health shows reasons only to keys that may read the system", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES });
  const operator = await app.newKey("system:read");
  const other = await app.newKey("leads:read", "products:write");
  const reasonFor = async (key?: string) =>
    (await app.get("/health", key)).body.checks.store.reason;

  equal(await reasonFor(operator), null);
  equal(await reasonFor(app.adminKey), null);
  for (const key of [undefined, other, "garbage", `${operator}x`]) {
    equal(await reasonFor(key), undefined, key);
  }
  app.kv.isHanging = true;
  match(await reasonFor(app.adminKey), /took over \d+ ms/);
  equal(await reasonFor(), undefined);
  // A stored key cannot be checked now: short, but an answer.
  equal(await reasonFor(operator), undefined);
});

Deno.test("GET /health/details says nothing: there is one health page", async () => {
  await using app = await startShop();

  equal((await asAdmin(app, "GET", "/health/details")).status, 404);
});

Deno.test("an unhealthy store is logged with the reason", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES });
  app.kv.isHanging = true;

  await app.get("/health");

  const errors = app.logLines.map((line) => JSON.parse(line)).filter(({ level }) =>
    level === "error"
  );
  deepEqual(errors.map(({ event }) => event), ["health.store_failed"]);
  match(JSON.stringify(errors[0]), /took over/);
  equal(accessLog(app).at(-1)?.status, 503);
});

const CHECK_HTTP = "/usr/lib/nagios/plugins/check_http";

/** Runs the pinger that Nagios and Icinga run. */
async function ping(url: string, ...options: string[]): Promise<{ code: number; says: string }> {
  const { hostname, port, pathname } = new URL(url);
  const args = ["-I", hostname, "-p", port, "-u", pathname, "-t", "10", ...options];
  const { code, stdout } = await new Deno.Command(CHECK_HTTP, { args }).output();
  return { code, says: new TextDecoder().decode(stdout) };
}

const hasPinger = await Deno.stat(CHECK_HTTP).then(() => true, () => false);
const install = hasPinger ? "" : " (apt-get install monitoring-plugins-basic)";

Deno.test({
  name: `the check_http of Debian understands /health, in health and in sickness${install}`,
  ignore: !hasPinger,
  async fn() {
    await using app = await startShop({ deadlines: SHORT_DEADLINES });

    for (const path of ["/health", "/health/"]) {
      const well = await ping(app.url + path, "-s", '"status":"healthy"', "-e", "200");
      deepEqual([well.code, well.says.slice(0, 7)], [0, "HTTP OK"], well.says);
    }
    for (const path of ["/health", "/health/ready", "/health/live"]) {
      const head = await ping(app.url + path, "-j", "HEAD");
      deepEqual(head.code, 0, head.says);
    }
    app.kv.isHanging = true;
    for (const path of ["/health", "/health/ready"]) {
      const sick = await ping(app.url + path);
      equal(sick.code, 2, sick.says);
      match(sick.says, /HTTP CRITICAL.* 503 /);
    }
    equal((await ping(`${app.url}/health/live`)).code, 0);
  },
});
