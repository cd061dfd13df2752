/**
 * Middleware for every request: its id and access log line, the limits of its body,
 * and the check of its API key.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { authenticate, hasScope, type Scope } from "../lib/access/mod.ts";
import { AppError } from "../lib/errors.ts";
import { newId } from "../lib/ids.ts";
import { type Meter, newMeter, withContext } from "../lib/telemetry/log.ts";
import type { Services } from "../lib/app/mod.ts";
import { nameServerSpan } from "../lib/telemetry/tracing.ts";
import { withDeadline } from "../lib/time.ts";
import type { AppEnv } from "./_env.ts";
import { BODY_BYTES_MAX } from "./_http.ts";
import { countRead, countWrite } from "./_limits.ts";

/** A request this many times slower than `slowRequestMs` is logged as an error. */
const VERY_SLOW = 5;
/** Time for a body to arrive, in milliseconds: enough for 64 KiB on a slow mobile line. */
const BODY_MS = 10_000;
/** Methods counted by name. Others count as one, since callers could invent any number. */
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/**
 * Gives the request its id and its meter, and writes the access log line after the
 * response: the route's pattern, never the path, which may contain a token.
 */
export function trackRequest(
  { clock, log, metrics, errorTracker, config }: Services,
): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const requestId = newId(clock());
    const meter = newMeter();
    c.set("requestId", requestId);
    const startedAt = performance.now();
    await withContext({ requestId, meter }, async () => {
      await next();
      c.header("x-request-id", requestId);
      // Not cacheable unless the route allows it.
      if (!c.res.headers.has("cache-control")) c.header("cache-control", "no-store");
      if (meter.replays > 0) c.header("idempotency-replayed", "true");
      const durationMs = Math.round((performance.now() - startedAt) * 100) / 100;
      const { method } = c.req;
      const { status } = c.res;
      const route = routePath(c, -1);
      const { kvReads, kvCommits, kvConflicts } = meter;
      const line = {
        method,
        route,
        status,
        durationMs,
        kvReads,
        kvCommits,
        kvConflicts,
        ...(c.var.principal ? { actor: c.var.principal.actor } : {}),
      };
      log.info("request.answered", line);
      if (durationMs > config.slowRequestMs) {
        const isVerySlow = durationMs > VERY_SLOW * config.slowRequestMs;
        log[isVerySlow ? "error" : "warn"]("request.slow", { ...line, ...meter.spentMs });
      }
      if (config.appEnv === "development") {
        c.header("server-timing", serverTiming(durationMs, meter));
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
    });
  };
}

/** The Server-Timing header, which browsers display. */
function serverTiming(durationMs: number, { spentMs }: Meter): string {
  const parts = { ...spentMs, total: durationMs };
  return Object.entries(parts).map(([name, ms]) => `${name};dur=${ms.toFixed(2)}`).join(", ");
}

/** Rejects bodies that are too large, with or without Content-Length, or too slow to arrive. */
export const limitBody: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { raw } = c.req;
  if (raw.body) {
    // With both headers, neither is trusted.
    const isChunked = raw.headers.has("transfer-encoding");
    const declared = isChunked ? null : raw.headers.get("content-length");
    if (Number(declared) > BODY_BYTES_MAX) throw tooLarge();
    if (declared === null) {
      c.req.raw = new Request(raw, { body: await inTime(readWithin(raw.body)) });
    } else await inTime(c.req.arrayBuffer()); // `c.req` caches it for later readers
  }
  await next();
};

/** Waits for a body. A body that is too slow ends with its connection. */
function inTime<T>(arrival: Promise<T>): Promise<T> {
  return withDeadline(arrival, BODY_MS, () => {
    const seconds = BODY_MS / 1_000;
    throw new AppError("request_timeout", `The body did not arrive within ${seconds} seconds`);
  });
}

/** Reads a body of unknown length. Unlike Hono's own limit, it cancels a body that is too large. */
async function readWithin(body: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<Blob> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw tooLarge();
    chunks.push(chunk);
  }
  return new Blob(chunks);
}

function tooLarge(): AppError {
  return new AppError("payload_too_large", `The body exceeds ${BODY_BYTES_MAX} bytes`);
}

const JSON_TYPE = /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Rejects bodies that are not declared as JSON or are not UTF-8. The validator parses them. */
export const expectJson: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (["POST", "PUT", "PATCH"].includes(c.req.method)) {
    const bytes = await c.req.arrayBuffer();
    if (bytes.byteLength > 0) {
      if (!JSON_TYPE.test(c.req.header("content-type") ?? "")) {
        throw new AppError(
          "unsupported_media_type",
          "The Content-Type must be application/json in UTF-8",
        );
      }
      try {
        utf8.decode(bytes);
      } catch {
        throw new AppError("malformed", "The body is not valid UTF-8");
      }
    }
  }
  await next();
};

/** Requires a key with the scope. @throws {AppError} `unauthenticated`, `forbidden` */
export function requireScope(services: Services, scope: Scope): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const principal = await identify(services, c);
    if (!principal) throw new AppError("unauthenticated", "An API key is required");
    if (!hasScope(principal, scope)) {
      throw new AppError("forbidden", `The API key needs the scope ${scope}`);
    }
    await next();
  };
}

/** Allows visitors. A key, if sent, must be valid and have the scope. */
export function allowScope(services: Services, scope: Scope): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const principal = await identify(services, c);
    if (principal && !hasScope(principal, scope)) {
      throw new AppError("forbidden", `The API key needs the scope ${scope}`);
    }
    await next();
  };
}

async function identify(services: Services, c: Context<AppEnv>) {
  const header = c.req.header("authorization");
  if (header === undefined) return null;
  const key = /^Bearer +(\S+)$/i.exec(header)?.[1];
  if (key === undefined) {
    throw new AppError("unauthenticated", "Authorization must be `Bearer <API key>`");
  }
  const principal = await authenticate(services, key);
  c.set("principal", principal);
  // Reads are counted here, in this instance; writes in their own transaction.
  const isRead = c.req.method === "GET" || c.req.method === "HEAD";
  if (isRead) countRead(services, c, "key_read", principal.actor);
  else countWrite(services, c, "key_write", principal.actor);
  return principal;
}
