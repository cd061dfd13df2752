/**
 * Real envelopes at a local ingest: what arrives, and what must not.
 */
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { type ErrorTracker, openErrorTracker } from "../../../lib/telemetry/error_tracking.ts";
import { AppError } from "../../../lib/errors.ts";
import type { Log } from "../../../lib/telemetry/mod.ts";
import { startSentryIngest } from "../../support/servers/sentry_ingest.ts";

const JOB = { name: "outbox", schedule: "* * * * *", timeLimitMs: 50_000 };
const FLUSH_MS = 10_000;
const NOW = Date.UTC(2026, 5, 15, 9);

const PRIVATE = [
  "asha.mushi@example.com",
  "+255 754 123 456",
  "0754123456",
  "wtk_0123456789abcdef_secret",
  "c2VjcmV0LXNlc3Npb24",
  "hunter2hunter2",
];

/** Lines of the log, and a tracker that writes them. */
function track(dsn: string | undefined, sampleRate = 0): { tracker: ErrorTracker; log: string[] } {
  const lines: string[] = [];
  const write = (event: string, fields: unknown) =>
    void lines.push(`${event} ${JSON.stringify(fields)}`);
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const tracker = openErrorTracker({
    dsn,
    sampleRate,
    environment: "test",
    release: "2026.06.0",
    log,
    clock: () => NOW,
    random: () => 0.5,
  });
  return { tracker, log: lines };
}

function anError(): Error {
  const [email, phone, local, key, session, password] = PRIVATE;
  const cause = new AppError(
    "unavailable",
    `No answer for ${email}, Authorization: Bearer ${session}`,
    {
      cause: new TypeError(`{"password":"${password}","phone":"${local}"}`),
    },
  );
  return new Error(`Cannot mail ${email} (${phone})\n    at ${email} (file:///${key}:1:2)`, {
    cause,
  });
}

Deno.test("report() sends the error with its causes, places, tags and release", async () => {
  await using ingest = startSentryIngest();
  const { tracker } = track(ingest.dsn);

  tracker.report(anError(), { requestId: "req-1", route: "POST /api/v2/leads" });
  await tracker.flush(FLUSH_MS);

  const [event, ...others] = ingest.of("event");
  deepEqual(others, []);
  equal(event.release, "2026.06.0");
  equal(event.environment, "test");
  equal(event.level, "error");
  equal(event.timestamp > 0, true);
  deepEqual(event.tags, { request_id: "req-1", route: "POST /api/v2/leads" });
  const values = event.exception.values;
  deepEqual(values.map(({ type }: { type: string }) => type), ["TypeError", "AppError", "Error"]);
  const frames = values[2].stacktrace.frames;
  equal(frames.at(-1).filename, "app:///tests/lib/telemetry/error_tracking_test.ts");
  equal(frames.at(-1).function, "anError");
  equal(frames.at(-1).in_app, true);
  equal(frames.at(-1).lineno > 1, true);
});

Deno.test("report() sends nothing personal and no secret", async () => {
  await using ingest = startSentryIngest();
  const { tracker } = track(ingest.dsn);

  tracker.report(anError(), { requestId: "req-1", route: `GET /i/${"x".repeat(40)}` });
  tracker.report(`thrown text of ${PRIVATE[0]}`);
  tracker.report({ email: PRIVATE[0], headers: { cookie: PRIVATE[4] } });
  tracker.report(Object.assign(new Error("fields"), { request: { body: PRIVATE[5] } }));
  await tracker.flush(FLUSH_MS);

  equal(ingest.of("event").length, 4);
  deepEqual(PRIVATE.filter((text) => ingest.text().includes(text)), []);
  ok(!ingest.text().includes("x".repeat(40)));
  for (const event of ingest.of("event")) {
    deepEqual(
      Object.keys(event).filter((key) =>
        /request|user|breadcrumbs|extra|server_name|modules/.test(key)
      ),
      [],
    );
    deepEqual(Object.keys(event.contexts).sort(), ["runtime", "trace"]);
  }
});

Deno.test("report() accepts any thrown value", async () => {
  await using ingest = startSentryIngest();
  const { tracker } = track(ingest.dsn);
  const hostile = new Error("x");
  Object.defineProperty(hostile, "message", { get: () => Promise.reject.call(null) });
  Object.defineProperty(hostile, "stack", { get: () => Promise.reject.call(null) });
  const endless = new Error("endless");
  endless.cause = endless;

  for (const thrown of [hostile, endless, null, undefined, Symbol("s"), 1n, () => {}]) {
    tracker.report(thrown);
  }
  tracker.report(new Error("long ".repeat(1_000_000)));
  await tracker.flush(FLUSH_MS);

  equal(ingest.of("event").length, 8);
  ok(ingest.text().length < 100_000);
});

Deno.test("report() sends only the first of a storm of errors", async () => {
  await using ingest = startSentryIngest();
  const { tracker } = track(ingest.dsn);
  tracker.start();
  await tracker.flush(FLUSH_MS);

  for (let i = 0; i < 500; i++) tracker.report(new Error(`storm ${i}`));
  await tracker.flush(FLUSH_MS);

  equal(ingest.of("event").length, 60);
});

