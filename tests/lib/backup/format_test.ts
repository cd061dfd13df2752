import { deepStrictEqual as deepEqual, rejects, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import {
  type BackupEntry,
  entryLine,
  keyOfText,
  keyToText,
  readLines,
  valueOf,
} from "../../../lib/backup/lines.ts";
import { verifyBackup } from "../../../lib/backup/check.ts";
import { readManifest } from "../../../lib/backup/manifest.ts";
import { restore } from "../../../lib/backup/restore.ts";
import { takeBackup } from "../../../lib/backup/take.ts";
import { ObjectWriter, openObject } from "../../../lib/backup/object.ts";
import { rankOf } from "../../../lib/backup/rank.ts";
import { keyBytes, scanAll } from "../../../lib/kv/bulk.ts";
import {
  type BackupShop,
  openBackupShop,
  openTwin,
  sellTo,
} from "../../support/processes/backup_shop.ts";
import { newSeed } from "../../support/store/faulty_kv.ts";

const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => new Uint8Array(array));
const double = fc.double();
const keyPart: fc.Arbitrary<Deno.KvKeyPart> = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 20 }),
  fc.constantFrom("", "\0", "\0\xff", "$", '{"$":"bigint"}', "a\tb\nc", "log\0"),
  double,
  fc.bigInt(),
  fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }),
  fc.boolean(),
  bytes,
);
const key = fc.array(keyPart, { minLength: 1, maxLength: 4 });
/** Prefixes are few, whatever comes after them. */
const first = fc.constantFrom<Deno.KvKeyPart>(
  "a",
  "ü\t",
  "$",
  1,
  -0,
  5n,
  true,
  new Uint8Array([0]),
);
const { tree } = fc.letrec((tie) => ({
  leaf: fc.oneof(
    fc.string({ unit: "grapheme" }),
    fc.constantFrom<unknown>(null, undefined, -0, NaN, Infinity, -Infinity, true, "\n", "\t", "$"),
    double,
    fc.bigInt(),
    bytes,
    fc.date({ noInvalidDate: false }),
  ),
  tree: fc.oneof(
    { maxDepth: 3 },
    tie("leaf"),
    fc.array(tie("tree"), { maxLength: 4 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom("$", "v", "__proto__")), tie("tree"), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
    fc.array(fc.tuple(tie("tree"), tie("tree")), { maxLength: 3 }).map((pairs) => new Map(pairs)),
    fc.array(tie("tree"), { maxLength: 3 }).map((items) => new Set(items)),
  ),
}));
const value = fc.oneof(
  tree,
  bytes,
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((n) => new Deno.KvU64(n)),
);
const entry: fc.Arbitrary<BackupEntry> = fc.record({
  key,
  value,
  versionstamp: fc.constantFrom(null, "0000000000000012af00"),
  expireAt: fc.option(fc.integer({ min: 0, max: 2 ** 45 })),
});

function sample<T>(purpose: string, arbitrary: fc.Arbitrary<T>, numRuns: number): T[] {
  return fc.sample(arbitrary, { seed: newSeed(purpose) | 0, numRuns });
}

Deno.test("every key and every value of a KV comes back from a line as it was", () => {
  const entries = sample("lines", entry, 3_000);

  for (const { key, value, versionstamp, expireAt } of entries) {
    const bytes = entryLine({ key, value, versionstamp, expireAt });
    const lines = [...readLines(bytes, "it")];
    equal(lines.length, 1);
    const [line] = lines;
    if (line?.kind !== "entry") throw new Error("It is no entry");
    deepEqual(keyOfText(line.keyText), key);
    deepEqual(valueOf(line), value);
    equal(line.versionstamp, versionstamp ?? "");
    equal(line.expireAt, expireAt);
    equal(line.isDeletion, false);
    equal(keyToText(keyOfText(line.keyText)), line.keyText);
  }
});

Deno.test("an entry whose value no backup holds is refused, never stored as something else", () => {
  class Thing {}
  for (const value of [new Thing(), /x/, new Error("x"), Symbol("x"), () => {}]) {
    let refused = "";
    try {
      entryLine({ key: ["a"], value, versionstamp: null, expireAt: null });
    } catch (error) {
      refused = String(error);
    }
    equal(refused.startsWith("TypeError: Cannot encode"), true, refused);
  }
});

Deno.test("a backup of a store of any keys and values restores to the same", async () => {
  const entries = new Map(
    sample("stores", fc.record({ first, key, value }), 1_500)
      .map(({ first, key, value }) => ({ key: [first, ...key], value }))
      .map((entry) => [rankOf(entry.key), entry]),
  );
  await using shop = await openBackupShop();
  for (const { key, value } of entries.values()) {
    await shop.kv.atomic().set(key, value).commit();
  }
  const before = (await Array.fromAsync(scanAll(shop.kv))).flat();
  const result = await takeBackup(shop.services);
  if (result.status !== "taken") throw new Error("The backup was not finished");
  await using twin = await openTwin(shop);

  await restore(twin.services, result.manifest.id);

  const after = (await Array.fromAsync(scanAll(twin.kv))).flat()
    .filter(({ key }) => key[0] !== "restore_proof");
  equal(after.length, entries.size);
  const bare = before.map(({ key, value }) => ({ key, value }));
  deepEqual(after.map(({ key, value }) => ({ key, value })), bare);
});

Deno.test("rankOf() orders keys as Deno KV does, and keyBytes() is never too little", async () => {
  const keys = sample("ranks", key, 1_000);
  using kv = await Deno.openKv(":memory:");
  for (const key of keys) await kv.set(key, 1);

  const listed = await Array.fromAsync(kv.list({ prefix: [] }, { batchSize: 500 }));

  const ranks = listed.map(({ key }) => rankOf(key));
  deepEqual(ranks, ranks.toSorted((a, b) => a < b ? -1 : a > b ? 1 : 0));
  for (const key of keys) equal(keyBytes(key) >= rankOf(key).length, true);
});

Deno.test("an expiry goes with its entry, and what has expired is not restored", async () => {
  await using shop = await openBackupShop();
  const name = "backup/2026-06-15T09-00-00-000Z-00000000/base-00000-00000000.gz";
  const writer = new ObjectWriter();
  const now = shop.services.clock();
  for (const [i, expireAt] of [null, now + 60_000, now - 1].entries()) {
    writer.add(entryLine({ key: ["a", i], value: i, versionstamp: null, expireAt }));
  }
  const lines = await openObject(await writer.finish(name, "base"), { name, kind: "base" });

  const found = [...lines].map((line) => line.kind === "entry" ? line.expireAt : undefined);

  deepEqual(found, [null, now + 60_000, now - 1]);
});

Deno.test("an object is at most 8 MiB, whatever is in it", async () => {
  const writer = new ObjectWriter();
  let i = 0;
  while (!writer.isFull) {
    const value = new Uint8Array(60_000);
    crypto.getRandomValues(value);
    writer.add(entryLine({ key: [i++], value, versionstamp: null, expireAt: null }));
  }
  const key = crypto.getRandomValues(new Uint8Array(32));

  const bytes = await writer.finish("x", "base", key);

  equal(bytes.length < 8 * 1024 * 1024, true);
  equal([...await openObject(bytes, { name: "x", kind: "base" }, key)].length, i);
});

const KEY = new Uint8Array(32).map((_, i) => i);

async function backedUp(
  options: { key?: Uint8Array<ArrayBuffer>; isPlain?: boolean } = {},
): Promise<{ shop: BackupShop; id: string; names: string[] }> {
  const shop = await openBackupShop(options);
  await sellTo(shop, 20);
  // Paused, so that something is written meanwhile and there is log as well.
  await takeBackup(shop.services, { budgetMs: 0 });
  await sellTo(shop, 5, 100);
  const result = await takeBackup(shop.services);
  if (result.status !== "taken") throw new Error("The backup was not finished");
  const { id } = result.manifest;
  return { shop, id, names: await shop.storage.names(`backup/${id}/`) };
}

Deno.test("what is missing or cut off is found, and its object named", async () => {
  const { shop, id, names } = await backedUp({ isPlain: true });
  await using _ = shop;
  for (const name of names) {
    const path = shop.storage.path(name);
    const whole = await Deno.readFile(path);
    for (const size of [0, 1, Math.floor(whole.length / 2), whole.length - 1]) {
      await Deno.writeFile(path, whole.subarray(0, size));
      await rejects(verifyBackup(shop.services, id), { message: new RegExp(name) });
    }
    await Deno.remove(path);
    const message = name.endsWith("manifest.json")
      ? `Backup ${id} not found`
      : `Cannot use ${name}: it is missing`;
    await rejects(verifyBackup(shop.services, id), { message });
    await Deno.writeFile(path, whole);
  }
});

Deno.test("parts that change places are found", async () => {
  const { shop, id, names } = await backedUp({ key: KEY, isPlain: true });
  await using _ = shop;
  const [a, b] = names.map((name) => shop.storage.path(name));
  const [first, second] = [await Deno.readFile(a!), await Deno.readFile(b!)];
  await Deno.writeFile(a!, second);
  await Deno.writeFile(b!, first);

  await rejects(verifyBackup(shop.services, id), { message: new RegExp(names[0]!) });
});

Deno.test("another key, or none, is refused by the name of the one that is needed", async () => {
  const { shop, id } = await backedUp({ key: KEY });
  await using _ = shop;
  const { keyId } = await readManifest(shop.services, id);
  const other = KEY.map((byte) => byte ^ 0xff);
  for (
    const [key, says] of [[other, / is key [0-9a-f]{16}$/], [undefined, /set BACKUP_/]] as const
  ) {
    await using twin = await openTwin(shop, key ? { key } : {});
    for (const target of [id, "latest"]) {
      await rejects(restore(twin.services, target), { message: new RegExp(keyId!) });
      await rejects(restore(twin.services, target), { message: says });
    }
    await rejects(verifyBackup(twin.services, id), { message: says });
  }
});

Deno.test("a backup of a newer format, or of newer records, is refused", async () => {
  for (const field of ["version", "schemaVersion"] as const) {
    const { shop, id } = await backedUp({ isPlain: true });
    await using _ = shop;
    const name = `backup/${id}/manifest.json`;
    const { digest: _digest, ...manifest } = await readManifest(shop.services, id);
    const newer = { ...manifest, [field]: 2 };
    const { sha256Hex } = await import("../../../lib/digest.ts");
    await Deno.writeTextFile(
      shop.storage.path(name),
      JSON.stringify({ ...newer, digest: sha256Hex(JSON.stringify(newer)) }),
    );
    const says = field === "version" ? /has format 2/ : /have schema 2/;

    await using twin = await openTwin(shop, { isPlain: true });
    for (const target of [id, "latest"]) {
      await rejects(restore(twin.services, target), { message: says });
      await rejects(restore(twin.services, target), { message: new RegExp(name) });
    }
  }
});
