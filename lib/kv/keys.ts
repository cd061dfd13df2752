/**
 * Where things are: every key of the store, typed by what it holds. An index
 * holds the id of its primary entry and exists because a listed query needs it.
 *
 * Lists by age need no index: ids are time-ordered, so the primary entries are
 * already in that order. Nothing that a visitor typed is ever a prefix; an
 * e-mail address or phone number is always the last part of its key.
 *
 * @module
 */
import type {
  BackupPart,
  BackupRecord,
  BackupRun,
  LogPosition,
  RestoreProgress,
  RestoreProof,
} from "./backup_records.ts";
import type {
  ApiKey,
  AuditEntry,
  Client,
  EntityKind,
  Incident,
  Invoice,
  InvoiceSequence,
  InvoiceStatus,
  JobRun,
  Lead,
  LeadStatus,
  Lease,
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
/** For addresses on the website, and to keep slugs unique. */
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
/** To list the leads that wait for someone. */
export const leadByStatus = (status: LeadStatus, id: string): Key<string> => [
  ...leadsByStatus(status),
  id,
];
/** The leads in one status. */
export const leadsByStatus = (status: LeadStatus): Prefix<string> => ["lead_by_status", status];
/** To list what a client asked for. */
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
/** To find an invoice by the number that people quote, and to keep numbers unique. */
export const invoiceByNumber = (number: string): Key<string> => ["invoice_by_number", number];
/** To list what is open, paid or void. */
export const invoiceByStatus = (status: InvoiceStatus, id: string): Key<string> => [
  ...invoicesByStatus(status),
  id,
];
/** The invoices in one status. */
export const invoicesByStatus = (status: InvoiceStatus): Prefix<string> => [
  "invoice_by_status",
  status,
];
/** To list what a client was billed. */
export const invoiceByClient = (clientId: string, id: string): Key<string> => [
  ...invoicesByClient(clientId),
  id,
];
/** The invoices of one client. */
export const invoicesByClient = (clientId: string): Prefix<string> => [
  "invoice_by_client",
  clientId,
];
/** The last number given; everyone who issues writes it, so they take turns. */
export const invoiceSequence = (series: string, year: number): Key<InvoiceSequence> => [
  "invoice_sequence",
  series,
  year,
];

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

/** What an operation left behind; see `receipts.ts`. */
export const receipt = (operationId: string): Key<Receipt> => ["op", operationId];

/** How often a subject did something of late: the rule's name and the subject's digest. */
export const rateWindow = (rule: string, subject: string): Key<RateWindow> => [
  "rate",
  rule,
  subject,
];
/** All rate windows. */
export const rateWindows: Prefix<RateWindow> = ["rate"];

/** Who runs a job at the moment. */
export const lease = (job: string): Key<Lease> => ["lease", job];
/** How the last run of a job went. */
export const jobRun = (job: string): Key<JobRun> => ["job_run", job];
/** The last run of each job. */
export const jobRuns: Prefix<JobRun> = ["job_run"];

/** What is or was unwell, by its name. */
export const incident = (name: string): Key<Incident> => ["incident", name];
/** All incidents. */
export const incidents: Prefix<Incident> = ["incident"];

/** Where the health probe writes and reads. */
export const probe: Key<number> = ["probe"];

/** Which of the log's parts an entry is; the commit's versionstamp follows. */
export const logPart = (part: number): Prefix<Uint8Array> => ["log", part];

/** What this database is called, so that its versionstamps are never compared with another's. */
export const epoch: Key<string> = ["epoch"];
/** Written to learn the present versionstamp. */
export const logMark: Key<number> = ["log_mark"];
/** How far the log has been shipped. */
export const logShipped: Key<LogPosition> = ["log_shipped"];
/** The backup that is being taken. */
export const backupRun: Key<BackupRun> = ["backup_run"];
/** A stored part of the backup that is being taken, by its place. */
export const backupPart = (id: string, index: number): Key<BackupPart> => [
  ...backupPartsOf(id),
  index,
];
/** The stored parts of a backup that is being taken. */
export const backupPartsOf = (id: string): Prefix<BackupPart> => [...backupParts, id];
/** The stored parts of backups that were being taken. */
export const backupParts: Prefix<BackupPart> = ["backup_part"];
/** The restore that is under way; nothing may be served while it is there. */
export const restoring: Key<RestoreProgress> = ["restoring"];

/** A verified backup, by its id, which sorts by age. */
export const backup = (id: string): Key<BackupRecord> => ["backup", id];
/** All verified backups that were kept. */
export const backups: Prefix<BackupRecord> = ["backup"];
/** What a restore drill or a restore showed, by when it ended. */
export const restoreProof = (at: string): Key<RestoreProof> => ["restore_proof", at];
/** All restore proofs. */
export const restoreProofs: Prefix<RestoreProof> = ["restore_proof"];

/**
 * The first parts of keys that are not part of the shop's books: they expire,
 * are not logged and not backed up.
 */
const VOLATILE = new Set([
  "op",
  "rate",
  "lease",
  "job_run",
  "incident",
  "probe",
  "log",
  "epoch",
  "log_mark",
  "log_shipped",
  "backup_run",
  "backup_part",
  "restoring",
]);

/** Whether what is at `key` belongs to the books: logged, backed up, kept for ever. */
export function isDurable(key: Deno.KvKey | Key<unknown>): boolean {
  return !VOLATILE.has(String(key[0]));
}

/** A key as text, unambiguous, for use in maps and in the log. */
export function keyText(key: Key<unknown>): string {
  return JSON.stringify(key);
}