Deno.test("monitored() checks in before and after a run, with its timetable in UTC", async () => {
  await using ingest = startSentryIngest();
  const { tracker } = track(ingest.dsn);

  const result = await tracker.monitored(JOB, () => Promise.resolve("done"));
  await tracker.flush(FLUSH_MS);

  equal(result, "done");
  const [started, ended, ...others] = ingest.of("check_in");
  deepEqual(others, []);
  deepEqual([started.status, ended.status], ["in_progress", "ok"]);
  deepEqual([started.monitor_slug, ended.monitor_slug], ["outbox", "outbox"]);
  equal(started.check_in_id, ended.check_in_id);
  equal(typeof ended.duration, "number");
  equal(started.release, "2026.06.0");
  deepEqual(started.monitor_config, {
    schedule: { type: "crontab", value: "* * * * *" },
    checkin_margin: 2,
    max_runtime: 2,
    timezone: "Etc/UTC",
  });
  deepEqual(ingest.of("event"), []);
});

Deno.test("monitored() reports the error of a failing job, and rethrows it", async () => {
  await using ingest = startSentryIngest();
  const { tracker } = track(ingest.dsn);

  await rejects(
    tracker.monitored(JOB, () => Promise.reject(new Error(`No mail to ${PRIVATE[0]}`))),
    /asha\.mushi/,
  );
  await tracker.flush(FLUSH_MS);

  deepEqual(ingest.of("check_in").map(({ status }) => status), ["in_progress", "error"]);
  const [event] = ingest.of("event");
  deepEqual(event.tags, { job: "outbox" });
  match(event.exception.values[0].value, /^No mail to \[redacted\]$/);
});

Deno.test("timed() sends the share of traces that the sample rate sets", async () => {
  await using ingest = startSentryIngest();
  const all = track(ingest.dsn, 1).tracker;
  const none = track(ingest.dsn, 0.1).tracker;
  const timing = { name: "GET /health", kind: "request", durationMs: 12, isOk: true } as const;

  all.timed({ ...timing, requestId: "req-2" });
  none.timed(timing);
  await Promise.all([all.flush(FLUSH_MS), none.flush(FLUSH_MS)]);

  const [transaction, ...others] = ingest.of("transaction");
  deepEqual(others, []);
  equal(transaction.transaction, "GET /health");
  equal(transaction.contexts.trace.op, "http.server");
  equal(Math.round((transaction.timestamp - transaction.start_timestamp) * 1_000), 12);
  deepEqual(transaction.tags, { request_id: "req-2" });
});

Deno.test("an ingest that hangs or fails causes no delay and no error", async () => {
  for (const mood of ["hang", "error"] as const) {
    await using ingest = startSentryIngest();
    ingest.mood = mood;
    const { tracker } = track(ingest.dsn);
    tracker.start();
    await tracker.flush(FLUSH_MS);
    const startedAt = performance.now();

    for (let i = 0; i < 20; i++) tracker.report(new Error(`while it ${mood}s`));
    equal(await tracker.monitored(JOB, () => Promise.resolve(1)), 1);
    const tookMs = performance.now() - startedAt;
    await tracker.flush(50);
    const flushedMs = performance.now() - startedAt;
    await ingest[Symbol.asyncDispose]();
    await tracker.flush(FLUSH_MS);

    ok(tookMs < 1_000, `${tookMs}`);
    ok(flushedMs < 1_500, `${flushedMs}`);
  }
});

Deno.test("an unreachable ingest is logged once, without its address", async () => {
  const { tracker, log } = track("http://public@127.0.0.1:1/42");

  for (let i = 0; i < 20; i++) tracker.report(new Error("nobody hears"));
  await tracker.flush(FLUSH_MS);

  deepEqual(log, ['error_tracking.failed {"reason":"no connection"}']);
});

Deno.test("flush() returns immediately when nothing is to be sent", async () => {
  const { tracker } = track("http://public@127.0.0.1:1/42");

  await tracker.flush(60_000);

  ok(true);
});

Deno.test("the SDK is loaded with the first report, and never without a DSN", async () => {
  await using ingest = startSentryIngest();
  const folder = await Deno.makeTempDir();
  const library = new URL("../../../lib/telemetry/", import.meta.url).href;
  await Deno.writeTextFile(
    `${folder}/sdk.ts`,
    `console.log("loaded"); throw new Error("not here");`,
  );
  await Deno.writeTextFile(
    `${folder}/probe.ts`,
    `import { openErrorTracker } from "${library}error_tracking.ts";
    const log = { debug() {}, info() {}, warn: (event: string) => console.log(event), error() {} };
    const tracker = openErrorTracker({
      dsn: Deno.args[0], sampleRate: 1, environment: "test", release: "1", log,
      clock: Date.now, random: Math.random,
    });
    console.log("opened");
    tracker.start();
    tracker.report(new Error("x"));
    tracker.timed({ name: "x", kind: "job", durationMs: 1, isOk: true });
    await tracker.monitored({ name: "x", schedule: "* * * * *", timeLimitMs: 1 }, async () => {});
    await tracker.flush(1_000);
    console.log("ended");`,
  );
  const config = JSON.parse(
    await Deno.readTextFile(new URL("../../../deno.json", import.meta.url)),
  );
  await Deno.writeTextFile(
    `${folder}/deno.json`,
    JSON.stringify({ imports: { ...config.imports, "@sentry/deno": "./sdk.ts" } }),
  );
  const run = async (...args: string[]) => {
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--no-lock",
        "--no-prompt",
        `--config=${folder}/deno.json`,
        `${folder}/probe.ts`,
        ...args,
      ],
      env: { NO_COLOR: "1" },
    }).output();
    const decoder = new TextDecoder();
    return (decoder.decode(stdout) + decoder.decode(stderr)).trim().split("\n");
  };

  const [without, with_] = [await run(), await run(ingest.dsn)];

  deepEqual(without, ["opened", "ended"]);
  deepEqual(with_, ["opened", "loaded", "error_tracking.failed", "ended"]);
  deepEqual(ingest.items, []);
  await Deno.remove(folder, { recursive: true });
});
