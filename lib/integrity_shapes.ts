/**
 * What a whole record looks like: every field of the data dictionary with the
 * kind of value that belongs there. Whether the values agree with each other is
 * for the checks to say.
 *
 * The types hold this file to `records.ts`: a field or state that is added there
 * and not here does not compile.
 *
 * @module
 */
import { isId } from "./ids.ts";
import type { Key } from "./kv/keys.ts";
import type {
  ApiKey,
  AuditEntry,
  Client,
  Contact,
  Entity,
  EntityKind,
  Invoice,
  InvoiceLine,
  InvoiceSequence,
  InvoiceStatus,
  Lead,
  LeadSource,
  LeadStatus,
  Product,
  ProductCategory,
  Scope,
} from "./kv/records.ts";
import type { Money } from "./money.ts";

/** Whether a value is of some kind. */
type Is = (value: unknown) => boolean;

/** The kind of each field of a `T`. */
type Shape<T> = { readonly [F in keyof T]-?: Is };

const text: Is = (value) => typeof value === "string";
const flag: Is = (value) => typeof value === "boolean";
/** Which numbers are amounts is a check of its own. */
const number: Is = (value) => typeof value === "number";
const count: Is = (value) => Number.isSafeInteger(value) && Number(value) >= 1;
const id: Is = (value) => typeof value === "string" && isId(value);
const moment: Is = matching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const date: Is = matching(/^\d{4}-\d\d-\d\d$/);
const digest: Is = matching(/^[0-9a-f]{64}$/);
const anything: Is = () => true;

function matching(pattern: RegExp): Is {
  return (value) => typeof value === "string" && pattern.test(value);
}

function maybe(is: Is): Is {
  return (value) => value === null || is(value);
}

function listOf(is: Is): Is {
  return (value) => Array.isArray(value) && value.every(is);
}

function record<T>(shape: Shape<T>): Is {
  const fields = Object.entries<Is>(shape);
  return (value) =>
    typeof value === "object" && value !== null &&
    fields.every(([name, is]) => Object.hasOwn(value, name) && is(Reflect.get(value, name)));
}

/** One of the words of `T`; a table, so that none is forgotten. */
function oneOf<T extends string>(words: Record<T, true>): Is {
  return (value) => typeof value === "string" && Object.hasOwn(words, value);
}

const entity: Shape<Entity> = {
  id,
  revision: count,
  createdAt: moment,
  createdBy: text,
  createdIn: text,
  updatedAt: moment,
  chain: maybe(digest),
};

const money = record<Money>({ currency: text, minor: number });
const contact = record<Contact>({ name: text, email: maybe(text), phone: maybe(text) });

const product = record<Product>({
  ...entity,
  slug: text,
  title: text,
  category: oneOf<ProductCategory>({ saas: true, mobile: true, web: true, service: true }),
  price: money,
  oldPrice: maybe(money),
  description: text,
  features: listOf(text),
  demoUrl: maybe(text),
  active: flag,
});

const client = record<Client>({
  ...entity,
  name: text,
  email: maybe(text),
  phone: maybe(text),
  notes: text,
  marketingConsent: flag,
  erasedAt: maybe(moment),
});

const leadStatus = oneOf<LeadStatus>({
  new: true,
  contacted: true,
  qualified: true,
  won: true,
  lost: true,
});

const leadSource = oneOf<LeadSource>({
  website: true,
  whatsapp: true,
  email: true,
  pesapal: true,
  azampay: true,
  contact: true,
  estimate: true,
  newsletter: true,
  api: true,
  other: true,
});

const lead = record<Lead>({
  ...entity,
  clientId: id,
  contact,
  productId: maybe(id),
  quantity: count,
  message: text,
  source: leadSource,
  status: leadStatus,
  invoiceId: maybe(id),
  marketingConsent: flag,
});

const invoiceStatus = oneOf<InvoiceStatus>({
  draft: true,
  open: true,
  partially_paid: true,
  paid: true,
  void: true,
  uncollectible: true,
  refunded: true,
});

const invoiceLine = record<InvoiceLine>({
  productId: maybe(id),
  description: text,
  quantity: number,
  unitMinor: number,
  totalMinor: number,
});

const invoice = record<Invoice>({
  ...entity,
  number: maybe(text),
  clientId: id,
  leadId: maybe(id),
  billTo: contact,
  status: invoiceStatus,
  currency: text,
  lines: listOf(invoiceLine),
  subtotalMinor: number,
  taxMinor: number,
  totalMinor: number,
  paidMinor: number,
  issuedAt: maybe(moment),
  dueOn: date,
  notes: text,
  voidReason: maybe(text),
});

const scope = oneOf<Scope>({
  "admin": true,
  "leads:read": true,
  "leads:write": true,
  "clients:read": true,
  "clients:write": true,
  "invoices:read": true,
  "invoices:write": true,
  "products:read": true,
  "products:write": true,
  "system:read": true,
});

const apiKey = record<ApiKey>({
  ...entity,
  name: text,
  scopes: listOf(scope),
  secretHash: digest,
  expiresAt: maybe(moment),
  revokedAt: maybe(moment),
});

const auditEntry = record<AuditEntry>({
  entity: oneOf<EntityKind>({
    product: true,
    client: true,
    lead: true,
    invoice: true,
    api_key: true,
  }),
  entityId: id,
  revision: count,
  at: moment,
  by: text,
  requestId: text,
  action: text,
  fields: listOf(text),
  changes: anything,
  previousDigest: digest,
  stateDigest: digest,
  digest,
});

const sequence = record<InvoiceSequence>({ last: count });

/** Under the first part of its key, and by the rest of it, what a whole value is. */
const SHAPES: ReadonlyMap<string, (value: unknown, key: Key<unknown>) => boolean> = new Map([
  ["product", entityOf(product)],
  ["client", entityOf(client)],
  ["lead", entityOf(lead)],
  ["invoice", entityOf(invoice)],
  ["api_key", entityOf(apiKey)],
  ["audit", isAuditEntry],
  ["invoice_sequence", sequence],
  ["product_by_slug", text],
  ["client_by_email", text],
  ["client_by_phone", text],
  ["lead_by_status", text],
  ["lead_by_client", text],
  ["invoice_by_number", text],
  ["invoice_by_status", text],
  ["invoice_by_client", text],
]);

/** Whether a value is what its key promises, in form and in name; true for keys that are not ours. */
export function isWhole(value: unknown, key: Key<unknown>): boolean {
  return SHAPES.get(String(key[0]))?.(value, key) ?? true;
}

function entityOf(is: Is): (value: unknown, key: Key<unknown>) => boolean {
  return (value, key) => is(value) && key.length === 2 && (value as Entity).id === key[1];
}

function isAuditEntry(value: unknown, key: Key<unknown>): boolean {
  if (!auditEntry(value)) return false;
  const { entity, entityId, revision } = value as AuditEntry;
  return key.length === 4 && entity === key[1] && entityId === key[2] && revision === key[3] &&
    revision > 1;
}
