/** Faults of single S3 calls, caused by a proxy in front of a real server. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { sha256Hex } from "../../../lib/digest.ts";
import { MINUTE_MS } from "../../../lib/time.ts";
import type { ProxyFault } from "../../support/servers/fault_proxy.ts";
import { firstly, open, openS3, s3Test, UNAVAILABLE } from "./_s3.ts";
import {
  allAre,
  bytesOf,
  everything,
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

/** As many as lib/storage/_s3_client.ts makes of a call that fails. */
const ATTEMPTS = 5;

s3Test("a failed S3 call is repeated up to the limit of attempts", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  await storage.put("x", bytesOf("x"));

  for (const [name, call] of Object.entries(everything(proxied))) {
    const before = proxy.calls.length;
    proxy.fault = firstly(ATTEMPTS - 1, UNAVAILABLE);
    equal(await outcome(call()), "ok", name);
    const made = proxy.calls.length - before;
    proxy.fault = () => ({});
    await storage.put("x", bytesOf("x"));
    await call();
    equal(made, proxy.calls.length - before - made + ATTEMPTS - 1, name);

    proxy.fault = () => UNAVAILABLE;
    proxy.calls.length = 0;
    equal(await outcome(call()), "unavailable", name);
    equal(proxy.calls.length, ATTEMPTS, name);
  }
});

s3Test("a refused S3 call is not repeated", async () => {
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

s3Test("an S3 call without an answer in time is repeated", async () => {
  await using opened = await openS3();
  const { proxy, prefix } = opened;
  const hasty = await open({ prefix, s3: { endpoint: proxy.url }, silenceMs: 200 });
  proxy.fault = firstly(1, { delayMs: 600 });

  await hasty.put("a", bytesOf("habari"));

  equal(proxy.calls.length, 2);
  equal(await textOf(hasty, "a"), "habari");
});

s3Test("an S3 put whose answer is lost recognises its own object", async () => {
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

  for (const fault of [{ cutAnswerAt: 0 }, { cutAnswerAt: 30 }, { cutRequestAt: 0 }, UNAVAILABLE]) {
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
  "an S3 upload that fails after status 200 is completed again, or aborted",
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

s3Test("an S3 upload that no longer exists was completed, or counts as interrupted", async () => {
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

s3Test("an old S3 upload that could not be aborted is tidied", async () => {
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

s3Test("old digests of replaced and deleted S3 objects are tidied", async () => {
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

s3Test("bytes corrupted on their way to S3 are refused and sent again", async () => {
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

s3Test("an S3 read that breaks off resumes where it stopped", async () => {
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

s3Test("a partial S3 read that breaks off resumes where it stopped", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  const bytes = randomBytes(3 * MIB);
  await storage.put("a", bytes);
  proxy.fault = firstly(1, { cutAnswerAt: MIB });

  const found = await read(await proxied.get("a", { range: { offset: 1_000, length: 2 * MIB } }));

  equal(Buffer.compare(found, bytes.subarray(1_000, 1_000 + 2 * MIB)), 0);
});

s3Test("an S3 read that breaks off immediately every time ends with an error", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  await storage.put("a", randomBytes(6 * MIB));
  proxy.fault = () => ({ cutAnswerAt: 70_000 });

  equal(await outcome(read(await proxied.get("a"))), "interrupted");
  equal(proxy.calls.length, ATTEMPTS);
});

s3Test("an S3 object that is replaced during a read is not mixed", async () => {
  await using opened = await openS3();
  const { storage, proxied, proxy } = opened;
  await storage.put("a", randomBytes(6 * MIB));
  proxy.fault = firstly(1, { cutAnswerAt: 3 * MIB });

  const stream = await proxied.get("a");
  await storage.put("a", randomBytes(6 * MIB));

  equal(await outcome(read(stream)), "precondition_failed");
});

s3Test("a service other than S3 is not mistaken for an empty bucket", async () => {
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

s3Test("an S3 service without conditional writes is reported as unsupported", async () => {
  await using opened = await openS3();
  const { proxied, proxy } = opened;
  proxy.fault = () => ({
    answer: { status: 501, body: "<Error><Code>NotImplemented</Code></Error>" },
  });

  equal(await outcome(proxied.put("a", bytesOf("x"), { ifAbsent: true })), "unsupported");
});
