/**
 * What is stored: the data dictionary. Amounts are integers in the currency's
 * minor unit, times are ISO 8601 in UTC, ids are UUIDv7.
 *
 * @module
 */
import type { Currency, Money } from "../money.ts";

/**
 * Who did something: a visitor, the key from the environment, an API key by its
 * id, a job by its name, or a person at the command line.
 */
export type Actor = "public" | "bootstrap" | `key:${string}` | `job:${string}` | "cli";

/** What every entity carries. */
export interface Entity {
  /** UUIDv7: sorts by age. */
  id: string;
  /** 1 when created, one more with each change. Revisions above 1 have an audit entry. */
  revision: number;
  createdAt: string;
  /** Who made it; the first entry of its history, kept here to save a key. */
  createdBy: Actor;
  /** The request that made it. */
  createdIn: string;
  updatedAt: string;
  /** The last digest of its history; null at revision 1. */
  chain: string | null;
}

/** What a product can be. */
export type ProductCategory = "saas" | "mobile" | "web" | "service";

/** A thing on sale. */
export interface Product extends Entity {
  /** Unique, for addresses: lower-case letters, digits and hyphens. */
  slug: string;
  title: string;
  category: ProductCategory;
  /** Tax included. */
  price: Money;
  /** What it cost before, in the same currency. */
  oldPrice: Money | null;
  /** HTML of b, i, em, strong, p and br only. */
  description: string;
  features: string[];
  demoUrl: string | null;
  /** Whether it is shown and sold. */
  active: boolean;
}

/** A person or firm that is billed. */
export interface Client extends Entity {
  name: string;
  /** Lower case; unique among clients. */
  email: string | null;
  /** E.164; unique among clients. */
  phone: string | null;
  notes: string;
  /** Whether it agreed to be written to beyond its own business. */
  marketingConsent: boolean;
  /** When its personal data was erased. */
  erasedAt: string | null;
}

/** How a person was reached at the time. */
export interface Contact {
  name: string;
  email: string | null;
  phone: string | null;
}

/** Where an enquiry came from. */
export type LeadSource =
  | "website"
  | "whatsapp"
  | "email"
  | "pesapal"
  | "azampay"
  | "contact"
  | "estimate"
  | "newsletter"
  | "api"
  | "other";

/** How far a lead has come. */
export type LeadStatus = "new" | "contacted" | "qualified" | "won" | "lost";

/** One enquiry. */
export interface Lead extends Entity {
  clientId: string;
  /** As given with this enquiry; a known client is not changed by a visitor. */
  contact: Contact;
  productId: string | null;
  quantity: number;
  message: string;
  source: LeadSource;
  status: LeadStatus;
  /** The invoice that it became, if it asked for a product. */
  invoiceId: string | null;
  marketingConsent: boolean;
}

/** The states of an invoice. */
export type InvoiceStatus =
  | "draft"
  | "open"
  | "partially_paid"
  | "paid"
  | "void"
  | "uncollectible"
  | "refunded";

/** One line of an invoice: total = quantity × unit. */
export interface InvoiceLine {
  productId: string | null;
  description: string;
  quantity: number;
  unitMinor: number;
  totalMinor: number;
}

/** A demand for payment. Once issued, only its status and payments change. */
export interface Invoice extends Entity {
  /** `INV-2026-000123`; null while a draft. Printed and quoted, never a credential. */
  number: string | null;
  clientId: string;
  leadId: string | null;
  /** The buyer as it stood when the invoice was written. */
  billTo: Contact;
  status: InvoiceStatus;
  currency: Currency;
  lines: InvoiceLine[];
  subtotalMinor: number;
  taxMinor: number;
  totalMinor: number;
  paidMinor: number;
  issuedAt: string | null;
  /** A date in the shop's time zone, `YYYY-MM-DD`. */
  dueOn: string;
  notes: string;
  voidReason: string | null;
}

/** The last number given in a series and year. */
export interface InvoiceSequence {
  last: number;
}

/** What kinds of entity have a history. */
export type EntityKind = "product" | "client" | "lead" | "invoice" | "api_key";

/** One change of an entity after its creation. */
export interface AuditEntry {
  entity: EntityKind;
  entityId: string;
  /** The revision that the change made. */
  revision: number;
  at: string;
  by: Actor;
  requestId: string;
  /** The use case, such as `invoice.void`. */
  action: string;
  /** Names of the fields that changed; values of personal ones are not repeated here. */
  fields: string[];
  /** From and to, for fields that hold no personal data. */
  changes: Record<string, [unknown, unknown]>;
  /** Digest of the chain before this change. */
  previousDigest: string;
  /** SHA-256 over `previousDigest` and the entity as this change left it. */
  digest: string;
}

/** What a key of ours may do; `admin` may do everything. */
export type Scope =
  | "admin"
  | "leads:read"
  | "leads:write"
  | "clients:read"
  | "clients:write"
  | "invoices:read"
  | "invoices:write"
  | "products:read"
  | "products:write"
  | "system:read";

/** A program's credential; the secret itself is shown once and never stored. */
export interface ApiKey extends Entity {
  name: string;
  scopes: Scope[];
  /** SHA-256 of the whole key, hexadecimal. */
  secretHash: string;
  expiresAt: string | null;
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
  at: number;
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}
