/**
 * What the program is made of, as one value. Each room of `lib/` states the part
 * that it needs in its own words; only routes, jobs, tasks, `main.ts` and tests
 * see all of it.
 *
 * @module
 */
import type { RateLimiter } from "../access/rate_limit.ts";
import type { AlertDesk } from "../alerts/notifier.ts";
import type { Config } from "../config/mod.ts";
import type { InvoicePdfs } from "../documents/pdfs.ts";
import type { Gateway, GatewayName } from "../gateways/mod.ts";
import type { KvPort, Store } from "../kv/store.ts";
import type { DevMailbox } from "../mailer/mailbox.ts";
import type { Mailer } from "../mailer/mod.ts";
import type { Outbox } from "../outbox/dispatcher.ts";
import type { Catalogue } from "../products/catalogue.ts";
import type { ObjectStorage } from "../storage/mod.ts";
import type { ErrorRate } from "../telemetry/error_rate.ts";
import type { ErrorTracker } from "../telemetry/error_tracking.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Clock } from "../time.ts";
import type { WebhookSender } from "../webhooks/sender.ts";

/** Everything that rooms ask for. */
export interface Services {
  /** The configuration, read from the environment when the process started. */
  readonly config: Config;
  /** The one way to the stored data. */
  readonly store: Store;
  /** The time, in milliseconds UTC; only the platform reads another clock. */
  readonly clock: Clock;
  /** The log of this process. */
  readonly log: Log;
  /** Products that this instance has read recently. */
  readonly catalogue: Catalogue;
  /** PDFs that this instance has drawn recently. */
  readonly pdfs: InvoicePdfs;
  /** Limits how often a subject may do something. */
  readonly limiter: RateLimiter;
  /** Counters of this instance. */
  readonly metrics: Metrics;
  /** Reports unexpected errors. */
  readonly errorTracker: ErrorTracker;
  /** How many unexpected errors there were in the last minutes. */
  readonly errorRate: ErrorRate;
  /** Delivers alerts. */
  readonly alerts: AlertDesk;
  /** The configured payment gateways, in the order to offer them. */
  readonly gateways: ReadonlyMap<GatewayName, Gateway>;
  /** Sends mail; null when no mail server is configured. */
  readonly mailer: Mailer | null;
  /** Mails that were kept instead of sent, in development; null otherwise. */
  readonly mailbox: DevMailbox | null;
  /** Posts webhooks. */
  readonly webhookSender: WebhookSender;
  /** Delivers mails, webhooks and late alerts after the commit that caused them. */
  readonly outbox: Outbox;
  /** The store as the runtime gives it, for backups; use `store` for everything else. */
  readonly kv: KvPort;
  /** Where backups are kept; absent when none is configured. */
  readonly storage?: ObjectStorage;
  /** Opens an empty KV that is gone when closed; absent where there can be only one, as on Deno Deploy. */
  readonly openScratch?: () => Promise<KvPort>;
}
