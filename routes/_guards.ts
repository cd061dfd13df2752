/**
 * What every request passes before it is handled: its name and its line in the
 * log, the limits of its body, and who sends it.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import { authenticate, hasScope, type Scope } from "../lib/api_keys.ts";
import { AppError } from "../lib/errors.ts";
import { newId } from "../lib/ids.ts";
import { newMeter, withContext } from "../lib/log.ts";
import type { Services } from "../lib/services.ts";
import type { AppEnv } from "./_env.ts";
import { BODY_BYTES_MAX } from "./_http.ts";

/**
 * Gives the request its id and its meter, and writes its line in the access log
 * when it is answered: the route's pattern, never the path, which may hold a token.
 */
export function exchange({ clock, log }: Services): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const requestId = newId(clock());
    const meter = newMeter();
    c.set("requestId", requestId);
    const startedAt = performance.now();
    await withContext({ requestId, meter }, async () => {
      await next();
      c.header("x-request-id", requestId);
      // Whatever does not say that it may be kept is somebody's own.
      if (!c.res.headers.has("cache-control")) c.header("cache-control", "no-store");
      if (meter.replays > 0) c.header("idempotency-replayed", "true");
      log.info("request.answered", {
        method: c.req.method,
        route: routePath(c, -1),
        status: c.res.status,
        durationMs: Math.round((performance.now() - startedAt) * 100) / 100,
        kvReads: meter.kvReads,
        kvCommits: meter.kvCommits,
        kvConflicts: meter.kvConflicts,
        ...(c.var.principal ? { actor: c.var.principal.actor } : {}),
      });
    });
  };
}

/** Refuses bodies that are too large, whether or not they say so. */
export const limitBody: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { raw } = c.req;
  if (raw.body) {
    // Whoever says both is believed in neither.
    const isChunked = raw.headers.has("transfer-encoding");
    const said = isChunked ? null : raw.headers.get("content-length");
    if (said === null) c.req.raw = new Request(raw, { body: await readWithin(raw.body) });
    else if (Number(said) > BODY_BYTES_MAX) throw tooLarge();
  }
  await next();
};

/** Reads a body of unknown length. Unlike Hono's own limit it cancels what it gives up on. */
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
  return new AppError("payload_too_large", `A body is at most ${BODY_BYTES_MAX} bytes`);
}

const JSON_TYPE = /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Refuses bodies that are not JSON in UTF-8; whether it parses is the validator's to say. */
export const expectJson: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (c.req.method === "POST" || c.req.method === "PATCH") {
    const bytes = await c.req.arrayBuffer();
    if (bytes.byteLength > 0) {
      if (!JSON_TYPE.test(c.req.header("content-type") ?? "")) {
        throw new AppError("unsupported_media_type", "Send application/json in UTF-8");
      }
      try {
        utf8.decode(bytes);
      } catch {
        throw new AppError("malformed", "The body is not UTF-8");
      }
    }
  }
  await next();
};

/** Lets in whoever has a key with the scope. @throws {AppError} `unauthenticated`, `forbidden` */
export function requireScope(services: Services, scope: Scope): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const principal = await identify(services, c);
    if (!principal) throw new AppError("unauthenticated", "This needs an API key");
    if (!hasScope(principal, scope)) throw new AppError("forbidden", `This needs ${scope}`);
    await next();
  };
}

/** Lets in everyone; a key, when one is sent, must be valid and have the scope. */
export function allowScope(services: Services, scope: Scope): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const principal = await identify(services, c);
    if (principal && !hasScope(principal, scope)) {
      throw new AppError("forbidden", `This needs ${scope}`);
    }
    await next();
  };
}

async function identify(services: Services, c: Context<AppEnv>) {
  const header = c.req.header("authorization");
  if (header === undefined) return null;
  const key = /^Bearer +(\S+)$/i.exec(header)?.[1];
  if (key === undefined) {
    throw new AppError("unauthenticated", "Authorization is Bearer and an API key");
  }
  const principal = await authenticate(services, key);
  c.set("principal", principal);
  return principal;
}
