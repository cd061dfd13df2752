/**
 * The log says what happened, on one line, and nothing private: whatever it is given.
 */
import {
  deepStrictEqual as deepEqual,
  doesNotMatch,
  match,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import fc from "fast-check";
import { AppError } from "../../../lib/errors.ts";
import {
  currentContext,
  type Log,
  type LogOptions,
  newMeter,
  openLog,
  withContext,
} from "../../../lib/telemetry/mod.ts";
import { isPrivateName, redactText } from "../../../lib/telemetry/redact.ts";

interface Recorded {
  log: Log;
  lines: string[];
  /** The last line, parsed. */
  last(): Record<string, unknown>;
}

function record(options: Partial<LogOptions> = {}): Recorded {
  const lines: string[] = [];
  const log = openLog({
    level: "debug",
    format: "json",
    write: (line) => lines.push(line),
    ...options,
  });
  return { log, lines, last: () => JSON.parse(lines.at(-1)!) };
}

const API_KEY = "wtk_0123456789abcdefghijklmnop";
const JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhc2hhIn0.c2lnbmF0dXJlLW9mLWl0";

Deno.test("info() writes one JSON object with time, level, event and fields", () => {
  const { log, lines, last } = record();

  log.info("request.handled", { method: "GET", route: "/health", status: 200, ms: 1.5 });

  equal(lines.length, 1);
  const { time, ...rest } = last();
  match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  deepEqual(rest, {
    level: "info",
    event: "request.handled",
    method: "GET",
    route: "/health",
    status: 200,
    ms: 1.5,
  });
});

Deno.test("openLog() leaves out records below its level", () => {
  const { log, lines } = record({ level: "warn" });

  log.debug("a.debug");
  log.info("an.info");
  log.warn("a.warning");
  log.error("an.error");

  deepEqual(lines.map((line) => JSON.parse(line).level), ["warn", "error"]);
});

Deno.test("openLog() opens independent logs", () => {
  const here = record();
  const there = record({ level: "error" });

  here.log.info("here.only");
  there.log.error("there.only");

  deepEqual(here.lines.map((line) => JSON.parse(line).event), ["here.only"]);
  deepEqual(there.lines.map((line) => JSON.parse(line).event), ["there.only"]);
});

Deno.test("openLog() writes to standard output by default", async () => {
  const log = new URL("../../../lib/telemetry/mod.ts", import.meta.url).href;
  const program = `import { openLog } from ${JSON.stringify(log)};
    const log = openLog({ level: "info", format: "json" });
    log.info("to.output", { share: "100%% %s" });
    log.error("also.to_output");`;

  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--config", new URL("../../../deno.json", import.meta.url).pathname, program],
    env: { NO_COLOR: "1" },
  }).output();

  equal(code, 0, new TextDecoder().decode(stderr));
  const lines = new TextDecoder().decode(stdout).trimEnd().split("\n");
  deepEqual(lines.map((line) => JSON.parse(line).event), ["to.output", "also.to_output"]);
  equal(JSON.parse(lines[0]!).share, "100%% %s");
});

Deno.test("withContext() adds request id and job to every record, across awaits", async () => {
  const { log, lines } = record();
  const meter = newMeter();

  await Promise.all(
    ["req-1", "req-2"].map((requestId) =>
      withContext({ requestId, job: "outbox", meter }, async () => {
        await Promise.resolve();
        log.info("within.context", { of: requestId });
        currentContext()!.meter.kvReads++;
      })
    ),
  );
  log.info("outside.context");

  const records = lines.map((line) => JSON.parse(line));
  for (const { requestId, job, of } of records.slice(0, 2)) {
    deepEqual([requestId, job], [of, "outbox"]);
  }
  equal(records[2].requestId, undefined);
  equal(meter.kvReads, 2);
  equal(currentContext(), undefined);
});

Deno.test("a field cannot replace the time, level, event and context of a record", () => {
  const { log, last } = record();
  const mine = { time: "noon", level: "low", event: "party", requestId: "forged", job: "none" };

  withContext({ requestId: "req-1", meter: newMeter() }, () => log.info("a.record", mine));

  const found = last();
  deepEqual([found.level, found.event, found.requestId], ["info", "a.record", "req-1"]);
  deepEqual([found._time, found._level, found._event, found._requestId], [
    "noon",
    "low",
    "party",
    "forged",
  ]);
  equal(found.job, "none");
});

