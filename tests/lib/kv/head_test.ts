/**
 * One check of the head stands for checks of all that a commit relies on: with several processes
 * on one store, replies that are lost, and writers that use no transaction.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import type { RestoreProgress } from "../../../lib/kv/backup_records.ts";
import { BulkWriter } from "../../../lib/kv/bulk.ts";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { CommitFault } from "../../support/store/faulty_kv.ts";
import { addOne, openStores, run, TOTAL } from "../../support/store/faulty_store.ts";

const PROGRESS: RestoreProgress = {
  step: 0,
  by: "",
  backupId: "b",
  target: "b",
  phase: "base",
  part: 0,
  line: 0,
  stamp: "",
  entries: 0,
  startedAt: 0,
};

Deno.test("two processes that alternate on one store lose no write of each other", async () => {
  await using stores = await openStores();
  const { store, other } = stores;

  const sums: number[] = [];
  for (let i = 0; i < 20; i++) sums.push(await addOne(i % 2 === 0 ? store : other));

  deepEqual(sums, Array.from({ length: 20 }, (_, i) => i + 1));
});

Deno.test("two processes that write at once count each write once", async () => {
  await using stores = await openStores();
  const { store, other } = stores;

  await Promise.all(
    Array.from({ length: 100 }, (_, i) => addOne(i % 3 === 0 ? other : store)),
  );

  equal(await store.get(TOTAL), 100);
});

Deno.test("a process alone checks one key a commit and reads the head once", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;
  await addOne(store);
  const before = { reads: kv.reads, commits: kv.commits.length };

  await addOne(store);

  deepEqual([kv.reads - before.reads, kv.commits.length - before.commits], [1, 1]);
  ok(kv.commits.at(-1)!.keys.some((key) => key[0] === keys.head[0]));
});

Deno.test("transactions on many different keys share one commit", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;
  await addOne(store);
  const before = kv.commits.length;

  await Promise.all(Array.from({ length: 60 }, (_, i) => {
    const own: keys.Key<number>[] = Array.from({ length: 5 }, (_, j) => ["n", `${i}-${j}`]);
    return run(store, Object.fromEntries(own.map((key, j) => [`n${j}`, key])), (_, writes) => {
      for (const key of own) writes.set(key, i);
    });
  }));

  // What came first is one batch, and what gathered meanwhile another one.
  ok(kv.commits.length - before <= 2, `${kv.commits.length - before} commits`);
});

Deno.test("a transaction that read before a restore wrote does not commit over it", async () => {
  await using stores = await openStores();
  const { kv, store, opened } = stores;
  await addOne(store);
  const { promise: hasRead, resolve } = Promise.withResolvers<void>();
  const { promise: mayCommit, resolve: commit } = Promise.withResolvers<void>();
  let isFirst = true;
  kv.commitFault = async (): Promise<CommitFault> => {
    if (!isFirst) return "ok";
    isFirst = false;
    resolve();
    await mayCommit;
    return "ok";
  };

  const adding = addOne(store);
  await hasRead;
  const writer = await BulkWriter.start(opened, PROGRESS);
  await writer.add({ key: [...TOTAL], value: encode(41), isDeletion: false });
  await writer.end();
  commit();

  equal(await adding, 42);
  equal(await store.get(TOTAL), 42);
});

Deno.test("a commit that is applied without an answer and then overtaken is counted once", async () => {
  await using stores = await openStores();
  const { kv, store, other } = stores;
  await addOne(store);
  let isFirst = true;
  kv.commitFault = async (): Promise<CommitFault> => {
    if (!isFirst) return "ok";
    isFirst = false;
    await addOne(other);
    return "lost-after";
  };

  await addOne(store);

  equal(await store.get(TOTAL), 3);
});
