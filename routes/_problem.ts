/**
 * Errors as RFC 9457 problems: one table maps error kinds to HTTP statuses.
 *
 * @module
 */
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import { routePath } from "hono/route";
import { AppError, type ErrorKind, type FieldProblem } from "../lib/errors.ts";
import type { Services } from "../lib/app/mod.ts";
import { escapeHtml } from "../lib/text.ts";
import { reportUnexpected } from "../lib/health/watch.ts";
import type { AppEnv } from "./_env.ts";

/** A problem document. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  requestId: string;
  errors?: FieldProblem[];
}

const RESPONSES: Readonly<Record<ErrorKind, readonly [status: number, title: string]>> = {
  malformed: [400, "Malformed request"],
  invalid_input: [422, "Invalid input"],
  payload_too_large: [413, "Payload too large"],
  request_timeout: [408, "Request timed out"],
  unsupported_media_type: [415, "Unsupported media type"],
  unauthenticated: [401, "Not authenticated"],
  forbidden: [403, "Forbidden"],
  not_found: [404, "Not found"],
  method_not_allowed: [405, "Method not allowed"],
  conflict: [409, "Conflict"],
  stale_revision: [412, "Stale revision"],
  idempotency_key_reused: [422, "Idempotency-Key reused"],
  misdirected: [421, "Misdirected request"],
  rate_limited: [429, "Too many requests"],
  unavailable: [503, "Temporarily unavailable"],
  outcome_unknown: [503, "Outcome unknown"],
  internal: [500, "Internal error"],
};

/** The detail of an unexpected error; its cause is logged only. */
export const UNEXPECTED = "An unexpected error occurred. It has been logged; please try again";

/** Field problems in one response; the rest is left out. */
const ERRORS_MAX = 20;

/** The response to anything a handler throws. Unexpected errors are logged, and not shown. */
export function answerError(error: unknown, c: Context<AppEnv>, services: Services): Response {
  const { log, metrics } = services;
  const known = toAppError(error);
  const [status] = RESPONSES[known.kind];
  if (known.kind === "internal") {
    log.error("request.failed", { error });
    metrics.errors.add();
    reportUnexpected(services, error, {
      requestId: c.get("requestId"),
      route: `${c.req.method} ${routePath(c, -1)}`,
    });
  } else if (status === 503) log.warn("request.unavailable", { error });
  return answerProblem(c, known);
}

/** A problem as an HTTP response that is never cached. */
export function answerProblem(c: Context<AppEnv>, error: AppError): Response {
  const { kind, fields, retryAfterMs } = error;
  const [status, title] = RESPONSES[kind];
  const problem: Problem = {
    type: `/problems/${kind}`,
    title,
    status,
    detail: kind === "internal" ? UNEXPECTED : error.message,
    instance: c.req.path,
    requestId: c.get("requestId"),
    ...(fields.length > 0 ? { errors: fields.slice(0, ERRORS_MAX) } : {}),
  };
  const headers: Record<string, string> = {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
  };
  if (retryAfterMs !== undefined) {
    headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  }
  // The rest of the request is not read.
  if (kind === "request_timeout") headers.connection = "close";
  if (kind === "unauthenticated") headers["www-authenticate"] = 'Bearer realm="api"';
  // For a browser: the same problem as a page.
  if (!c.req.path.startsWith("/api/") && /\btext\/html\b/.test(c.req.header("accept") ?? "")) {
    headers["content-type"] = "text/html; charset=utf-8";
    return new Response(problemPage(problem), { status, headers });
  }
  return new Response(JSON.stringify(problem), { status, headers });
}

function problemPage({ title, detail, requestId }: Problem): string {
  const [heading, text] = [title, detail].map(escapeHtml);
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${heading}</title>
</head>
<body>
<h1>${heading}</h1>
<p>${text}</p>
<p><small>If you contact us about this, please quote ${requestId}.</small></p>
</body>
</html>
`;
}

function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof HTTPException) {
    if (error.status === 400) return new AppError("malformed", error.message, { cause: error });
    if (error.status === 413) return new AppError("payload_too_large", "The body is too large");
    if (error.status === 415) {
      return new AppError("unsupported_media_type", "The Content-Type must be application/json");
    }
  }
  // The body broke off: the client disconnected, or (in Deno 2.9) this process is stopping.
  if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Http) {
    return new AppError("unavailable", "The request did not arrive completely", {
      cause: error,
      retryAfterMs: 1_000,
    });
  }
  return new AppError("internal", UNEXPECTED, { cause: error });
}
