/**
 * Every key of the store, typed by what it holds. An index holds the id of its primary
 * entry and exists because a query needs it.
 *
 * Lists by age need no index: ids are time-ordered, so the primary entries are already
 * in that order. Nothing that a visitor typed is ever a prefix; an e-mail address or
 * phone number is always the last part of its key.
 *
 * @module
 */
import type {
  BackupPart,
  BackupRecord,
  BackupRun,
  JobRequest,
  LogPosition,
  NewestBackup,
  RestoreProgress,
  RestoreProof,
} from "./backup_records.ts";
import type { MailTemplate } from "./mail_records.ts";
import type { MessageOrder, OutboxEvent, OutboxMessage } from "./outbox_records.ts";
import type {
  CheckoutSlot,
  Payment,
  PaymentChannel,
  PaymentStatus,
  SealedValue,
} from "./payment_records.ts";
import type { RepairRecord, SweepRecord, SweepRun } from "./sweep_records.ts";
import type {
  WebhookDelivery,
  WebhookDirectory,
  WebhookEndpoint,
  WebhookFailing,
  WebhookSecrets,
} from "./webhook_records.ts";
import type { JobRun, Lease, Timetable } from "./job_records.ts";
import type {
  ApiKey,
  AuditEntry,
  Client,
  EntityKind,
  Incident,
  Invoice,
  InvoiceSequence,
  InvoiceStatus,
  Lead,
  LeadStatus,
  Product,
  RateWindow,
  Receipt,
} from "./records.ts";

/** A key that remembers what it holds. */
export type Key<T> = readonly (string | number)[] & { readonly holds?: T };

/** The beginning of keys that all hold a `T`. */
export type Prefix<T> = readonly (string | number)[] & { readonly hold?: T };

/** A product, by id. */
export const product = (id: string): Key<Product> => ["product", id];
/** All products. */
export const products: Prefix<Product> = ["product"];
/** For URLs on the website, and to keep slugs unique. */
export const productBySlug = (slug: string): Key<string> => ["product_by_slug", slug];

/** A client, by id. */
export const client = (id: string): Key<Client> => ["client", id];
/** All clients. */
export const clients: Prefix<Client> = ["client"];
/** To find the client of an enquiry, and to keep addresses unique. */
export const clientByEmail = (email: string): Key<string> => ["client_by_email", email];
/** To find the client of an enquiry, and to keep numbers unique. */
export const clientByPhone = (phone: string): Key<string> => ["client_by_phone", phone];

/** A lead, by id. */
export const lead = (id: string): Key<Lead> => ["lead", id];
/** All leads. */
export const leads: Prefix<Lead> = ["lead"];
/** To list leads by status. */
export const leadByStatus = (status: LeadStatus, id: string): Key<string> => [
  ...leadsByStatus(status),
  id,
];
/** The leads in one status. */
export const leadsByStatus = (status: LeadStatus): Prefix<string> => ["lead_by_status", status];
/** To list the leads of a client. */
export const leadByClient = (clientId: string, id: string): Key<string> => [
  ...leadsByClient(clientId),
  id,
];
/** The leads of one client. */
export const leadsByClient = (clientId: string): Prefix<string> => ["lead_by_client", clientId];

/** An invoice, by id. */
export const invoice = (id: string): Key<Invoice> => ["invoice", id];
/** All invoices. */
export const invoices: Prefix<Invoice> = ["invoice"];
/** To find an invoice by its number, and to keep numbers unique. */
export const invoiceByNumber = (number: string): Key<string> => ["invoice_by_number", number];
/** To list invoices by status. */
export const invoiceByStatus = (status: InvoiceStatus, id: string): Key<string> => [
  ...invoicesByStatus(status),
  id,
];
/** The invoices in one status. */
export const invoicesByStatus = (status: InvoiceStatus): Prefix<string> => [
  "invoice_by_status",
  status,
];
/** To list the invoices of a client. */
export const invoiceByClient = (clientId: string, id: string): Key<string> => [
  ...invoicesByClient(clientId),
  id,
];
/** The invoices of one client. */
export const invoicesByClient = (clientId: string): Prefix<string> => [
  "invoice_by_client",
  clientId,
];
/** The last number assigned; every issue writes it, so issues take turns. */
export const invoiceSequence = (series: string, year: number): Key<InvoiceSequence> => [
  "invoice_sequence",
  series,
  year,
];

