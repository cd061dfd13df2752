/**
 * The health of an instance: the store by a real write and read; jobs, backups,
 * gateways and the outbox by what the store records of them.
 *
 * To check something else, add a {@linkcode HealthProbe} to `PROBES`.
 *
 * @module
 */
import { readNewest } from "../backup/mod.ts";
import { hasBackups } from "../backup/needs.ts";
import { checkOutbox } from "../outbox/admin.ts";
import { checkPayments } from "../payments/reconcile.ts";
import type { Config } from "../config/mod.ts";
import type { StoreServices } from "../kv/store.ts";
import type { PaymentServices } from "../payments/mod.ts";
import type { Log } from "../telemetry/mod.ts";
import { DAY_MS, HOUR_MS, isoTime, SECOND_MS } from "../time.ts";
import { jobProblems, readJobs } from "../jobs/timetable.ts";

/** What health checks need. */
export interface HealthServices extends StoreServices {
  /** The running build. */
  readonly config: Pick<Config, "appVersion">;
  /** Records checks that failed. */
  readonly log: Log;
  /** The offered gateways. */
  readonly gateways: PaymentServices["gateways"];
}

/** The three answers that a pinger can act on. */
export const HEALTH_STATUSES = ["healthy", "degraded", "unhealthy"] as const;
/** One of {@linkcode HEALTH_STATUSES}. */
export type HealthStatus = (typeof HEALTH_STATUSES)[number];

/** The result of one check. */
export interface HealthCheck {
  /** `unhealthy` only for what every request needs. */
  status: HealthStatus;
  /** Response time in milliseconds, for what is probed each time; null without a response. */
  latencyMs?: number | null;
  /** Age in seconds, for what runs on a schedule; null for never. For operators only. */
  ageS?: number | null;
  /** Why it is not healthy; for operators only. */
  reason: string | null;
}

/** The state of the system, as this instance sees it. */
export interface Health {
  /** The worst status of all checks. */
  status: HealthStatus;
  /** The running build; `dev` if unknown. */
  version: string;
  /** Seconds since this instance started. */
  uptimeS: number;
  /** When it was checked, ISO 8601 in UTC. */
  at: string;
  /** Checks by name. */
  checks: Record<string, HealthCheck> & { store: HealthCheck };
}

/**
 * Checks something other than the store by what is recorded of it. Costs at most
 * one round trip, in parallel with the other probes.
 *
 * @param upSince When the instance started, milliseconds UTC.
 * @returns Checks by name, never `unhealthy`; none where it does not apply.
 */
export type HealthProbe = (
  services: HealthServices,
  upSince: number,
) => Promise<Record<string, HealthCheck>>;

/** By the name of the check that reports a failure of the probe itself. */
const PROBES: Readonly<Record<string, HealthProbe>> = {
  jobs: checkJobs,
  backup: checkBackups,
  gateways: checkPayments,
  outbox: checkOutbox,
};

/** A store slower than this is near its limits. In milliseconds. */
const SLOW_MS = 500;
/** Results of probes are reused for this long, however many requests come. */
const PROBES_KEEP_MS = 10 * SECOND_MS;
/** A daily backup, and two hours to take it. */
const BACKUP_AGE_MAX_MS = 26 * HOUR_MS;
/** A weekly drill, and a day to run it. */
const PROOF_AGE_MAX_MS = 8 * DAY_MS;
/** With more failing jobs the cause is a common one. */
const JOBS_SHOWN = 5;

/** Checks the health of one instance; concurrent callers share one check. */
export class HealthMonitor {
  readonly #services: HealthServices;
  readonly #startedAt: number;
  #isStopping = false;
  #running: Promise<Health> | null = null;
  #probed: { checks: Record<string, HealthCheck>; at: number } | null = null;

  /** The instance counts as started now. */
  constructor(services: HealthServices) {
    this.#services = services;
    this.#startedAt = services.clock();
  }

  /** Reports the instance as not ready from now on. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Whether the instance is shutting down. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /**
   * The current state. One commit and one read, however many ask at once, since
   * the page is public; every ten seconds the probes too, in parallel. Never
   * throws, and answers within the store's deadlines.
   */
  check(): Promise<Health> {
    this.#running ??= this.#checkNow().finally(() => this.#running = null);
    return this.#running;
  }

