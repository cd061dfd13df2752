/**
 * Transactions side by side: batches, refusals, repetitions, limits, several
 * instances, and the log. What faults do to them is in `faults_test.ts`.
 */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { AppError } from "../../../lib/errors.ts";
import { newId } from "../../../lib/ids.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Key } from "../../../lib/kv/keys.ts";
import { DEADLINES } from "../../../lib/kv/deadlines.ts";
import { Store } from "../../../lib/kv/store.ts";
import { transact } from "../../../lib/kv/mod.ts";
import type { Writes } from "../../../lib/kv/transaction.ts";
import { RECEIPT_MS } from "../../../lib/entities/caller.ts";
import { changeProduct, createProduct } from "../../../lib/products/mod.ts";
import { PRODUCT, startApp, TEST_START, TESTER } from "../../support/program/app.ts";
import { bySchedule, type FaultyKv, newSeed, seededRandom } from "../../support/store/faulty_kv.ts";
import {
  addOne,
  BRISK,
  durableOf,
  openStores,
  replayed,
  run,
  startFaultyApp,
  temporaryFolder,
  TOTAL,
} from "../../support/store/faulty_store.ts";
import { ask, askAll, booksOf, countBy, ONCE } from "../../support/processes/many_leads.ts";

Deno.test("transactions that wait at the same time share one commit, and each sees those before it", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;

  const results = await Promise.all(Array.from({ length: 20 }, () => addOne(store)));

  deepEqual(results, Array.from({ length: 20 }, (_, i) => i + 1));
  equal(kv.commits.length, 1);
  equal(await store.get(TOTAL), 20);
});

Deno.test("a refused transaction in a batch writes nothing and does not disturb the others", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;
  const refuse = () =>
    run(store, { total: TOTAL }, ({ total }, writes) => {
      writes.set(TOTAL, 1_000);
      throw new AppError("conflict", `Refused at ${total}`);
    });

  const [first, refused, last] = await Promise.allSettled([
    addOne(store),
    refuse(),
    addOne(store),
  ]);

  deepEqual(first, { status: "fulfilled", value: 1 });
  deepEqual(last, { status: "fulfilled", value: 2 });
  ok(refused.status === "rejected" && /Refused at 1/.test(refused.reason.message));
  equal(kv.commits.length, 1);
  equal(kv.commits[0]!.keys.filter(([first]) => first === "op").length, 2);
  equal(await store.get(TOTAL), 2);
});

Deno.test("a refusal alone commits nothing", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;
  const refusal = new AppError("not_found", "No such thing");

  const refused = run(store, { total: TOTAL }, (_, writes) => {
    writes.set(TOTAL, 1);
    throw refusal;
  });

  await rejects(refused, (error) => error === refusal);
  equal(kv.commits.length, 0);
  equal(await store.get(TOTAL), null);
});

Deno.test("an idempotency key twice in one batch is one write and one replay", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;

  const results = await Promise.all([
    addOne(store, { id: "key" }),
    addOne(store, { id: "key" }),
    addOne(store, { id: "another" }),
  ]);

  deepEqual(results, [1, 1, 2]);
  equal(kv.commits.length, 1);
  equal(await store.get(TOTAL), 2);
});

Deno.test("an idempotency key with another request is refused, in the same batch and later", async () => {
  await using stores = await openStores();
  const { store } = stores;
  const reuse = () => addOne(store, { id: "key", fingerprint: "another" });

  const [first, inBatch] = await Promise.allSettled([addOne(store, { id: "key" }), reuse()]);

  deepEqual(first, { status: "fulfilled", value: 1 });
  ok(inBatch.status === "rejected" && inBatch.reason.kind === "idempotency_key_reused");
  await rejects(reuse(), { kind: "idempotency_key_reused" });
  equal(await store.get(TOTAL), 1);
});

Deno.test("an expired receipt counts as absent although KV still returns it", async () => {
  await using app = await startFaultyApp(BRISK);
  app.kv.isExpiring = false;
  await ask(app, 0);
  const receipts = () => app.count(["op"]);
  const before = await receipts();

  app.advance(RECEIPT_MS - 1);
  await ask(app, 0);
  deepEqual(await booksOf(app, 1), [ONCE]);
  app.advance(1);
  const again = await ask(app, 0);

  equal(again.kind, "stored");
  deepEqual(await booksOf(app, 1), ["2 leads, 2 invoices"]);
  equal(await receipts(), before);
});

Deno.test("two instances on one file issue numbers without gaps, and callers see no conflicts", async () => {
  await using folder = await temporaryFolder();
  await using here = await startFaultyApp(DEADLINES, { KV_PATH: folder.file });
  await using there = await startApp({ env: { KV_PATH: folder.file } });
  const doors = [here, { services: there.services, product: here.product }];

  const answers = await askAll(300, (i) => ask(doors[i % 2]!, i), 32);

  deepEqual(countBy(answers, ({ kind }) => kind), { stored: 300 });
  deepEqual(new Set(await booksOf(here, 300)), new Set([ONCE]));
});

Deno.test("four stores on one file lose no addition", async () => {
  await using folder = await temporaryFolder();
  const options = {
    clock: () => TEST_START,
    random: Math.random,
    isEmbedded: true,
    checksMax: 100,
  };
  const stores = await Promise.all(
    Array.from({ length: 4 }, async () => new Store(await Deno.openKv(folder.file), options)),
  );

  const results = await askAll(120, (i) => addOne(stores[i % 4]!), 16);
  const total = await stores[0]!.get(TOTAL);
  for (const store of stores) await store.close();

  deepEqual(results.toSorted((a, b) => a - b), Array.from({ length: 120 }, (_, i) => i + 1));
  equal(total, 120);
});

