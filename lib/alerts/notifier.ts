/**
 * Where an instance keeps track of its alerts: what it has seen and not yet
 * counted in the store, what the store could not take, and the notices that are
 * on their way.
 *
 * @module
 */
import type { AlertChannel, Notice, Told } from "./channels.ts";
import type { Incident } from "../kv/records.ts";
import type { Log } from "../telemetry/log.ts";
import { SECOND_MS, sleep } from "../time.ts";

/** What this instance has seen of an incident. */
export interface Sighting {
  /** How often, since it last told the store. */
  count: number;
  /** Milliseconds UTC before which the store need not hear of more. */
  nextCommitAt: number;
  /** The store is being told at the moment. */
  telling: Promise<void> | null;
}

/** How an {@linkcode AlertDesk} tells. */
export interface AlertDeskOptions {
  /** Each of them gets every notice. */
  channels: readonly AlertChannel[];
  /** Where it is told that a notice could not be. */
  log: Log;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /** How long one attempt may take; 5 seconds when absent. */
  timeoutMs?: number;
  /** The wait before the second attempt, before jitter; 1 second when absent. */
  backoffMs?: number;
}

const TIMEOUT_MS = 5 * SECOND_MS;
const BACKOFF_MS = SECOND_MS;
/** A channel that asks for more has to be told by a later call. */
const RETRY_AFTER_MAX_MS = 10 * SECOND_MS;
const ATTEMPTS = 3;
/** Notices on their way; with more than this many incidents the first ones tell enough. */
const NOTICES_MAX = 20;
/** Names are few, being the program's own. */
const SIGHTINGS_MAX = 500;

/** All attempts of one notice together take less than this. In milliseconds. */
export const TELLING_MS: number = 60 * SECOND_MS;

/** An instance's alerts. */
export class AlertDesk {
  /** Incidents that the store could not take, by name. */
  readonly unstored: Map<string, Incident> = new Map();
  readonly #options: AlertDeskOptions;
  readonly #sightings = new Map<string, Sighting>();
  readonly #underWay = new Set<Promise<void>>();
  /** By what they are called in the store: each name is one channel's. */
  readonly #channels: ReadonlyMap<string, AlertChannel>;
  /** The last notice of each incident: its recovery is not told before it is. */
  readonly #last = new Map<string, Promise<string[]>>();
  #notices = 0;

  /** Tells by the channels of `options`, and owns nothing that has to be closed. */
  constructor(options: AlertDeskOptions) {
    this.#options = options;
    this.#channels = named(options.channels);
  }

  /** What this instance has seen under a name; nothing yet is a sighting too. */
  sighting(name: string): Sighting {
    let sighting = this.#sightings.get(name);
    if (!sighting) {
      sighting = { count: 0, nextCommitAt: 0, telling: null };
      if (this.#sightings.size >= SIGHTINGS_MAX) this.#sightings.clear();
      this.#sightings.set(name, sighting);
    }
    return sighting;
  }

  /** Does something that nobody waits for, and that `close()` does. It must not throw. */
  inBackground(work: () => Promise<void>): void {
    const tracked = work()
      .catch((error) => this.#options.log.error("alert.failed", { error }))
      .finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
  }

  /** Whether one more notice is too many at the moment. */
  get isFull(): boolean {
    return this.#notices >= NOTICES_MAX;
  }

  /**
   * Tells by every channel, side by side; each gets three attempts.
   *
   * @returns The names of the channels that did not take it. Never throws.
   */
  tell(notice: Notice): Promise<string[]> {
    const before = this.#last.get(notice.name) ?? Promise.resolve([]);
    this.#notices++;
    const told = before.then(() => this.#tellAll(notice)).finally(() => {
      this.#notices--;
      if (this.#last.get(notice.name) === told) this.#last.delete(notice.name);
    });
    this.#last.set(notice.name, told);
    return told;
  }

  /** Makes one attempt by one channel; null if there is none of that name. Never throws. */
  async tellBy(name: string, notice: Notice): Promise<Told | null> {
    const channel = this.#channels.get(name);
    return channel ? await channel.tell(notice, this.#options.timeoutMs ?? TIMEOUT_MS) : null;
  }

  /** Waits until nothing is on its way: each attempt has its time limit. */
  async close(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  /** The same, but for `ms` milliseconds at most. */
  async flush(ms: number): Promise<void> {
    const timer = new AbortController();
    await Promise.race([this.close(), sleep(ms, timer.signal).catch(() => {})]);
    timer.abort();
  }

  async #tellAll(notice: Notice): Promise<string[]> {
    const { log } = this.#options;
    const missed = await Promise.all([...this.#channels].map(async ([name, channel]) => {
      const result = await this.#attempts(channel, notice);
      if (result.isTold) return [];
      const { name: incident, state } = notice;
      log.error("alert.untold", { channel: name, incident, state, reason: result.reason });
      return [name];
    }));
    return missed.flat();
  }

  async #attempts(channel: AlertChannel, notice: Notice): Promise<Told> {
    const { random, timeoutMs = TIMEOUT_MS, backoffMs = BACKOFF_MS } = this.#options;
    for (let attempt = 1;; attempt++) {
      const result = await channel.tell(notice, timeoutMs);
      if (result.isTold || result.isFinal || attempt === ATTEMPTS) return result;
      const { retryAfterMs = 0 } = result;
      if (retryAfterMs > RETRY_AFTER_MAX_MS) return result;
      const waitMs = backoffMs * 2 ** (attempt - 1) * (0.5 + random() / 2);
      await sleep(Math.max(waitMs, retryAfterMs));
    }
  }
}

/** Channels by name; of several that have the same one, all but the first with a number. */
function named(channels: readonly AlertChannel[]): Map<string, AlertChannel> {
  const names = new Map<string, AlertChannel>();
  for (const channel of channels) {
    let name = channel.name;
    for (let i = 2; names.has(name); i++) name = `${channel.name} #${i}`;
    names.set(name, channel);
  }
  return names;
}
