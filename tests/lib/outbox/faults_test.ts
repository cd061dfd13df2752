/**
 * The outbox on a store that loses, refuses and leaves commits in doubt.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { newId } from "../../../lib/ids.ts";
import { sweep } from "../../../lib/integrity/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Outbox } from "../../../lib/outbox/mod.ts";
import { MINUTE_MS } from "../../../lib/time.ts";
import { until } from "../../support/program/until.ts";
import { startApp, type TestApp } from "../../support/program/app.ts";
import { deadlinesUnder } from "../../support/store/deadlines.ts";
import {
  bySchedule,
  type CommitFault,
  FaultyKv,
  newSeed,
  seededRandom,
} from "../../support/store/faulty_kv.ts";
import {
  BUSY,
  happen,
  hook,
  newOutbox,
  newPost,
  type Post,
  REFUSED,
  TAKEN,
} from "../../support/program/outbox.ts";

const DEADLINES = { readMs: 1_000, commitMs: 1_000, transactionMs: 2_000, fenceMs: 1_000 };

/** The program over a store with faults in front of it. */
async function startFaulty(): Promise<{ app: TestApp; kv: FaultyKv }> {
  const kvs: FaultyKv[] = [];
  const app = await startApp({
    deadlines: deadlinesUnder(() => kvs.some(({ hasFaults }) => hasFaults), DEADLINES),
    wrapKv: (opened) => {
      const kv = new FaultyKv(opened);
      kvs.push(kv);
      return kv;
    },
  });
  return { app, kv: kvs[0]! };
}

/** Runs until nothing is left to send, or `rounds` minutes have passed. */
async function runOut(app: TestApp, outboxes: Outbox[], rounds = 400): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    await Promise.allSettled(outboxes.map((outbox) => outbox.run()));
    const left = await app.services.store.list(keys.outboxDues, { limit: 1 }).catch(() => null);
    const events = await app.services.store.list(keys.outboxEvents, { limit: 1 }).catch(() => null);
    if (left?.length === 0 && events?.length === 0) return;
    app.advance(MINUTE_MS);
  }
}

const FAULTS: readonly CommitFault[] = ["lost-before", "lost-after", "false-conflict", "locked"];

Deno.test("run() loses no message and sends none twice while a quarter of all commits fail", async () => {
  const { app, kv } = await startFaulty();
  await using _ = app;
  const post = newPost();
  const random = seededRandom(newSeed("outbox faults"));
  const invoices = Array.from({ length: 10 }, () => newId(1));
  for (let i = 0; i < 60; i++) {
    await happen(app.services, { subject: { invoiceId: invoices[i % 10]! }, data: { i } });
  }
  const outboxes = [newOutbox(app.services, post), newOutbox(app.services, post)];
  const before = kv.commits.length;

  kv.commitFault = bySchedule(FAULTS, { share: 0.25, random });
  kv.readFault = bySchedule(["error"], { share: 0.02, random });
  await runOut(app, outboxes);
  kv.heal();
  await runOut(app, outboxes);

  ok(kv.commits.length - before > 60);
  equal(new Set(post.got.map(({ id }) => id)).size, 60);
  equal(post.got.length, 60);
  for (const invoiceId of invoices) {
    const sent = post.got.filter(({ subject }) => subject.invoiceId === invoiceId);
    const inOrder = sent.map(({ data }) => Number(data.i));
    deepEqual(inOrder, [...inOrder].sort((a, b) => a - b));
  }
  equal(await app.count(keys.messagesDone), 60);
  deepEqual((await sweep(app.services)).findings, []);
});

Deno.test("run() ends every message, whatever destinations and the store do at once", async () => {
  const { app, kv } = await startFaulty();
  await using _ = app;
  const post: Post = newPost();
  const random = seededRandom(newSeed("outbox moods"));
  const moods = [TAKEN, BUSY, REFUSED, { state: "skipped", reason: "none" } as const];
  post.answer = () => moods[Math.floor(random() * moods.length)]!;
  const hooks = [hook("a"), hook("b")];
  const outboxes = [0, 1].map(() =>
    newOutbox(app.services, post, (event) => hooks.map((each) => each(event)))
  );
  const invoices = Array.from({ length: 5 }, () => newId(1));
  for (let i = 0; i < 40; i++) {
    await happen(app.services, { subject: { invoiceId: invoices[i % 5]! } });
  }

  kv.commitFault = bySchedule(FAULTS, { share: 0.1, random });
  await runOut(app, outboxes, 100);
  kv.heal();
  await runOut(app, outboxes);
  await app.services.alerts.close();

  const dead = await app.count(keys.messagesDead);
  equal(await app.count(keys.messagesDone) + dead, 80);
  equal(await app.count(keys.messages), dead);
  equal(await app.count(["message_order"]), 0);
  deepEqual((await sweep(app.services)).findings, []);
});

Deno.test("a result that could not be stored is recorded when the store recovers", async () => {
  const { app, kv } = await startFaulty();
  await using _ = app;
  const post = newPost();
  await happen(app.services);
  post.answer = () => {
    kv.commitFault = () => "lost-before";
    setTimeout(() => kv.heal(), 2_500);
    return TAKEN;
  };

  const tally = await newOutbox(app.services, post).run();

  equal(tally.sent, 1);
  equal(post.got.length, 1);
  equal(await app.count(keys.messagesDone), 1);
});

Deno.test("an event whose commit was applied without a reply wakes the outbox too", async () => {
  const { app: started, kv } = await startFaulty();
  await using app = started;
  const post = newPost();
  const outbox = newOutbox(app.services, post);
  outbox.start();
  let hasFailed = false;
  kv.commitFault = () => {
    if (hasFailed) return "ok";
    hasFailed = true;
    return "lost-after";
  };

  await happen(app.services);

  await until(async () => await app.count(keys.messagesDone) === 1);
  await outbox.stop(5_000);
  equal(post.got.length, 1);
});

Deno.test("events without messages are deleted together in one commit", async () => {
  const { app: started, kv } = await startFaulty();
  await using app = started;
  for (let i = 0; i < 30; i++) await happen(app.services);
  const before = kv.commits.length;

  const counts = await newOutbox(app.services, newPost(), () => []).run();

  equal(counts.events, 30);
  equal(kv.commits.length - before, 1);
  equal(await app.count(keys.outboxEvents), 0);
});
