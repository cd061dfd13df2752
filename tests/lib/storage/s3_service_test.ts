/** What only a real S3 service shows: who may do what, halts, kills, memory and addresses. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { S3Options } from "../../../lib/storage/mod.ts";
import { openStorage } from "../../../lib/storage/open.ts";
import { MINUTE_MS, sleep, systemClock } from "../../../lib/time.ts";
import { open, openS3, s3Test, server } from "./_s3.ts";
import {
  allAre,
  bytesOf,
  keysOf,
  MIB,
  outcome,
  outcomes,
  PART_BYTES,
  randomBytes,
  read,
  streamOf,
  textOf,
} from "./_storage.ts";

/** What a process of Deno has in memory with parts of 8 MiB, and a lot of room. */
const RSS_MAX_MIB = 260;

s3Test("every method reports a missing S3 bucket", async () => {
  const storage = await open({ url: "s3://no-such-bucket" });

  deepEqual(await outcomes(storage), allAre("missing_bucket"));
});

s3Test("an S3 bucket refuses wrong credentials, and the error names what to correct", async () => {
  const wrong: [Partial<S3Options>, RegExp][] = [
    [{ secretAccessKey: "not-the-secret" }, /S3_SECRET_ACCESS_KEY/],
    [{ accessKeyId: "NOBODYATALL" }, /S3_ACCESS_KEY_ID/],
    [{ accessKeyId: server.otherAccessKeyId }, /S3_ACCESS_KEY_ID lacks permission/],
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

s3Test("an S3 bucket refuses a machine with a wrong clock, and the error says so", async () => {
  const storage = await open({ clock: () => systemClock() - 60 * MINUTE_MS });

  await rejects(storage.put("x", bytesOf("x")), { code: "access_denied", message: /clock/ });
});

Deno.test("an unreachable S3 service is reported as such", async () => {
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

s3Test("calls to a paused S3 service time out, and succeed when it continues", async () => {
  const storage = await open({ prefix: crypto.randomUUID(), silenceMs: 100 });
  await storage.put("a", bytesOf("habari"));

  server.pause();
  const found = await outcomes(storage).finally(() => server.resume());

  deepEqual(found, allAre("timeout"));
  await storage.put("a", bytesOf("habari"));
  equal(await textOf(storage, "a"), "habari");
});

s3Test("an S3 read resumes when a paused service continues", async () => {
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
  "an S3 service that is killed during an upload stores nothing of it, and accepts it later",
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

s3Test("an S3 read continues after the service restarts", async () => {
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

s3Test("an S3 service that is killed during a read ends it with an error", async () => {
  const storage = await open({ prefix: crypto.randomUUID() });
  await storage.put("a", streamOf(randomBytes(40 * MIB)));

  const stream = await storage.get("a");
  await server.kill();
  const code = await outcome(read(stream)).finally(() => server.restart());

  equal(code, "unavailable");
});

/** Runs `_s3_child.ts` as a program, and returns what it printed. */
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
      new URL("_s3_child.ts", import.meta.url).pathname,
      what,
      JSON.stringify(options),
    ],
    env: { NO_COLOR: "1", ...env },
  }).output();
  const decoder = new TextDecoder();
  ok(success, decoder.decode(stderr));
  return JSON.parse(decoder.decode(stdout));
}

s3Test("a stream of 300 MiB is written to and read from S3 in constant memory", async () => {
  const { s3, prefix } = { s3: { ...server }, prefix: crypto.randomUUID() };

  const found = await runChild("large", { url: `s3://${server.bucket}/${prefix}`, s3 });

  console.log(found);
  deepEqual([found.size, found.found], [300 * MIB, 300 * MIB]);
  ok(Number(found.peakMib) < RSS_MAX_MIB, `${found.peakMib} MiB`);
});

s3Test("an S3 bucket can be addressed by its own host name", async () => {
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
