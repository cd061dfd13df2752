/**
 * The timetable: every scheduled job and its schedule (UTC).
 *
 * @module
 */
import {
  BACKUP_SCHEDULE,
  DRILL_SCHEDULE,
  isBackupJobDue,
  isDrillJobDue,
  runBackup,
  runDrill,
} from "../lib/backup/mod.ts";
import { type BackupServices, fencedBy, hasBackups } from "../lib/backup/needs.ts";
import { shipLog } from "../lib/backup/ship.ts";
import type { HealthMonitor } from "../lib/health/mod.ts";
import { deliverOutbox, OUTBOX_JOB } from "../lib/outbox/admin.ts";
import {
  isOverdueJobDue,
  OVERDUE_JOB,
  overdueSchedule,
  runOverdue,
} from "../lib/invoices/overdue.ts";
import { reconcile } from "../lib/payments/reconcile.ts";
import type { Services } from "../lib/app/mod.ts";
import { isSweepJobDue, runSweep, SWEEP_SCHEDULE } from "../lib/integrity/job.ts";
import { HOUR_MS, MINUTE_MS, SECOND_MS } from "../lib/time.ts";
import { watch } from "../lib/health/watch.ts";
import { dueOf, type Job, runJob } from "./_job.ts";

/** The jobs that this configuration needs, at most ten: the limit of Deno Deploy's smallest plan. */
export function jobsOf(services: Services, monitor: HealthMonitor): Job<Services>[] {
  const jobs: Job<Services>[] = [
    ...(hasBackups(services) ? backupJobs(services) : []),
    {
      name: "watch",
      schedule: "* * * * *",
      timeLimitMs: 40 * SECOND_MS,
      isEverywhere: true,
      run: async (services) => ({ ...await watch(services, monitor, { jobs: jobs.map(dueOf) }) }),
    },
    {
      name: OUTBOX_JOB,
      schedule: "* * * * *",
      timeLimitMs: 50 * SECOND_MS,
      // Messages are claimed one by one, so no two instances send the same one.
      isEverywhere: true,
      run: async (services, signal) => ({ ...await deliverOutbox(services, signal) }),
    },
    ...(services.gateways.size > 0 ? [RECONCILE] : []),
    {
      name: "sweep",
      schedule: "*/5 * * * *",
      due: { schedule: SWEEP_SCHEDULE, withinMs: 3 * HOUR_MS },
      isDue: isSweepJobDue,
      timeLimitMs: 90 * SECOND_MS,
      run: (services, signal, by) => runSweep(services, { signal, by }),
    },
    {
      name: OVERDUE_JOB,
      schedule: "*/5 * * * *",
      due: { schedule: overdueSchedule(services.config.timeZone), withinMs: 3 * HOUR_MS },
      isDue: isOverdueJobDue,
      timeLimitMs: 90 * SECOND_MS,
      run: (services, signal, by) => runOverdue(services, { signal, by }),
    },
  ];
  return jobs;
}

/**
 * Registers the jobs. To be called at module top level, before serving.
 *
 * @returns Resolves when `signal` is aborted and no job is running.
 */
export async function registerJobs(
  services: Services,
  monitor: HealthMonitor,
  signal: AbortSignal,
): Promise<void> {
  const jobs = jobsOf(services, monitor);
  for (const { job } of services.config.heartbeats) {
    if (!jobs.some(({ name }) => name === job)) services.log.warn("heartbeat.no_such_job", { job });
  }
  await Promise.all(
    jobs.map((job) =>
      // Without Deno's own retries of failed runs: the next run is soon enough.
      Deno.cron(job.name, job.schedule, { backoffSchedule: [], signal }, async () => {
        const status = await runJob(services, job, { signal });
        services.metrics.jobs.add({ job: job.name, status });
      })
    ),
  );
}

/** Checks payments with their gateways; a new one is due after half a minute. */
const RECONCILE: Job<Services> = {
  name: "reconcile",
  schedule: "* * * * *",
  timeLimitMs: 50 * SECOND_MS,
  run: async (services, signal, by) => ({
    ...await reconcile(services, { budgetMs: 30 * SECOND_MS, limit: 300, signal }, by),
  }),
};

/** Backups, the log between them, and restore drills. */
function backupJobs(services: Services & BackupServices): Job<Services>[] {
  return [
    {
      name: "ship_log",
      schedule: "* * * * *",
      timeLimitMs: 50 * SECOND_MS,
      run: async (_, signal, by) => {
        const { commits, objects, pruned } = await shipLog(fencedBy(services, by), { signal });
        return { commits, objects, pruned };
      },
    },
    {
      name: "backup",
      schedule: "*/5 * * * *",
      due: { schedule: BACKUP_SCHEDULE, withinMs: 2 * HOUR_MS },
      isDue: isBackupJobDue,
      timeLimitMs: 4.5 * MINUTE_MS,
      run: (_, signal, by) => runBackup(services, { signal, by }),
    },
    {
      name: "restore_drill",
      schedule: "*/5 * * * *",
      due: { schedule: DRILL_SCHEDULE, withinMs: 3 * HOUR_MS },
      isDue: isDrillJobDue,
      timeLimitMs: 60 * MINUTE_MS,
      run: (_, signal, by) => runDrill(services, { signal, by }),
    },
  ];
}
