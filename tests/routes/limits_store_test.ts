/** Rate limits hold across processes, while the store hangs, and leave nothing behind. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import * as keys from "../../lib/kv/keys.ts";
import { transact } from "../../lib/kv/mod.ts";
import { newId } from "../../lib/ids.ts";
import { LEAD, startApp } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { campaignSize } from "../support/program/campaign.ts";
import { newKvFile, SHORT_DEADLINES, type TestShop } from "../support/program/shop.ts";
import { until } from "../support/program/until.ts";
import { type ServerProcess, startServer } from "../support/processes/server_process.ts";
import { assertLimited, postFrom, startLimited } from "./_limits.ts";

Deno.test("a hanging store loses no lead and lets none past the limit", async () => {
  await using app = await startLimited("lead_post=2/1m", { deadlines: SHORT_DEADLINES });
  const post = (key: string) =>
    postFrom(app, "192.0.2.1", { email: `${key}@example.com` }, { "idempotency-key": key });

  app.kv.isHanging = true;
  const unavailable = await post("first");
  app.kv.isHanging = false;
  assertProblem(unavailable, 503, "unavailable");
  equal(await app.count(keys.leads), 0);

  // This one is stored, although its outcome is unknown.
  app.kv.hangNextCommitOnwards();
  const unknown = await post("second");
  app.kv.isHanging = false;
  assertProblem(unknown, 503, "outcome_unknown");
  equal((await post("second")).status, 201);
  equal(await app.count(keys.leads), 1);

  equal((await post("first")).status, 201);
  assertLimited(await post("third"), 60);
  equal(await app.count(keys.leads), 2);
});

const SERVERS = 3;
const POSTS = 300;
const LIMIT = 20;

Deno.test(`${SERVERS} processes on one store accept exactly ${LIMIT} of ${POSTS} simultaneous leads`, async () => {
  await using file = await newKvFile();
  const env = { RATE_LIMITS: `lead_post=${LIMIT}/1m` };
  const start = () => startServer({ kvPath: file.path, env });
  await using first = await start();
  await using second = await start();
  await using third = await start();
  const servers: ServerProcess[] = [first, second, third];

  const statuses = await Promise.all(Array.from({ length: POSTS }, async (_, i) => {
    const response = await fetch(`${servers[i % SERVERS]!.url}/api/v2/leads`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...LEAD, email: `visitor${i}@example.com` }),
    });
    await response.body?.cancel();
    return response.status;
  }));

  deepEqual(statuses.sort(), [...Array(LIMIT).fill(201), ...Array(POSTS - LIMIT).fill(429)]);
  await using app = await startApp({ env: { KV_PATH: file.path } });
  equal(await app.count(keys.leads), LIMIT);
  equal(await app.count(["rate"]), 1 + LIMIT);
});

const SUBJECTS = campaignSize("LIMIT_SUBJECTS", { everyday: 10_000, soak: 100_000 });
/** As many as a transaction reads. */
const GUARDS = 9;

Deno.test(`${SUBJECTS} subjects leave no key behind once their windows have expired`, async () => {
  await using file = await newKvFile();
  const startedAt = Date.now();
  {
    await using app = await startLimited("lead_post=10/1m", {
      env: { KV_PATH: file.path },
      useRealClock: true,
    });
    for (let first = 0; first < SUBJECTS; first += 100 * GUARDS) {
      const transactions = Array.from({ length: 100 }, (_, i) => first + i * GUARDS)
        .filter((from) => from < SUBJECTS)
        .map((from) => countFor(app, from, Math.min(from + GUARDS, SUBJECTS)));
      await Promise.all(transactions);
    }
    equal(await app.count(["rate"]), SUBJECTS);
  }

  const expiries = storedExpiries(file.path);
  equal(expiries.length, SUBJECTS + Math.ceil(SUBJECTS / GUARDS));
  const latest = Date.now() + 2 * 60_000 + 10;
  const windows = expiries.filter((at) => at > startedAt + 60_000 && at <= latest);
  equal(windows.length, SUBJECTS);
  // The rest are receipts, which have to expire as well.
  ok(expiries.every((at) => at > 0 && at < Date.now() + 3 * 86_400_000));
  letTimePass(file.path, 3 * 86_400_000);
  using kv = await Deno.openKv(file.path);
  // A KV deletes what has expired after it is opened.
  await until(async () => {
    const left = await Array.fromAsync(kv.list({ prefix: [] }, { limit: 2 }), ({ key }) => key[0]);
    return left.join() === "head";
  });
});

/** Counts one request each for some of the subjects. */
function countFor({ services }: TestShop, from: number, to: number): Promise<null> {
  const guards = Array.from(
    { length: to - from },
    (_, i) => services.limiter.guard("lead_post", `subject ${from + i}`)!,
  );
  const operation = {
    id: newId(services.clock()),
    fingerprint: "",
    isNew: true,
    keepMs: 60_000,
    guards,
  };
  return transact(services, {}, () => null, { operation });
}

/** Does something with the database that a KV file is. */
function inDatabase<T>(path: string, act: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(path);
  try {
    return act(database);
  } finally {
    database.close();
  }
}

/** When each entry of a KV file expires, in milliseconds UTC. */
function storedExpiries(path: string): number[] {
  const rows = inDatabase(
    path,
    // The head is the store's own, and stays.
    (database) =>
      database.prepare("select expiration_ms as at from kv where k <> x'026865616400'").all(),
  );
  return rows.map(({ at }) => Number(at));
}

/** Makes everything in a KV file older. */
function letTimePass(path: string, ms: number): void {
  inDatabase(
    path,
    (database) => database.prepare("update kv set expiration_ms = expiration_ms - ?").run(ms),
  );
}