  async #checkNow(): Promise<Health> {
    const { config, clock } = this.#services;
    const [store, others] = await Promise.all([this.#checkStore(), this.#runProbes()]);
    const checks = { ...others, store };
    const statuses = new Set(Object.values(checks).map(({ status }) => status));
    const now = clock();
    return {
      status: worstOf(statuses),
      version: config.appVersion,
      uptimeS: Math.max(0, Math.floor((now - this.#startedAt) / SECOND_MS)),
      at: isoTime(now),
      checks,
    };
  }

  async #checkStore(): Promise<HealthCheck> {
    const { store, clock, log } = this.#services;
    try {
      const latencyMs = Math.round(await store.probe(clock) * 100) / 100;
      if (latencyMs <= SLOW_MS) return { status: "healthy", latencyMs, reason: null };
      const reason = `The store took over ${SLOW_MS} ms to answer`;
      return { status: "degraded", latencyMs, reason };
    } catch (error) {
      log.error("health.store_failed", { error });
      const reason = error instanceof Error ? error.message : "The store does not answer";
      return { status: "unhealthy", latencyMs: null, reason };
    }
  }

  async #runProbes(): Promise<Record<string, HealthCheck>> {
    const now = this.#services.clock();
    if (this.#probed && Math.abs(now - this.#probed.at) < PROBES_KEEP_MS) {
      return this.#probed.checks;
    }
    let isComplete = true;
    const results = Object.entries(PROBES).map(async ([name, probe]) => {
      try {
        return await probe(this.#services, this.#startedAt);
      } catch (error) {
        isComplete = false;
        this.#services.log.warn("health.check_failed", { check: name, error });
        const reason = "The check failed: see health.check_failed in the log";
        return { [name]: { status: "degraded" as const, reason } };
      }
    });
    const checks: Record<string, HealthCheck> = Object.assign({}, ...await Promise.all(results));
    this.#probed = isComplete ? { checks, at: now } : null;
    return checks;
  }
}

function worstOf(statuses: ReadonlySet<HealthStatus>): HealthStatus {
  if (statuses.has("unhealthy")) return "unhealthy";
  return statuses.has("degraded") ? "degraded" : "healthy";
}

async function checkJobs(
  services: HealthServices,
  upSince: number,
): Promise<Record<string, HealthCheck>> {
  const problems = jobProblems(await readJobs(services), services.clock(), upSince);
  if (problems.length === 0) return { jobs: { status: "healthy", reason: null } };
  const reasons = problems.slice(0, JOBS_SHOWN).map(({ reason }) => reason);
  const more = problems.length - reasons.length;
  if (more > 0) reasons.push(`${more} more`);
  return { jobs: { status: "degraded", reason: reasons.join("; ") } };
}

async function checkBackups(
  services: HealthServices,
  upSince: number,
): Promise<Record<string, HealthCheck>> {
  if (!hasBackups(services)) return {};
  const { newest, proof, knownSince } = await readNewest(services);
  const now = services.clock();
  // No backup can be older than its store, as far as the store's age is known.
  const since = knownSince === null ? upSince : Date.parse(knownSince);
  const backup = ageCheck(newest?.pointInTime ?? null, {
    noun: "backup",
    now,
    since,
    maxMs: BACKUP_AGE_MAX_MS,
  });
  const restoreProof = ageCheck(proof?.at ?? null, {
    noun: "restore drill",
    now,
    since,
    maxMs: PROOF_AGE_MAX_MS,
  });
  if (proof?.isProven === false) {
    restoreProof.status = "degraded";
    restoreProof.reason = `Backup ${proof.backupId} cannot be restored: ${proof.problem}`;
  }
  return { backup, restoreProof };
}

/** Degraded when the last run, or `since` if there was no run, is more than `maxMs` ago. */
function ageCheck(
  at: string | null,
  { noun, now, since, maxMs }: { noun: string; now: number; since: number; maxMs: number },
): HealthCheck {
  const ageMs = at === null ? null : Math.max(0, now - Date.parse(at));
  const isOld = (ageMs ?? now - since) > maxMs;
  const ageS = ageMs === null ? null : Math.floor(ageMs / SECOND_MS);
  if (!isOld) return { status: "healthy", ageS, reason: null };
  const limit = `${Math.round(maxMs / HOUR_MS)} hours`;
  const reason = at === null
    ? `No ${noun} for over ${limit}`
    : `The last ${noun} is from ${at}, over ${limit} ago`;
  return { status: "degraded", ageS, reason };
}
