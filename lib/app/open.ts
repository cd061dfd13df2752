/**
 * The outside as one value: made here by `main.ts`, `tasks` and tests, and
 * handed to everything. The only room that opens anything.
 *
 * @module
 */
import { type AlertChannel, openAlertChannels } from "../alerts/channels.ts";
import { AlertDesk } from "../alerts/notifier.ts";
import type { Config } from "../config/mod.ts";
import { InvoicePdfs } from "../documents/pdfs.ts";
import { type ErrorTracker, openErrorTracker } from "../telemetry/error_tracking.ts";
import { type KvPort, Store, type StoreOptions } from "../kv/store.ts";
import { openGatewayCache } from "../gateways/cache.ts";
import {
  type Gateway,
  type GatewayName,
  type GatewayOptions,
  openGateways,
} from "../gateways/mod.ts";
import type { Log } from "../telemetry/log.ts";
import { alertWords } from "../mail/alert.ts";
import { DevMailbox } from "../mailer/mailbox.ts";
import { type Mailer, openMailer } from "../mailer/mod.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { Outbox } from "../outbox/dispatcher.ts";
import { SENDERS, SUBSCRIBERS } from "./outbox_table.ts";
import { Catalogue } from "../products/mod.ts";
import { RateLimiter } from "../access/rate_limit.ts";
import { type ObjectStorage, openStorage } from "../storage/mod.ts";
import { type Clock, sleep } from "../time.ts";
import { ErrorRate } from "../health/watch.ts";
import { openWebhookSender, type WebhookSender } from "../webhooks/sender.ts";

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
  /** What this instance keeps of the PDFs that it drew. */
  readonly pdfs: InvoicePdfs;
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
  /** The payment gateways that are offered, in the order to offer them. */
  readonly gateways: ReadonlyMap<GatewayName, Gateway>;
  /** Gives mail away; null when the configuration names no server. */
  readonly mailer: Mailer | null;
  /** What was not sent, where mail goes nowhere; null otherwise. */
  readonly mailbox: DevMailbox | null;
  /** Posts webhooks. */
  readonly webhookSender: WebhookSender;
  /** Tells others what happened. */
  readonly outbox: Outbox;
  /** The store as it lies there, for backups; use `store` for all else. */
  readonly kv: KvPort;
  /** Where backups are kept; absent when the configuration names no place. */
  readonly storage?: ObjectStorage;
  /** Opens an empty KV that is gone when closed; absent where there can be only one, as on Deno Deploy. */
  readonly openScratch?: () => Promise<KvPort>;
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
  /** How patient calls to gateways are, where that is not as usual. */
  gatewayPolicy?: GatewayOptions["policy"];
}

/** Checks in one atomic: what the runtime allows, and what a self-hosted KV Connect server does. */
const CHECKS_MAX = { runtime: 100, connect: 10 };

const OPEN_ATTEMPTS_MAX = 10;

/** Opens what the configuration names. @throws what `Deno.openKv` throws */
export async function openServices(
  config: Config,
  { log, clock, random, wrapKv = (kv) => kv, deadlines, channels, gatewayPolicy }: ServiceOptions,
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
  const gateways = await openGateways(config, {
    cache: openGatewayCache({ store, clock, log, config }),
    clock,
    random,
    log,
    ...(gatewayPolicy ? { policy: gatewayPolicy } : {}),
  });
  return {
    config,
    store,
    gateways,
    kv,
    ...(storage ? { storage } : {}),
    ...(config.isDeploy ? {} : { openScratch: () => Deno.openKv(":memory:") }),
    clock,
    log,
    catalogue: new Catalogue(clock),
    pdfs: new InvoicePdfs(),
    limiter: new RateLimiter(config.rateRules, { secret: config.secretKey, clock }),
    metrics: new Metrics(),
    ...openMail(config, { log, clock }),
    webhookSender: openWebhookSender({ isPublicOnly: config.appEnv === "production", clock }),
    outbox: new Outbox({ subscribers: SUBSCRIBERS, senders: SENDERS, random }),
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
    alerts: new AlertDesk({
      channels: channels ?? channelsOf(config, { store, log }),
      log,
      random,
    }),
  };
}

function openMail(
  { mailServer }: Config,
  { log, clock }: { log: Log; clock: Clock },
): Pick<Services, "mailer" | "mailbox"> {
  if (mailServer === undefined) return { mailer: null, mailbox: null };
  if (mailServer !== "log") return { mailer: openMailer(mailServer), mailbox: null };
  const mailbox = new DevMailbox({ log, clock });
  return { mailer: mailbox, mailbox };
}

function channelsOf(config: Config, { store, log }: { store: Store; log: Log }): AlertChannel[] {
  const { appEnv, appVersion, publicUrl, alertWebhooks, mailServer, mailFrom, shopEmail } = config;
  const system = `${appEnv} ${appVersion} at ${new URL(publicUrl).host}`;
  return openAlertChannels({
    webhooks: alertWebhooks,
    mailServer,
    mailFrom,
    shopEmail,
    system,
    wordsOf: (notice) => alertWords({ config, store }, notice, system),
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
