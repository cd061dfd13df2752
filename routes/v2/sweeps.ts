/**
 * | method | path                        | who            | answers       |
 * | ------ | --------------------------- | -------------- | ------------- |
 * | GET    | `/api/v2/system/sweeps`     | `system:read`  | 200, 400, 422 |
 * | POST   | `/api/v2/system/sweeps`     | `system:write` | 202, 400, 422 |
 * | GET    | `/api/v2/system/sweeps/:id` | `system:read`  | 200, 404, 422 |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/services.ts";
import {
  askForSweep,
  entriesOf,
  getSweep,
  listSweeps,
  type SweepDetails,
  type SweepRecord,
} from "../../lib/integrity/job.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  Id,
  IdempotencyHeader,
  IdParam,
  jsonAnswer,
  jsonBody,
  newRoutes,
  pageOf,
  PageQuery,
  problems,
  secured,
  Time,
} from "../_openapi.ts";

const summary = {
  id: Id,
  status: z.enum(["pending", "running", "done"]),
  repair: z.boolean().openapi({ description: "Whether it mends what it can" }),
  requestedAt: Time,
  by: z.string().openapi({ example: "job:sweep" }),
  startedAt: Time.nullable(),
  endedAt: Time.nullable(),
  entries: z.int(),
  findingsTotal: z.int().openapi({ description: "What is left wrong" }),
  criticalTotal: z.int(),
  repairsTotal: z.int(),
  durationMs: z.number(),
};
const SweepSummary = z.object(summary).openapi("SweepSummary");
const FindingBody = z.object({
  check: z.string().openapi({ example: "index.missing" }),
  severity: z.enum(["warning", "critical"]),
  key: z.string().openapi({ description: "JSON of the key, personal data redacted" }),
  detail: z.string(),
  repair: z.enum(["not_repairable", "still_wrong"]).nullable().openapi({
    description: "Why it was left so; null when nothing was to be mended",
  }),
}).openapi("Finding");
const RepairBody = z.object({
  id: Id,
  check: z.string(),
  key: z.string(),
  detail: z.string(),
  done: z.string(),
  at: Time,
  by: z.string(),
  requestId: z.string(),
}).openapi("Repair");
const SweepBody = z.object({
  ...summary,
  counts: z.record(z.string(), z.int()),
  findings: z.array(FindingBody).openapi({ description: "The first 150, or fewer long ones" }),
  repairs: z.array(RepairBody).openapi({ description: "The first 150" }),
}).openapi("Sweep");
const SweepWish = z.strictObject({
  repair: z.boolean().default(false),
}).openapi("SweepWish");

/** The routes under `/api/v2/system/sweeps`. */
export function sweepRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "get",
      path: "/",
      tags: ["system"],
      summary: "List sweeps, newest first",
      ...secured(services, "system:read"),
      request: { query: PageQuery },
      responses: {
        200: jsonAnswer("A page", pageOf(SweepSummary)),
        ...problems(400, 401, 403, 422),
      },
    }),
    async (c) => {
      const { limit, cursor = null } = c.req.valid("query");
      const page = await listSweeps(services, { limit, cursor });
      return c.json({ ...page, data: page.data.map(summaryOf) }, 200);
    },
  ).openapi(
    createRoute({
      method: "post",
      path: "/",
      tags: ["system"],
      summary: "Ask for a sweep, which a job then does; while one is under way it is the answer",
      ...secured(services, "system:write"),
      request: { headers: IdempotencyHeader, ...jsonBody(SweepWish) },
      responses: {
        202: jsonAnswer("The sweep that waits or is under way", SweepBody),
        ...problems(400, 401, 403, 413, 415, 422),
      },
    }),
    async (c) => {
      const { repair } = c.req.valid("json");
      const sweep = await askForSweep(services, { isRepairing: repair }, callerOf(c));
      c.header("location", `/api/v2/system/sweeps/${sweep.id}`);
      return c.json(sweepBody(sweep), 202);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/{id}",
      tags: ["system"],
      summary: "Read a sweep: what it found, and what it mended",
      ...secured(services, "system:read"),
      request: { params: IdParam },
      responses: { 200: jsonAnswer("The sweep", SweepBody), ...problems(401, 403, 404, 422) },
    }),
    async (c) => c.json(sweepBody(await getSweep(services, c.req.valid("param").id)), 200),
  );
}

function summaryOf(sweep: SweepRecord): z.infer<typeof SweepSummary> {
  const { id, status, isRepairing, requestedAt, by, startedAt, endedAt, durationMs } = sweep;
  const { findingsTotal, criticalTotal, repairsTotal } = sweep;
  return {
    ...{ id, status, repair: isRepairing, requestedAt, by, startedAt, endedAt },
    entries: entriesOf(sweep),
    ...{ findingsTotal, criticalTotal, repairsTotal, durationMs },
  };
}

function sweepBody(sweep: SweepDetails): z.infer<typeof SweepBody> {
  const { counts, findings, repairs } = sweep;
  return {
    ...summaryOf(sweep),
    counts,
    findings,
    repairs: repairs.map(({ sweepId: _, ...repair }) => repair),
  };
}
