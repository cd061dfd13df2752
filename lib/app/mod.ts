/**
 * The services of the program, as one value. Each folder of `lib/` declares the part
 * that it needs; only routes, jobs, tasks, `main.ts` and tests import this type.
 *
 * @module
 */
import type { RateLimiter } from "../access/rate_limit.ts";
import type { AlertNotifier } from "../alerts/notifier.ts";
import type { Config } from "../config/mod.ts";
import type { InvoicePdfs } from "../documents/pdfs.ts";
import type { Gateway, GatewayName } from "../gateways/mod.ts";
import type { KvPort, Store } from "../kv/store.ts";
import type { DevMailbox } from "../mailer/mailbox.ts";
import type { Mailer } from "../mailer/mod.ts";
import type { Outbox } from "../outbox/mod.ts";
import type { Catalogue } from "../products/catalogue.ts";
import type { ObjectStorage } from "../storage/mod.ts";
import type { ErrorRate } from "../telemetry/error_rate.ts";
import type { ErrorTracker } from "../telemetry/error_tracking.ts";
import type { Log } from "../telemetry/mod.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Clock } from "../time.ts";
import type { WebhookSender } from "../webhooks/sender.ts";

/** All services. */
export interface Services {
  /** The configuration, read from the environment when the process started. */
  readonly config: Config;
  /** Reads and writes stored data. */
  readonly store: Store;
  /** The time, in milliseconds UTC; only the platform reads another clock. */
  readonly clock: Clock;
  /** The log of this process. */
  readonly log: Log;
  /** Recently read products. */
  readonly catalogue: Catalogue;
  /** Recently rendered PDFs. */
  readonly pdfs: InvoicePdfs;
  /** Limits the rate of requests. */
  readonly limiter: RateLimiter;
  /** Counters of this instance. */
  readonly metrics: Metrics;
  /** Reports unexpected errors. */
  readonly errorTracker: ErrorTracker;
  /** Counts unexpected errors of the last five minutes. */
  readonly errorRate: ErrorRate;
  /** Delivers alerts. */
  readonly alerts: AlertNotifier;
  /** The configured payment gateways, in the order to offer them. */
  readonly gateways: ReadonlyMap<GatewayName, Gateway>;
  /** Sends mail; null when no mail server is configured. */
  readonly mailer: Mailer | null;
  /** Keeps mail instead of sending it, in development; null otherwise. */
  readonly mailbox: DevMailbox | null;
  /** Posts webhooks. */
  readonly webhookSender: WebhookSender;
  /** Delivers mail, webhooks and retried alerts after the commit that caused them. */
  readonly outbox: Outbox;
  /** The KV below the store, for backups; use `store` for everything else. */
  readonly kv: KvPort;
  /** The storage of backups; absent when none is configured. */
  readonly storage?: ObjectStorage;
  /** Opens an empty temporary KV; absent where a process has only one, as on Deno Deploy. */
  readonly openScratch?: () => Promise<KvPort>;
}
