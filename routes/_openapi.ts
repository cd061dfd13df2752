/**
 * The parts that routes describe themselves with: the same schemas validate
 * requests and make `/openapi.json`.
 *
 * @module
 */
import { OpenAPIHono, z } from "@hono/zod-openapi";
import type { Scope } from "../lib/access/api_keys.ts";
import { AppError, type FieldProblem } from "../lib/errors.ts";
import { isId } from "../lib/ids.ts";
import { CURRENCIES, MINOR_MAX } from "../lib/money.ts";
import { PAGE_MAX } from "../lib/entities/page.ts";
import type { Services } from "../lib/app/services.ts";
import { cleanLine, cleanText, isLine, isMultiline } from "../lib/text.ts";
import type { AppEnv } from "./_env.ts";
import { requireScope } from "./_guards.ts";

/** An app whose routes refuse invalid input in the one way. */
export function newRoutes(): OpenAPIHono<AppEnv> {
  return new OpenAPIHono<AppEnv>({
    defaultHook: (result) => {
      if (!result.success) throw invalid(result.error.issues);
    },
  });
}

/** The problem that zod's findings are. Values sent are never repeated. */
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
  return new AppError("invalid_input", "The request has values that cannot be accepted", {
    fields,
  });
}

/** What a route that needs a key says about it and does about it. */
export function secured(services: Services, scope: Scope) {
  return {
    security: [{ apiKey: [] as string[] }],
    description: `Needs a key with \`${scope}\`.`,
    middleware: requireScope(services, scope),
  };
}

/** One line of plain text, stored as given but for the white space around it. */
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

export const Id = z.string().refine(isId, { message: "Not an id" }).openapi({
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
export const Time = z.string().openapi({ format: "date-time" });
export const Day = z.iso.date();
export const IdParam = z.object({
  id: Id.openapi({ param: { name: "id", in: "path" } }),
});

/** A page's place in its list. */
export const PageQuery = z.object({
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(50).openapi({
    param: { name: "limit", in: "query" },
  }),
  cursor: z.string().min(1).max(512).optional().openapi({
    description: "`nextCursor` of the page before",
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
  404: "There is no such thing",
  409: "Its state does not allow this",
  412: "It has changed since",
  413: "The body is too large",
  415: "The body is not JSON",
  422: "A value cannot be accepted, or the Idempotency-Key came with another request",
  429: "Too many requests; Retry-After says when to come back",
  503: "The store does not answer; nothing was stored unless the type says `outcome_unknown`",
} as const;

/** The problems that a route can answer, for its document. */
export function problems<S extends keyof typeof PROBLEMS>(...statuses: S[]) {
  const content = { "application/problem+json": { schema: ProblemSchema } };
  const answers = [...statuses, 429 as const, 503 as const].map((status) => [
    status,
    { description: PROBLEMS[status], content },
  ]);
  return Object.fromEntries(answers) as Record<
    S | 429 | 503,
    { description: string; content: typeof content }
  >;
}

/** A JSON body that must be sent. */
export function jsonBody<T extends z.ZodType>(schema: T) {
  return { body: { content: { "application/json": { schema } }, required: true } };
}

/** A JSON answer. */
export function jsonAnswer<T extends z.ZodType>(description: string, schema: T) {
  return { description, content: { "application/json": { schema } } };
}

/** Headers that make a request safe to repeat, or to send on old knowledge. */
export const IdempotencyHeader = z.object({
  "idempotency-key": z.string().optional().openapi({
    description: "Your name for this intent: repeating it answers what the first one did",
  }),
});
export const RevisionHeader = z.object({
  "if-match": z.string().optional().openapi({
    description: 'The revision that you saw, such as `"3"`; another one is refused with 412',
  }),
});
