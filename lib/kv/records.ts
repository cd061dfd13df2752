/**
 * The stored records: the data dictionary. Amounts are integers in the currency's
 * minor unit, times are ISO 8601 in UTC, ids are UUIDv7.
 *
 * @module
 */
import type { Language } from "../languages.ts";
import type { Currency, Money } from "../money.ts";

/**
 * Who did something: a visitor, the key from the environment, an API key by its
 * id, a job by its name, a gateway by a call of its own, or a person at the command line.
 */
export type Actor =
  | "public"
  | "bootstrap"
  | `key:${string}`
  | `job:${string}`
  | `gateway:${string}`
  | "cli";

/** Fields of every entity. */
export interface Entity {
  /** UUIDv7: sorts by age. */
  id: string;
  /** 1 when created, one more with each change. Revisions above 1 have an audit entry. */
  revision: number;
  /** When it was created. */
  createdAt: string;
  /** Who created it: the first entry of its history, stored here to save a key. */
  createdBy: Actor;
  /** The request that created it. */
  createdIn: string;
  /** When its current revision was made; `createdAt` at revision 1. */
  updatedAt: string;
  /** The last digest of its history; null at revision 1. */
  chain: string | null;
}

/** What a product can be. */
export const PRODUCT_CATEGORIES = ["saas", "mobile", "web", "service"] as const;
/** One of {@linkcode PRODUCT_CATEGORIES}. */
export type ProductCategory = (typeof PRODUCT_CATEGORIES)[number];

/** A product of the catalogue. */
export interface Product extends Entity {
  /** Unique, for URLs: lower-case letters, digits and hyphens. */
  slug: string;
  /** One line of plain text, up to 160 characters. */
  title: string;
  /** Its category. */
  category: ProductCategory;
  /** Tax included. */
  price: Money;
  /** The previous price, in the same currency; null for none. */
  oldPrice: Money | null;
  /** HTML of b, i, em, strong, p and br only. */
  description: string;
  /** Up to 50 lines of plain text. */
  features: string[];
  /** URL of a demo, http or https; null for none. */
  demoUrl: string | null;
  /** Whether it is on sale. */
  active: boolean;
}

/** A person or firm that is billed. */
export interface Client extends Entity {
  /** One line of plain text, up to 120 characters; `[erased]` after erasure. */
  name: string;
  /** Lower case; unique among clients. */
  email: string | null;
  /** E.164; unique among clients. */
  phone: string | null;
  /** The shop's notes, never shown to the client; may be empty. */
  notes: string;
  /** Whether the client agreed to receive the newsletter. */
  marketingConsent: boolean;
  /** When its personal data was erased; null if it was not. */
  erasedAt: string | null;
}

/** Contact data as of a moment. */
export interface Contact {
  /** As given. */
  name: string;
  /** Lower case; null for none. */
  email: string | null;
  /** E.164; null for none. */
  phone: string | null;
}

/** Where an enquiry comes from. */
export const LEAD_SOURCES = [
  "website",
  "whatsapp",
  "email",
  "pesapal",
  "azampay",
  "contact",
  "estimate",
  "newsletter",
  "api",
  "other",
] as const;
/** One of {@linkcode LEAD_SOURCES}. */
export type LeadSource = (typeof LEAD_SOURCES)[number];

/** How far a lead has come. */
export const LEAD_STATUSES = ["new", "contacted", "qualified", "won", "lost"] as const;
/** One of {@linkcode LEAD_STATUSES}. */
export type LeadStatus = (typeof LEAD_STATUSES)[number];

/** An enquiry. */
export interface Lead extends Entity {
  /** The client with this e-mail address or phone number. */
  clientId: string;
  /** As given with this enquiry; visitors do not change a known client. */
  contact: Contact;
  /** The requested product; null for a general question. */
  productId: string | null;
  /** Quantity of the product, 1 to 10,000; ignored without a product. */
  quantity: number;
  /** Plain text of up to 4,000 characters; may be empty. */
  message: string;
  /** As the sender stated; not verified. */
  source: LeadSource;
  /** Every change is in the history. */
  status: LeadStatus;
  /** The invoice made from it; null without a product. */
  invoiceId: string | null;
  /** The visitor's consent in this enquiry; the client's own may differ. */
  marketingConsent: boolean;
  /** The visitor's language; absent if unknown. */
  language?: Language;
}

/** The states of an invoice. Overdue is not one: it follows from `dueOn`. */
export const INVOICE_STATUSES = [
  "draft",
  "open",
  "partially_paid",
  "paid",
  "void",
  "uncollectible",
  "refunded",
] as const;
/** One of {@linkcode INVOICE_STATUSES}. */
export type InvoiceStatus = (typeof INVOICE_STATUSES)[number];

/** One line of an invoice: total = quantity × unit. */
export interface InvoiceLine {
  /** The product; null for free text. */
  productId: string | null;
  /** As of the creation of the invoice; later changes of the product do not apply. */
  description: string;
  /** A whole number from 1 up. */
  quantity: number;
  /** Unit price, in minor units of the invoice's currency. */
  unitMinor: number;
  /** Line total, in minor units. */
  totalMinor: number;
}

