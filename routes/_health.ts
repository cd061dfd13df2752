/**
 * The answers of the health checks, without their documentation: a process gives them before it
 * has loaded anything else.
 *
 * @module
 */
import type { Context } from "hono";
import { authenticate, hasScope } from "../lib/access/mod.ts";
import type { Services } from "../lib/app/mod.ts";
import type { Health, HealthCheck, HealthMonitor } from "../lib/health/mod.ts";
import type { AppEnv } from "./_env.ts";

/** Statuses of the live and ready probes. */
export const PROBE_STATUSES = ["live", "ready", "not_ready"] as const;

/** A JSON answer. */
interface Answer<T> {
  body: T;
  status: 200 | 503;
}

/** Health as a caller sees it: without reasons and ages for those without a key. */
export type ShownHealth =
  & Omit<Health, "checks">
  & { checks: Record<string, Pick<HealthCheck, "status"> & Partial<HealthCheck>> };

/** The health of the system. One write and one read, and at most one read for a key. */
export async function healthAnswer(
  services: Services,
  monitor: HealthMonitor,
  c: Context<AppEnv>,
): Promise<Answer<ShownHealth>> {
  const [health, isOperator] = await Promise.all([monitor.check(), isAuthorised(services, c)]);
  return {
    body: isOperator ? health : shortened(health),
    status: health.status === "unhealthy" ? 503 : 200,
  };
}

/** Whether this instance can serve requests. */
export async function readyAnswer(
  monitor: HealthMonitor,
): Promise<Answer<{ status: (typeof PROBE_STATUSES)[number] }>> {
  const isReady = !monitor.isStopping && (await monitor.check()).status !== "unhealthy";
  return isReady
    ? { body: { status: "ready" }, status: 200 }
    : { body: { status: "not_ready" }, status: 503 };
}

function shortened(health: Health): ShownHealth {
  const short = Object.entries(health.checks).map(([name, { status, latencyMs }]) =>
    [name, { status, ...(latencyMs === undefined ? {} : { latencyMs }) }] as const
  );
  return { ...health, checks: Object.fromEntries(short) };
}

/** Whether to show details. Never fails: a key cannot be checked while the store is down. */
async function isAuthorised(services: Services, c: Context<AppEnv>): Promise<boolean> {
  const key = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
  if (key === undefined) return false;
  return await authenticate(services, key).then(
    (principal) => hasScope(principal, "system:read"),
    () => false,
  );
}
