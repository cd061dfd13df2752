/**
 * What is unwell, from a real write and read of the store.
 *
 * @module
 */
import type { Services } from "./services.ts";
import { isoTime } from "./time.ts";

/** The three answers that a pinger can act on. */
export type HealthStatus = "healthy" | "degraded" | "unhealthy";

/** One thing that was looked at. */
export interface HealthCheck {
  /** `degraded` when it answers, but slowly. */
  status: HealthStatus;
  /** How long it took to answer, in milliseconds; null when it did not. */
  latencyMs: number | null;
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
  checks: { store: HealthCheck };
}

/** A store that answers, but slower than this, is near its limits. In milliseconds. */
const SLOW_MS = 500;

/** Looks at the health of one instance; many who ask at once share one look. */
export class HealthMonitor {
  readonly #services: Services;
  readonly #startedAt: number;
  #isStopping = false;
  #look: Promise<Health> | null = null;

  /** The instance counts as started now. */
  constructor(services: Services) {
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
   * is public. Never throws, and answers within the store's deadlines.
   */
  look(): Promise<Health> {
    this.#look ??= this.#lookNow().finally(() => this.#look = null);
    return this.#look;
  }

  async #lookNow(): Promise<Health> {
    const { config, clock } = this.#services;
    const store = await this.#lookAtStore();
    const now = clock();
    return {
      status: store.status,
      version: config.appVersion,
      uptimeS: Math.max(0, Math.floor((now - this.#startedAt) / 1_000)),
      at: isoTime(now),
      checks: { store },
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
}
