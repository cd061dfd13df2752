/**
 * The timetable: everything that happens by itself, and when (UTC).
 *
 * @module
 */
import {
  type BackupServices,
  drill,
  hasBackups,
  listBackups,
  retain,
  shipLog,
  takeBackup,
} from "../lib/backup/mod.ts";
import { AppError } from "../lib/errors.ts";
import type { HealthMonitor } from "../lib/health.ts";
import { sweep } from "../lib/integrity.ts";
import type { Services } from "../lib/services.ts";
import { MINUTE_MS, SECOND_MS } from "../lib/time.ts";
import { watch } from "../lib/watch.ts";
import { type Job, runJob } from "./_job.ts";

/** Every job that there is something to do for. */
export function jobsOf(services: Services, monitor: HealthMonitor): Job<Services>[] {
  return [
    ...(hasBackups(services) ? backupJobs(services) : []),
    {
      name: "watch",
      schedule: "* * * * *",
      timeLimitMs: 40 * SECOND_MS,
      isEverywhere: true,
      run: async (services) => ({ ...await watch(services, monitor) }),
    },
    {
      name: "sweep",
      schedule: "0 1 * * *",
      timeLimitMs: 30 * MINUTE_MS,
      run: sweepAll,
    },
  ];
}

/**
 * Registers the jobs; to be called at module top level, before serving.
 *
 * @returns When `signal` is aborted and nothing of them runs any more.
 */
export async function registerJobs(
  services: Services,
  monitor: HealthMonitor,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(
    jobsOf(services, monitor).map((job) =>
      // Deno would repeat what failed on a schedule of its own; the next run is soon enough.
      Deno.cron(job.name, job.schedule, { backoffSchedule: [], signal }, async () => {
        const status = await runJob(services, job, { signal });
        services.metrics.jobs.add({ job: job.name, status });
      })
    ),
  );
}

/** Backups, the log between them, and the proof that they can be restored. */
function backupJobs(services: Services & BackupServices): Job<Services>[] {
  return [
    {
      name: "ship_log",
      schedule: "* * * * *",
      timeLimitMs: 50 * SECOND_MS,
      run: async (_, signal) => {
        const { commits, objects, pruned } = await shipLog(services, { signal });
        return { commits, objects, pruned };
      },
    },
    {
      name: "backup",
      schedule: "0 2 * * *",
      timeLimitMs: 60 * MINUTE_MS,
      run: async (_, signal) => {
        await takeBackup(services, { signal });
        await shipLog(services, { signal });
        const { kept, deleted } = await retain(services, { signal });
        return { kept: kept.length, deleted: deleted.length };
      },
    },
    {
      name: "restore_drill",
      schedule: "0 4 * * 7",
      timeLimitMs: 60 * MINUTE_MS,
      run: (_, signal) => proveRestore(services, signal),
    },
  ];
}

/** @throws {AppError} `internal` when the newest backup cannot be relied on, so that somebody is told */
async function proveRestore(
  services: Services & BackupServices,
  signal: AbortSignal,
): Promise<Record<string, number | string>> {
  if ((await listBackups(services)).length === 0) return { backups: 0 };
  const { isProven, backupId, entries, durationMs, problem } = await drill(services, { signal });
  if (!isProven) throw new AppError("internal", `${backupId} cannot be restored: ${problem}`);
  return { backupId, entries, durationMs };
}

/** @throws {AppError} `internal` when something is found, so that somebody is told */
async function sweepAll(services: Services): Promise<Record<string, number>> {
  const { findings, findingsTotal, counts } = await sweep(services);
  if (findingsTotal > 0) {
    services.log.error("sweep.found", { findingsTotal, findings: findings.slice(0, 10) });
    throw new AppError("internal", `The sweep found ${findingsTotal} violations`);
  }
  const entries = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return { entries, findings: findingsTotal };
}
