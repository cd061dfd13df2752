/** A failed request is fenced: its late commit cannot land once the caller has been answered. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { AppError } from "../../../lib/errors.ts";
import type { Key } from "../../../lib/kv/keys.ts";
import { Store } from "../../../lib/kv/store.ts";
import { RECEIPT_MS } from "../../../lib/entities/caller.ts";
import { startApp } from "../../support/program/app.ts";
import { COMMIT_FAULTS, type CommitFault, inOrder } from "../../support/store/faulty_kv.ts";
import {
  addOne,
  BRISK,
  openStores,
  run,
  startFaultyApp,
  temporaryFolder,
  TOTAL,
} from "../../support/store/faulty_store.ts";
import { ask, booksOf, NOT_AT_ALL, ONCE } from "../../support/processes/many_leads.ts";

Deno.test("an abandoned commit cannot land once its request has failed", async () => {
  await using app = await startFaultyApp(BRISK);
  app.kv.commitFault = ({ isFence }) => isFence ? "ok" : "late";

  const answer = await ask(app, 0, { idempotencyKey: null });
  app.kv.heal();
  const released = await app.kv.release();

  equal(answer.kind, "unavailable");
  equal(released.applied, 0);
  ok(released.refused > 0);
  deepEqual(await booksOf(app, 1), [NOT_AT_ALL]);
});

for (const fault of COMMIT_FAULTS) {
  Deno.test(`a fence holds though its own first commit is ${fault}`, async () => {
    await using app = await startFaultyApp(BRISK);
    const faultOfFence = inOrder<CommitFault>(fault);
    app.kv.commitFault = ({ isFence }) => isFence ? faultOfFence() : "late";

    const answer = await ask(app, 0);
    app.kv.heal();
    const released = await app.kv.release();

    equal(answer.kind, "unavailable");
    equal(released.applied, 0);
    deepEqual(await booksOf(app, 1), [NOT_AT_ALL]);
  });
}

Deno.test("a commit that lands between the fence's read and its write is reported as stored", async () => {
  await using app = await startFaultyApp(BRISK);
  app.kv.commitFault = async ({ isFence }) => {
    if (!isFence) return "late";
    await app.kv.release();
    return "ok";
  };

  const answer = await ask(app, 0);

  equal(answer.kind, "stored");
  app.kv.heal();
  deepEqual(await booksOf(app, 1), [ONCE]);
});

Deno.test("a request whose fence never answers has an unknown outcome, and is stored once when repeated", async () => {
  for (const isReleasedFirst of [true, false]) {
    await using app = await startFaultyApp({ ...BRISK, fenceMs: 300 });
    app.kv.commitFault = ({ isFence }) => isFence ? "hang" : "late";

    const answer = await ask(app, 0);
    app.kv.heal();
    if (isReleasedFirst) equal((await app.kv.release()).applied, 1);
    const again = await ask(app, 0);
    await app.kv.release();

    equal(answer.kind, "outcome_unknown");
    equal(again.kind, "stored");
    deepEqual(await booksOf(app, 1), [ONCE]);
  }
});

Deno.test("a failed request that is repeated replaces the fence, and its late commit stays out", async () => {
  await using app = await startFaultyApp(BRISK);
  app.kv.commitFault = ({ isFence }) => isFence ? "ok" : "late";
  const failed = await ask(app, 0);
  app.kv.heal();

  const again = await ask(app, 0);
  const released = await app.kv.release();

  equal(failed.kind, "unavailable");
  equal(again.kind, "stored");
  equal(released.applied, 0);
  deepEqual(await ask(app, 0), again);
  deepEqual(await booksOf(app, 1), [ONCE]);
});

Deno.test("a request that fails twice is fenced twice, whatever the outcome of the first fence", async () => {
  await using app = await startFaultyApp(BRISK);
  app.kv.commitFault = ({ isFence }) => isFence ? "ok" : "late";

  const first = await ask(app, 0);
  const second = await ask(app, 0);
  app.kv.heal();
  const released = await app.kv.release();

  deepEqual([first.kind, second.kind], ["unavailable", "unavailable"]);
  equal(released.applied, 0);
  deepEqual(await booksOf(app, 1), [NOT_AT_ALL]);
  equal((await ask(app, 0)).kind, "stored");
  deepEqual(await booksOf(app, 1), [ONCE]);
});

Deno.test("a repeated request whose commit is uncertain behind an older fence is found to be stored", async () => {
  await using app = await startFaultyApp(BRISK);
  app.kv.commitFault = ({ isFence }) => isFence ? "ok" : "late";
  equal((await ask(app, 0)).kind, "unavailable");
  await app.kv.release();
  app.kv.commitFault = async ({ isFence }) => {
    if (!isFence) return "late";
    await app.kv.release(); // the commit checks the older fence, and so does this one
    return "ok";
  };

  const answer = await ask(app, 0);

  equal(answer.kind, "stored");
  app.kv.heal();
  deepEqual(await booksOf(app, 1), [ONCE]);
});

Deno.test("two instances use one key at once, and the failing one does not disturb the other", async () => {
  await using folder = await temporaryFolder();
  await using here = await startFaultyApp(BRISK, { KV_PATH: folder.file });
  await using there = await startApp({ env: { KV_PATH: folder.file } });
  here.kv.commitFault = ({ isFence }) => isFence ? "ok" : "late";

  const failing = ask(here, 0);
  const stored = await ask({ services: there.services, product: here.product }, 0);
  const answer = await failing;
  here.kv.heal();
  const released = await here.kv.release();

  equal(stored.kind, "stored");
  deepEqual(answer, stored);
  equal(released.applied, 0);
  deepEqual(await booksOf(here, 1), [ONCE]);
});

Deno.test("a request that is refused on its second attempt is not stored by its first", async () => {
  await using stores = await openStores();
  const { kv, store, other } = stores;
  const slug: Key<string> = ["slug"];
  const take = (store: Store, owner: string) =>
    run(store, { slug }, (found, writes) => {
      if (found.slug) throw new AppError("conflict", "The slug is taken");
      writes.set(slug, owner);
    });
  const free = (store: Store) => run(store, {}, (_, writes) => writes.delete(slug));
  kv.commitFault = async ({ count }) => {
    if (count > 1) return "ok";
    await take(other, "other");
    return "late";
  };

  await rejects(take(store, "mine"), { kind: "conflict" });
  await free(other);
  const released = await kv.release();

  deepEqual(released, { applied: 0, refused: 1 });
  equal(await store.get(slug), null);
});

Deno.test("a request whose second attempt has nothing to write is not stored by its first", async () => {
  await using stores = await openStores();
  const { kv, store, other } = stores;
  const flag: Key<boolean> = ["flag"];
  const raise = (store: Store) =>
    run(store, { flag }, (found, writes) => {
      if (found.flag) return "was up";
      writes.set(flag, true);
      return "raised";
    });
  kv.commitFault = async ({ count }) => {
    if (count > 1) return "ok";
    await raise(other);
    return "late";
  };

  const result = await raise(store);
  await run(other, {}, (_, writes) => writes.delete(flag));
  const released = await kv.release();

  equal(result, "was up");
  deepEqual(released, { applied: 0, refused: 1 });
  equal(await store.get(flag), null);
});

Deno.test("an abandoned request with a reused key leaves the receipt of the key's owner alone", async () => {
  await using stores = await openStores({ deadlines: { ...BRISK, transactionMs: 100 } });
  const { kv, store, other } = stores;
  const mine = { id: "key", fingerprint: "mine" };
  equal(await addOne(store, mine), 1);
  kv.commitFault = ({ isFence }) => isFence ? "ok" : "hang";

  const [reused] = await Promise.allSettled([
    addOne(store, { id: "key", fingerprint: "another" }),
    addOne(store), // what the batch that it is in would commit
  ]);
  kv.heal();

  equal(reused.status, "rejected");
  equal(await addOne(other, mine), 1);
  equal(await store.get(TOTAL), 1);
});

Deno.test("a repetition in the same batch does not fail before the request that it repeats", async () => {
  await using stores = await openStores();
  const { kv, store } = stores;
  const named = { id: "key" };
  kv.commitFault = ({ isFence }) => isFence ? "ok" : "late";

  const both = await Promise.allSettled([addOne(store, named), addOne(store, named)]);
  kv.heal();
  const released = await kv.release();

  deepEqual(both.map(({ status }) => status), ["rejected", "rejected"]);
  equal(released.applied, 0);
  equal(await store.get(TOTAL), null);
});

Deno.test("an expired receipt that KV still returns is fenced like any other", async () => {
  await using app = await startFaultyApp(BRISK);
  app.kv.isExpiring = false;
  await ask(app, 0);
  app.advance(RECEIPT_MS);
  app.kv.commitFault = ({ isFence }) => isFence ? "ok" : "late";

  const answer = await ask(app, 0);
  app.kv.heal();
  const released = await app.kv.release();

  equal(answer.kind, "unavailable");
  equal(released.applied, 0);
  deepEqual(await booksOf(app, 1), [ONCE]);
});
