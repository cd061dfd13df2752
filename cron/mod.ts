/**
 * The timetable: everything that happens by itself, and when (UTC).
 *
 * @module
 */
import { AppError } from "../lib/errors.ts";
import type { HealthMonitor } from "../lib/health.ts";
import { sweep } from "../lib/integrity.ts";
import type { Services } from "../lib/services.ts";
import { MINUTE_MS, SECOND_MS } from "../lib/time.ts";
import { watch } from "../lib/watch.ts";
import { type Job, runJob } from "./_job.ts";

/** Every job. */
export function jobsOf(monitor: HealthMonitor): Job<Services>[] {
  return [
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
    jobsOf(monitor).map((job) =>
      // Deno would repeat what failed on a schedule of its own; the next run is soon enough.
      Deno.cron(job.name, job.schedule, { backoffSchedule: [], signal }, async () => {
        const status = await runJob(services, job, { signal });
        services.metrics.jobs.add({ job: job.name, status });
      })
    ),
  );
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
