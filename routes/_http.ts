/**
 * Request headers that make calls safe: Idempotency-Key and If-Match.
 *
 * @module
 */
import type { Context } from "hono";
import { AppError } from "../lib/errors.ts";
import type { Caller } from "../lib/entities/caller.ts";
import type { AppEnv } from "./_env.ts";

/** Largest request body, in bytes. */
export const BODY_BYTES_MAX = 64 * 1024;

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/** The caller, with the Idempotency-Key of the request. @throws {AppError} `malformed` */
export function callerOf(c: Context<AppEnv>): Caller {
  const key = c.req.header("idempotency-key") ?? null;
  if (key !== null && !IDEMPOTENCY_KEY.test(key)) {
    throw new AppError(
      "malformed",
      "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces",
    );
  }
  return {
    actor: c.get("principal")?.actor ?? "public",
    requestId: c.get("requestId"),
    idempotencyKey: key,
    guards: c.get("guards") ?? [],
  };
}

/** The revision in If-Match; null for any. @throws {AppError} `malformed` */
export function revisionOf(c: Context<AppEnv>): number | null {
  const tag = c.req.header("if-match");
  if (tag === undefined || tag === "*") return null;
  // The runtime weakens the tag of a response that it compresses.
  const revision = /^(?:W\/)?"(\d{1,9})"$/.exec(tag)?.[1];
  if (revision === undefined) {
    throw new AppError("malformed", 'If-Match must be a revision in quotes, such as "3"');
  }
  return Number(revision);
}

/** The ETag of an entity: its revision. */
export function revisionTag({ revision }: { revision: number }): string {
  return `"${revision}"`;
}
