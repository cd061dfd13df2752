/**
 * Backups and restore drills under `/api/v2/system`. They do not exist unless a storage
 * is configured. A request returns at once; the job starts within five minutes.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Services } from "../../lib/app/mod.ts";
import {
  BACKUP_PHASES,
  type BackupOverview,
  type DrillServices,
  readBackupOverview,
  REQUESTABLE_JOBS,
  requestJob,
  RESTORE_KINDS,
} from "../../lib/backup/mod.ts";
import { hasBackups } from "../../lib/backup/needs.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  IdempotencyHeader,
  jsonResponse,
  newRoutes,
  pageOf,
  problems,
  secured,
  Time,
} from "../_openapi.ts";
import { listAllRoute, routesOf } from "../_resource.ts";

const BackupBody = z.object({
  id: z.string().openapi({ example: "2026-11-30T02-00-00-000Z-0a1b2c3d" }),
  pointInTime: Time,
  verifiedAt: Time,
  entries: z.int(),
  bytes: z.int(),
  durationMs: z.number(),
}).openapi("Backup");
const BackupRunBody = z.object({
  id: z.string(),
  startedAt: Time,
  phase: z.enum(BACKUP_PHASES),
  entries: z.int().openapi({ description: "Entries copied so far" }),
}).openapi("BackupRun");
const ProofBody = z.object({
  at: Time,
  kind: z.enum(RESTORE_KINDS),
  backupId: z.string(),
  pointInTime: Time,
  isProven: z.boolean(),
  problem: z.string().nullable(),
  entries: z.int(),
  findings: z.int(),
  durationMs: z.number().openapi({ description: "The measured recovery time" }),
}).openapi("RestoreProof");
const OverviewBody = pageOf(BackupBody).extend({
  underWay: BackupRunBody.nullable(),
  askedAt: Time.nullable().openapi({
    description: "When a backup was requested that is not finished yet",
  }),
  proofs: z.array(ProofBody).openapi({ description: "Results of restores and drills" }),
}).openapi("Backups");
const RequestBody = z.object({ job: z.enum(REQUESTABLE_JOBS), askedAt: Time })
  .openapi("AskedFor");

/** The program with a configured storage. */
type WithBackups = Services & DrillServices;

/** The routes of backups under `/api/v2/system`. */
export function backupRoutes(services: Services): OpenAPIHono<AppEnv> {
  if (!hasBackups(services)) return newRoutes();
  return routesOf(services, addOverview, addRequestBackup, addRequestDrill);
}

function addOverview(routes: OpenAPIHono<AppEnv>, services: WithBackups): void {
  const route = listAllRoute(services, {
    path: "/backups",
    tag: "system",
    summary: "List verified backups, newest first, with the state of backups and drills",
    scope: "system:read",
    body: OverviewBody,
  });
  routes.openapi(route, async (c) => {
    return c.json(overviewBody(await readBackupOverview(services)), 200);
  });
}

function addRequestBackup(routes: OpenAPIHono<AppEnv>, services: WithBackups): void {
  const route = createRoute({
    method: "post",
    path: "/backups",
    tags: ["system"],
    summary: "Request a backup now",
    ...secured(services, "system:write"),
    request: { headers: IdempotencyHeader },
    responses: {
      202: jsonResponse("Requested; the backup starts within five minutes", RequestBody),
      ...problems(400, 401, 403, 413, 415),
    },
  });
  routes.openapi(
    route,
    async (c) => c.json(await requestJob(services, "backup", callerOf(c)), 202),
  );
}

function addRequestDrill(routes: OpenAPIHono<AppEnv>, services: WithBackups): void {
  const route = createRoute({
    method: "post",
    path: "/restore-drills",
    tags: ["system"],
    summary:
      "Request a restore drill: restores the newest backup into a scratch store and checks it",
    ...secured(services, "system:write"),
    request: { headers: IdempotencyHeader },
    responses: {
      202: jsonResponse("Requested; the drill starts within five minutes", RequestBody),
      ...problems(400, 401, 403, 409, 413, 415),
    },
  });
  routes.openapi(route, async (c) => {
    return c.json(await requestJob(services, "restore_drill", callerOf(c)), 202);
  });
}

function overviewBody(
  { backups, underWay, askedAt, proofs }: BackupOverview,
): z.infer<typeof OverviewBody> {
  return {
    data: backups,
    nextCursor: null,
    underWay: underWay && runBody(underWay),
    askedAt,
    proofs,
  };
}

function runBody(
  { id, startedAt, phase, entries }: NonNullable<BackupOverview["underWay"]>,
): z.infer<typeof BackupRunBody> {
  return { id, startedAt, phase, entries };
}
