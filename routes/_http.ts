/**
 * What requests say beside their JSON: headers that callers use to be safe.
 *
 * @module
 */
import type { Context } from "hono";
import { AppError } from "../lib/errors.ts";
import type { Caller } from "../lib/entities/caller.ts";
import type { AppEnv } from "./_env.ts";

/** Bytes that a request may carry. */
export const BODY_BYTES_MAX = 64 * 1024;

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/** Who calls, with the name that they gave to this intent. @throws {AppError} `malformed` */
export function callerOf(c: Context<AppEnv>): Caller {
  const key = c.req.header("idempotency-key") ?? null;
  if (key !== null && !IDEMPOTENCY_KEY.test(key)) {
    throw new AppError("malformed", "Idempotency-Key is 1 to 255 printable characters");
  }
  return {
    actor: c.var.principal?.actor ?? "public",
    requestId: c.var.requestId,
    idempotencyKey: key,
    guards: c.var.guards ?? [],
  };
}

/** The revision named by If-Match; null when any will do. @throws {AppError} `malformed` */
export function revisionOf(c: Context<AppEnv>): number | null {
  const tag = c.req.header("if-match");
  if (tag === undefined || tag === "*") return null;
  // The runtime weakens the tag of an answer that it compresses.
  const revision = /^(?:W\/)?"(\d{1,9})"$/.exec(tag)?.[1];
  if (revision === undefined) {
    throw new AppError("malformed", 'If-Match is a revision in quotes, such as "3"');
  }
  return Number(revision);
}

/** The ETag of an entity: its revision. */
export function revisionTag({ revision }: { revision: number }): string {
  return `"${revision}"`;
}
