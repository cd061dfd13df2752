/**
 * A small program with spans, for a process of its own: whether the runtime
 * collects traces is decided when it starts.
 *
 * @module
 */
import { AppError } from "../../../lib/errors.ts";
import { nameServerSpan, startTracing, traced } from "../../../lib/telemetry/tracing.ts";

await startTracing();
const server = Deno.serve(
  { hostname: "127.0.0.1", port: 0, onListen: () => {} },
  async ({ method }) => {
    await traced("job outbox", { due: 3 }, async () => {
      await traced("kv.read", { keys: 2 }, () => Promise.resolve());
      await traced("kv.commit", { keys: 1, isGrouped: true }, () => Promise.resolve());
    });
    const lost = new AppError("unavailable", "No answer about asha@example.com");
    await traced("gateway pesapal.status", {}, () => Promise.reject(lost)).catch(() => {});
    nameServerSpan({ method, route: "/i/:token", requestId: "req-1" });
    return new Response("ok");
  },
);
const answer = await fetch(`http://127.0.0.1:${server.addr.port}/i/secret-token?email=asha`);
await answer.text();
await server.shutdown();
const isTracing = Symbol.for("opentelemetry.js.api.1") in globalThis;
console.log(isTracing ? "traced" : "not traced");
