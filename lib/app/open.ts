/**
 * Opens the services that the program consists of. `main.ts`, tasks and tests call
 * {@linkcode openServices} once; nothing else opens anything.
 *
 * @module
 */
import { RateLimiter } from "../access/rate_limit.ts";
import { type AlertChannel, openAlertChannels } from "../alerts/channels.ts";
import { newAlertSender } from "../alerts/delivery.ts";
import { type AlertServices, raiseAlert } from "../alerts/mod.ts";
import { AlertNotifier, type AlertNotifierOptions } from "../alerts/notifier.ts";
import type { Config } from "../config/mod.ts";
import { InvoicePdfs } from "../documents/pdfs.ts";
import { openGatewayCache } from "../gateways/cache.ts";
import type { GatewayOptions } from "../gateways/mod.ts";
import { openGateways } from "../gateways/open.ts";
import { type KvPort, Store, type StoreOptions } from "../kv/store.ts";
import { renderAlertMail } from "../mail/alert.ts";
import { newMailSender, newMailSubscriber } from "../mail/mod.ts";
import { DevMailbox } from "../mailer/mailbox.ts";
import { openMailer } from "../mailer/open.ts";
import { Outbox } from "../outbox/mod.ts";
import type { OutboxMessage } from "../outbox/ports.ts";
import { Catalogue } from "../products/catalogue.ts";
import { openStorage } from "../storage/open.ts";
import { ErrorRate } from "../telemetry/error_rate.ts";
import { openErrorTracker } from "../telemetry/error_tracking.ts";
import type { Log } from "../telemetry/mod.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { type Clock, HOUR_MS, sleep } from "../time.ts";
import { newWebhookMessageSender, newWebhookSubscriber } from "../webhooks/delivery.ts";
import { openWebhookSender } from "../webhooks/sender.ts";
import type { Services } from "./mod.ts";

/** What a process brings, and parts that a test may replace. */
export interface ServiceOptions {
  /** The log of this process. */
  log: Log;
  /** The system clock, or one that a test moves. */
  clock: Clock;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /** Wraps the opened KV. */
  wrapKv?: (kv: KvPort) => KvPort;
  /** Time limits of the store, if not the default ones. */
  deadlines?: StoreOptions["deadlines"];
  /** Replace the configured alert channels. */
  channels?: readonly AlertChannel[];
  /** Time limit and wait of alert deliveries, if not the default ones. */
  alertPolicy?: Pick<AlertNotifierOptions, "timeoutMs" | "backoffMs">;
  /** Time limits and retries of gateway calls, where they differ from the default ones. */
  gatewayPolicy?: GatewayOptions["policy"];
}

/** Opens the configured services. @throws What `Deno.openKv` throws. */
export async function openServices(config: Config, options: ServiceOptions): Promise<Services> {
  const { log, clock, random } = options;
  const kv = await openKv(config, options);
  const store = openStore(kv, config, options);
  const parts: Omit<Services, "outbox"> = {
    config,
    log,
    clock,
    kv,
    store,
    ...await openBackupParts(config, options),
    gateways: await openGateways(config, {
      cache: openGatewayCache({ store, clock, log, config }),
      clock,
      random,
      log,
      ...(options.gatewayPolicy ? { policy: options.gatewayPolicy } : {}),
    }),
    ...openMail(config, options),
    webhookSender: openWebhookSender({ isPublicOnly: config.appEnv === "production", clock }),
    alerts: openAlerts(config, store, options),
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
    metrics: new Metrics(),
    limiter: new RateLimiter(config.rateRules, { secret: config.secretKey, clock }),
    catalogue: new Catalogue(clock),
    pdfs: new InvoicePdfs(),
  };
  return { ...parts, outbox: openOutbox(parts, random) };
}

/** Whether the KV is a KV Connect server; else it is a file, in memory, or the platform's. */
function isConnect({ kvPath }: Config): boolean {
  return kvPath !== undefined && /^https?:/.test(kvPath);
}