/** A payment, by id, which is the reference for the gateway. */
export const payment = (id: string): Key<Payment> => ["payment", id];
/** All payments. */
export const payments: Prefix<Payment> = ["payment"];
/** To list the payments of an invoice, failed ones too. */
export const paymentByInvoice = (invoiceId: string, id: string): Key<string> => [
  ...paymentsByInvoice(invoiceId),
  id,
];
/** The payments of one invoice. */
export const paymentsByInvoice = (invoiceId: string): Prefix<string> => [
  "payment_by_invoice",
  invoiceId,
];
/** To list payments by status, such as those that need review. */
export const paymentByStatus = (status: PaymentStatus, id: string): Key<string> => [
  ...paymentsByStatus(status),
  id,
];
/** The payments in one status. */
export const paymentsByStatus = (status: PaymentStatus): Prefix<string> => [
  "payment_by_status",
  status,
];
/** To keep a gateway's tracking id to one payment. */
export const paymentByTracking = (channel: PaymentChannel, trackingId: string): Key<string> => [
  "payment_by_tracking",
  channel,
  trackingId,
];
/** To find the payments to check with their gateway, by when, milliseconds UTC. */
export const paymentDue = (nextCheckAt: number, id: string): Key<string> => [
  "payment_due",
  nextCheckAt,
  id,
];
/** All payments to check with their gateway, the next one first. */
export const paymentsDue: Prefix<string> = ["payment_due"];
/** The attempt that a payer may be completing, so that a second one does not charge twice. */
export const checkoutSlot = (invoiceId: string, channel: PaymentChannel): Key<CheckoutSlot> => [
  "checkout",
  invoiceId,
  channel,
];

/** An event that is not yet dispatched, by its id, which sorts by age. */
export const outboxEvent = (id: string): Key<OutboxEvent> => ["outbox_event", id];
/** All events that are not yet dispatched. */
export const outboxEvents: Prefix<OutboxEvent> = ["outbox_event"];

/** A message that is pending or dead, by its id. */
export const message = (id: string): Key<OutboxMessage> => ["message", id];
/** All messages that are pending or dead. */
export const messages: Prefix<OutboxMessage> = ["message"];
/** A message that was sent or cancelled; it expires. */
export const messageDone = (id: string): Key<OutboxMessage> => ["message_done", id];
/** All messages that were sent or cancelled recently. */
export const messagesDone: Prefix<OutboxMessage> = ["message_done"];
/** To find due messages by lane and time, milliseconds UTC; none for one that waits for its predecessor. */
export const outboxDue = (lane: string, dueAt: number, id: string): Key<string> => [
  ...outboxDueIn(lane),
  dueAt,
  id,
];
/** The due messages of one lane. */
export const outboxDueIn = (lane: string): Prefix<string> => [...outboxDues, lane];
/** The due messages of all lanes. Sorts just before the events, so that one listing has both. */
export const outboxDues: Prefix<string> = ["outbox_due"];
/** The messages of an order key, which are sent one after another. */
export const messageOrder = (orderKey: string): Key<MessageOrder> => ["message_order", orderKey];
/** To list and count dead messages. */
export const messageDead = (id: string): Key<string> => ["message_dead", id];
/** All dead messages. */
export const messagesDead: Prefix<string> = ["message_dead"];

/** An endpoint of outgoing webhooks, by id. */
export const webhook = (id: string): Key<WebhookEndpoint> => ["webhook", id];
/** All endpoints, deleted ones too. */
export const webhooks: Prefix<WebhookEndpoint> = ["webhook"];
/** The endpoints, with the events that each subscribes to. */
export const webhookDirectory: Key<WebhookDirectory> = ["webhook_directory", "all"];
/** The secrets of an endpoint; apart from it, so that its history does not contain them. */
export const webhookSecrets = (id: string): Key<WebhookSecrets> => ["webhook_secrets", id];
/** The endpoint fails at present. */
export const webhookFailing = (id: string): Key<WebhookFailing> => ["webhook_failing", id];
/** The delivery of a message to an endpoint; it expires. */
export const webhookDelivery = (id: string, messageId: string): Key<WebhookDelivery> => [
  ...webhookDeliveries(id),
  messageId,
];
/** Recent deliveries to an endpoint, by the message's id, which sorts by age. */
export const webhookDeliveries = (id: string): Prefix<WebhookDelivery> => [
  "webhook_delivery",
  id,
];

/** A custom mail template, by the id derived from its kind and language. */
export const mailTemplate = (id: string): Key<MailTemplate> => ["mail_template", id];
/** All custom mail templates, reset ones too. */
export const mailTemplates: Prefix<MailTemplate> = ["mail_template"];

/** The history of an entity, by the revision that each change made. */
export const audit = (entity: EntityKind, id: string, revision: number): Key<AuditEntry> => [
  ...auditOf(entity, id),
  revision,
];
/** The whole history of an entity, oldest first. */
export const auditOf = (entity: EntityKind, id: string): Prefix<AuditEntry> => [
  "audit",
  entity,
  id,
];

/** An API key, by its id. */
export const apiKey = (id: string): Key<ApiKey> => ["api_key", id];
/** All API keys. */
export const apiKeys: Prefix<ApiKey> = ["api_key"];

