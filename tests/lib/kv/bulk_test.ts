import { deepStrictEqual as deepEqual, rejects, strictEqual as equal } from "node:assert/strict";
import type { RestoreProgress } from "../../../lib/kv/backup_records.ts";
import { BulkWriter, isEmpty, mark, scanAll, scanRange, wipe } from "../../../lib/kv/bulk.ts";
import { head, isDurable, restoring } from "../../../lib/kv/keys.ts";
import { FaultyKv, inOrder } from "../../support/store/faulty_kv.ts";

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

async function openFaulty(): Promise<FaultyKv & Disposable> {
  const kv = new FaultyKv(await Deno.openKv(":memory:"));
  return Object.assign(kv, { [Symbol.dispose]: () => kv.close() });
}

async function numbersIn(kv: FaultyKv): Promise<unknown[]> {
  const pages = await Array.fromAsync(scanRange(kv, ["n"], { limit: 100 }));
  return pages.flat().map(({ key }) => key[1]);
}

Deno.test("scanAll() reads every matching entry once, in order, from any key", async () => {
  using kv = await openFaulty();
  const wanted: Deno.KvKey[] = [];
  for (let i = 0; i < 1_203; i++) {
    for (const name of ["a", "log", "op", "op2", "rate", "z"]) {
      const key = [name, i];
      await kv.atomic().set(key, i).commit();
      if (isDurable(key)) wanted.push(key);
    }
  }
  wanted.sort(([a, i], [b, j]) => a === b ? Number(i) - Number(j) : String(a) < String(b) ? -1 : 1);

  for (const from of [0, 499, 500, 1_202, 1_203, 2_000, wanted.length - 1, wanted.length]) {
    const after = from === 0 ? null : wanted[from - 1]!;
    const pages = await Array.fromAsync(scanAll(kv, isDurable, after));
    deepEqual(pages.flat().map(({ key }) => key), wanted.slice(from));
  }
});

Deno.test("a bulk write whose replies are lost is stored once, with its progress", async () => {
  using kv = await openFaulty();
  kv.commitFault = inOrder(
    "lost-after",
    "false-conflict",
    "lost-before",
    "locked",
    "false-conflict",
  );
  const writer = await BulkWriter.start(kv, PROGRESS);
  for (let i = 0; i < 3_000; i++) {
    await writer.add({ key: ["n", i], value: new Uint8Array(i % 300), isDeletion: false });
    writer.reached({ line: i + 1 });
  }
  await writer.flush();

  const resumed = await BulkWriter.resume(kv);

  equal(resumed?.progress.line, 3_000);
  deepEqual(await numbersIn(kv), Array.from({ length: 3_000 }, (_, i) => i));
  await writer.end();
  equal(await BulkWriter.resume(kv), null);
});

Deno.test("the stored progress of a bulk writer matches its entries, wherever it stops", async () => {
  for (const commits of [1, 2, 3, 5]) {
    using kv = await openFaulty();
    const writer = await BulkWriter.start(kv, PROGRESS);
    for (let i = 0; kv.commits.length <= commits; i++) {
      await writer.add({ key: ["n", i], value: i, isDeletion: false });
      writer.reached({ line: i + 1 });
    }

    const line = (await BulkWriter.resume(kv))!.progress.line;

    deepEqual(await numbersIn(kv), Array.from({ length: line }, (_, i) => i));
  }
});

Deno.test("one of two simultaneous bulk writers is refused", async () => {
  using kv = await openFaulty();
  const writer = await BulkWriter.start(kv, PROGRESS);
  const other = (await BulkWriter.resume(kv))!;
  await writer.add({ key: ["n", 1], value: 1, isDeletion: false });
  await writer.flush();
  await other.add({ key: ["n", 2], value: 2, isDeletion: false });

  await rejects(other.flush(), { kind: "conflict" });
  await rejects(BulkWriter.start(kv, PROGRESS), { kind: "conflict" });
  deepEqual(await numbersIn(kv), [1]);
});

Deno.test("wipe() keeps only the progress of the restore", async () => {
  using kv = await openFaulty();
  for (const key of [["a", 1], ["op", "x"], ["log", 0, "x"], [1n], [new Uint8Array([1])]]) {
    await kv.atomic().set(key, 1).commit();
  }
  equal(await isEmpty(kv), false);
  const writer = await BulkWriter.start(kv, { ...PROGRESS, phase: "wipe" });

  await wipe(kv, writer);

  const left = await Array.fromAsync(kv.list({ prefix: [] }));
  deepEqual(left.map(({ key }) => key), [head, restoring]);
  equal(await isEmpty(kv), true);
});

Deno.test("a marker is above every earlier commit, also when its reply is lost", async () => {
  using kv = await openFaulty();
  const before = await kv.atomic().set(["a"], 1).commit();
  kv.commitFault = inOrder("lost-after", "locked");

  const stamp = await mark(kv, 0);

  equal(before.ok && before.versionstamp < stamp, true);
  const after = await kv.atomic().set(["a"], 2).commit();
  equal(after.ok && after.versionstamp > stamp, true);
});