Deno.test("a write beyond the queue limit is refused immediately, and the queue drains", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;
  kv.readFault = () => "hang";
  const waiting = Array.from({ length: 2_000 }, () => addOne(store));

  const refused = addOne(store);

  await rejects(refused, { kind: "unavailable", message: "Too many writes are waiting" });
  equal(kv.commits.length, 0);
  for (const write of waiting) await rejects(write, { kind: "unavailable" });
  kv.heal();
  equal(await addOne(store), 1);
});

Deno.test("a value of 65,536 bytes is stored, and one byte more is refused before KV sees it", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;
  const key: Key<string> = ["text"];
  const put = (length: number) =>
    run(store, {}, (_, writes) => writes.set(key, "x".repeat(length - '1 ""'.length)));

  await put(65_536);
  await rejects(put(65_537), { name: "AppError", kind: "payload_too_large" });

  equal(kv.commits.length, 1);
  equal((await store.get(key))?.length, 65_532);
});

Deno.test("a transaction of 900 writes is stored, and one more is refused before KV sees it", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;
  const put = (count: number) =>
    run(store, {}, (_, writes) => {
      for (let i = 0; i < count; i++) writes.set(["n", i], i);
    });

  await put(899); // and its receipt
  await rejects(put(900), { name: "AppError", kind: "internal" });

  equal(kv.commits.length, 1);
  equal((await store.list(["n"], { limit: 1_000 })).length, 899);
});

const PUTS: Record<string, (writes: Writes, i: number) => void> = {
  "many writes": (writes, i) => {
    for (let n = 0; n < 50; n++) writes.set(["n", i, n], i);
  },
  "large values": (writes, i) => writes.set(["n", i], "x".repeat(60_000)),
  "long keys": (writes, i) => writes.set(["n", i, "k".repeat(1_800)], i),
};

for (const [what, put] of Object.entries(PUTS)) {
  Deno.test(`${what} that exceed one atomic operation are committed in several, in order`, async () => {
    await using stores = await openStores();
    const { kv, store } = stores;
    const count = 50;

    const results = await Promise.all(
      Array.from({ length: count }, (_, i) =>
        run(store, { total: TOTAL }, ({ total }, writes) => {
          writes.set(TOTAL, (total ?? 0) + 1);
          put(writes, i);
          return (total ?? 0) + 1;
        })),
    );

    deepEqual(results, Array.from({ length: count }, (_, i) => i + 1));
    const { commits, state } = await replayed(kv);
    ok(commits.length > 1 && commits.length < count, `${commits.length} commits`);
    equal(kv.commits.length, commits.length, "A commit was refused by KV");
    deepEqual(state, await durableOf(kv));
    const stored = await store.list<unknown>(["n"], { limit: 10_000 });
    equal(new Set(stored.map(({ key }) => key[1])).size, count);
  });
}

Deno.test("the last of several writes to one key in a transaction wins, in the log too", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;

  await run(store, {}, (_, writes) => {
    writes.set(["a"], 1);
    writes.set(["a"], 2);
    writes.set(["b"], 1);
    writes.delete(["b"]);
  });

  deepEqual(await store.list([], { limit: 10, end: ["head"] }), [{ key: ["a"], value: 2 }]);
  deepEqual((await replayed(kv)).state, new Map([['["a"]', "1 2"]]));
});

Deno.test("on a remote store only transactions that share a hot key are grouped, and others run in parallel", async () => {
  await using stores = await openStores({ isEmbedded: false });
  const { kv, store } = stores;
  const put = (i: number, hotKey?: string) =>
    transact({ store }, {}, (_, writes) => writes.set(["n", i], i), {
      operation: { id: newId(TEST_START), fingerprint: "", isNew: true, keepMs: RECEIPT_MS },
      ...(hotKey === undefined ? {} : { hotKey }),
    });

  await Promise.all(Array.from({ length: 10 }, (_, i) => put(i)));
  const alone = kv.commits.length;
  await Promise.all(Array.from({ length: 10 }, (_, i) => put(i, "hot")));

  equal(alone, 10);
  equal(kv.commits.length - alone, 1);
});

Deno.test("replaying the log restores the store: one log entry per commit, in commit order", async () => {
  const random = seededRandom(newSeed("log"));
  await using app = await startFaultyApp(BRISK);
  const { services, kv } = app;
  kv.commitFault = bySchedule(["lost-after", "false-conflict", "lost-before"], {
    share: 0.25,
    random,
  });
  const before = kv.commits.length;
  await askAll(60, (i) => ask(app, i));
  for (const slug of ["one", "two", "three"]) {
    const { id } = await createProduct(services, { ...PRODUCT, slug }, TESTER);
    await changeProduct(services, id, { slug: `${slug}-more` }, { by: TESTER });
  }
  await run(services.store, {}, (_, writes) => {
    for (let i = 0; i < 5; i++) writes.set(["large", i], `\t\n${i}`.repeat(9_000));
  });
  await run(services.store, {}, (_, writes) => writes.delete(["large", 3]));
  kv.heal();

  const { commits, state } = await replayed(kv);

  deepEqual(state, await durableOf(kv));
  ok(commits.some(({ parts }) => parts > 1), "No entry was split");
  ok(commits.length <= kv.commits.length - before + 1);
  const logged = new Set(commits.map(({ stamp }) => stamp));
  deepEqual((await stampsOf(kv)).difference(logged), new Set());
});

/** The versionstamps of all durable entries. */
async function stampsOf(kv: FaultyKv): Promise<Set<string>> {
  const entries = await Array.fromAsync(kv.list({ prefix: [] }));
  return new Set(
    entries.filter(({ key }) => keys.isDurable(key as Key<unknown>))
      .map(({ versionstamp }) => versionstamp),
  );
}