Deno.test("a record is written although JSON does not support a value", () => {
  const { log, last } = record();
  const circle: Record<string, unknown> = { size: 1 };
  circle.again = circle;
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();

  log.info("odd.values", {
    circle,
    big: 12n,
    huge: 10n ** 5_000n,
    symbol: Symbol("s"),
    fn() {},
    not: NaN,
    nothing: undefined,
    nil: null,
    when: new Date(0),
    never: new Date(NaN),
    bytes: new Uint8Array(32).fill(65),
    map: new Map<unknown, unknown>([["a", 1], [{}, 2]]),
    set: new Set([1, 2]),
    revoked: revoked.proxy,
    bare: Object.create(null),
    get angry() {
      throw new Error("no");
    },
    ["__proto__"]: { x: 1 },
  });

  const { time: _, ...found } = last();
  deepEqual(found, {
    level: "info",
    event: "odd.values",
    circle: { size: 1, again: "[circular]" },
    big: "12",
    huge: "[bigint]",
    symbol: "Symbol(s)",
    fn: "[function]",
    not: "NaN",
    nil: null,
    when: "1970-01-01T00:00:00.000Z",
    never: "null",
    bytes: "[32 bytes]",
    map: { a: 1, "[object]": 2 },
    set: [1, 2],
    revoked: "[unreadable]",
    bare: {},
    angry: "[unreadable]",
    ["__proto__"]: { x: 1 },
  });
});

