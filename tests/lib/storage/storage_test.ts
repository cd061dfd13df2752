/**
 * One contract for both storages, and for S3 what only a service can do wrong:
 * on Ceph's gateway, a real one, through a proxy that spoils calls.
 *
 * This file is also the program that a test runs as a child, as
 * `storage_test.ts <what> <options>`.
 */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { Buffer } from "node:buffer";
import { sha256Hex } from "../../../lib/digest.ts";
import {
  checkKey,
  type ObjectInfo,
  type ObjectStorage,
  openStorage,
  type S3Options,
  StorageError,
  type StorageErrorCode,
  type StorageOptions,
} from "../../../lib/storage/mod.ts";
import { MINUTE_MS, sleep, systemClock } from "../../../lib/time.ts";
import {
  type FaultProxy,
  type ProxyFault,
  startFaultProxy,
} from "../../support/servers/fault_proxy.ts";
import {
  hasS3Server,
  S3_SERVER_INSTALL,
  type S3Server,
  startS3Server,
} from "../../support/servers/s3_server.ts";

const MIB = 2 ** 20;
const PART_BYTES = 5 * MIB;
/** As many as lib/storage/_s3_client.ts makes of a call that fails. */
const ATTEMPTS = 5;
/** What a process of Deno has in memory with parts of 8 MiB, and a lot of room. */
const RSS_MAX_MIB = 260;

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

const isChild = import.meta.main && Deno.args.length === 2;
const isIgnored = !hasS3Server();
/** Started once for all tests. */
let server: S3Server;

if (!isIgnored && !isChild) {
  Deno.test.beforeAll(async () => {
    server = await startS3Server();
  });
  Deno.test.afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });
}

/** An empty storage for one test. */
interface Opened extends AsyncDisposable {
  storage: ObjectStorage;
  /** The same, as another process has it. */
  other: ObjectStorage;
  /** Opens it such that a bit is wrong in byte `at` of what is read of an object. */
  spoil(key: string, at: number): Promise<ObjectStorage>;
}

