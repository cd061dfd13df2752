/**
 * What is stored: the data dictionary. Amounts are integers in the currency's
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

/** What every entity carries. */
export interface Entity {
  /** UUIDv7: sorts by age. */
  id: string;
  /** 1 when created, one more with each change. Revisions above 1 have an audit entry. */
  revision: number;
  /** When it was made. */
  createdAt: string;
  /** Who made it; the first entry of its history, kept here to save a key. */
  createdBy: Actor;
  /** The request that made it. */
  createdIn: string;
  /** When its revision was made; `createdAt` at revision 1. */
  updatedAt: string;
  /** The last digest of its history; null at revision 1. */
  chain: string | null;
}

/** What a product can be. */
export const PRODUCT_CATEGORIES = ["saas", "mobile", "web", "service"] as const;
/** One of {@linkcode PRODUCT_CATEGORIES}. */
export type ProductCategory = (typeof PRODUCT_CATEGORIES)[number];

/** A thing on sale. */
export interface Product extends Entity {
  /** Unique, for addresses: lower-case letters, digits and hyphens. */
  slug: string;
  /** One line of plain text, up to 160 characters. */
  title: string;
  /** What kind of thing it is. */
  category: ProductCategory;
  /** Tax included. */
  price: Money;
  /** What it cost before, in the same currency. */
  oldPrice: Money | null;
  /** HTML of b, i, em, strong, p and br only. */
  description: string;
  /** Up to 50 lines of plain text. */
  features: string[];
  /** Where it can be tried, an http or https address; null for nowhere. */
  demoUrl: string | null;
  /** Whether it is shown and sold. */
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
  /** The shop's own, never shown to the client; may be empty. */
  notes: string;
  /** Whether it agreed to be written to beyond its own business. */
  marketingConsent: boolean;
  /** When its personal data was erased. */
  erasedAt: string | null;
}

