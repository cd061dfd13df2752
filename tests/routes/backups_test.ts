/**
 * Operators see what there is of backups, and may ask for one more.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { runJob } from "../../cron/_job.ts";
import { jobsOf } from "../../cron/mod.ts";
import type { Services } from "../../lib/app/mod.ts";
import { HOUR_MS, MINUTE_MS } from "../../lib/time.ts";
import { createApp } from "../../routes/mod.ts";
import { LEAD, startApp, type TestApp } from "../support/program/app.ts";
import { FaultyStorage } from "../support/store/plain_storage.ts";
import { asAdmin } from "../support/program/shop.ts";

/** The program with a folder of its own for backups. */
async function startWithFolder(): Promise<TestApp> {
  const folder = await Deno.makeTempDir();
  const app = await startApp({ env: { STORAGE_URL: `file:${folder}` } });
  return {
    ...app,
    async [Symbol.asyncDispose]() {
      await app.services.alerts.close();
      await app[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

async function run({ services, monitor }: TestApp, name: string): Promise<string> {
  return await runJob(services, jobsOf(services, monitor).find((job) => job.name === name)!);
}

const BACKUPS = "/api/v2/system/backups";
const DRILLS = "/api/v2/system/restore-drills";

Deno.test("POST /api/v2/system/backups asks for a backup, which the job takes and GET shows", async () => {
  await using app = await startWithFolder();
  await app.post("/api/v2/leads", LEAD);

  const before = await asAdmin(app, "GET", BACKUPS);
  const asked = await asAdmin(app, "POST", BACKUPS);
  const waiting = await asAdmin(app, "GET", BACKUPS);
  app.advance(MINUTE_MS);
  equal(await run(app, "backup"), "ok");
  const after = await asAdmin(app, "GET", BACKUPS);

  deepEqual(before.body, { data: [], nextCursor: null, underWay: null, askedAt: null, proofs: [] });
  equal(asked.status, 202);
  deepEqual(asked.body, { job: "backup", askedAt: "2026-06-15T09:00:00.000Z" });
  equal(waiting.body.askedAt, "2026-06-15T09:00:00.000Z");
  const { data: [backup, ...others], askedAt } = after.body;
  deepEqual([others.length, askedAt], [0, null]);
  match(backup.id, /^2026-06-15T09-01-00-000Z-[0-9a-f]{8}$/);
  equal(backup.pointInTime, "2026-06-15T09:01:00.000Z");
  deepEqual(Object.keys(backup).sort(), [
    ...["bytes", "durationMs", "entries", "id", "pointInTime", "verifiedAt"],
  ]);
  ok(backup.entries > 3 && backup.bytes > 100);
  ok(!JSON.stringify(after.body).includes("asha"));
});

Deno.test("GET /api/v2/system/backups shows the one that is being taken", async () => {
  await using app = await startWithFolder();
  await app.post("/api/v2/leads", LEAD);
  const storage = app.services.storage!;
  const { promise: isAt, resolve: arrive } = Promise.withResolvers<void>();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const slow = new FaultyStorage(storage);
  slow.put = async (...args: Parameters<typeof storage.put>) => {
    arrive();
    await released;
    return await storage.put(...args);
  };
  const services: Services = { ...app.services, storage: slow };
  const running = runJob(
    services,
    jobsOf(services, app.monitor).find(({ name }) => name === "backup")!,
  );
  await isAt;

  const { body } = await asAdmin(app, "GET", BACKUPS);
  release();

  equal(await running, "ok");
  const { id, ...underWay } = body.underWay;
  match(id, /^2026-06-15T09-00-00-000Z-/);
  deepEqual(underWay, { startedAt: "2026-06-15T09:00:00.000Z", phase: "scan", entries: 0 });
  equal((await asAdmin(app, "GET", BACKUPS)).body.underWay, null);
});

Deno.test("POST /api/v2/system/restore-drills asks for a drill of a backup that there is", async () => {
  await using app = await startWithFolder();
  await app.post("/api/v2/leads", LEAD);

  const early = await asAdmin(app, "POST", DRILLS);
  await run(app, "backup");
  await run(app, "restore_drill");
  app.advance(HOUR_MS);
  equal(await run(app, "restore_drill"), "skipped");
  const asked = await asAdmin(app, "POST", DRILLS);
  app.advance(MINUTE_MS);
  equal(await run(app, "restore_drill"), "ok");

  equal(early.status, 409);
  equal(early.body.detail, "Cannot run a restore drill: there is no backup yet");
  equal(asked.status, 202);
  const { data: [backup], proofs } = (await asAdmin(app, "GET", BACKUPS)).body;
  equal(proofs.length, 2);
  const { at, durationMs, ...proof } = proofs[0];
  equal(at, "2026-06-15T10:01:00.000Z");
  equal(durationMs, 0);
  deepEqual(proof, {
    kind: "drill",
    backupId: backup.id,
    pointInTime: backup.pointInTime,
    isProven: true,
    problem: null,
    entries: backup.entries,
    findings: 0,
  });
});

Deno.test("POST /api/v2/system/backups answers a repeated Idempotency-Key as before", async () => {
  await using app = await startWithFolder();
  const headers = { "idempotency-key": "before-the-import" };

  const first = await asAdmin(app, "POST", BACKUPS, { headers });
  app.advance(HOUR_MS);
  const again = await asAdmin(app, "POST", BACKUPS, { headers });

  deepEqual(again.body, first.body);
  equal((await asAdmin(app, "GET", BACKUPS)).body.askedAt, first.body.askedAt);
});

Deno.test("backups are read with system:read and asked for with system:write", async () => {
  await using app = await startWithFolder();
  const reader = await app.newKey("system:read");
  const writer = await app.newKey("system:write");
  const statusOf = async (method: string, path: string, key?: string) =>
    (await app.request(method, path, key ? { key } : {})).status;

  deepEqual(
    [
      await statusOf("GET", BACKUPS),
      await statusOf("GET", BACKUPS, writer),
      await statusOf("GET", BACKUPS, reader),
      await statusOf("POST", BACKUPS),
      await statusOf("POST", BACKUPS, reader),
      await statusOf("POST", BACKUPS, writer),
      await statusOf("POST", DRILLS),
      await statusOf("POST", DRILLS, reader),
      await statusOf("POST", DRILLS, writer),
    ],
    [401, 403, 200, 401, 403, 202, 401, 403, 409],
  );
});

Deno.test("where no storage is configured there is nothing to ask for", async () => {
  await using app = await startApp();
  const { storage: _, ...services } = app.services;
  const program = createApp(services, app.monitor);
  const headers = { authorization: `Bearer ${app.adminKey}`, host: "localhost" };

  for (const [method, path] of [["GET", BACKUPS], ["POST", BACKUPS], ["POST", DRILLS]] as const) {
    const url = `http://localhost${path}`;
    equal((await program.request(url, { method, headers })).status, 404, path);
  }
});
