/**
 * Checks of what every answer of one kind must have.
 *
 * @module
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import type { ErrorKind } from "../../../lib/errors.ts";
import { isId } from "../../../lib/ids.ts";
import type { TestAnswer, TestApp } from "./app.ts";

const PROBLEM_FIELDS = new Set([
  "type",
  "title",
  "status",
  "detail",
  "instance",
  "requestId",
  "errors",
]);
/** Internals that no answer may disclose: files, stack frames, error classes. */
const INTERNALS = /\.tsx?\b|node_modules|file:\/\/|npm:|\bat .+:\d+|\b[A-Z]\w*(Error|Exception)\b/;

/** What a test expects of a problem beyond its kind. */
export interface ExpectedProblem {
  /** `errors[].path`, in order; none when absent. */
  paths?: readonly string[];
  /** Input that the answer must not repeat. */
  notEchoed?: string;
}

/** Checks that an answer is exactly this problem, and discloses nothing else. */
export function assertProblem(
  { status, headers, body, text }: TestAnswer<unknown>,
  expectedStatus: number,
  kind: ErrorKind,
  { paths = [], notEchoed }: ExpectedProblem = {},
): void {
  equal(status, expectedStatus, text);
  equal(headers.get("content-type"), "application/problem+json");
  equal(headers.get("cache-control"), "no-store");
  equal(headers.has("www-authenticate"), status === 401);
  const problem = body as Record<string, unknown>; // its fields are checked below
  equal(problem.type, `/problems/${kind}`);
  equal(problem.status, status);
  for (const name of ["title", "detail", "instance"]) {
    match(String(problem[name]), /\S/, name);
  }
  ok(isId(String(problem.requestId)));
  equal(problem.requestId, headers.get("x-request-id"));
  deepEqual(Object.keys(problem).filter((name) => !PROBLEM_FIELDS.has(name)), []);
  deepEqual(pathsOf(problem.errors), paths);
  ok(!INTERNALS.test(text), `Discloses internals: ${text}`);
  if (notEchoed !== undefined) ok(!text.includes(notEchoed), `Repeats what was sent: ${text}`);
}

function pathsOf(errors: unknown): string[] {
  if (errors === undefined) return [];
  ok(Array.isArray(errors) && errors.length > 0, "errors is absent or has something in it");
  return errors.map((error) => {
    deepEqual(Object.keys(error).sort(), ["code", "message", "path"]);
    return error.path;
  });
}

/** The ETag of an answer, which the runtime weakens when it compresses the answer. */
export function etagOf({ headers }: Pick<TestAnswer<unknown>, "headers">): string | null {
  return headers.get("etag")?.replace(/^W\//, "") ?? null;
}

/** A line of the access log. */
export interface AccessLine {
  requestId: string;
  method: string;
  route: string;
  status: number;
  kvReads: number;
  kvCommits: number;
  kvConflicts: number;
  actor?: string;
}

/** The access log so far. */
export function accessLog({ logLines }: TestApp): AccessLine[] {
  return logLines.map((line) => JSON.parse(line)).filter(({ event }) =>
    event === "request.answered"
  );
}
