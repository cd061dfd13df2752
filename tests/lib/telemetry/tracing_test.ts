/**
 * Spans as a collector gets them, from a process of its own.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { traced } from "../../../lib/telemetry/tracing.ts";
import { startServer } from "../../support/processes/server_process.ts";

const PROBE = new URL("../../support/processes/tracing_probe.ts", import.meta.url).pathname;

interface ReceivedSpan {
  name: string;
  kind: number;
  spanId: string;
  parentSpanId: string;
  attributes: { key: string; value: Record<string, unknown> }[];
  status: { code: number; message: string };
  events: unknown[];
}

/** Takes OTLP over HTTP, in JSON. */
function startCollector() {
  const spans: ReceivedSpan[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const body = await request.json();
      for (const resource of body.resourceSpans ?? []) {
        for (const scope of resource.scopeSpans) spans.push(...scope.spans);
      }
      return Response.json({});
    },
  );
  return {
    spans,
    url: `http://127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Runs the program to its end. @returns What it printed. */
async function runProbe(env: Record<string, string>, flags: string[] = []): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--allow-net=127.0.0.1", ...flags, PROBE],
    env: { NO_COLOR: "1", ...env },
  }).output();
  const decoder = new TextDecoder();
  return (decoder.decode(stdout) + decoder.decode(stderr)).trim();
}

function attributesOf({ attributes }: ReceivedSpan): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, Object.values(value)[0]]),
  );
}

Deno.test("spans reach a collector by their names, within the request's", async () => {
  await using collector = startCollector();

  const printed = await runProbe({
    OTEL_DENO: "true",
    OTEL_DENO_CONSOLE: "ignore",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  });

  equal(printed, "traced");
  const span = (name: string) => collector.spans.find((span) => span.name === name)!;
  const request = span("GET /i/:token");
  const job = span("job outbox");
  equal(request.kind, 2);
  equal(attributesOf(request)["http.route"], "/i/:token");
  equal(attributesOf(request)["request.id"], "req-1");
  equal(job.parentSpanId, request.spanId);
  deepEqual(attributesOf(job), { due: 3 });
  equal(span("kv.read").parentSpanId, job.spanId);
  equal(span("kv.commit").parentSpanId, job.spanId);
  deepEqual(attributesOf(span("kv.commit")), { keys: 1, isGrouped: true });
});

Deno.test("a request to the program is a span by its route, with the store's within it", async () => {
  await using collector = startCollector();
  const folder = await Deno.makeTempDir();
  const env = {
    OTEL_DENO: "true",
    OTEL_DENO_CONSOLE: "ignore",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  };
  {
    await using server = await startServer({ kvPath: `${folder}/shop.kv`, env });
    const answer = await fetch(`${server.url}/api/v2/leads`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: "Asha", email: "asha@example.com" }),
    });
    await answer.text();
    server.kill("SIGTERM");
    await server.ended;
  }
  await Deno.remove(folder, { recursive: true });

  const request = collector.spans.find(({ name }) => name === "POST /api/v2/leads")!;
  equal(attributesOf(request)["http.route"], "/api/v2/leads");
  const within = collector.spans.filter(({ parentSpanId }) => parentSpanId === request.spanId);
  deepEqual(within.map(({ name }) => name).sort(), ["kv.commit", "kv.read"]);
  equal(JSON.stringify(collector.spans).includes("asha@example.com"), false);
});

Deno.test("a span has the kind of the error that ended it, and not its message", async () => {
  await using collector = startCollector();

  await runProbe({
    OTEL_DENO: "true",
    OTEL_DENO_CONSOLE: "ignore",
    OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
  });

  const failed = collector.spans.find(({ name }) => name === "gateway pesapal.status")!;
  equal(failed.status.code, 2);
  deepEqual(attributesOf(failed), { "error.type": "unavailable" });
  deepEqual(failed.events, []);
  ok(!JSON.stringify(collector.spans).includes("asha@example.com"));
});

Deno.test("without traces nothing is loaded, and traced() is a plain call", async () => {
  const folder = await Deno.makeTempDir();
  const config = JSON.parse(
    await Deno.readTextFile(new URL("../../../deno.json", import.meta.url)),
  );
  await Deno.writeTextFile(`${folder}/api.ts`, `throw new Error("loaded");`);
  await Deno.writeTextFile(
    `${folder}/deno.json`,
    JSON.stringify({ imports: { ...config.imports, "@opentelemetry/api": "./api.ts" } }),
  );
  const flags = ["--no-lock", `--config=${folder}/deno.json`];

  const off = await runProbe({}, flags);
  const on = await runProbe({
    OTEL_DENO: "true",
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1",
  }, flags);

  equal(off, "not traced");
  ok(on.includes("loaded"), on);
  const promise = Promise.resolve(1);
  equal(traced("kv.read", {}, () => promise), promise);
  await Deno.remove(folder, { recursive: true });
});
