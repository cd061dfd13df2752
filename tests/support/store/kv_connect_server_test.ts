/** The KV Connect server for tests behaves as the embedded store. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import fc from "fast-check";
import { startKvConnectServer } from "./kv_connect_server.ts";

Deno.test("the server stores what the runtime's client sets", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const value = { text: "Habari", list: [1, 2n, new Date(0)], bytes: new Uint8Array([0, 255]) };

  const { versionstamp } = await kv.set(["a", 1, true], value);
  const found = await kv.get(["a", 1, true]);
  const absent = await kv.get(["a", 2]);

  deepEqual(found, { key: ["a", 1, true], value, versionstamp });
  deepEqual(absent, { key: ["a", 2], value: null, versionstamp: null });
  ok(/^[0-9a-f]{20}$/.test(versionstamp));
});

Deno.test("the server keeps bytes, u64 and an empty value apart", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const values = [new Uint8Array(), new Uint8Array(60_000).fill(7), new Deno.KvU64(2n ** 64n - 1n)];

  await Promise.all(values.map((value, i) => kv.set([i], value)));
  const found = await kv.getMany(values.map((_, i) => [i]));

  deepEqual(found.map((entry) => entry.value), values);
});

Deno.test("the server reads ten keys in one call, in the order asked", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const keys = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((i) => [i]);
  await Promise.all(keys.slice(1).map((key) => kv.set(key, key[0])));
  server.calls.reads = 0;

  const found = await kv.getMany(keys);

  deepEqual(found.map((entry) => entry.value), [null, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  equal(server.calls.reads, 1);
});

Deno.test("the server deletes, and deletes what is not there", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  await kv.set(["a"], 1);

  await kv.delete(["a"]);
  await kv.delete(["a"]);

  equal((await kv.get(["a"])).versionstamp, null);
  deepEqual(server.entries(), []);
});

Deno.test("the server lists by prefix, start, end, limit and in reverse", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  for (const i of [5, 3, 1, 4, 2]) await kv.set(["n", i], i);
  await kv.set(["m", 9], 9);
  await kv.set(["o", 0], 0);
  const listed = async (selector: Deno.KvListSelector, options?: Deno.KvListOptions) =>
    (await Array.fromAsync(kv.list<number>(selector, options))).map((entry) => entry.value);

  const prefix = ["n"];
  deepEqual(await listed({ prefix }), [1, 2, 3, 4, 5]);
  deepEqual(await listed({ prefix }, { reverse: true }), [5, 4, 3, 2, 1]);
  deepEqual(await listed({ prefix }, { limit: 2 }), [1, 2]);
  deepEqual(await listed({ prefix }, { limit: 2, reverse: true }), [5, 4]);
  deepEqual(await listed({ prefix, start: ["n", 3] }), [3, 4, 5]);
  deepEqual(await listed({ prefix, end: ["n", 3] }), [1, 2]);
  deepEqual(await listed({ start: ["n", 2], end: ["n", 5] }, { reverse: true }), [4, 3, 2]);
  deepEqual(await listed({ start: [], end: ["n", 2] }), [9, 1]);
  deepEqual(await listed({ prefix: ["none"] }), []);
});

Deno.test("the server resumes from a cursor, in both directions", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  for (let i = 0; i < 7; i++) await kv.set(["n", i], i);

  const pages = async (reverse: boolean) => {
    const pages: number[][] = [];
    let cursor = "";
    do {
      const page = kv.list<number>({ prefix: ["n"] }, { limit: 3, reverse, cursor });
      pages.push((await Array.fromAsync(page)).map((entry) => entry.value));
      cursor = page.cursor;
    } while (cursor !== "");
    return pages;
  };

  deepEqual(await pages(false), [[0, 1, 2], [3, 4, 5], [6]]);
  deepEqual(await pages(true), [[6, 5, 4], [3, 2, 1], [0]]);
});

Deno.test("the server lists thousands of entries, a batch a call", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const numbers = Array.from({ length: 2_500 }, (_, i) => i);
  for (let from = 0; from < numbers.length; from += 500) {
    const atomic = kv.atomic();
    for (const i of numbers.slice(from, from + 500).reverse()) atomic.set(["n", i], i);
    await atomic.commit();
  }

  for (const batchSize of [100, 1_000]) {
    server.calls.reads = 0;
    const entries = await Array.fromAsync(kv.list({ prefix: ["n"] }, { batchSize }));

    deepEqual(entries.map((entry) => entry.value), numbers);
    ok(server.calls.reads >= numbers.length / batchSize);
  }
});

Deno.test("the server applies all of an atomic whose checks hold, else nothing", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const absent = { key: ["b"], versionstamp: null };
  const { versionstamp } = await kv.set(["a"], 1);

  const first = await kv.atomic().check({ key: ["a"], versionstamp }, absent)
    .set(["a"], 2).set(["b"], 2).delete(["c"]).commit();
  const second = await kv.atomic().check({ key: ["a"], versionstamp }, absent)
    .set(["a"], 3).set(["c"], 3).delete(["b"]).commit();

  ok(first.ok && first.versionstamp > versionstamp);
  deepEqual(second, { ok: false });
  const found = await kv.getMany([["a"], ["b"], ["c"]]);
  deepEqual(found.map((entry) => entry.value), [2, 2, null]);
  deepEqual(found.map((entry) => entry.versionstamp), [
    first.versionstamp,
    first.versionstamp,
    null,
  ]);
});

Deno.test("the server distinguishes a rewritten key from the deleted one", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const { versionstamp } = await kv.set(["a"], 1);
  await kv.delete(["a"]);
  await kv.set(["a"], 1);

  const result = await kv.atomic().check({ key: ["a"], versionstamp }).delete(["a"]).commit();

  deepEqual(result, { ok: false });
});

Deno.test("the server lets one of many conflicting commits win each round", async () => {
  await using server = await startKvConnectServer({ delayMs: 1 });
  using kv = await Deno.openKv(server.url);
  const addOne = async () => {
    for (;;) {
      const entry = await kv.get<number>(["total"]);
      const { ok } = await kv.atomic().check(entry).set(["total"], (entry.value ?? 0) + 1).commit();
      if (ok) return;
    }
  };

  await Promise.all(Array.from({ length: 20 }, addOne));

  equal((await kv.get(["total"])).value, 20);
});

Deno.test("the server sums, takes the maximum and the minimum of u64", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const key = ["n"];
  const after = async (atomic: Deno.AtomicOperation) => {
    ok((await atomic.commit()).ok);
    return (await kv.get<Deno.KvU64>(key)).value?.value;
  };

  equal(await after(kv.atomic().sum(key, 5n)), 5n);
  equal(await after(kv.atomic().sum(key, 2n).sum(key, 3n)), 10n);
  equal(await after(kv.atomic().max(key, 7n)), 10n);
  equal(await after(kv.atomic().max(key, 12n)), 12n);
  equal(await after(kv.atomic().min(key, 15n)), 12n);
  equal(await after(kv.atomic().min(key, 4n)), 4n);
  equal(await after(kv.atomic().sum(key, 2n ** 64n - 1n)), 3n);
});

Deno.test("the server applies nothing of an atomic that sums a value other than u64", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  await kv.set(["n"], "one");

  await rejects(kv.atomic().set(["a"], 1).sum(["n"], 1n).commit(), /status=400/);

  deepEqual((await kv.getMany([["a"], ["n"]])).map((entry) => entry.value), [null, "one"]);
});

Deno.test("the server orders commitVersionstamp() keys by commit", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  const stamps: string[] = [];

  for (let i = 0; i < 300; i++) {
    const result = await kv.atomic().set(["log", kv.commitVersionstamp()], i).commit();
    if (result.ok) stamps.push(result.versionstamp);
  }

  const log = await Array.fromAsync(kv.list({ prefix: ["log"] }));
  deepEqual(log.map((entry) => entry.value), Array.from({ length: 300 }, (_, i) => i));
  deepEqual(log.map((entry) => entry.key[1]), stamps);
  deepEqual(log.map((entry) => entry.versionstamp), stamps);
});

Deno.test("the server reads what has expired until sweep() removes it", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);
  await kv.set(["a"], 1, { expireIn: 1 });
  await kv.set(["b"], 2, { expireIn: 3_600_000 });
  await kv.set(["c"], 3);
  const soon = Date.now() + 60_000;

  const before = await kv.atomic().check({ key: ["a"], versionstamp: null }).commit();
  equal((await kv.get(["a"])).value, 1);
  const swept = server.sweep(soon);
  const after = await kv.atomic().check({ key: ["a"], versionstamp: null }).commit();

  deepEqual([before.ok, swept, after.ok], [false, 1, true]);
  const left = await Array.fromAsync(kv.list({ prefix: [] }));
  deepEqual(left.map((entry) => entry.value), [2, 3]);
});

Deno.test("the server shows its entries in key order, as they are on the wire", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);

  await kv.set(["b"], new Uint8Array([2]));
  await kv.set(["a"], new Uint8Array([1]));

  deepEqual(server.entries(), [
    { key: new Uint8Array([2, 97, 0]), value: new Uint8Array([1]) },
    { key: new Uint8Array([2, 98, 0]), value: new Uint8Array([2]) },
  ]);
});

Deno.test("the server behaves as the embedded store, whatever is done to it", async () => {
  await using server = await startKvConnectServer();
  using remote = await Deno.openKv(server.url);
  const part = fc.oneof(
    fc.string({ maxLength: 3 }),
    fc.integer({ min: -2, max: 2 }),
    fc.bigInt({ min: -300n, max: 300n }),
    fc.boolean(),
    fc.uint8Array({ maxLength: 2 }),
  );
  const step = fc.record({
    kind: fc.constantFrom("set", "delete", "create", "replace", "sum", "min", "max"),
    key: fc.array(part, { minLength: 1, maxLength: 2 }),
    value: fc.integer({ min: 0, max: 1_000 }),
  });
  const range = fc.record({
    limit: fc.integer({ min: 1, max: 9 }),
    batchSize: fc.integer({ min: 1, max: 4 }),
    reverse: fc.boolean(),
  });
  let run = 0;

  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 15 }), range, async (steps, options) => {
      using local = await Deno.openKv(":memory:");
      const prefix = [`run ${run++}`];
      const outcomes = async (kv: Deno.Kv) => {
        const oks: boolean[] = [];
        for (const { kind, key, value } of steps) {
          const counter = [...prefix, "counter", ...key];
          const record = [...prefix, "record", ...key];
          const atomic = kv.atomic();
          if (kind === "set") atomic.set(record, value);
          else if (kind === "delete") atomic.delete(record).delete(counter);
          else if (kind === "create") {
            atomic.check({ key: record, versionstamp: null }).set(record, value);
          } else if (kind === "replace") {
            const entry = await kv.get(record);
            if (value % 2 === 0) await kv.set(record, "in between");
            atomic.check(entry).set(record, value);
          } else if (kind === "sum") atomic.sum(counter, BigInt(value));
          else if (kind === "min") atomic.min(counter, BigInt(value));
          else atomic.max(counter, BigInt(value));
          oks.push((await atomic.commit()).ok);
        }
        const list = async (options: Deno.KvListOptions) =>
          (await Array.fromAsync(kv.list({ prefix }, options))).map(({ key, value }) => [
            key,
            value,
          ]);
        return { oks, all: await list({}), some: await list(options) };
      };

      deepEqual(await outcomes(remote), await outcomes(local));
    }),
    { numRuns: 60 },
  );
});

Deno.test("the server refuses a token that is not its own", async () => {
  await using other = await startKvConnectServer({ token: "other" });
  await using _ = await startKvConnectServer();

  const get = async () => {
    using kv = await Deno.openKv(other.url);
    await kv.get(["a"]);
  };

  await rejects(get(), /Unknown access token/);
  equal(other.calls.reads, 0);
});

Deno.test("the server refuses watch()", async () => {
  await using server = await startKvConnectServer();
  using kv = await Deno.openKv(server.url);

  await rejects(kv.watch([["a"]]).getReader().read(), /status=404/);
});