/** How a person was reached at the time. */
export interface Contact {
  /** As it was given. */
  name: string;
  /** Lower case; null if none was given. */
  email: string | null;
  /** E.164; null if none was given. */
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

/** One enquiry. */
export interface Lead extends Entity {
  /** The client that has the contact's address or number. */
  clientId: string;
  /** As given with this enquiry; a known client is not changed by a visitor. */
  contact: Contact;
  /** What it asks for; null for an open question. */
  productId: string | null;
  /** How many of the product, 1 to 10,000; says nothing without one. */
  quantity: number;
  /** Plain text of up to 4,000 characters; may be empty. */
  message: string;
  /** As the sender said; nothing checks it. */
  source: LeadSource;
  /** Every change of it is in the history. */
  status: LeadStatus;
  /** The invoice that it became, if it asked for a product. */
  invoiceId: string | null;
  /** What the visitor said with this enquiry; the client's own may differ. */
  marketingConsent: boolean;
  /** What it wants to be written to in; absent if nobody said. */
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
  /** What is sold; null for a text of its own. */
  productId: string | null;
  /** As it was when the invoice was written, whatever the product is called now. */
  description: string;
  /** A whole number from 1 up. */
  quantity: number;
  /** For one, in minor units of the invoice's currency. */
  unitMinor: number;
  /** For all of them, in minor units. */
  totalMinor: number;
}

/** A demand for payment. Once issued, only its status and payments change. */
export interface Invoice extends Entity {
  /** `INV-2026-000123`; null while a draft. Printed and quoted, never a credential. */
  number: string | null;
  /** Who owes it. */
  clientId: string;
  /** The enquiry that asked for it; null when an operator wrote it. */
  leadId: string | null;
  /** The buyer as it stood when the invoice was written. */
  billTo: Contact;
  /** How far it has come. */
  status: InvoiceStatus;
  /** Of every amount in it. */
  currency: Currency;
  /** 1 to 50. */
  lines: InvoiceLine[];
  /** The lines together, in minor units. */
  subtotalMinor: number;
  /** On top of the lines, in minor units; 0 for none. */
  taxMinor: number;
  /** What is owed: subtotal and tax, in minor units; more than 0. */
  totalMinor: number;
  /** What was paid and not paid back, in minor units; beyond the total it is credit. */
  paidMinor: number;
  /** What was paid and paid back, in minor units. */
  refundedMinor: number;
  /** When it got its number; null while a draft. */
  issuedAt: string | null;
  /** A date in the shop's time zone, `YYYY-MM-DD`. */
  dueOn: string;
  /** Plain text for the buyer; may be empty. */
  notes: string;
  /** Why it is not owed any more; null unless it is void. */
  voidReason: string | null;
  /** When it was noted that it is overdue; absent before the first time, null when it is not any more. */
  overdueAt?: string | null;
  /** Reminders up to so many days after `dueOn` (before, if less than 0) are done with; absent for none. */
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
  /** What kind of thing changed. */
  entity: EntityKind;
  /** Which one. */
  entityId: string;
  /** The revision that the change made. */
  revision: number;
  /** When it changed. */
  at: string;
  /** Who changed it. */
  by: Actor;
  /** In which exchange; the access log has it too. */
  requestId: string;
  /** The use case, such as `invoice.void`. */
  action: string;
  /** Names of the fields that changed; values of personal ones are not repeated here. */
  fields: string[];
  /** From and to, for fields that hold no personal data. */
  changes: Record<string, [unknown, unknown]>;
  /** `digest` of the entry before; of the entity at revision 1 in the first. */
  previousDigest: string;
  /** SHA-256 over the entity as this change left it. */
  stateDigest: string;
  /** SHA-256 over all of the above, so that no part of a history changes unnoticed. */
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

/** A program's credential; the secret itself is shown once and never stored. */
export interface ApiKey extends Entity {
  /** Who uses it and what for. */
  name: string;
  /** What it may do. */
  scopes: Scope[];
  /** SHA-256 of the whole key, hexadecimal. */
  secretHash: string;
  /** From when on it is refused; null never. */
  expiresAt: string | null;
  /** Since when it is refused; null while it is not revoked. */
  revokedAt: string | null;
}

/** What an operation left behind, so that repeating it answers instead of doing it again. */
export interface Receipt {
  /** Digest of the request that came with the operation id. */
  fingerprint: string;
  /** What the decision returned; absent when the operation was given up. */
  result?: unknown;
  /** The operation was given up: whatever of it is still under way can no longer apply. */
  isAborted: boolean;
  /** When it was written, in milliseconds UTC. */
  at: number;
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}

/** How often a subject did something within a window of time. */
export interface RateWindow {
  /** Moments (or starts of slices) in milliseconds UTC, oldest first, each with how often. */
  slots: [at: number, count: number][];
  /** Milliseconds UTC after which nothing in it counts. */
  exp: number;
}

/** `warning`: someone should look; `critical`: the shop does not work, or its books are wrong. */
export const SEVERITIES = ["warning", "critical"] as const;
/** One of {@linkcode SEVERITIES}. */
export type Severity = (typeof SEVERITIES)[number];

/**
 * Something unwell from when it was first seen until it was well again. Volatile:
 * it is about the system and not the books, and a restored one would be of
 * another time.
 */
export interface Incident {
  /** Unique, such as `job_failed:backup`. */
  name: string;
  /** How much it matters. */
  severity: Severity;
  /** One line of plain text, up to 150 characters. */
  title: string;
  /** What was first seen, plain text of up to 1,000 characters, redacted; may be empty. */
  detail: string;
  /** When it was first seen. */
  openedAt: string;
  /** When it was last seen, to the minute. */
  lastSeenAt: string;
  /** How often it was seen; instances report what they counted once a minute. */
  count: number;
  /** When it was well again; null while it is open. */
  resolvedAt: string | null;
  /** After so many milliseconds unseen it counts as well; null for only when told so. */
  quietMs: number | null;
  /** It came back soon after it was resolved; it is not believed to be well before it was quiet. */
  isFlapping: boolean;
  /** When a channel took the news of its present state; null not yet. */
  notifiedAt: string | null;
  /** Milliseconds UTC until which an instance is telling; anyone's to tell after that. */
  notifyingUntil: number;
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}
