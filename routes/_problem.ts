/**
 * Failures as RFC 9457 problems: one table from kinds to HTTP.
 *
 * @module
 */
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { AppError, type ErrorKind, type FieldProblem } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";
import type { AppEnv } from "./_env.ts";

/** A problem as it is sent. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  requestId: string;
  errors?: FieldProblem[];
}

const ANSWERS: Readonly<Record<ErrorKind, readonly [status: number, title: string]>> = {
  malformed: [400, "Malformed request"],
  invalid_input: [422, "Invalid input"],
  payload_too_large: [413, "Payload too large"],
  unsupported_media_type: [415, "Unsupported media type"],
  unauthenticated: [401, "Not authenticated"],
  forbidden: [403, "Forbidden"],
  not_found: [404, "Not found"],
  method_not_allowed: [405, "Method not allowed"],
  conflict: [409, "Conflict"],
  stale_revision: [412, "Stale revision"],
  idempotency_key_reused: [422, "Idempotency-Key reused"],
  rate_limited: [429, "Too many requests"],
  unavailable: [503, "Temporarily unavailable"],
  outcome_unknown: [503, "Outcome unknown"],
  internal: [500, "Internal error"],
};

/** Problems listed in one answer; a request with more is told of the first ones. */
const ERRORS_MAX = 20;

/** The answer to whatever a handler threw; what is not ours to show is logged and not shown. */
export function answerError(error: unknown, c: Context<AppEnv>, log: Log): Response {
  const known = toAppError(error);
  const [status] = ANSWERS[known.kind];
  if (known.kind === "internal") log.error("request.failed", { error });
  else if (status === 503) log.warn("request.unavailable", { error });
  return answerProblem(c, known);
}

/** A problem as an HTTP answer, never stored by anyone in between. */
export function answerProblem(c: Context<AppEnv>, error: AppError): Response {
  const { kind, fields, retryAfterMs } = error;
  const [status, title] = ANSWERS[kind];
  const problem: Problem = {
    type: `/problems/${kind}`,
    title,
    status,
    detail: kind === "internal" ? "Something went wrong on our side" : error.message,
    instance: c.req.path,
    requestId: c.var.requestId,
    ...(fields.length > 0 ? { errors: fields.slice(0, ERRORS_MAX) } : {}),
  };
  const headers: Record<string, string> = {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
  };
  if (retryAfterMs !== undefined) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  }
  if (kind === "unauthenticated") headers["www-authenticate"] = 'Bearer realm="api"';
  return new Response(JSON.stringify(problem), { status, headers });
}

function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof HTTPException) {
    if (error.status === 400) return new AppError("malformed", error.message, { cause: error });
    if (error.status === 413) return new AppError("payload_too_large", "The body is too large");
    if (error.status === 415) {
      return new AppError("unsupported_media_type", "Send application/json");
    }
  }
  // The body broke off: its sender hung up, or (in Deno 2.9) this process is stopping.
  if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Http) {
    return new AppError("unavailable", "The request did not arrive whole", {
      cause: error,
      retryAfterMs: 1_000,
    });
  }
  return new AppError("internal", "Something went wrong on our side", { cause: error });
}