async function openFolder(): Promise<Opened> {
  const folder = await Deno.makeTempDir({ prefix: "storage-" });
  const storage = await open({ url: `file:${folder}` });
  return {
    storage,
    other: await open({ url: `file:${folder}` }),
    async spoil(key, at) {
      const bytes = await Deno.readFile(`${folder}/${key}`);
      bytes[at]! ^= 1;
      await Deno.writeFile(`${folder}/${key}`, bytes);
      return storage;
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

async function openS3(): Promise<
  Opened & { prefix: string; proxy: FaultProxy; proxied: ObjectStorage }
> {
  const prefix = crypto.randomUUID();
  const proxy = startFaultProxy(server.endpoint);
  const storage = await open({ prefix });
  const proxied = await open({ prefix, s3: { endpoint: proxy.url } });
  return {
    prefix,
    storage,
    other: await open({ prefix }),
    proxy,
    proxied,
    spoil(_, at) {
      proxy.fault = () => ({ spoilAnswerAt: at });
      return Promise.resolve(proxied);
    },
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

/** Opens the server's bucket, or what `url` says; waits between attempts are short. */
function open(
  { prefix = "", s3 = {}, ...options }:
    & { prefix?: string; s3?: Partial<S3Options> }
    & Partial<Omit<StorageOptions, "s3">>,
): Promise<ObjectStorage> {
  return openStorage({
    url: `s3://${isIgnored ? "none" : server.bucket}/${prefix}`,
    s3: isIgnored ? undefined : { ...server, ...s3 },
    clock: systemClock,
    random: Math.random,
    sleep: (ms) => sleep(ms / 50),
    silenceMs: 10_000,
    partBytes: PART_BYTES,
    ...options,
  });
}

function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i += 65_536) crypto.getRandomValues(bytes.subarray(i, i + 65_536));
  return bytes;
}

/** Chunks that fit no part; `at` is told how far it is before each. */
function streamOf(
  bytes: Uint8Array,
  at: (position: number) => Promise<void> | void = () => {},
): ReadableStream<Uint8Array> {
  return ReadableStream.from((async function* () {
    for (let i = 0; i < bytes.length; i += 100_003) {
      await at(i);
      yield bytes.subarray(i, i + 100_003);
    }
  })());
}

async function read(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return await new Response(stream).bytes();
}

async function textOf(storage: ObjectStorage, key: string): Promise<string> {
  return await new Response(await storage.get(key)).text();
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

async function keysOf(storage: ObjectStorage, prefix = ""): Promise<string[]> {
  return (await Array.fromAsync(storage.list(prefix))).map(({ key }) => key);
}

/** What it fails for; `"ok"` if it does not. */
async function outcome(work: Promise<unknown>): Promise<StorageErrorCode | "ok"> {
  try {
    await work;
    return "ok";
  } catch (error) {
    if (error instanceof StorageError) return error.code;
    throw error;
  }
}

/** Every method but tidy(), each by its name. */
function everything(storage: ObjectStorage): Record<string, () => Promise<unknown>> {
  return {
    put: () => storage.put("x", bytesOf("x")),
    putStream: () => storage.put("y", streamOf(new Uint8Array(PART_BYTES + 1))),
    get: () => textOf(storage, "x"),
    head: () => storage.head("x"),
    list: () => keysOf(storage),
    delete: () => storage.delete("x"),
  };
}

async function outcomes(storage: ObjectStorage): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [name, call] of Object.entries(everything(storage))) {
    found[name] = await outcome(call());
  }
  return found;
}

function allAre(code: StorageErrorCode): Record<string, StorageErrorCode> {
  const names = ["put", "putStream", "get", "head", "list", "delete"];
  return Object.fromEntries(names.map((name) => [name, code]));
}

/** A fault for the first `times` calls that it is meant for. */
function firstly(
  times: number,
  fault: ProxyFault,
  isMeant: (method: string, target: string) => boolean = () => true,
): FaultProxy["fault"] {
  let left = times;
  return ({ method, target }) => isMeant(method, target) && left-- > 0 ? fault : {};
}

const UNWELL: ProxyFault = {
  answer: { status: 503, body: "<Error><Code>SlowDown</Code></Error>" },
};

function s3Test(name: string, run: () => Promise<void>): void {
  Deno.test({
    name: isIgnored ? `${name} (needs: ${S3_SERVER_INSTALL})` : name,
    ignore: isIgnored,
    fn: run,
  });
}

/** What every storage does. */
function contract(
  place: string,
  test: (name: string, run: () => Promise<void>) => void,
  openIt: () => Promise<Opened>,
): void {
  test(`${place} keeps an object, tells of it, and removes it`, async () => {
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

  test(`${place} says what is not there, and removes it as often as asked`, async () => {
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

  test(`${place} takes odd keys`, async () => {
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

  test(`${place} takes no key that leads elsewhere`, async () => {
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

  test(`${place} keeps what is just one part, or a byte more or less`, async () => {
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

  test(`${place} stores only where nothing is, of 20 writers one`, async () => {
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

  test(`${place} does not replace by a long stream what is there`, async () => {
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

  test(`${place} stores nothing whose bytes have another SHA-256`, async () => {
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

  test(`${place} leaves what it has alone when it tidies`, async () => {
    await using opened = await openIt();
    const { storage } = opened;
    await storage.put("small", bytesOf("small"));
    await storage.put("big", streamOf(new Uint8Array(PART_BYTES + 1)));

    equal(await storage.tidy(-MINUTE_MS), 0);

    deepEqual(await keysOf(storage), ["big", "small"]);
    equal((await storage.head("big"))?.sha256, sha256Hex(new Uint8Array(PART_BYTES + 1)));
  });
}

contract("a folder", (name, fn) => Deno.test(name, fn), openFolder);
contract("an S3 bucket", s3Test, openS3);

s3Test("an S3 bucket that is not there is said to be missing, by every method", async () => {
  const storage = await open({ url: "s3://no-such-bucket" });

  deepEqual(await outcomes(storage), allAre("missing_bucket"));
});

Deno.test("a folder that is not there never looks like one without objects", async () => {
  const folder = await open({ url: "file:/tmp/no/such/folder" });

  equal(await outcome(keysOf(folder)), "missing_bucket");
  equal(await outcome(folder.head("a")), "missing_bucket");
  equal(await outcome(folder.get("a")), "missing_bucket");
  equal(await outcome(folder.delete("a")), "missing_bucket");
});

s3Test("an S3 bucket refuses other people, and says what to correct", async () => {
  const wrong: [Partial<S3Options>, RegExp][] = [
    [{ secretAccessKey: "not-the-secret" }, /S3_SECRET_ACCESS_KEY/],
    [{ accessKeyId: "NOBODYATALL" }, /S3_ACCESS_KEY_ID/],
    [{ accessKeyId: server.otherAccessKeyId }, /S3_ACCESS_KEY_ID has no right/],
  ];

  for (const [s3, advice] of wrong) {
    const storage = await open({ s3 });
    deepEqual(await outcomes(storage), allAre("access_denied"));
    await rejects(storage.put("x", bytesOf("x")), (error: Error) => {
      ok(advice.test(error.message), error.message);
      const { secretAccessKey = server.secretAccessKey } = s3;
      ok(!Deno.inspect(error, { depth: 9 }).includes(secretAccessKey), "It has the secret");
      return true;
    });
  }
});

s3Test("an S3 bucket refuses a machine whose clock is wrong, and says so", async () => {
  const storage = await open({ clock: () => systemClock() - 60 * MINUTE_MS });

  await rejects(storage.put("x", bytesOf("x")), { code: "access_denied", message: /clock/ });
});

Deno.test("an S3 service that cannot be reached is said to be so", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const endpoint = `http://127.0.0.1:${listener.addr.port}`;
  listener.close();
  const s3 = { endpoint, region: "x", accessKeyId: "x", secretAccessKey: "x" };
  const storage = await openStorage({
    url: "s3://backups",
    s3,
    clock: systemClock,
    random: Math.random,
    sleep: () => Promise.resolve(),
  });

  deepEqual(await outcomes(storage), allAre("unavailable"));
  await rejects(storage.head("x"), { message: /cannot be reached.*S3_ENDPOINT/ });
});

s3Test("an S3 service that is halted times out, and goes on when it wakes", async () => {
  const storage = await open({ prefix: crypto.randomUUID(), silenceMs: 100 });
  await storage.put("a", bytesOf("habari"));

  server.pause();
  const found = await outcomes(storage).finally(() => server.resume());

  deepEqual(found, allAre("timeout"));
  await storage.put("a", bytesOf("habari"));
  equal(await textOf(storage, "a"), "habari");
});

s3Test("an S3 read that is halted goes on where it was when the service wakes", async () => {
  const storage = await open({ prefix: crypto.randomUUID(), silenceMs: 300 });
  const bytes = randomBytes(20 * MIB);
  await storage.put("a", bytes);

  const stream = await storage.get("a");
  server.pause();
  const waking = sleep(500).finally(() => server.resume());
  const found = await read(stream);
  await waking;

  equal(Buffer.compare(found, bytes), 0);
});

s3Test(
  "an S3 service killed within an upload leaves nothing of it, and takes it later",
  async () => {
    const storage = await open({ prefix: crypto.randomUUID() });
    const bytes = randomBytes(4 * PART_BYTES);
    const isHalfway = (position: number) => position > 2 * PART_BYTES;
    let isKilled = false;

    const code = await outcome(storage.put(
      "a",
      streamOf(bytes, async (position) => {
        if (isKilled || !isHalfway(position)) return;
        isKilled = true;
        await server.kill();
      }),
    ));
    await server.restart();

    equal(code, "unavailable");
    equal(await storage.head("a"), null);
    deepEqual(await keysOf(storage), []);
    equal(await storage.tidy(), 0);
    equal(await storage.tidy(-MINUTE_MS), 1);
    await storage.put("a", streamOf(bytes));
    equal(Buffer.compare(await read(await storage.get("a")), bytes), 0);
  },
);

s3Test("an S3 service that is started again within a read is read on", async () => {
  const storage = await open({ prefix: crypto.randomUUID() });
  const bytes = randomBytes(40 * MIB);
  await storage.put("a", streamOf(bytes));

  const reader = (await storage.get("a")).getReader();
  const chunks = [(await reader.read()).value!];
  await server.kill();
  await server.restart();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    chunks.push(next.value);
  }

  equal(Buffer.compare(Buffer.concat(chunks), bytes), 0);
});

s3Test("an S3 service killed within a read ends it with an error", async () => {
  const storage = await open({ prefix: crypto.randomUUID() });
  await storage.put("a", streamOf(randomBytes(40 * MIB)));

  const stream = await storage.get("a");
  await server.kill();
  const code = await outcome(read(stream)).finally(() => server.restart());

  equal(code, "unavailable");
});

s3Test("an S3 call that fails is made again, up to a number of times", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  await storage.put("x", bytesOf("x"));

  for (const [name, call] of Object.entries(everything(proxied))) {
    const before = proxy.calls.length;
    proxy.fault = firstly(ATTEMPTS - 1, UNWELL);
    equal(await outcome(call()), "ok", name);
    const made = proxy.calls.length - before;
    proxy.fault = () => ({});
    await storage.put("x", bytesOf("x"));
    await call();
    equal(made, proxy.calls.length - before - made + ATTEMPTS - 1, name);

    proxy.fault = () => UNWELL;
    proxy.calls.length = 0;
    equal(await outcome(call()), "unavailable", name);
    equal(proxy.calls.length, ATTEMPTS, name);
  }
});

s3Test("an S3 call that is refused is not made again", async () => {
  await using opened = await openS3();
  const { proxied, proxy } = opened;
  proxy.fault = () => ({
    answer: { status: 403, body: "<Error><Code>AccessDenied</Code></Error>" },
  });

  for (const [name, call] of Object.entries(everything(proxied))) {
    proxy.calls.length = 0;
    equal(await outcome(call()), "access_denied", name);
    equal(proxy.calls.length, 1, name);
  }
});

s3Test("an S3 call that gets no answer in time is made again", async () => {
  await using opened = await openS3();
  const { proxy, prefix } = opened;
  const hasty = await open({ prefix, s3: { endpoint: proxy.url }, silenceMs: 200 });
  proxy.fault = firstly(1, { delayMs: 600 });

  await hasty.put("a", bytesOf("habari"));

  equal(proxy.calls.length, 2);
  equal(await textOf(hasty, "a"), "habari");
});

s3Test("an S3 put whose answer is lost is recognised as its own", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;

  proxy.fault = firstly(1, { cutAnswerAt: 0 }, (method) => method === "PUT");
  const put = await proxied.put("a", bytesOf("habari"), { ifAbsent: true });

  equal(put.sha256, sha256Hex("habari"));
  deepEqual(proxy.calls.map(({ method }) => method), ["PUT", "PUT", "HEAD"]);
  equal(await textOf(storage, "a"), "habari");
  equal(await outcome(proxied.put("a", bytesOf("b"), { ifAbsent: true })), "precondition_failed");
});

const isComplete = (method: string, target: string) =>
  method === "POST" && target.includes("uploadId=");
const isPart = (method: string, target: string) =>
  method === "PUT" && target.includes("partNumber=");

s3Test("an S3 upload of several parts survives every loss of one call", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  const bytes = randomBytes(3 * PART_BYTES);
  const put = (key: string) => proxied.put(key, streamOf(bytes));
  await put("none");
  const { length } = proxy.calls;

  for (const fault of [{ cutAnswerAt: 0 }, { cutAnswerAt: 30 }, { cutRequestAt: 0 }, UNWELL]) {
    for (let i = 0; i < length; i++) {
      let call = 0;
      proxy.fault = () => call++ === i ? fault : {};
      equal(await outcome(put("a")), "ok", `${JSON.stringify(fault)} in call ${i}`);
      equal((await storage.head("a"))?.sha256, sha256Hex(bytes));
      await storage.delete("a");
    }
  }
  await storage.delete("none");
  ok(await storage.tidy(-MINUTE_MS) > 0);
  equal(await storage.tidy(-MINUTE_MS), 0);
});

s3Test(
  "an S3 upload that fails after its service said 200 is completed again, or aborted",
  async () => {
    await using opened = await openS3();
    const { storage, proxied, proxy } = opened;
    const body = "<?xml version='1.0'?>\n<Error><Code>InternalError</Code></Error>";
    const fails: ProxyFault = { answer: { status: 200, body } };
    const bytes = randomBytes(2 * PART_BYTES);

    proxy.fault = firstly(1, fails, isComplete);
    equal(await outcome(proxied.put("a", bytes)), "ok");
    equal(proxy.calls.filter(({ method, target }) => isComplete(method, target)).length, 2);
    proxy.fault = firstly(Infinity, fails, isComplete);
    equal(await outcome(proxied.put("b", bytes)), "unavailable");

    deepEqual(await keysOf(storage), ["a"]);
    equal(await storage.tidy(-MINUTE_MS), 0);
  },
);

s3Test("an S3 upload that is gone was completed, or is interrupted", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  const body = "<Error><Code>NoSuchUpload</Code></Error>";
  const bytes = randomBytes(2 * PART_BYTES);
  const faults: ProxyFault[] = [{ cutAnswerAt: 0 }, { answer: { status: 404, body } }];
  proxy.fault = ({ method, target }) => isComplete(method, target) ? faults.shift() ?? {} : {};

  equal(await outcome(proxied.put("a", bytes, { ifAbsent: true })), "ok");
  equal(faults.length, 0);
  faults.push({ answer: { status: 404, body } });
  equal(await outcome(proxied.put("b", bytes)), "interrupted");

  deepEqual(await keysOf(storage), ["a"]);
});

s3Test("an S3 upload that cannot be aborted is tidied away, when it is old", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  const refused: ProxyFault = { answer: { status: 403, body: "" } };
  let parts = 0;
  proxy.fault = ({ method, target }) =>
    method === "DELETE" || (isPart(method, target) && ++parts === 2) ? refused : {};

  equal(await outcome(proxied.put("a b/ü&.bin", randomBytes(2 * PART_BYTES))), "access_denied");

  equal(await storage.tidy(), 0);
  equal(await storage.tidy(-MINUTE_MS), 1);
  equal(await storage.tidy(-MINUTE_MS), 0);
});

s3Test("a digest beside an S3 object goes when the object is gone, and is old", async () => {
  await using opened = await openS3();
  const { storage } = opened;
  await storage.put("a", streamOf(randomBytes(2 * PART_BYTES)));
  await storage.put("a", streamOf(randomBytes(2 * PART_BYTES)));
  await storage.put("b", streamOf(randomBytes(2 * PART_BYTES)));
  await storage.delete("b");

  equal(await storage.tidy(), 0);
  equal(await storage.tidy(-MINUTE_MS), 2);
  await (await storage.get("a")).cancel();
});

s3Test("bytes that change on their way to S3 are refused and sent again", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  const bytes = randomBytes(2 * PART_BYTES);

  proxy.fault = firstly(1, { spoilRequestAt: 3 }, (method) => method === "PUT");
  await proxied.put("small", bytesOf("habari"));
  equal(proxy.calls.length, 2);
  proxy.fault = firstly(1, { spoilRequestAt: 4 * MIB }, isPart);
  await proxied.put("big", bytes);

  equal(await textOf(storage, "small"), "habari");
  equal(Buffer.compare(await read(await storage.get("big")), bytes), 0);
});

s3Test("an S3 read that breaks off goes on where it broke", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  const bytes = randomBytes(6 * MIB);
  await storage.put("a", streamOf(bytes));
  proxy.fault = ({ target }) => target.includes(".digests") ? {} : { cutAnswerAt: 1.5 * MIB };

  const found = await read(await proxied.get("a"));

  equal(Buffer.compare(found, bytes), 0);
  const [whole, ...rest] = proxy.calls.filter(({ target }) => !target.includes(".digests"));
  equal(whole!.headers.get("range"), null);
  equal(rest.length, 4);
  for (const { headers } of rest) {
    ok(/^bytes=[1-9]\d*-6291455$/.test(headers.get("range") ?? ""), headers.get("range") ?? "none");
    ok(headers.get("if-match"));
  }
});

s3Test("a part of an S3 object that breaks off goes on where it broke", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  const bytes = randomBytes(3 * MIB);
  await storage.put("a", bytes);
  proxy.fault = firstly(1, { cutAnswerAt: MIB });

  const found = await read(await proxied.get("a", { range: { offset: 1_000, length: 2 * MIB } }));

  equal(Buffer.compare(found, bytes.subarray(1_000, 1_000 + 2 * MIB)), 0);
});

s3Test("an S3 read that breaks off at once, each time, is given up", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  await storage.put("a", randomBytes(6 * MIB));
  proxy.fault = () => ({ cutAnswerAt: 70_000 });

  equal(await outcome(read(await proxied.get("a"))), "interrupted");
  equal(proxy.calls.length, ATTEMPTS);
});

s3Test("an S3 object that is replaced while it is read is not mixed", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  await storage.put("a", randomBytes(6 * MIB));
  proxy.fault = firstly(1, { cutAnswerAt: 3 * MIB });

  const stream = await proxied.get("a");
  await storage.put("a", randomBytes(6 * MIB));

  equal(await outcome(read(stream)), "precondition_failed");
});

s3Test("what is not S3 is not taken for an S3 bucket without objects", async () => {
  await using opened = await openS3();
  const { proxied, proxy } = opened;

  for (const status of [200, 404]) {
    proxy.fault = () => ({ answer: { status, body: "<html>Welcome to nginx</html>" } });
    equal(await outcome(keysOf(proxied)), "unsupported");
  }
  proxy.fault = () => ({
    answer: { status: 301, body: "<Error><Code>PermanentRedirect</Code></Error>" },
  });
  deepEqual(await outcomes(proxied), allAre("missing_bucket"));
});

s3Test("an S3 service without conditions is not asked to store once", async () => {
  await using opened = await openS3();
  const { proxied, proxy } = opened;
  proxy.fault = () => ({
    answer: { status: 501, body: "<Error><Code>NotImplemented</Code></Error>" },
  });

  equal(await outcome(proxied.put("a", bytesOf("x"), { ifAbsent: true })), "unsupported");
});

Deno.test("openStorage() refuses what names no place", async () => {
  const s3 = {
    endpoint: "https://s3.example.com",
    region: "x",
    accessKeyId: "x",
    secretAccessKey: "x",
  };
  const refused: [url: string, s3?: S3Options][] = [
    [""],
    ["file:"],
    ["file:///"],
    ["backups"],
    ["https://example.com/x", s3],
    ["s3://", s3],
    ["s3://b/", s3],
    ["s3://bucket/a//b", s3],
    ["s3://bucket/../a", s3],
    ["s3://bucket"],
    ["s3://bucket", { ...s3, endpoint: "s3.example.com" }],
    ["s3://bucket", { ...s3, endpoint: "ftp://s3.example.com" }],
    ["s3://bucket", { ...s3, endpoint: "https://me:secret@s3.example.com" }],
  ];

  for (const [url, options] of refused) {
    const opening = openStorage({ url, s3: options, clock: systemClock, random: Math.random });
    await rejects(
      opening,
      (error) => error instanceof TypeError && !error.message.includes("secret"),
    );
  }
});

/** Runs this file as a program, and returns what it printed. */
async function runChild(
  what: string,
  options: Record<string, unknown>,
  env: Record<string, string> = {},
): Promise<Record<string, number | string>> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-lock",
      "--allow-all",
      import.meta.filename!,
      what,
      JSON.stringify(options),
    ],
    env: { NO_COLOR: "1", ...env },
  }).output();
  const decoder = new TextDecoder();
  ok(success, decoder.decode(stderr));
  return JSON.parse(decoder.decode(stdout));
}

function child(options: StorageOptions): Promise<ObjectStorage> {
  return openStorage({ ...options, clock: systemClock, random: Math.random });
}

const PROGRAMS: Record<string, (options: StorageOptions) => Promise<unknown>> = {
  /** Stores a stream of 300 MiB and reads it back. */
  async large(options) {
    const storage = await child(options);
    const chunk = randomBytes(MIB);
    const body = ReadableStream.from((function* () {
      for (let i = 0; i < 300; i++) yield chunk;
    })());
    const startedAt = performance.now();
    const { size } = await storage.put("large", body);
    const storedAt = performance.now();
    let found = 0;
    for await (const { length } of await storage.get("large")) found += length;
    await storage.delete("large");
    const status = await Deno.readTextFile("/proc/self/status");
    return {
      size,
      found,
      putMs: Math.round(storedAt - startedAt),
      getMs: Math.round(performance.now() - storedAt),
      peakMib: Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]) / 1_024),
    };
  },
  /** Stores a key and reads it back. */
  async small(options) {
    const storage = await child(options);
    await storage.put("a b/+é.txt", bytesOf("habari"));
    return { text: await textOf(storage, "a b/+é.txt") };
  },
};