/** A demand for payment. Once issued, only its status and payments change. */
export interface Invoice extends Entity {
  /** Such as `INV-2026-000123`; null while a draft. Public: never a credential. */
  number: string | null;
  /** The buyer. */
  clientId: string;
  /** The enquiry that it was made from; null if an operator created it. */
  leadId: string | null;
  /** The buyer's contact data as of the creation of the invoice. */
  billTo: Contact;
  /** How far it has come. */
  status: InvoiceStatus;
  /** The currency of all its amounts. */
  currency: Currency;
  /** 1 to 50. */
  lines: InvoiceLine[];
  /** Sum of the lines, in minor units. */
  subtotalMinor: number;
  /** Added to the subtotal, in minor units; 0 for none. */
  taxMinor: number;
  /** Subtotal plus tax, in minor units; more than 0. */
  totalMinor: number;
  /** Received and not refunded, in minor units; an excess over the total is credit. */
  paidMinor: number;
  /** Received and refunded, in minor units. */
  refundedMinor: number;
  /** When it was issued; null while a draft. */
  issuedAt: string | null;
  /** A date in the shop's time zone, `YYYY-MM-DD`. */
  dueOn: string;
  /** Plain text for the buyer; may be empty. */
  notes: string;
  /** Why it was voided; null unless it is void. */
  voidReason: string | null;
  /** When it was marked as overdue; absent if it never was, null if it no longer is. */
  overdueAt?: string | null;
  /** Reminders are done up to this many days after `dueOn` (negative: before); absent for none. */
  remindedDays?: number;
}

/** The last number given in a series and year. */
export interface InvoiceSequence {
  /** 1 for the first invoice of the year. */
  last: number;
}

/** Kinds of entity that have a history. */
export const ENTITY_KINDS = [
  "product",
  "client",
  "lead",
  "invoice",
  "payment",
  "api_key",
  "webhook",
  "mail_template",
] as const;
/** One of {@linkcode ENTITY_KINDS}. */
export type EntityKind = (typeof ENTITY_KINDS)[number];

/** One change of an entity after its creation. */
export interface AuditEntry {
  /** The kind of entity. */
  entity: EntityKind;
  /** The id of the entity. */
  entityId: string;
  /** The revision that the change made. */
  revision: number;
  /** When it changed. */
  at: string;
  /** Who changed it. */
  by: Actor;
  /** The request, as in the access log. */
  requestId: string;
  /** The use case, such as `invoice.void`. */
  action: string;
  /** Names of the changed fields; values of personal fields are not stored here. */
  fields: string[];
  /** Old and new values of fields without personal data. */
  changes: Record<string, [unknown, unknown]>;
  /** `digest` of the entry before; of the entity at revision 1 in the first. */
  previousDigest: string;
  /** SHA-256 over the entity after this change. */
  stateDigest: string;
  /** SHA-256 over all of the above: a later change of the history is detectable. */
  digest: string;
}

/** What an API key may do; `admin` includes all others. */
export const SCOPES = [
  "admin",
  "leads:read",
  "leads:write",
  "clients:read",
  "clients:write",
  "invoices:read",
  "invoices:write",
  "products:read",
  "products:write",
  "webhooks:read",
  "webhooks:write",
  "system:read",
  "system:write",
] as const;
/** One of {@linkcode SCOPES}. */
export type Scope = (typeof SCOPES)[number];

/** The credential of a program; the secret is shown once and never stored. */
export interface ApiKey extends Entity {
  /** Its user and purpose. */
  name: string;
  /** Granted scopes. */
  scopes: Scope[];
  /** SHA-256 of the whole key, hexadecimal. */
  secretHash: string;
  /** When it expires; null for never. */
  expiresAt: string | null;
  /** When it was revoked; null if it was not. */
  revokedAt: string | null;
}

/** The record of an operation: a repeat returns its result instead of applying it again. */
export interface Receipt {
  /** Digest of the request that came with the operation id. */
  fingerprint: string;
  /** The operation's result; absent if it was aborted. */
  result?: unknown;
  /** The operation was aborted: a commit of it that is still in flight can no longer apply. */
  isAborted: boolean;
  /** When it was written, in milliseconds UTC. */
  at: number;
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}

/** Requests of a subject within a window of time. */
export interface RateWindow {
  /** Times (or starts of slices) in milliseconds UTC, oldest first, each with a count. */
  slots: [at: number, count: number][];
  /** Milliseconds UTC after which nothing in it counts. */
  exp: number;
}

/** `warning`: someone should look; `critical`: the shop does not work, or its books are wrong. */
export const SEVERITIES = ["warning", "critical"] as const;
/** One of {@linkcode SEVERITIES}. */
export type Severity = (typeof SEVERITIES)[number];

/**
 * A problem of the system, from its first report until it is resolved. Volatile: it is
 * about the system and not the books, and a restored one would be out of date.
 */
export interface Incident {
  /** Unique, such as `job_failed:backup`. */
  name: string;
  /** How much it matters. */
  severity: Severity;
  /** One line of plain text, up to 150 characters. */
  title: string;
  /** The first report: plain text of up to 1,000 characters, redacted; may be empty. */
  detail: string;
  /** When it was first reported. */
  openedAt: string;
  /** When it was last reported, to the minute. */
  lastSeenAt: string;
  /** Number of reports; instances add their counts once a minute. */
  count: number;
  /** When it was resolved; null while it is open. */
  resolvedAt: string | null;
  /** Resolved after this many milliseconds without a report; null: only explicitly. */
  quietMs: number | null;
  /** It recurred soon after it was resolved: it is resolved only after a quiet period. */
  isFlapping: boolean;
  /** When a channel accepted the notification of its current state; null for not yet. */
  notifiedAt: string | null;
  /** Milliseconds UTC until which one instance is notifying; free for others after that. */
  notifyingUntil: number;
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}