Deno.test("a record is short, whatever its fields", () => {
  const { log, lines, last } = record();
  let deep: unknown = "bottom";
  for (let i = 0; i < 10_000; i++) deep = { deep };
  const wide = Object.fromEntries(Array.from({ length: 5_000 }, (_, i) => [`field_${i}`, "x"]));
  const megabyte = "x".repeat(2 ** 20);

  log.info("much.given", { megabyte, deep, wide, list: new Array(100_000).fill(megabyte) });
  log.info("much.given", Object.fromEntries(Array.from({ length: 100 }, (_, i) => [i, megabyte])));
  log.error("much.thrown", { error: new Error(megabyte, { cause: new Error(megabyte) }) });

  for (const line of lines) ok(line.length < 20_000, `${line.length} characters`);
  match(String(last().event), /much\.thrown/);
  match(JSON.parse(lines[0]!).megabyte, /^x{2048}… of 1048576$/);
  match(lines[0]!, /(?:"deep":\{){4}"deep":"\[deep\]"/);
});

// What took quadratic time would not end within the run.
Deno.test("a megabyte of hostile text becomes a line of bounded length", () => {
  const { log, lines } = record();
  const hostile = ["a".repeat(2 ** 20) + "@", "1@".repeat(2 ** 19), "+1 ".repeat(2 ** 18)];

  for (const text of hostile) {
    log.info("hostile.text", { text, detail: text, error: new Error(text) });
  }

  equal(lines.length, hostile.length);
  for (const line of lines) ok(line.length < 20_000, `${line.length} characters`);
});

Deno.test("no text ends, colours or reverses a line", () => {
  const tricks = "a\nb\r\u0085\u2028\u2029\u009b31m\u001b[31m\u202e\u2066\ufeff\u0000z";
  for (const format of ["json", "pretty"] as const) {
    const { log, lines } = record({ format });

    log.info(tricks, { detail: tricks, [tricks]: 1, error: new Error(tricks) });

    match(lines[0]!, /^[\x20-\x7e←]+$/);
    if (format === "json") equal(JSON.parse(lines[0]!).detail, tricks);
  }
});

Deno.test("logging throws nothing and writes one parsable line for any event and fields", () => {
  for (const format of ["json", "pretty"] as const) {
    const { log, lines } = record({ format });
    fc.assert(fc.property(
      fc.string({ unit: "binary" }),
      fc.dictionary(
        fc.string(),
        fc.anything({
          withBigInt: true,
          withMap: true,
          withSet: true,
          withDate: true,
          withNullPrototype: true,
          withSparseArray: true,
          withTypedArray: true,
        }),
      ),
      (event, fields) => {
        lines.length = 0;

        log.info(event, fields);

        equal(lines.length, 1);
        // deno-lint-ignore no-control-regex
        doesNotMatch(lines[0]!, /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/);
        if (format === "json") equal(JSON.parse(lines[0]!).level, "info");
      },
    ));
  }
});

Deno.test("logging throws nothing when the line cannot be written", () => {
  const { log } = record({
    write() {
      throw new Error("disk full");
    },
  });

  log.error("nobody.hears");
});

Deno.test("an error is logged with its kind, stack and causes", () => {
  const { log, last } = record();
  const cause = new TypeError("connection reset", { cause: "a cable" });

  log.error("request.failed", { error: new AppError("unavailable", "Cannot commit", { cause }) });

  const error = last().error as Record<string, unknown>;
  deepEqual([error.name, error.kind, error.message], ["AppError", "unavailable", "Cannot commit"]);
  match(String(error.stack), /^at .*mod_test\.ts/);
  const { name, message, cause: root } = error.cause as Record<string, unknown>;
  deepEqual([name, message, root], ["TypeError", "connection reset", "a cable"]);
});

Deno.test("an error that is its own cause, or throws when read, is logged in part", () => {
  const { log, last } = record();
  const own = new Error("circle");
  own.cause = own;
  const angry = new Error("x");
  Object.defineProperty(angry, "message", {
    get() {
      throw own;
    },
  });

  log.error("it.failed", { own, angry });

  const found = last() as Record<string, Record<string, unknown>>;
  equal(found.own!.cause, "[circular]");
  equal(found.angry!.message, "[unreadable]");
});

Deno.test("a private field keeps its name and loses its value, at any depth", () => {
  const { log, lines, last } = record();

  log.info("lead.accepted", {
    name: "Asha",
    lead: { email: "asha@example.com", contacts: [{ phone: 255712345678 }], id: "lead-1" },
    headers: new Map([["Authorization", "Basic abc"], ["Accept", "text/html"]]),
    message: { subject: "hello" },
    phone: null,
    password: true,
  });

  const { time: _, ...found } = last();
  deepEqual(found, {
    level: "info",
    event: "lead.accepted",
    name: "[redacted]",
    lead: { email: "[redacted]", contacts: "[redacted]", id: "lead-1" },
    headers: { Authorization: "[redacted]", Accept: "text/html" },
    message: "[redacted]",
    phone: null,
    password: true,
  });
  doesNotMatch(lines[0]!, /asha|2557|abc|hello/i);
});

Deno.test("isPrivateName() accepts names of secrets and personal data, in any convention", () => {
  const hidden = `
    password passwordHash user_password NEW-PASSWORD userpassword secret clientSecret SECRET_KEY secretKey
    token accessToken access_token refreshtoken csrfToken tokenHash authorization Authorization
    x-api-key apiKey apikey bootstrapApiKey BOOTSTRAP_API_KEY consumerKey privateKey cookie set-cookie
    Set-Cookie cookies sessionId credentials otp pin name Name fullName full_name firstName clientName
    customer_name userName username payerName email Email e_mail emailAddress clientEmail emails phone
    phoneNumber phone_number phone2 phoneE164 msisdn mobile whatsapp contact contacts address address1
    addressLine1 ipAddress ip message messageBody body requestBody notes comment payload
  `.trim().split(/\s+/);

  deepEqual(hidden.filter((name) => !isPrivateName(name)), []);
});

Deno.test("isPrivateName() refuses names of the program's own values", () => {
  const shown = `
    time level event requestId job jobName eventName fileName hostname route routeName method path status
    ms durationMs kvReads kvCommits kvConflicts attempt attempts error reason detail id leadId clientId
    invoiceId invoiceNumber messageId messages_count emailCount tokenCount phoneVerified contentType
    contentLength key keys idempotencyKey count bytes code kind stack url host port version from to
    amountMinor currency gateway trackingId merchantReference passed author compass pinned emailHash
    productName userAgent __proto__ constructor toString
  `.trim().split(/\s+/).concat("");

  deepEqual(shown.filter((name) => isPrivateName(name)), []);
});

Deno.test("redactText() hides addresses, numbers and keys in the middle of a text", () => {
  const secrets = [
    "asha@example.com",
    "asha%40example.co.tz",
    "Juma.O'Neil+shop@mail.example.co.tz",
    "+255712345678",
    "+255 712 345 678",
    "%2B255712345678",
    "255712345678",
    "00255712345678",
    "0712345678",
    "0712 345 678",
    "Bearer abcdef.123456",
    "Basic YXNoYTpodW50ZXIy",
    API_KEY,
    JWT,
  ];

  for (const secret of secrets) {
    for (const around of ["%", "cannot send to %: refused", "<%>", '"%"', "a\n%\nb", "to=%&x=1"]) {
      const text = redactText(around.replace("%", () => secret));
      ok(text.includes("[redacted]"), `${secret} in ${around}`);
      ok(!text.includes(secret.replace(/^B\w+ /, "")), `${secret} in ${around}`);
    }
  }
});

Deno.test("redactText() hides the value after the name of a secret", () => {
  const texts = [
    "connect smtp://shop:hunter2@mail.example.com:587",
    "Authorization: Digest hunter2 and more",
    "cookie=session=hunter2; other=1",
    '{"password":"hunter2","n":1}',
    "https://gateway.example/pay?token=hunter2&x=1",
    "https://gateway.example/pay?consumer_key=hunter2&x=1",
    '{"email": "hunter2", "phone":"hunter2"}',
    "GET /i/hunter2hunter2hunter2 404",
  ];

  for (const text of texts) doesNotMatch(redactText(text), /hunter2/, text);
});

Deno.test("redactText() keeps ids, times, amounts, URLs and prose", () => {
  const texts = [
    "0190aaaa-bbbb-7ccc-8ddd-255712345678",
    "2026-11-24T10:00:00.000+03:00",
    "INV-2026-000123",
    "TSh 12,500.50",
    "150000000",
    "https://shop.example.com/invoices?limit=50",
    "Cannot commit: lost to other writers 10 times",
    "at acceptLead (file:///srv/lib/leads/mod.ts:12:34)",
    "/api/v2/leads/:id",
    "1700000000000",
  ];

  for (const text of texts) equal(redactText(text), text);
});

Deno.test("an error's message, stack and causes are redacted", () => {
  const { log, lines } = record();
  const cause = new Error(`401 for ${JWT}`);
  const error = new Error(`cannot mail asha@example.com with ${API_KEY}`, { cause });
  const group = new AggregateError([new Error("call +255712345678")], "all failed");

  log.error("mail.failed", {
    error,
    group,
    "asha@example.com": 1,
    url: new URL("https://a:b@c.tz"),
  });

  equal(lines.length, 1);
  doesNotMatch(lines[0]!, /asha|wtk_|eyJ|2557|a:b@/);
});

Deno.test("a secret that the limit cuts in two is hidden", () => {
  const { log, lines } = record();

  for (let before = 2_030; before < 2_050; before++) {
    log.info("long.text", { detail: `${"x ".repeat(before / 2)}asha@example.com and more` });
  }

  for (const line of lines) doesNotMatch(line, /asha|example/);
});

Deno.test("the pretty format is one line for people, in colour only on request", () => {
  const plain = record({ format: "pretty" });
  const colored = record({ format: "pretty", color: true });
  const fields = { method: "GET", note: "x\n\x1b[31mred", forged: "a b=c", list: [1, 2] };

  plain.log.warn("request.slow", fields);
  colored.log.warn("request.slow", fields);

  match(
    plain.lines[0]!,
    /^\d\d:\d\d:\d\d\.\d{3} WARN {2}request\.slow method=GET note=\[redacted\] forged="a b=c" list=\[1,2\]$/,
  );
  // deno-lint-ignore no-control-regex
  const bare = colored.lines[0]!.replace(/\x1b\[\d+m/g, "");
  equal(bare.slice(12), plain.lines[0]!.slice(12));
  ok(bare.length < colored.lines[0]!.length);
});
