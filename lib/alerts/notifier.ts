/**
 * The alerts of one instance: sightings not yet counted in the store, incidents
 * that the store could not take, and notifications in delivery.
 *
 * @module
 */
import type { AlertChannel, AlertNotification, DeliveryResult } from "./channels.ts";
import type { Incident } from "../kv/records.ts";
import type { Log } from "../telemetry/mod.ts";
import { backoffMs, SECOND_MS, sleep, withDeadline } from "../time.ts";

/** What this instance has seen of an incident. */
export interface Sighting {
  /** How often since the last commit. */
  count: number;
  /** Milliseconds UTC of the next commit; until then sightings are only counted. */
  nextCommitAt: number;
  /** The commit in progress. */
  committing: Promise<void> | null;
}

/** How an {@linkcode AlertNotifier} delivers. */
export interface AlertNotifierOptions {
  /** Each receives every notification. */
  channels: readonly AlertChannel[];
  /** Records notifications that were not delivered. */
  log: Log;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /** Time limit of one attempt; 5 seconds by default. */
  timeoutMs?: number;
  /** The wait before the second attempt, before jitter; 1 second by default. */
  backoffMs?: number;
}

const TIMEOUT_MS = 5 * SECOND_MS;
const BACKOFF_MS = SECOND_MS;
/** A channel that asks for a longer wait is left to the outbox. */
const RETRY_AFTER_MAX_MS = 10 * SECOND_MS;
const ATTEMPTS = 3;
/** Notifications in delivery at once; with more incidents than this the first ones suffice. */
const NOTIFICATIONS_MAX = 20;
/** Names are few: they are defined by the program. */
const SIGHTINGS_MAX = 500;

/** Upper bound for all attempts of one notification together. In milliseconds. */
export const NOTIFY_MS: number = 60 * SECOND_MS;

/** Delivers the alerts of an instance. */
export class AlertNotifier {
  /** Incidents that the store could not take, by name. */
  readonly unstored: Map<string, Incident> = new Map();
  readonly #options: AlertNotifierOptions;
  readonly #sightings = new Map<string, Sighting>();
  readonly #inProgress = new Set<Promise<void>>();
  /** By their names in the store, each unique. */
  readonly #channels: ReadonlyMap<string, AlertChannel>;
  /** The last notification of each incident: a recovery is delivered after its alert. */
  readonly #last = new Map<string, Promise<string[]>>();
  #notifications = 0;

  /** Delivers through the channels of `options`. Owns nothing that must be closed. */
  constructor(options: AlertNotifierOptions) {
    this.#options = options;
    this.#channels = byUniqueName(options.channels);
  }

  /** This instance's sighting of a name, new when there was none. */
  sighting(name: string): Sighting {
    let sighting = this.#sightings.get(name);
    if (!sighting) {
      sighting = { count: 0, nextCommitAt: 0, committing: null };
      if (this.#sightings.size >= SIGHTINGS_MAX) this.#sightings.clear();
      this.#sightings.set(name, sighting);
    }
    return sighting;
  }

  /** Runs work that only `close()` and `flush()` wait for. It must not throw. */
  inBackground(work: () => Promise<void>): void {
    const tracked = work()
      .catch((error) => this.#options.log.error("alert.failed", { error }))
      .finally(() => this.#inProgress.delete(tracked));
    this.#inProgress.add(tracked);
  }

  /** Whether as many notifications as allowed are in delivery. */
  get isFull(): boolean {
    return this.#notifications >= NOTIFICATIONS_MAX;
  }

  /**
   * Delivers through all channels in parallel, with three attempts each.
   *
   * @returns The names of the channels that failed. Never throws.
   */
  notify(notification: AlertNotification): Promise<string[]> {
    const before = this.#last.get(notification.name) ?? Promise.resolve([]);
    this.#notifications++;
    const delivery = before.then(() => this.#notifyAll(notification)).finally(() => {
      this.#notifications--;
      if (this.#last.get(notification.name) === delivery) this.#last.delete(notification.name);
    });
    this.#last.set(notification.name, delivery);
    return delivery;
  }

  /** Makes one attempt through one channel; null if no channel has that name. Never throws. */
  async deliverThrough(
    name: string,
    notification: AlertNotification,
  ): Promise<DeliveryResult | null> {
    const { timeoutMs = TIMEOUT_MS } = this.#options;
    const channel = this.#channels.get(name);
    return channel ? await channel.deliver(notification, timeoutMs) : null;
  }

  /** Waits until nothing is in progress: each attempt has its time limit. */
  async close(): Promise<void> {
    while (this.#inProgress.size > 0) await Promise.all(this.#inProgress);
  }

  /** As {@linkcode close}, for at most `ms` milliseconds. */
  async flush(ms: number): Promise<void> {
    await withDeadline(this.close(), ms, () => {});
  }

  async #notifyAll(notification: AlertNotification): Promise<string[]> {
    const { log } = this.#options;
    const failed = await Promise.all([...this.#channels].map(async ([name, channel]) => {
      const result = await this.#attempts(channel, notification);
      if (result.isDelivered) return [];
      const { name: incident, state } = notification;
      log.error("alert.undelivered", { channel: name, incident, state, reason: result.reason });
      return [name];
    }));
    return failed.flat();
  }

  async #attempts(channel: AlertChannel, notification: AlertNotification): Promise<DeliveryResult> {
    const { random, timeoutMs = TIMEOUT_MS, backoffMs: firstMs = BACKOFF_MS } = this.#options;
    for (let attempt = 1;; attempt++) {
      const result = await channel.deliver(notification, timeoutMs);
      if (result.isDelivered || result.isFinal || attempt === ATTEMPTS) return result;
      const { retryAfterMs = 0 } = result;
      if (retryAfterMs > RETRY_AFTER_MAX_MS) return result;
      const waitMs = backoffMs(attempt, { firstMs, random, shareMin: 0.5 });
      await sleep(Math.max(waitMs, retryAfterMs));
    }
  }
}

/** Channels by name; of several with the same name, all but the first get a number. */
function byUniqueName(channels: readonly AlertChannel[]): Map<string, AlertChannel> {
  const names = new Map<string, AlertChannel>();
  for (const channel of channels) {
    let name = channel.name;
    for (let i = 2; names.has(name); i++) name = `${channel.name} #${i}`;
    names.set(name, channel);
  }
  return names;
}
