/** What every storage does. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { Buffer } from "node:buffer";
import { sha256Hex } from "../../../lib/digest.ts";
import { checkKey, type ObjectInfo } from "../../../lib/storage/mod.ts";
import { MINUTE_MS, systemClock } from "../../../lib/time.ts";
import {
  bytesOf,
  keysOf,
  MIB,
  type Opened,
  outcome,
  PART_BYTES,
  randomBytes,
  read,
  streamOf,
  textOf,
} from "./_storage.ts";

const ODD_KEYS = [
  "a b/ c .json",
  "é/ü+ö.json",
  "a+b c%20d.json",
  "a&b=c?d#e;f,g:h@i.json",
  "100%.json",
  `"quoted" <b>&amp;'.json`,
  "(1)!*~$[x]{y}|^`.json",
  "日本/😀.json",
  "２.json",
];

/** What every storage does. */
export function contract(
  place: string,
  test: (name: string, run: () => Promise<void>) => void,
  openIt: () => Promise<Opened>,
): void {
  test(`${place} stores an object, describes it, and removes it`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    const body = bytesOf("habari");
    const before = systemClock();

    const put = await storage.put("a/b.txt", body, { contentType: "text/plain" });

    const sha256 = sha256Hex(body);
    const head = await storage.head("a/b.txt");
    deepEqual([put.key, put.size, put.sha256], ["a/b.txt", 6, sha256]);
    deepEqual([head?.key, head?.size, head?.sha256, head?.etag], ["a/b.txt", 6, sha256, put.etag]);
    ok(Math.abs(head!.modifiedAt - before) < MINUTE_MS, String(head!.modifiedAt));
    const [listed, ...others] = await Array.fromAsync(storage.list(""));
    deepEqual([listed?.key, listed?.size, others], ["a/b.txt", 6, []]);
    ok(Math.abs(listed!.modifiedAt - before) < MINUTE_MS, String(listed!.modifiedAt));
    equal(await textOf(storage, "a/b.txt"), "habari");
    await storage.delete("a/b.txt");
    equal(await storage.head("a/b.txt"), null);
    deepEqual(await keysOf(storage), []);
  });

  test(`${place} reports missing objects, and accepts their removal`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    await storage.put("there", bytesOf("x"));

    equal(await storage.head("not there"), null);
    equal(await outcome(storage.get("not there")), "not_found");
    equal(await outcome(storage.get("there/not")), "not_found");
    equal(await storage.head("there/not"), null);
    deepEqual(await keysOf(storage, "not"), []);
    await storage.delete("not there");
    await storage.delete("not there");
    await storage.delete("there/not");
    deepEqual(await keysOf(storage), ["there"]);
  });

  test(`${place} replaces an object`, async () => {
    await using opened = await openIt();
    const { storage } = opened;

    for (const text of ["one", "two", "two", "three"]) await storage.put("a", bytesOf(text));

    equal(await textOf(storage, "a"), "three");
    equal((await storage.head("a"))?.sha256, sha256Hex("three"));
  });

  test(`${place} accepts keys with unusual characters`, async () => {
    await using opened = await openIt();
    const { storage } = opened;

    for (const key of ODD_KEYS) await storage.put(key, bytesOf(key));

    const byBytes = ODD_KEYS.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    deepEqual(await keysOf(storage), byBytes);
    for (const key of ODD_KEYS) {
      equal(await textOf(storage, key), key);
      equal((await storage.head(key))?.sha256, sha256Hex(key));
      deepEqual(await keysOf(storage, key), [key]);
      await storage.delete(key);
    }
    deepEqual(await keysOf(storage), []);
  });

  test(`${place} refuses keys that lead out of it`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    const bad = ["", "/a", "a/", "a//b", "..", "../a", "a/../../b", "./a", ".digests/a", "a\\b"];
    bad.push(
      "a\n",
      "a\0",
      "\ud800",
      "x".repeat(256),
      "é".repeat(128),
      "abcdefgh/".repeat(89) + "a",
    );

    for (const key of bad) {
      throws(() => checkKey(key), { code: "invalid_key" });
      equal(await outcome(storage.put(key, bytesOf("x"))), "invalid_key", key);
      equal(await outcome(storage.get(key)), "invalid_key", key);
      equal(await outcome(storage.head(key)), "invalid_key", key);
      equal(await outcome(storage.delete(key)), "invalid_key", key);
    }
    await storage.put("x", bytesOf("x"));
    deepEqual(await keysOf(storage, "../"), []);
    deepEqual(await keysOf(storage), ["x"]);
  });

  test(`${place} keeps an empty object`, async () => {
    await using opened = await openIt();
    const { storage } = opened;

    await storage.put("bytes", new Uint8Array());
    await storage.put("stream", streamOf(new Uint8Array()));

    for (const key of ["bytes", "stream"]) {
      deepEqual(await read(await storage.get(key)), new Uint8Array());
      equal((await storage.head(key))?.size, 0);
      equal((await storage.head(key))?.sha256, sha256Hex(""));
    }
  });

  test(`${place} keeps a stream of 20 MiB of unknown length`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    const bytes = randomBytes(20 * MIB + 1);

    const put = await storage.put("big", streamOf(bytes));

    const sha256 = sha256Hex(bytes);
    deepEqual([put.size, put.sha256], [bytes.length, sha256]);
    const head = await storage.head("big");
    deepEqual([head?.size, head?.sha256, head?.etag], [bytes.length, sha256, put.etag]);
    equal(Buffer.compare(await read(await storage.get("big")), bytes), 0);
    deepEqual(await keysOf(storage), ["big"]);
  });

  test(`${place} stores exactly one part, and one byte more or less`, async () => {
    await using opened = await openIt();
    const { storage } = opened;

    for (const size of [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES]) {
      const bytes = randomBytes(size);
      for (const body of [bytes, streamOf(bytes)]) {
        equal((await storage.put("a", body)).sha256, sha256Hex(bytes));
        equal(Buffer.compare(await read(await storage.get("a")), bytes), 0);
      }
    }
  });

  test(`${place} reads a part of an object`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    await storage.put("a", bytesOf("0123456789"));
    const part = async (offset: number, length?: number) => {
      const range = { offset, ...length !== undefined && { length } };
      return await new Response(await storage.get("a", { range })).text();
    };

    equal(await part(0), "0123456789");
    equal(await part(3), "3456789");
    equal(await part(3, 4), "3456");
    equal(await part(8, 100), "89");
    equal(await part(10), "");
    equal(await part(1_000, 5), "");
    equal(await outcome(storage.get("b", { range: { offset: 3 } })), "not_found");
    for (const range of [{ offset: -1 }, { offset: 0.5 }, { offset: 0, length: 0 }]) {
      await rejects(storage.get("a", { range }), RangeError);
    }
  });

  test(`${place} lets a reader stop early`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    await storage.put("a", randomBytes(3 * MIB));

    await (await storage.get("a")).cancel();
    const reader = (await storage.get("a")).getReader();
    ok((await reader.read()).value!.length > 0);
    await reader.cancel();

    equal((await read(await storage.get("a"))).length, 3 * MIB);
  });

  test(`${place} accepts one of 20 simultaneous conditional writes`, async () => {
    await using opened = await openIt();
    const { storage, other } = opened;
    const writers = Array.from({ length: 20 }, (_, i) => `writer ${i}`);

    const found = await Promise.all(
      writers.map((text, i) =>
        outcome([storage, other][i % 2]!.put("a", bytesOf(text), { ifAbsent: true }))
      ),
    );

    equal(found.filter((code) => code === "ok").length, 1);
    equal(found.filter((code) => code === "precondition_failed").length, 19);
    equal(await textOf(storage, "a"), writers[found.indexOf("ok")]);
    await storage.delete("a");
    equal(await outcome(storage.put("a", bytesOf("again"), { ifAbsent: true })), "ok");
  });

  test(`${place} does not replace an existing object by a long conditional stream`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    const long = () => storage.put("a", streamOf(randomBytes(2 * PART_BYTES)), { ifAbsent: true });
    await storage.put("a", bytesOf("first"));

    equal(await outcome(long()), "precondition_failed");
    equal(await textOf(storage, "a"), "first");
    await storage.delete("a");
    equal(await outcome(long()), "ok");
    equal(await outcome(long()), "precondition_failed");
  });

  test(`${place} lists 1,200 objects in order, and those of a prefix`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    const keys = Array.from({ length: 1_200 }, (_, i) => `${"abc"[i % 3]}${"-/"[i % 2]}${i}.json`);
    const waiting = keys.slice();
    const work = async () => {
      for (let key = waiting.pop(); key; key = waiting.pop()) await storage.put(key, bytesOf(key));
    };

    await Promise.all(Array.from({ length: 16 }, work));

    const sorted = keys.toSorted((a, b) => a < b ? -1 : 1);
    const listed: ObjectInfo[] = await Array.fromAsync(storage.list(""));
    deepEqual(listed.map(({ key }) => key), sorted);
    deepEqual(listed.map(({ size }) => size), sorted.map((key) => key.length));
    for (const prefix of ["a", "a/", "b-1", "c/119", "none"]) {
      deepEqual(await keysOf(storage, prefix), sorted.filter((key) => key.startsWith(prefix)));
    }
    for await (const { key } of storage.list("b")) {
      equal(key, sorted.find((other) => other.startsWith("b")));
      break;
    }
  });

  test(`${place} finds a flipped bit while reading`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    await storage.put("small", bytesOf("0123456789"));
    await storage.put("big", streamOf(randomBytes(PART_BYTES + 1)));

    for (const [key, at] of [["small", 9], ["big", 4 * MIB]] as const) {
      const spoiled = await opened.spoil(key, at);
      equal(await outcome(read(await spoiled.get(key))), "corrupt");
    }
  });

  test(`${place} stores no object whose SHA-256 differs`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    const bytes = randomBytes(2 * PART_BYTES + 1);
    const sha256 = sha256Hex(bytes);
    const other = sha256Hex("other");

    equal(await outcome(storage.put("a", bytes, { sha256: other })), "corrupt");
    equal(await outcome(storage.put("a", streamOf(bytes), { sha256: other })), "corrupt");
    equal(await outcome(storage.put("a", streamOf(bytesOf("x")), { sha256: other })), "corrupt");
    deepEqual(await keysOf(storage), []);
    equal(await storage.tidy(-MINUTE_MS), 0);
    equal((await storage.put("a", streamOf(bytes), { sha256 })).sha256, sha256);
    equal((await storage.head("a"))?.sha256, sha256);
  });

  test(`${place} stores nothing of a stream that fails`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    const failure = new Error("The source has failed");
    const failing = (after: number) =>
      streamOf(new Uint8Array(after + MIB), (position) => {
        if (position >= after) throw failure;
      });

    for (const after of [0, MIB, 2 * PART_BYTES]) {
      await rejects(storage.put("a", failing(after)), (error) => error === failure);
    }

    equal(await storage.head("a"), null);
    deepEqual(await keysOf(storage), []);
    equal(await storage.tidy(-MINUTE_MS), 0);
  });

  test(`${place} keeps complete objects when it tidies`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    await storage.put("small", bytesOf("small"));
    await storage.put("big", streamOf(new Uint8Array(PART_BYTES + 1)));

    equal(await storage.tidy(-MINUTE_MS), 0);

    deepEqual(await keysOf(storage), ["big", "small"]);
    equal((await storage.head("big"))?.sha256, sha256Hex(new Uint8Array(PART_BYTES + 1)));
  });
}
