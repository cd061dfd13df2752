/**
 * | method | path                       | who           | answers       |
 * | ------ | -------------------------- | ------------- | ------------- |
 * | GET    | `/api/v2/system/audit`     | `system:read` | 200, 422      |
 * | GET    | `/api/v2/system/jobs`      | `system:read` | 200           |
 * | GET    | `/api/v2/system/incidents` | `system:read` | 200           |
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { type Incident, listIncidents } from "../../lib/alerts/mod.ts";
import { type AuditEntry, listHistory } from "../../lib/entities/audit.ts";
import { type JobRun, listJobRuns } from "../../lib/jobs/runs.ts";
import { PAGE_MAX } from "../../lib/entities/page.ts";
import type { Services } from "../../lib/app/services.ts";
import type { AppEnv } from "../_env.ts";
import { Id, jsonAnswer, newRoutes, pageOf, problems, secured, Time } from "../_openapi.ts";

const HistoryQuery = z.object({
  entity: z.enum(["product", "client", "lead", "invoice", "payment", "api_key", "webhook"]),
  id: Id,
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(50),
  cursor: z.string().regex(/^[1-9]\d{0,8}$/, "Not a cursor of this list").optional(),
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
    description: "From and to, for fields that hold nothing personal",
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
  status: z.enum(["ok", "failed", "timed_out", "stopped"]),
  outcome: z.record(z.string(), z.union([z.number(), z.string(), z.boolean()])),
  error: z.string().nullable(),
  failures: z.int(),
  lastOkAt: Time.nullable(),
}).openapi("JobRun");
const IncidentBody = z.object({
  name: z.string(),
  severity: z.enum(["warning", "critical"]),
  title: z.string(),
  detail: z.string(),
  openedAt: Time,
  lastSeenAt: Time,
  count: z.int(),
  resolvedAt: Time.nullable(),
}).openapi("Incident");

/** The routes under `/api/v2/system`. */
export function systemRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "get",
      path: "/audit",
      tags: ["system"],
      summary: "The history of one thing, oldest first",
      ...secured(services, "system:read"),
      request: { query: HistoryQuery },
      responses: { 200: jsonAnswer("A page", pageOf(AuditBody)), ...problems(401, 403, 422) },
    }),
    async (c) => {
      const { entity, id, limit, cursor = "1" } = c.req.valid("query");
      const page = await listHistory(services, { entity, id }, { limit, after: Number(cursor) });
      return c.json({ ...page, data: page.data.map(auditBody) }, 200);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/jobs",
      tags: ["system"],
      summary: "How the last run of each job went",
      ...secured(services, "system:read"),
      responses: { 200: jsonAnswer("All", pageOf(JobBody)), ...problems(401, 403) },
    }),
    async (c) => {
      const runs: JobRun[] = await listJobRuns(services);
      return c.json({ data: runs, nextCursor: null }, 200);
    },
  ).openapi(
    createRoute({
      method: "get",
      path: "/incidents",
      tags: ["system"],
      summary: "What is unwell, or was in the last 30 days",
      ...secured(services, "system:read"),
      responses: { 200: jsonAnswer("All", pageOf(IncidentBody)), ...problems(401, 403) },
    }),
    async (c) => {
      const incidents = await listIncidents(services);
      return c.json({ data: incidents.map(incidentBody), nextCursor: null }, 200);
    },
  );
}

function auditBody(entry: AuditEntry): z.infer<typeof AuditBody> {
  return entry;
}

function incidentBody(
  { name, severity, title, detail, openedAt, lastSeenAt, count, resolvedAt }: Incident,
): z.infer<typeof IncidentBody> {
  return { name, severity, title, detail, openedAt, lastSeenAt, count, resolvedAt };
}
