/**
 * What every request passes, in one pass: its id and its line in the access log, the host and
 * HTTPS checks, the time limit, and the headers of its response. Headers are set once, on the
 * finished response: with Hono's `c.header()` each one would build the response again.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { AppError } from "../lib/errors.ts";
import { newId } from "../lib/ids.ts";
import type { Services } from "../lib/app/mod.ts";
import { type Meter, newMeter, withContext } from "../lib/telemetry/mod.ts";
import { nameServerSpan } from "../lib/telemetry/tracing.ts";
import type { AppEnv } from "./_env.ts";
import { limitHeaders } from "./_limits.ts";
import { checkHost, httpsAddress, securityHeaders } from "./_security.ts";
import { TimeLimit } from "./_time_limit.ts";

/** A request this many times slower than `slowRequestMs` is logged as an error. */
const VERY_SLOW = 5;
/** Time limit of a request, in milliseconds: longer than the store's own deadlines. */
export const REQUEST_MS = 20_000;
/** Methods counted by name. Others count as one, since callers could invent any number. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/**
 * The middleware of every request.
 *
 * @param answer The response to what a check or the time limit throws.
 * @param requestMs The time limit of a request, in milliseconds.
 */
export function exchange(
  services: Services,
  answer: (error: unknown, c: Context<AppEnv>) => Response,
  requestMs: number,
): MiddlewareHandler<AppEnv> {
  const { clock, config } = services;
  const check = checkHost(config);
  const fixedHeaders = securityHeaders(config);
  const limit = new TimeLimit(requestMs);
  return (c, next) => {
    const requestId = newId(clock());
    const meter = newMeter();
    c.set("requestId", requestId);
    const startedAt = performance.now();
    return withContext({ requestId, meter }, async () => {
      try {
        check(c);
        const address = httpsAddress(config, c);
        if (address === null) await limit.wait(next(), () => tooSlow(c, requestMs));
        else c.res = c.redirect(address, 308);
      } catch (error) {
        c.res = answer(error, c);
      }
      const headers = mutableHeaders(c);
      for (const [name, value] of fixedHeaders) headers.set(name, value);
      // Pages set their own policy; other responses load nothing.
      if (!headers.has("content-security-policy")) {
        headers.set("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
      }
      limitHeaders(services, c, headers);
      headers.set("x-request-id", requestId);
      // Not cacheable unless the route allows it.
      if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
      if (meter.replays > 0) headers.set("idempotency-replayed", "true");
      const durationMs = Math.round((performance.now() - startedAt) * 100) / 100;
      if (config.appEnv === "development") {
        headers.set("server-timing", serverTiming(durationMs, meter));
      }
      report(services, c, { requestId, meter, durationMs });
    });
  };
}

/** The headers of the response; if they cannot be changed, as of one from `fetch`, those of a copy. */
function mutableHeaders(c: Context<AppEnv>): Headers {
  try {
    c.res.headers.delete("x-request-id");
  } catch {
    c.res = new Response(c.res.body, c.res);
  }
  return c.res.headers;
}

/** The error of a request that takes too long. The deadlines of what it waits for end the rest. */
function tooSlow({ req: { method } }: Context<AppEnv>, ms: number): AppError {
  // A write may still complete after this.
  const kind = method === "GET" ? "unavailable" : "outcome_unknown";
  return new AppError(kind, `The request took longer than ${ms / 1_000} seconds`, {
    retryAfterMs: 1_000,
  });
}

/** Logs and counts an answered request: the route's pattern, never the path, which may contain a token. */
function report(
  { log, metrics, errorTracker, config }: Services,
  c: Context<AppEnv>,
  { requestId, meter, durationMs }: { requestId: string; meter: Meter; durationMs: number },
): void {
  const { method } = c.req;
  const { status } = c.res;
  const route = routePath(c, -1);
  const { kvReads, kvCommits, kvConflicts } = meter;
  const actor = c.get("principal")?.actor;
  const line = {
    method,
    route,
    status,
    durationMs,
    kvReads,
    kvCommits,
    kvConflicts,
    ...(actor === undefined ? {} : { actor }),
  };
  log.info("request.answered", line);
  if (durationMs > config.slowRequestMs) {
    const isVerySlow = durationMs > VERY_SLOW * config.slowRequestMs;
    log[isVerySlow ? "error" : "warn"]("request.slow", { ...line, ...meter.spentMs });
  }
  const counted = METHODS.has(method) ? method : "other";
  nameServerSpan({ method, route, requestId });
  errorTracker.timed({
    name: `${method} ${route}`,
    kind: "request",
    durationMs,
    isOk: status < 500,
    requestId,
  });
  metrics.requests.add({ method: counted, route, status: String(status) });
  metrics.durations.observe(durationMs / 1_000, { method: counted, route });
  metrics.countStore(meter);
}

/** The Server-Timing header, which browsers display. */
function serverTiming(durationMs: number, { spentMs }: Meter): string {
  const parts = { ...spentMs, total: durationMs };
  return Object.entries(parts).map(([name, ms]) => `${name};dur=${ms.toFixed(2)}`).join(", ");
}
