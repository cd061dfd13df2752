/**
 * What is unwell: the store, by a real write and read, and what is known of the
 * jobs and the backups.
 *
 * To have something else looked at, add a {@linkcode Look} to `LOOKS`.
 *
 * @module
 */
import { hasBackups, readNewest } from "../backup/job.ts";
import { lookAtOutbox } from "../outbox/admin.ts";
import { lookAtPayments } from "../payments/reconcile.ts";
import type { Config } from "../config/mod.ts";
import type { StoreServices } from "../kv/store.ts";
import type { PaymentServices } from "../payments/needs.ts";
import type { Log } from "../telemetry/log.ts";
import { DAY_MS, HOUR_MS, isoTime, SECOND_MS } from "../time.ts";
import { readJobs, troublesOf } from "../jobs/timetable.ts";

/** What looking at the health of an instance needs. */
export interface HealthServices extends StoreServices {
  /** The build that answers. */
  readonly config: Pick<Config, "appVersion">;
  /** Records checks that failed. */
  readonly log: Log;
  /** The gateways that are offered. */
  readonly gateways: PaymentServices["gateways"];
}

/** The three answers that a pinger can act on. */
export type HealthStatus = "healthy" | "degraded" | "unhealthy";

/** One thing that was looked at. */
export interface HealthCheck {
  /** `unhealthy` is for what no request can do without. */
  status: HealthStatus;
  /** Of what is asked each time: how long it took to answer, in milliseconds; null when it did not. */
  latencyMs?: number | null;
  /** Of what is done now and then: how long ago it was, in seconds; null for never. For operators only. */
  ageS?: number | null;
  /** Why it is not healthy; for operators only. */
  reason: string | null;
}

/** The state of the system, as this instance sees it. */
export interface Health {
  /** That of the part which is worst off. */
  status: HealthStatus;
  /** The build that answers; `dev` if unknown. */
  version: string;
  /** How long this instance has been up, in seconds. */
  uptimeS: number;
  /** When it was looked at, ISO 8601 in UTC. */
  at: string;
  /** What was looked at, by name. */
  checks: Record<string, HealthCheck> & { store: HealthCheck };
}

/**
 * Looks at something beside the store, at what another one wrote down of it: one
 * round trip at most, beside all the others.
 *
 * @param upSince When the instance began, milliseconds UTC.
 * @returns Checks by name; none where there is nothing of the kind. Never `unhealthy`.
 */
export type Look = (
  services: HealthServices,
  upSince: number,
) => Promise<Record<string, HealthCheck>>;

/** By the name of the check that says so when the look itself fails. */
const LOOKS: Readonly<Record<string, Look>> = {
  jobs: lookAtJobs,
  backup: lookAtBackups,
  gateways: lookAtPayments,
  outbox: lookAtOutbox,
};

/** A store that answers, but slower than this, is near its limits. In milliseconds. */
const SLOW_MS = 500;
/** What changes by the minute is not looked at more often than this, however many ask. */
const LOOKS_KEEP_MS = 10 * SECOND_MS;
/** A backup a day, and two hours to take it. */
const BACKUP_AGE_MAX_MS = 26 * HOUR_MS;
/** A drill a week, and a day to do it. */
const PROOF_AGE_MAX_MS = 8 * DAY_MS;
/** With more jobs unwell the cause is one. */
const JOBS_SHOWN = 5;

/** Looks at the health of one instance; many who ask at once share one look. */
export class HealthMonitor {
  readonly #services: HealthServices;
  readonly #startedAt: number;
  #isStopping = false;
  #look: Promise<Health> | null = null;
  #known: { checks: Record<string, HealthCheck>; at: number } | null = null;

  /** The instance counts as started now. */
  constructor(services: HealthServices) {
    this.#services = services;
    this.#startedAt = services.clock();
  }

  /** Says from now on that the instance is not ready for more. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Whether the instance is still taking requests. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /**
   * The state now. One commit and one read, however many ask at once: the page
   * is public; and every ten seconds what else there is to see, which is read
   * meanwhile. Never throws, and answers within the store's deadlines.
   */
  look(): Promise<Health> {
    this.#look ??= this.#lookNow().finally(() => this.#look = null);
    return this.#look;
  }

