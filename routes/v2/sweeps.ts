/**
 * Sweeps under `/api/v2/system/sweeps`: checks of the whole store, run by a job.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { SEVERITIES } from "../../lib/alerts/mod.ts";
import type { Services } from "../../lib/app/mod.ts";
import {
  entriesOf,
  getSweep,
  LEFT_UNREPAIRED,
  listSweeps,
  requestSweep,
  SWEEP_STATUSES,
  type SweepDetails,
  type SweepRecord,
} from "../../lib/integrity/job.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  Id,
  IdempotencyHeader,
  jsonBody,
  jsonResponse,
  PageQuery,
  problems,
  secured,
  Time,
} from "../_openapi.ts";
import { listRoute, pageBody, readRoute, routesOf } from "../_resource.ts";

const summaryFields = {
  id: Id,
  status: z.enum(SWEEP_STATUSES),
  repair: z.boolean().openapi({ description: "Whether the sweep repairs what it can" }),
  requestedAt: Time,
  by: z.string().openapi({ example: "job:sweep" }),
  startedAt: Time.nullable(),
  endedAt: Time.nullable(),
  entries: z.int(),
  findingsTotal: z.int().openapi({ description: "Findings that remain" }),
  criticalTotal: z.int(),
  repairsTotal: z.int(),
  durationMs: z.number(),
};
const SweepSummary = z.object(summaryFields).openapi("SweepSummary");
const FindingBody = z.object({
  check: z.string().openapi({ example: "index.missing" }),
  severity: z.enum(SEVERITIES),
  key: z.string().openapi({ description: "The key as JSON; personal data is redacted" }),
  detail: z.string(),
  repair: z.enum(LEFT_UNREPAIRED).nullable().openapi({
    description: "Why it was not repaired; null if the sweep does not repair",
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
  ...summaryFields,
  counts: z.record(z.string(), z.int()),
  findings: z.array(FindingBody).openapi({ description: "The first 150; fewer if they are long" }),
  repairs: z.array(RepairBody).openapi({ description: "The first 150" }),
}).openapi("Sweep");
const SweepRequest = z.strictObject({
  repair: z.boolean().default(false),
}).openapi("SweepWish");

/** The routes under `/api/v2/system/sweeps`. */
export function sweepRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addList, addRequest, addRead);
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listRoute(services, {
    path: "/",
    tag: "system",
    summary: "List sweeps, newest first",
    scope: "system:read",
    query: PageQuery,
    item: SweepSummary,
  });
  routes.openapi(route, async (c) => {
    const { limit, cursor = null } = c.req.valid("query");
    const page = await listSweeps(services, { limit, cursor });
    return c.json(pageBody(page, summaryOf), 200);
  });
}

function addRequest(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "post",
    path: "/",
    tags: ["system"],
    summary: "Request a sweep; returns the current one if it has not finished",
    ...secured(services, "system:write"),
    request: { headers: IdempotencyHeader, ...jsonBody(SweepRequest) },
    responses: {
      202: jsonResponse("The pending or running sweep", SweepBody),
      ...problems(400, 401, 403, 413, 415, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const { repair } = c.req.valid("json");
    const sweep = await requestSweep(services, { isRepairing: repair }, callerOf(c));
    c.header("location", `/api/v2/system/sweeps/${sweep.id}`);
    return c.json(sweepBody(sweep), 202);
  });
}

function addRead(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = readRoute(services, {
    path: "/{id}",
    tag: "system",
    summary: "Get a sweep with its findings and repairs",
    scope: "system:read",
    body: SweepBody,
    description: "The sweep",
  });
  routes.openapi(route, async (c) => {
    const sweep = await getSweep(services, c.req.valid("param").id);
    return c.json(sweepBody(sweep), 200);
  });
}

function summaryOf(sweep: SweepRecord): z.infer<typeof SweepSummary> {
  const { id, status, isRepairing, requestedAt, by, startedAt, endedAt, durationMs } = sweep;
  const { findingsTotal, criticalTotal, repairsTotal } = sweep;
  return {
    id,
    status,
    repair: isRepairing,
    requestedAt,
    by,
    startedAt,
    endedAt,
    entries: entriesOf(sweep),
    findingsTotal,
    criticalTotal,
    repairsTotal,
    durationMs,
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
