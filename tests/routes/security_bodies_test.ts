/** Bodies that are too large or too slow are refused, and no request hangs for ever. */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { LEAD } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { asAdmin, SHORT_DEADLINES, startShop } from "../support/program/shop.ts";
import { speak } from "./_raw_requests.ts";

/** A test that waits for an answer in vain fails. */
const ANSWER_MS = 5_000;

/** Makes timers that are set to exactly `ms` go off at once. */
function hasten(ms: number): Disposable {
  const { setTimeout: usual } = globalThis;
  globalThis.setTimeout =
    ((act: () => void, after?: number, ...rest: []) =>
      usual(act, after === ms ? 20 : after, ...rest)) as typeof setTimeout; // takes what it takes
  return {
    [Symbol.dispose]() {
      globalThis.setTimeout = usual;
    },
  };
}

const HEAD = "POST /api/v2/leads HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";

Deno.test("a body whose declared length is too large is refused before it arrives", async () => {
  await using app = await startShop();

  const answer = await speak(app, `${HEAD}content-length: 65537\r\n\r\n{`);

  assertProblem(answer, 413, "payload_too_large");
});

Deno.test("a chunked body is refused as soon as it is too large", async () => {
  await using app = await startShop();
  const chunk = `8000\r\n${" ".repeat(0x8000)}\r\n`;

  const answer = await speak(app, `${HEAD}transfer-encoding: chunked\r\n\r\n${chunk.repeat(3)}`);

  assertProblem(answer, 413, "payload_too_large");
});

for (
  const [how, framing, first] of [
    ["said how long it is", "content-length: 100", "{"],
    ["comes in chunks", "transfer-encoding: chunked", "1\r\n{\r\n"],
  ]
) {
  Deno.test(`a body that ${how} and stops is refused after ten seconds`, async () => {
    await using app = await startShop();
    using _ = hasten(10_000);

    const answer = await speak(app, `${HEAD}${framing}\r\n\r\n${first}`);
    const old = HEAD.replace("/api/v2/leads", "/save-lead/");
    const inOldWords = await speak(app, `${old}${framing}\r\n\r\n${first}`);

    assertProblem(answer, 408, "request_timeout");
    // Deno 2.9 says it once more by itself.
    match(answer.headers.get("connection") ?? "", /^close(?:, close)?$/);
    equal(inOldWords.status, 408);
    deepEqual(inOldWords.body, {
      status: "error",
      message: "The body did not arrive within 10 seconds",
    });
    equal(await app.count(keys.leads), 0);
    equal((await app.post("/api/v2/leads", LEAD)).status, 201);
  });
}

Deno.test("a slow body that arrives in time is read whole", async () => {
  await using app = await startShop();
  const body = JSON.stringify(LEAD);
  const { hostname, port } = new URL(app.url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const write = (text: string) => connection.write(new TextEncoder().encode(text));

  await write(`${HEAD}content-length: ${body.length}\r\n\r\n`);
  for (const char of body) await write(char);
  const buffer = new Uint8Array(4_096);
  const size = await connection.read(buffer);

  match(new TextDecoder().decode(buffer.subarray(0, size ?? 0)), /^HTTP\/1\.1 201 /);
});

Deno.test("a request that is stuck is answered after the time limit", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES, requestMs: 50 });
  app.kv.isHanging = true;

  const read = await asAdmin(app, "GET", "/api/v2/clients");
  const written = await app.post("/api/v2/leads", LEAD);

  assertProblem(read, 503, "unavailable");
  equal(read.body.detail, "The request took longer than 0.05 seconds");
  // By now it is unknown whether it will be stored.
  assertProblem(written, 503, "outcome_unknown");
  equal(written.headers.get("retry-after"), "1");
});

Deno.test("while the store hangs every request ends by the store's own deadlines", async () => {
  await using app = await startShop({ deadlines: SHORT_DEADLINES });
  app.kv.isHanging = true;
  const startedAt = performance.now();

  const answers = await Promise.all([
    asAdmin(app, "GET", "/api/v2/clients"),
    app.post("/api/v2/leads", LEAD),
    app.get("/i/x"),
  ]);

  deepEqual(answers.slice(0, 2).map(({ status }) => status), [503, 503]);
  ok(performance.now() - startedAt < ANSWER_MS);
});