  async #lookNow(): Promise<Health> {
    const { config, clock } = this.#services;
    const [store, others] = await Promise.all([this.#lookAtStore(), this.#lookAtOthers()]);
    const checks = { ...others, store };
    const statuses = new Set(Object.values(checks).map(({ status }) => status));
    const now = clock();
    return {
      status: worstOf(statuses),
      version: config.appVersion,
      uptimeS: Math.max(0, Math.floor((now - this.#startedAt) / 1_000)),
      at: isoTime(now),
      checks,
    };
  }

  async #lookAtStore(): Promise<HealthCheck> {
    const { store, clock, log } = this.#services;
    try {
      const latencyMs = Math.round(await store.probe(clock) * 100) / 100;
      if (latencyMs <= SLOW_MS) return { status: "healthy", latencyMs, reason: null };
      return { status: "degraded", latencyMs, reason: `It took over ${SLOW_MS} ms` };
    } catch (error) {
      log.error("health.store_failed", { error });
      const reason = error instanceof Error ? error.message : "It does not answer";
      return { status: "unhealthy", latencyMs: null, reason };
    }
  }

  async #lookAtOthers(): Promise<Record<string, HealthCheck>> {
    const now = this.#services.clock();
    if (this.#known && Math.abs(now - this.#known.at) < LOOKS_KEEP_MS) return this.#known.checks;
    let isSeen = true;
    const looks = Object.entries(LOOKS).map(async ([name, look]) => {
      try {
        return await look(this.#services, this.#startedAt);
      } catch (error) {
        isSeen = false;
        this.#services.log.warn("health.look_failed", { check: name, error });
        const reason = "It could not be looked at";
        return { [name]: { status: "degraded" as const, reason } };
      }
    });
    const checks: Record<string, HealthCheck> = Object.assign({}, ...await Promise.all(looks));
    this.#known = isSeen ? { checks, at: now } : null;
    return checks;
  }
}

function worstOf(statuses: ReadonlySet<HealthStatus>): HealthStatus {
  if (statuses.has("unhealthy")) return "unhealthy";
  return statuses.has("degraded") ? "degraded" : "healthy";
}

async function lookAtJobs(
  services: HealthServices,
  upSince: number,
): Promise<Record<string, HealthCheck>> {
  const troubles = troublesOf(await readJobs(services), services.clock(), upSince);
  if (troubles.length === 0) return { jobs: { status: "healthy", reason: null } };
  const reasons = troubles.slice(0, JOBS_SHOWN).map(({ reason }) => reason);
  const more = troubles.length - reasons.length;
  if (more > 0) reasons.push(`${more} more`);
  return { jobs: { status: "degraded", reason: reasons.join("; ") } };
}

async function lookAtBackups(
  services: HealthServices,
  upSince: number,
): Promise<Record<string, HealthCheck>> {
  if (!hasBackups(services)) return {};
  const { newest, proof, knownSince } = await readNewest(services);
  const now = services.clock();
  // Nothing can be older than the store it is of, as far as anyone knows its age.
  const since = knownSince === null ? upSince : Date.parse(knownSince);
  const backup = ageCheck(newest?.pointInTime ?? null, { now, since, maxMs: BACKUP_AGE_MAX_MS });
  const restoreProof = ageCheck(proof?.at ?? null, { now, since, maxMs: PROOF_AGE_MAX_MS });
  if (proof?.isProven === false) {
    restoreProof.status = "degraded";
    restoreProof.reason = `${proof.backupId} cannot be relied on: ${proof.problem}`;
  }
  return { backup, restoreProof };
}

/** Whether something was done lately, or nothing was and that is no wonder yet. */
function ageCheck(
  at: string | null,
  { now, since, maxMs }: { now: number; since: number; maxMs: number },
): HealthCheck {
  const ageMs = at === null ? null : Math.max(0, now - Date.parse(at));
  const isOld = (ageMs ?? now - since) > maxMs;
  const ageS = ageMs === null ? null : Math.floor(ageMs / SECOND_MS);
  if (!isOld) return { status: "healthy", ageS, reason: null };
  const often = `${Math.round(maxMs / HOUR_MS)} h`;
  const reason = at === null
    ? `There has been none, for over ${often}`
    : `The last one is of ${at}, over ${often} ago`;
  return { status: "degraded", ageS, reason };
}
