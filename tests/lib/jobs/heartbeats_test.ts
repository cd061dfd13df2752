/**
 * A monitoring service is notified that a job succeeded or failed, and its address, which is
 * a secret, is not disclosed.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { sendHeartbeat } from "../../../lib/jobs/heartbeats.ts";
import { openLog } from "../../../lib/telemetry/mod.ts";

/** Fast, for these wait for nothing on purpose. */
const QUICK = { timeoutMs: 300, retryAfterMs: 1 };

interface Listener extends AsyncDisposable {
  readonly url: string;
  /** Method and path of all that came. */
  readonly heard: string[];
  /** What it answers, the last one for ever; 0 is nothing at all. */
  statuses: number[];
}

function startListener(): Listener {
  const { promise: closing, resolve: close } = Promise.withResolvers<void>();
  const stop = new AbortController();
  const serving = { hostname: "127.0.0.1", port: 0, onListen() {}, signal: stop.signal };
  const server = Deno.serve(serving, async (request) => {
    const { pathname, search } = new URL(request.url);
    listener.heard.push(`${request.method} ${pathname}${search}`);
    const status = listener.statuses.length > 1
      ? listener.statuses.shift()!
      : listener.statuses[0]!;
    if (status === 0) await closing;
    const headers = { location: "/elsewhere" };
    return new Response(
      null,
      status >= 300 && status < 400 ? { status, headers } : { status: status || 200 },
    );
  });
  const listener: Listener = {
    url: `http://127.0.0.1:${server.addr.port}`,
    heard: [],
    statuses: [200],
    async [Symbol.asyncDispose]() {
      close();
      stop.abort();
      await server.finished;
    },
  };
  return listener;
}

function servicesOf(url: string) {
  const lines: string[] = [];
  const log = openLog({ level: "debug", format: "json", write: (line) => lines.push(line) });
  return { lines, services: { log, config: { heartbeats: [{ job: "backup", url }] } } };
}

Deno.test("sendHeartbeat() calls the address after a success, and its /fail after a failure", async () => {
  await using listener = startListener();
  const { services, lines } = servicesOf(`${listener.url}/ping/s3cret`);

  await sendHeartbeat(services, { job: "backup", isOk: true }, QUICK);
  await sendHeartbeat(services, { job: "backup", isOk: false }, QUICK);
  await sendHeartbeat(services, { job: "sweep", isOk: true }, QUICK);

  deepEqual(listener.heard, ["GET /ping/s3cret", "GET /ping/s3cret/fail"]);
  deepEqual(lines, []);
});

Deno.test("sendHeartbeat() keeps the query of an address behind /fail", async () => {
  await using listener = startListener();
  const { services } = servicesOf(`${listener.url}/ping/s3cret/?create=1`);

  await sendHeartbeat(services, { job: "backup", isOk: false }, QUICK);

  deepEqual(listener.heard, ["GET /ping/s3cret/fail?create=1"]);
});

Deno.test("sendHeartbeat() tries twice, and then logs the failure without the address", async () => {
  await using listener = startListener();
  const { services, lines } = servicesOf(`${listener.url}/ping/s3cret`);
  const send = () => sendHeartbeat(services, { job: "backup", isOk: true }, QUICK);

  listener.statuses = [503, 200];
  await send();
  equal(lines.length, 0);
  listener.statuses = [500];
  await send();
  listener.statuses = [0];
  await send();
  // Where it is pointed to, the secret does not go.
  listener.statuses = [302];
  await send();
  const gone = servicesOf("http://127.0.0.1:1/ping/s3cret");
  await sendHeartbeat(gone.services, { job: "backup", isOk: true }, QUICK);

  equal(listener.heard.length, 8);
  ok(listener.heard.every((line) => line === "GET /ping/s3cret"));
  const records = [...lines, ...gone.lines].map((line) => JSON.parse(line));
  deepEqual(records.map(({ event, heartbeatOf, reason }) => [event, heartbeatOf, reason]), [
    ["heartbeat.not_sent", "backup", "status 500"],
    ["heartbeat.not_sent", "backup", "no answer in 300 ms"],
    ["heartbeat.not_sent", "backup", "status 302"],
    ["heartbeat.not_sent", "backup", "no connection"],
  ]);
  ok(!/s3cret|127\.0\.0\.1/.test([...lines, ...gone.lines].join()));
});
