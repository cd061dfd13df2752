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
import {
  absentOr,
  anything,
  count,
  date,
  digest,
  entity,
  flag,
  id,
  type Is,
  listOf,
  maybe,
  moment,
  number,
  oneOf,
  record,
  text,
} from "./kinds.ts";
import { isPayment } from "./payment_shapes.ts";
import type { Key } from "../kv/keys.ts";
import type {
  EventType,
  MessageKind,
  MessageStatus,
  OutboxEvent,
  OutboxMessage,
} from "../kv/outbox_records.ts";
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
} from "../kv/records.ts";
import type { RepairRecord } from "../kv/sweep_records.ts";
import { isWebhookDirectory, isWebhookEndpoint, isWebhookSecrets } from "./webhook_shapes.ts";
import { isMailTemplate } from "./mail_shapes.ts";
import type { Language } from "../languages.ts";
import type { Money } from "../money.ts";

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
  language: absentOr(oneOf<Language>({ en: true, sw: true })),
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
  refundedMinor: number,
  issuedAt: maybe(moment),
  dueOn: date,
  notes: text,
  voidReason: maybe(text),
  overdueAt: absentOr(maybe(moment)),
  remindedDays: absentOr(number),
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
  "webhooks:read": true,
  "webhooks:write": true,
  "system:read": true,
  "system:write": true,
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
    payment: true,
    api_key: true,
    webhook: true,
    mail_template: true,
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

const repair = record<RepairRecord>({
  id,
  sweepId: id,
  check: text,
  key: text,
  detail: text,
  done: text,
  at: moment,
  by: text,
  requestId: text,
});

const outboxEvent = record<OutboxEvent>({
  id,
  type: oneOf<EventType>({
    "lead.created": true,
    "invoice.issued": true,
    "invoice.sent": true,
    "invoice.paid": true,
    "invoice.overdue": true,
    "invoice.reminder": true,
    "invoice.voided": true,
    "payment.completed": true,
    "payment.failed": true,
    "payment.reversed": true,
    "payment.needs_review": true,
    "payment.refunded": true,
  }),
  at: moment,
  subject: anything,
  data: anything,
});

const message = record<OutboxMessage>({
  id,
  kind: oneOf<MessageKind>({ email: true, webhook: true, alert: true }),
  type: text,
  to: text,
  lane: text,
  orderKey: maybe(text),
  eventId: id,
  at: moment,
  subject: anything,
  data: anything,
  status: oneOf<MessageStatus>({ pending: true, sent: true, dead: true, cancelled: true }),
  attempts: number,
  attemptsBefore: number,
  dueAt: number,
  since: number,
  lease: anything,
  lastError: maybe(text),
  createdAt: moment,
  endedAt: maybe(moment),
  exp: maybe(number),
});

/** Under the first part of its key, and by the rest of it, what a whole value is. */
const SHAPES: ReadonlyMap<string, (value: unknown, key: Key<unknown>) => boolean> = new Map([
  ["product", entityOf(product)],
  ["client", entityOf(client)],
  ["lead", entityOf(lead)],
  ["invoice", entityOf(invoice)],
  ["payment", entityOf(isPayment)],
  ["api_key", entityOf(apiKey)],
  ["audit", isAuditEntry],
  ["invoice_sequence", sequence],
  ["repair", isRepair],
  ["outbox_event", entityOf(outboxEvent)],
  ["message", entityOf(message)],
  ["message_dead", text],
  ["outbox_due", text],
  ["mail_template", entityOf(isMailTemplate)],
  ["webhook", entityOf(isWebhookEndpoint)],
  ["webhook_directory", isWebhookDirectory],
  ["webhook_secrets", isWebhookSecrets],
  ["product_by_slug", text],
  ["client_by_email", text],
  ["client_by_phone", text],
  ["lead_by_status", text],
  ["lead_by_client", text],
  ["invoice_by_number", text],
  ["invoice_by_status", text],
  ["invoice_by_client", text],
  ["payment_by_invoice", text],
  ["payment_by_status", text],
  ["payment_by_tracking", text],
  ["payment_due", text],
]);

/** Whether a value is what its key promises, in form and in name; true for keys that are not ours. */
export function isWhole(value: unknown, key: Key<unknown>): boolean {
  return SHAPES.get(String(key[0]))?.(value, key) ?? true;
}

function entityOf(is: Is): (value: unknown, key: Key<unknown>) => boolean {
  return (value, key) => is(value) && key.length === 2 && (value as Entity).id === key[1];
}

function isRepair(value: unknown, key: Key<unknown>): boolean {
  if (!repair(value)) return false;
  const { id, sweepId } = value as RepairRecord;
  return key.length === 3 && sweepId === key[1] && id === key[2];
}

function isAuditEntry(value: unknown, key: Key<unknown>): boolean {
  if (!auditEntry(value)) return false;
  const { entity, entityId, revision } = value as AuditEntry;
  return key.length === 4 && entity === key[1] && entityId === key[2] && revision === key[3] &&
    revision > 1;
}