if (isChild) {
  const [what = "", options = ""] = Deno.args;
  console.log(JSON.stringify(await PROGRAMS[what]!(JSON.parse(options))));
}

s3Test("an S3 stream of 300 MiB goes both ways in flat memory", async () => {
  const { s3, prefix } = { s3: { ...server }, prefix: crypto.randomUUID() };

  const found = await runChild("large", { url: `s3://${server.bucket}/${prefix}`, s3 });

  console.log(found);
  deepEqual([found.size, found.found], [300 * MIB, 300 * MIB]);
  ok(Number(found.peakMib) < RSS_MAX_MIB, `${found.peakMib} MiB`);
});

s3Test("an S3 bucket is reached by a host of its own, too", async () => {
  await using opened = await openS3();
  const { proxy, prefix, storage } = opened;
  const url = `s3://${server.bucket}/${prefix}`;

  for (const endpoint of ["http://{bucket}.s3.test", `http://${server.bucket}.s3.test/`]) {
    proxy.calls.length = 0;
    const { text } = await runChild("small", { url, s3: { ...server, endpoint } }, {
      HTTP_PROXY: proxy.url,
      http_proxy: proxy.url,
      NO_PROXY: "",
      no_proxy: "",
    });
    equal(text, "habari");
    deepEqual(proxy.calls.map(({ headers }) => headers.get("host")), [
      "backups.s3.test",
      "backups.s3.test",
    ]);
  }
  equal(await textOf(storage, "a b/+é.txt"), "habari");
});
