/**
 * Middleware of requests: the limits of their body, and the check of their API key.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { authenticate, hasScope, type Scope } from "../lib/access/mod.ts";
import { AppError } from "../lib/errors.ts";
import type { Services } from "../lib/app/mod.ts";
import { withDeadline } from "../lib/time.ts";
import type { AppEnv } from "./_env.ts";
import { BODY_BYTES_MAX } from "./_http.ts";
import { countRead, countWrite } from "./_limits.ts";

/** Time for a body to arrive, in milliseconds: enough for 64 KiB on a slow mobile line. */
const BODY_MS = 10_000;

/**
 * Rejects bodies that are too large, with or without Content-Length, or too slow to arrive; and
 * under the API, bodies that are not declared as JSON or are not UTF-8. The validator parses them.
 */
export const checkBody: MiddlewareHandler<AppEnv> = (c, next) => {
  return c.req.raw.body ? readBody(c).then(next) : next();
};

async function readBody(c: Context<AppEnv>): Promise<void> {
  const { raw } = c.req;
  // With both headers, neither is trusted.
  const isChunked = raw.headers.has("transfer-encoding");
  const declared = isChunked ? null : raw.headers.get("content-length");
  if (Number(declared) > BODY_BYTES_MAX) throw tooLarge();
  if (declared === null) {
    c.req.raw = new Request(raw, { body: await inTime(readWithin(raw.body!)) });
  }
  const bytes = await inTime(c.req.arrayBuffer()); // `c.req` caches it for later readers
  const isJson = JSON_PATH.test(c.req.path) && JSON_METHODS.has(c.req.method);
  if (isJson && bytes.byteLength > 0) expectJson(c, bytes);
}

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

const JSON_PATH = /^\/(?:api|save-lead)(?:\/|$)/;
const JSON_METHODS = new Set(["POST", "PUT", "PATCH"]);
const JSON_TYPE = /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i;
const utf8 = new TextDecoder("utf-8", { fatal: true });

function expectJson(c: Context<AppEnv>, bytes: ArrayBuffer): void {
  if (!JSON_TYPE.test(c.req.header("content-type") ?? "")) {
    throw new AppError(
      "unsupported_media_type",
      "The Content-Type must be application/json in UTF-8",
    );
  }
  try {
    // `c.req` hands this on as it is; from the bytes it would decode them once more.
    Object.assign(c.req.bodyCache, { text: Promise.resolve(utf8.decode(bytes)) });
  } catch {
    throw new AppError("malformed", "The body is not valid UTF-8");
  }
}

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
