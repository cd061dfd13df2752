/**
 * Opens everything that the program is made of. `main.ts`, tasks and tests call
 * it once; nothing else opens anything.
 *
 * @module
 */
import { RateLimiter } from "../access/rate_limit.ts";
import { type AlertChannel, openAlertChannels } from "../alerts/channels.ts";
import { newAlertSender } from "../alerts/delivery.ts";
import { type AlertServices, raiseAlert } from "../alerts/mod.ts";
import { AlertDesk, type AlertDeskOptions } from "../alerts/notifier.ts";
import type { Config } from "../config/mod.ts";
import { InvoicePdfs } from "../documents/pdfs.ts";
import { openGatewayCache } from "../gateways/cache.ts";
import { type GatewayOptions, openGateways } from "../gateways/mod.ts";
import { type KvPort, Store, type StoreOptions } from "../kv/store.ts";
import { alertWords } from "../mail/alert.ts";
import { newMailSender, newMailSubscriber } from "../mail/delivery.ts";
import { DevMailbox } from "../mailer/mailbox.ts";
import { openMailer } from "../mailer/mod.ts";
import { Outbox } from "../outbox/dispatcher.ts";
import type { OutboxMessage } from "../outbox/ports.ts";
import { Catalogue } from "../products/catalogue.ts";
import { openStorage } from "../storage/mod.ts";
import { ErrorRate } from "../telemetry/error_rate.ts";
import { openErrorTracker } from "../telemetry/error_tracking.ts";
import type { Log } from "../telemetry/log.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { type Clock, HOUR_MS, sleep } from "../time.ts";
import { newWebhookMessageSender, newWebhookSubscriber } from "../webhooks/delivery.ts";
import { openWebhookSender } from "../webhooks/sender.ts";
import type { Services } from "./services.ts";

/** Parts that a test may replace. */
export interface ServiceOptions {
  /** The log of this process. */
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
  /** How long an attempt to deliver an alert may take, and the wait after it; the usual ones when absent. */
  alertPolicy?: Pick<AlertDeskOptions, "timeoutMs" | "backoffMs">;
  /** How patient calls to gateways are, where that is not as usual. */
  gatewayPolicy?: GatewayOptions["policy"];
}

/** Checks in one atomic: what the runtime allows, and what a self-hosted KV Connect server does. */
const CHECKS_MAX = { runtime: 100, connect: 10 };

const OPEN_ATTEMPTS_MAX = 10;

/** Opens what the configuration names. @throws what `Deno.openKv` throws */
export async function openServices(
  config: Config,
  { log, clock, random, wrapKv = (kv) => kv, deadlines, channels, alertPolicy, gatewayPolicy }:
    ServiceOptions,
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
  const errorTracker = openErrorTracker({
    dsn: config.sentryDsn,
    sampleRate: config.sentrySampleRate,
    environment: config.appEnv,
    release: config.appVersion,
    log,
    clock,
    random,
  });
  const metrics = new Metrics();
  const parts: Omit<Services, "outbox"> = {
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
    metrics,
    ...openMail(config, { log, clock }),
    webhookSender: openWebhookSender({ isPublicOnly: config.appEnv === "production", clock }),
    errorTracker,
    errorRate: new ErrorRate(clock),
    alerts: new AlertDesk({
      channels: channels ?? channelsOf(config, { store, log }),
      log,
      random,
      ...alertPolicy,
    }),
  };
  return { ...parts, outbox: openOutbox(parts, random) };
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

/** After so long without another dead letter the incident is over. */
const DEAD_QUIET_MS = HOUR_MS;

/** Raises the alert that follows from a dead letter. Never throws. */
export async function raiseDeadLetter(
  services: AlertServices,
  { id, kind, type, lastError }: OutboxMessage,
): Promise<void> {
  await raiseAlert(services, {
    name: "outbox_dead",
    severity: "warning",
    title: "Messages could not be delivered",
    detail: `${kind} ${type}, ${id}: ${lastError ?? "unknown"}; the outbox lists the others`,
    quietMs: DEAD_QUIET_MS,
  });
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
