/**
 * Shared schemas and descriptions of routes: they validate requests and make up
 * `/openapi.json`.
 *
 * @module
 */
import { OpenAPIHono, z } from "@hono/zod-openapi";
import type { Scope } from "../lib/access/mod.ts";
import { AppError, type FieldProblem } from "../lib/errors.ts";
import { isId } from "../lib/ids.ts";
import { CURRENCIES, MINOR_MAX } from "../lib/money.ts";
import { PAGE_MAX } from "../lib/entities/page.ts";
import type { Services } from "../lib/app/mod.ts";
import { cleanLine, cleanText, isLine, isMultiline } from "../lib/text.ts";
import type { AppEnv } from "./_env.ts";
import { requireScope } from "./_guards.ts";

const FLAGS = ["true", "false"] as const;

/** An app whose routes reject invalid input with one kind of problem. */
export function newRoutes(): OpenAPIHono<AppEnv> {
  return new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success) throw invalid(result.error.issues);
    },
  });
}

/** Zod's issues as a problem. Never repeats the values that were sent. */
export function invalid(issues: readonly z.core.$ZodIssue[]): AppError {
  const fields = issues.flatMap((issue): FieldProblem[] => {
    const path = issue.path.map(String).join(".");
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => ({
        path: [...issue.path.map(String), key.slice(0, 64)].join("."),
        message: "No such field",
        code: "unknown_field",
      }));
    }
    return [{ path, message: issue.message, code: issue.code }];
  });
  return new AppError("invalid_input", "The request has invalid values", {
    fields,
  });
}

/** The documentation and the check of a route that needs a key with `scope`. */
export function secured(services: Services, scope: Scope) {
  return {
    security: [{ apiKey: [] as string[] }],
    description: `Needs a key with \`${scope}\`.`,
    middleware: requireScope(services, scope),
  };
}

/** One line of plain text; white space around it is removed. */
export function line(max: number) {
  return z.string().max(max).transform(cleanLine).pipe(
    z.string().min(1, "Must not be empty").max(max).refine(isLine, {
      message: "Must be one line without control characters",
    }),
  );
}

/** Plain text of several lines; may be empty. */
export function multiline(max: number) {
  return z.string().max(max).transform(cleanText).pipe(
    z.string().refine(isMultiline, { message: "Must be text without control characters" }),
  );
}

export const Id = z.string().refine(isId, { message: "Must be an id (a UUID)" }).openapi({
  format: "uuid",
  example: "01938d6e-3c00-7000-8000-000000000001",
});
export const Currency = z.enum(CURRENCIES).openapi({ example: "TZS" });
export const Minor = z.int().min(1).max(MINOR_MAX).openapi({
  description: "Integer, in the currency's minor unit (ISO 4217: TZS has 2 digits, UGX none)",
  example: 15_000_000,
});
export const MinorOrNone = z.int().min(0).max(MINOR_MAX);
export const Quantity = z.int().min(1).max(10_000);
/** A boolean in a query. */
export const Flag = z.enum(FLAGS);
export const Time = z.string().openapi({ format: "date-time" });
export const Day = z.iso.date();
export const IdParam = z.object({
  id: Id.openapi({ param: { name: "id", in: "path" } }),
});

/** Entries of a page. */
export const PageSize = z.coerce.number().int().min(1).max(PAGE_MAX).default(50);

/** Size and position of a page. */
export const PageQuery = z.object({
  limit: PageSize.openapi({ param: { name: "limit", in: "query" } }),
  cursor: z.string().min(1).max(512).optional().openapi({
    description: "`nextCursor` of the previous page",
  }),
});

/** A page of a list. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({ data: z.array(item), nextCursor: z.string().nullable() });
}

const ProblemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  instance: z.string(),
  requestId: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string(), code: z.string() }))
    .optional(),
}).openapi("Problem");

const PROBLEMS = {
  400: "The request is malformed",
  401: "The API key is missing or not valid",
  403: "The API key lacks the scope",
  404: "Not found",
  409: "The current state does not allow this",
  412: "The revision in If-Match is not the current one",
  413: "The body is too large",
  415: "The body is not JSON",
  422: "A value is invalid, or the Idempotency-Key was used with a different request",
  429: "Too many requests; retry after Retry-After",
  503: "The store does not respond. Nothing was stored, unless the type is `outcome_unknown`",
} as const;

/** A status that a route can answer with a problem. */
export type ProblemStatus = keyof typeof PROBLEMS;

/** The problems that a route can answer with; 429 and 503 always. */
export function problems<S extends ProblemStatus>(...statuses: S[]) {
  const content = { "application/problem+json": { schema: ProblemSchema } };
  const responses = [...statuses, 429 as const, 503 as const].map((status) => [
    status,
    { description: PROBLEMS[status], content },
  ]);
  return Object.fromEntries(responses) as Record<
    S | 429 | 503,
    { description: string; content: typeof content }
  >;
}

/** A required JSON body. */
export function jsonBody<T extends z.ZodType>(schema: T) {
  return { body: { content: { "application/json": { schema } }, required: true } };
}

/** A JSON response. */
export function jsonResponse<T extends z.ZodType>(description: string, schema: T) {
  return { description, content: { "application/json": { schema } } };
}

/** The header that makes a request safe to repeat. */
export const IdempotencyHeader = z.object({
  "idempotency-key": z.string().optional().openapi({
    description: "Your unique key for this request: a repeat gets the response of the first one",
  }),
});
/** The header that protects a change from overwriting another one. */
export const RevisionHeader = z.object({
  "if-match": z.string().optional().openapi({
    description:
      'The revision to change, such as `"3"`; refused with 412 if it is not the current one',
  }),
});
