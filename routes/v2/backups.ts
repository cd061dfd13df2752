/**
 * | method | path                            | who            | answers                           |
 * | ------ | ------------------------------- | -------------- | --------------------------------- |
 * | GET    | `/api/v2/system/backups`        | `system:read`  | 200                               |
 * | POST   | `/api/v2/system/backups`        | `system:write` | 202, 400, 413, 415                |
 * | POST   | `/api/v2/system/restore-drills` | `system:write` | 202, 400, 409, 413, 415           |
 *
 * Where no storage is configured there are none of them. Asking is quick: the job
 * does it, within five minutes.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import {
  askFor,
  type BackupOverview,
  hasBackups,
  readBackupOverview,
} from "../../lib/backup/job.ts";
import type { Services } from "../../lib/app/services.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  IdempotencyHeader,
  jsonAnswer,
  newRoutes,
  pageOf,
  problems,
  secured,
  Time,
} from "../_openapi.ts";

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
  phase: z.enum(["scan", "log", "check", "manifest"]),
  entries: z.int().openapi({ description: "Copied so far" }),
}).openapi("BackupRun");
const ProofBody = z.object({
  at: Time,
  kind: z.enum(["drill", "restore"]),
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
  askedAt: Time.nullable().openapi({ description: "When one was asked for that is not there yet" }),
  proofs: z.array(ProofBody).openapi({ description: "What restores and drills showed" }),
}).openapi("Backups");
const WishBody = z.object({ job: z.enum(["backup", "restore_drill"]), askedAt: Time })
  .openapi("AskedFor");

/** The routes of backups under `/api/v2/system`. */
export function backupRoutes(services: Services): OpenAPIHono<AppEnv> {
  const routes = newRoutes();
  if (!hasBackups(services)) return routes;
  return routes.openapi(
    createRoute({
      method: "get",
      path: "/backups",
      tags: ["system"],
      summary: "All verified backups, newest first, and how they are",
      ...secured(services, "system:read"),
      responses: { 200: jsonAnswer("All", OverviewBody), ...problems(401, 403) },
    }),
    async (c) => c.json(overviewBody(await readBackupOverview(services)), 200),
  ).openapi(
    createRoute({
      method: "post",
      path: "/backups",
      tags: ["system"],
      summary: "Ask for a backup of what is there now",
      ...secured(services, "system:write"),
      request: { headers: IdempotencyHeader },
      responses: {
        202: jsonAnswer("It is asked for, and begun within minutes", WishBody),
        ...problems(400, 401, 403, 413, 415),
      },
    }),
    async (c) => c.json(await askFor(services, "backup", callerOf(c)), 202),
  ).openapi(
    createRoute({
      method: "post",
      path: "/restore-drills",
      tags: ["system"],
      summary: "Ask that the newest backup be restored aside, and swept",
      ...secured(services, "system:write"),
      request: { headers: IdempotencyHeader },
      responses: {
        202: jsonAnswer("It is asked for, and begun within minutes", WishBody),
        ...problems(400, 401, 403, 409, 413, 415),
      },
    }),
    async (c) => c.json(await askFor(services, "restore_drill", callerOf(c)), 202),
  );
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
