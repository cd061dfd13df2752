/**
 * The outside as one value: made here by `main.ts`, `tasks` and tests, and
 * handed to everything. The only room that opens anything.
 *
 * @module
 */
import { type AlertChannel, openAlertChannels } from "./alert_channels.ts";
import { AlertDesk } from "./alert_desk.ts";
import type { Config } from "./config.ts";
import { type ErrorTracker, openErrorTracker } from "./error_tracking.ts";
import { type KvPort, Store, type StoreOptions } from "./kv/store.ts";
import type { Log } from "./log.ts";
import { Metrics } from "./metrics.ts";
import { Catalogue } from "./products.ts";
import { RateLimiter } from "./rate_limit.ts";
import { type ObjectStorage, openStorage } from "./storage/mod.ts";
import { type Clock, sleep } from "./time.ts";
import { ErrorRate } from "./watch.ts";

/** What use cases are given. */
export interface Services {
  /** What the environment said when the process started. */
  readonly config: Config;
  /** The one way to the stored data. */
  readonly store: Store;
  /** The time, as everything but the platform sees it. */
  readonly clock: Clock;
  /** Where to tell what happened. */
  readonly log: Log;
  /** What this instance remembers of the products. */
  readonly catalogue: Catalogue;
  /** Who may do what how often. */
  readonly limiter: RateLimiter;
  /** What this instance counts. */
  readonly metrics: Metrics;
  /** Where unexpected errors are told. */
  readonly errorTracker: ErrorTracker;
  /** How many of them there were of late. */
  readonly errorRate: ErrorRate;
  /** Who is told when something is unwell. */
  readonly alerts: AlertDesk;
  /** The store as it lies there, for backups; use `store` for all else. */
  readonly kv: KvPort;
  /** Where backups are kept; absent when the configuration names no place. */
  readonly storage?: ObjectStorage;
}

/** Parts that a test may replace. */
export interface ServiceOptions {
  /** Where the program tells what happened. */
  log: Log;
  /** The machine's, or the one that a test moves. */
  clock: Clock;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /** Stands between the store and the opened KV. */
  wrapKv?: (kv: KvPort) => KvPort;
  /** How long the store may take; the usual ones when absent. */
  deadlines?: StoreOptions["deadlines"];
  /** In place of those that the configuration names. */
  channels?: readonly AlertChannel[];
}

/** Checks in one atomic: what the runtime allows, and what a self-hosted KV Connect server does. */
const CHECKS_MAX = { runtime: 100, connect: 10 };

const OPEN_ATTEMPTS_MAX = 10;

/** Opens what the configuration names. @throws what `Deno.openKv` throws */
export async function openServices(
  config: Config,
  { log, clock, random, wrapKv = (kv) => kv, deadlines, channels }: ServiceOptions,
): Promise<Services> {
  const { kvPath } = config;
  const isConnect = kvPath !== undefined && /^https?:/.test(kvPath);
  const isFile = kvPath !== undefined && !isConnect && kvPath !== ":memory:";
  if (isFile && kvPath.includes("/")) {
    await Deno.mkdir(kvPath.slice(0, kvPath.lastIndexOf("/")) || "/", { recursive: true });
  }
  const kv = wrapKv(await openKv(kvPath));
  const { storageUrl: url, s3 } = config;
  const storage = url === undefined ? undefined : await openStorage({ url, s3, clock, random });
  const store = new Store(kv, {
    clock,
    random,
    isEmbedded: kvPath !== undefined && !isConnect,
    checksMax: isConnect ? CHECKS_MAX.connect : CHECKS_MAX.runtime,
    ...(deadlines ? { deadlines } : {}),
  });
  return {
    config,
    store,
    kv,
    ...(storage ? { storage } : {}),
    clock,
    log,
    catalogue: new Catalogue(clock),
    limiter: new RateLimiter(config.rateRules, { secret: config.secretKey, clock }),
    metrics: new Metrics(),
    errorTracker: openErrorTracker({
      dsn: config.sentryDsn,
      sampleRate: config.sentrySampleRate,
      environment: config.appEnv,
      release: config.appVersion,
      log,
      clock,
      random,
    }),
    errorRate: new ErrorRate(clock),
    alerts: new AlertDesk({ channels: channels ?? channelsOf(config, log), log, random }),
  };
}

function channelsOf(config: Config, log: Log): AlertChannel[] {
  const { appEnv, appVersion, publicUrl, alertWebhooks, mailServer, mailFrom, shopEmail } = config;
  const system = `${appEnv} ${appVersion} at ${new URL(publicUrl).host}`;
  return openAlertChannels({
    webhooks: alertWebhooks,
    mailServer,
    mailFrom,
    shopEmail,
    system,
    log,
  });
}

/** Of two processes that make one file at once, one is refused while the other lays it out. */
async function openKv(path: string | undefined): Promise<Deno.Kv> {
  for (let attempt = 1;; attempt++) {
    try {
      return await Deno.openKv(path);
    } catch (error) {
      const isLocked = error instanceof Error && error.message.includes("database is locked");
      if (!isLocked || attempt === OPEN_ATTEMPTS_MAX) throw error;
      await sleep(50 * attempt);
    }
  }
}