/** The receipt of an operation; see `transact()`. */
export const receipt = (operationId: string): Key<Receipt> => ["op", operationId];

/** A rate window, by the rule's name and the subject's digest. */
export const rateWindow = (rule: string, subject: string): Key<RateWindow> => [
  "rate",
  rule,
  subject,
];

/** The lease of a job that is running. */
export const lease = (job: string): Key<Lease> => ["lease", job];
/** The last run of a job. */
export const jobRun = (job: string): Key<JobRun> => ["job_run", job];
/** The last run of each job. */
export const jobRuns: Prefix<JobRun> = ["job_run"];
/** The jobs, and when each is due. */
export const timetable: Key<Timetable> = ["timetable"];
/** That somebody wants a job to be done before its time. */
export const wish = (job: string): Key<JobRequest> => ["wish", job];

/** A value of a gateway that instances share, such as its token, by name. */
export const gatewayCache = (name: string): Key<SealedValue> => ["gateway_cache", name];

/** An incident, open or resolved, by its name. */
export const incident = (name: string): Key<Incident> => ["incident", name];
/** All incidents. */
export const incidents: Prefix<Incident> = ["incident"];

/** A sweep that was requested, is running or has ended, by its id, which sorts by age. */
export const sweep = (id: string): Key<SweepRecord> => ["sweep", id];
/** The sweeps that are kept. */
export const sweeps: Prefix<SweepRecord> = ["sweep"];
/** The running sweep, and its progress. */
export const sweepRun: Key<SweepRun> = ["sweep_run"];
/** A repair of a sweep, by its id, which sorts by age. */
export const repair = (sweepId: string, id: string): Key<RepairRecord> => [
  ...repairsOf(sweepId),
  id,
];
/** All repairs of a sweep. */
export const repairsOf = (sweepId: string): Prefix<RepairRecord> => ["repair", sweepId];

/** Moves with every commit of an embedded store; see `head.ts`. */
export const head: Key<number> = ["head"];
/** Written and read by the health probe. */
export const probe: Key<number> = ["probe"];

/** A part of a log entry, by its number; the commit's versionstamp follows. */
export const logPart = (part: number): Prefix<Uint8Array> => ["log", part];

/** Identifies this database, so that its versionstamps are never compared with another's. */
export const epoch: Key<string> = ["epoch"];
/** Written to obtain the current versionstamp. */
export const logMark: Key<number> = ["log_mark"];
/** The position up to which the log was shipped. */
export const logShipped: Key<LogPosition> = ["log_shipped"];
/** The running backup. */
export const backupRun: Key<BackupRun> = ["backup_run"];
/** A stored part of the running backup, by its index. */
export const backupPart = (id: string, index: number): Key<BackupPart> => [
  ...backupPartsOf(id),
  index,
];
/** The stored parts of a running backup. */
export const backupPartsOf = (id: string): Prefix<BackupPart> => [...backupParts, id];
/** The stored parts of all unfinished backups. */
export const backupParts: Prefix<BackupPart> = ["backup_part"];
/** The running restore; nothing may be served while it is there. */
export const restoring: Key<RestoreProgress> = ["restoring"];

/** A verified backup, by its id, which sorts by age. */
export const backup = (id: string): Key<BackupRecord> => ["backup", id];
/** All verified backups that are kept. */
export const backups: Prefix<BackupRecord> = ["backup"];
/** The newest of them, to be read together with other keys. */
export const newestBackup: Key<NewestBackup> = ["newest_backup"];
/** The result of a restore drill or restore, by when it ended. */
export const restoreProof = (at: string): Key<RestoreProof> => ["restore_proof", at];
/** All restore proofs. */
export const restoreProofs: Prefix<RestoreProof> = ["restore_proof"];
/** The newest of them, to be read together with other keys. */
export const newestProof: Key<RestoreProof> = ["newest_proof"];

/**
 * The first parts of keys that are not business data: they are neither logged nor
 * backed up, and may expire.
 */
const VOLATILE = new Set([
  "op",
  "rate",
  "gateway_cache",
  "lease",
  "message_done",
  "webhook_failing",
  "webhook_delivery",
  "job_run",
  "timetable",
  "wish",
  "newest_backup",
  "newest_proof",
  "incident",
  "sweep",
  "sweep_run",
  "head",
  "probe",
  "log",
  "epoch",
  "log_mark",
  "log_shipped",
  "backup_run",
  "backup_part",
  "restoring",
  "checkout",
]);

/** Whether `key` holds business data: logged, backed up, kept for ever. */
export function isDurable(key: Deno.KvKey | Key<unknown>): boolean {
  return !VOLATILE.has(String(key[0]));
}

/** A key as text, unambiguous, for use in maps and in the log. */
export function keyText(key: Key<unknown>): string {
  return JSON.stringify(key);
}