/** Opens the KV; for a file, makes its folder first. */
async function openKv(config: Config, { wrapKv = (kv) => kv }: ServiceOptions): Promise<KvPort> {
  const { kvPath } = config;
  const isFile = kvPath !== undefined && !isConnect(config) && kvPath !== ":memory:";
  if (isFile && kvPath.includes("/")) {
    await Deno.mkdir(kvPath.slice(0, kvPath.lastIndexOf("/")) || "/", { recursive: true });
  }
  return wrapKv(await openWhenUnlocked(kvPath));
}

const OPEN_ATTEMPTS_MAX = 10;

/** Retries while another process creates the same file, which locks it. */
async function openWhenUnlocked(path: string | undefined): Promise<Deno.Kv> {
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

/** Checks in one atomic operation: the limits of the runtime and of a self-hosted KV Connect server. */
const CHECKS_MAX = { runtime: 100, connect: 10 };

function openStore(
  kv: KvPort,
  config: Config,
  { clock, random, deadlines }: ServiceOptions,
): Store {
  return new Store(kv, {
    clock,
    random,
    isEmbedded: config.kvPath !== undefined && !isConnect(config),
    checksMax: isConnect(config) ? CHECKS_MAX.connect : CHECKS_MAX.runtime,
    ...(deadlines ? { deadlines } : {}),
  });
}

/** The storage of backups if one is configured, and a scratch KV for restore drills. */
async function openBackupParts(
  { storageUrl: url, s3, isDeploy }: Config,
  { clock, random }: ServiceOptions,
): Promise<Pick<Services, "storage" | "openScratch">> {
  return {
    ...(url === undefined ? {} : { storage: await openStorage({ url, s3, clock, random }) }),
    ...(isDeploy ? {} : { openScratch: () => Deno.openKv(":memory:") }),
  };
}

/** The configured mailer; in development a mailbox that keeps mail instead of sending it. */
function openMail(
  { mailServer }: Config,
  { log, clock }: ServiceOptions,
): Pick<Services, "mailer" | "mailbox"> {
  if (mailServer === undefined) return { mailer: null, mailbox: null };
  if (mailServer !== "log") return { mailer: openMailer(mailServer), mailbox: null };
  const mailbox = new DevMailbox({ log, clock });
  return { mailer: mailbox, mailbox };
}

function openAlerts(
  config: Config,
  store: Store,
  { log, random, channels, alertPolicy }: ServiceOptions,
): AlertNotifier {
  return new AlertNotifier({
    channels: channels ?? openConfiguredChannels(config, { store, log }),
    log,
    random,
    ...alertPolicy,
  });
}

function openConfiguredChannels(
  config: Config,
  { store, log }: { store: Store; log: Log },
): AlertChannel[] {
  const { appEnv, appVersion, publicUrl, alertWebhooks, mailServer, mailFrom, shopEmail } = config;
  const system = `${appEnv} ${appVersion} at ${new URL(publicUrl).host}`;
  return openAlertChannels({
    webhooks: alertWebhooks,
    mailServer,
    mailFrom,
    shopEmail,
    system,
    wordsOf: (notification) => renderAlertMail({ config, store }, notification, system),
    log,
  });
}

function openOutbox(parts: Omit<Services, "outbox">, random: () => number): Outbox {
  const { store, clock, log, metrics, errorTracker } = parts;
  return new Outbox({
    store,
    clock,
    log,
    metrics,
    errorTracker,
    random,
    subscribers: [newMailSubscriber(parts), newWebhookSubscriber(parts)],
    senders: {
      email: newMailSender(parts),
      webhook: newWebhookMessageSender(parts),
      alert: newAlertSender(parts),
    },
    onDead: (message) => raiseDeadLetter(parts, message),
  });
}

/** Without another dead letter for this long, the incident is resolved. */
const DEAD_QUIET_MS = HOUR_MS;

/** Raises the alert for a dead-lettered message. Never throws. */
export async function raiseDeadLetter(
  services: AlertServices,
  { id, kind, type, lastError }: OutboxMessage,
): Promise<void> {
  await raiseAlert(services, {
    name: "outbox_dead",
    severity: "warning",
    title: "Messages could not be delivered",
    detail: `${kind} ${type}, ${id}: ${
      lastError ?? "unknown"
    }; for all, list the outbox by status dead`,
    quietMs: DEAD_QUIET_MS,
  });
}
