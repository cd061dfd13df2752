/**
 * The state of the system under `/api/v2/system`: audit trail, job runs and incidents.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { type Incident, listIncidents, SEVERITIES } from "../../lib/alerts/mod.ts";
import { type AuditEntry, ENTITY_KINDS, listHistory } from "../../lib/entities/mod.ts";
import { JOB_RUN_STATUSES, type JobRun, listJobRuns } from "../../lib/jobs/mod.ts";
import type { Services } from "../../lib/app/mod.ts";
import type { AppEnv } from "../_env.ts";
import { Id, jsonResponse, pageOf, PageSize, problems, secured, Time } from "../_openapi.ts";
import { listAllRoute, pageBody, routesOf } from "../_resource.ts";

const HistoryQuery = z.object({
  entity: z.enum(ENTITY_KINDS),
  id: Id,
  limit: PageSize,
  cursor: z.string().regex(/^[1-9]\d{0,8}$/, "Must be the `nextCursor` of this list").optional(),
});
const AuditBody = z.object({
  entity: z.string(),
  entityId: Id,
  revision: z.int(),
  at: Time,
  by: z.string().openapi({ example: "key:01938d6e-3c00-7000-8000-000000000001" }),
  requestId: z.string(),
  action: z.string().openapi({ example: "invoice.void" }),
  fields: z.array(z.string()),
  changes: z.record(z.string(), z.array(z.unknown())).openapi({
    description: "Old and new values of fields without personal data",
  }),
  previousDigest: z.string(),
  stateDigest: z.string(),
  digest: z.string(),
}).openapi("AuditEntry");
const JobBody = z.object({
  job: z.string(),
  runId: z.string(),
  startedAt: Time,
  endedAt: Time,
  durationMs: z.number(),
  status: z.enum(JOB_RUN_STATUSES),
  outcome: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])),
  error: z.string().nullable(),
  failures: z.int(),
  lastOkAt: Time.nullable(),
}).openapi("JobRun");
const IncidentBody = z.object({
  name: z.string(),
  severity: z.enum(SEVERITIES),
  title: z.string(),
  detail: z.string(),
  openedAt: Time,
  lastSeenAt: Time,
  count: z.int(),
  resolvedAt: Time.nullable(),
}).openapi("Incident");

/** The routes under `/api/v2/system`. */
export function systemRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addAudit, addJobs, addIncidents);
}

function addAudit(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "get",
    path: "/audit",
    tags: ["system"],
    summary: "List the changes of an entity, oldest first",
    ...secured(services, "system:read"),
    request: { query: HistoryQuery },
    responses: { 200: jsonResponse("A page", pageOf(AuditBody)), ...problems(401, 403, 422) },
  });
  routes.openapi(route, async (c) => {
    const { entity, id, limit, cursor = "1" } = c.req.valid("query");
    const page = await listHistory(services, { entity, id }, { limit, after: Number(cursor) });
    return c.json(pageBody(page, auditBody), 200);
  });
}

function addJobs(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listAllRoute(services, {
    path: "/jobs",
    tag: "system",
    summary: "List the last run of each job",
    scope: "system:read",
    body: pageOf(JobBody),
  });
  routes.openapi(route, async (c) => {
    const runs: JobRun[] = await listJobRuns(services);
    return c.json({ data: runs, nextCursor: null }, 200);
  });
}

function addIncidents(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listAllRoute(services, {
    path: "/incidents",
    tag: "system",
    summary: "List open incidents, and those resolved in the last 30 days",
    scope: "system:read",
    body: pageOf(IncidentBody),
  });
  routes.openapi(route, async (c) => {
    const incidents = await listIncidents(services);
    return c.json({ data: incidents.map(incidentBody), nextCursor: null }, 200);
  });
}

function auditBody(entry: AuditEntry): z.infer<typeof AuditBody> {
  return entry;
}

function incidentBody(
  { name, severity, title, detail, openedAt, lastSeenAt, count, resolvedAt }: Incident,
): z.infer<typeof IncidentBody> {
  return { name, severity, title, detail, openedAt, lastSeenAt, count, resolvedAt };
}
