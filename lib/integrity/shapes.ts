/**
 * The shapes of stored values, as zod schemas: every field of the data dictionary
 * with its type. Whether the values agree with each other is up to the checks.
 *
 * The types hold the schemas to the records: a field that a record has and its
 * schema lacks does not compile, and closed lists come from the constants beside
 * the records. Unknown fields are allowed.
 *
 * @module
 */
import { z } from "zod";
import { isId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import { MAIL_KINDS, type MailTemplate } from "../kv/mail_records.ts";
import {
  EVENT_TYPES,
  MESSAGE_KINDS,
  MESSAGE_STATUSES,
  type OutboxEvent,
  type OutboxMessage,
} from "../kv/outbox_records.ts";
import {
  type Payment,
  PAYMENT_CHANNELS,
  PAYMENT_OUTCOMES,
  PAYMENT_STATUSES,
  type Refund,
  REFUND_CHANNELS,
  REFUND_STATUSES,
  type Resolution,
} from "../kv/payment_records.ts";
import {
  type Actor,
  type ApiKey,
  type AuditEntry,
  type Client,
  type Contact,
  type Entity,
  ENTITY_KINDS,
  type Invoice,
  INVOICE_STATUSES,
  type InvoiceLine,
  type InvoiceSequence,
  type Lead,
  LEAD_SOURCES,
  LEAD_STATUSES,
  type Product,
  PRODUCT_CATEGORIES,
  SCOPES,
} from "../kv/records.ts";
import type { RepairRecord } from "../kv/sweep_records.ts";
import {
  WEBHOOK_DISABLED_REASONS,
  type WebhookDirectory,
  type WebhookEndpoint,
  type WebhookEventType,
  type WebhookSecret,
  type WebhookSecrets,
  type WebhookSubscription,
} from "../kv/webhook_records.ts";
import { LANGUAGES } from "../languages.ts";
import type { Currency, Money } from "../money.ts";

/** A schema for each field of a `T`, also for the optional ones. */
type Fields<T> = { readonly [F in keyof T]-?: z.ZodType<T[F]> };

/** The schema of a `T`. */
function shapeOf<T>(fields: Fields<T>): z.ZodType<T> {
  const schema: z.ZodType = z.object(fields);
  return schema as z.ZodType<T>; // by the type of `fields`, which zod cannot follow for any `T`
}

const text = z.string();
const flag = z.boolean();
/** Any number, NaN too: valid amounts are up to the checks. */
const number = z.custom<number>((value) => typeof value === "number");
const count = z.int().min(1);
const id = text.refine(isId);
/** A time as `isoTime()` writes it. */
const moment = text.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
/** `YYYY-MM-DD`. */
const date = text.regex(/^\d{4}-\d\d-\d\d$/);
/** SHA-256, hexadecimal. */
const digest = text.regex(/^[0-9a-f]{64}$/);

/** Any text where the record has an open list of words, or one that a check covers. */
function word<T extends string>(): z.ZodType<T> {
  return z.custom<T>((value) => typeof value === "string");
}

/** Any value but undefined. */
function present<T>(): z.ZodType<T> {
  return z.custom<T>((value) => value !== undefined);
}

const actor = word<Actor>();
const currency = word<Currency>();
const money = shapeOf<Money>({ currency, minor: number });
const contact = shapeOf<Contact>({
  name: text,
  email: text.nullable(),
  phone: text.nullable(),
});

const entity: Fields<Entity> = {
  id,
  revision: count,
  createdAt: moment,
  createdBy: actor,
  createdIn: text,
  updatedAt: moment,
  chain: digest.nullable(),
};

const product = shapeOf<Product>({
  ...entity,
  slug: text,
  title: text,
  category: z.enum(PRODUCT_CATEGORIES),
  price: money,
  oldPrice: money.nullable(),
  description: text,
  features: z.array(text),
  demoUrl: text.nullable(),
  active: flag,
});

const client = shapeOf<Client>({
  ...entity,
  name: text,
  email: text.nullable(),
  phone: text.nullable(),
  notes: text,
  marketingConsent: flag,
  erasedAt: moment.nullable(),
});

const lead = shapeOf<Lead>({
  ...entity,
  clientId: id,
  contact,
  productId: id.nullable(),
  quantity: count,
  message: text,
  source: z.enum(LEAD_SOURCES),
  status: z.enum(LEAD_STATUSES),
  invoiceId: id.nullable(),
  marketingConsent: flag,
  language: z.enum(LANGUAGES).optional(),
});

const invoiceLine = shapeOf<InvoiceLine>({
  productId: id.nullable(),
  description: text,
  quantity: number,
  unitMinor: number,
  totalMinor: number,
});

const invoice = shapeOf<Invoice>({
  ...entity,
  number: text.nullable(),
  clientId: id,
  leadId: id.nullable(),
  billTo: contact,
  status: z.enum(INVOICE_STATUSES),
  currency,
  lines: z.array(invoiceLine),
  subtotalMinor: number,
  taxMinor: number,
  totalMinor: number,
  paidMinor: number,
  refundedMinor: number,
  issuedAt: moment.nullable(),
  dueOn: date,
  notes: text,
  voidReason: text.nullable(),
  overdueAt: moment.nullable().optional(),
  remindedDays: number.optional(),
});

const invoiceSequence = shapeOf<InvoiceSequence>({ last: count });

const refund = shapeOf<Refund>({
  id,
  amountMinor: number,
  reason: text,
  reference: text,
  through: z.enum(REFUND_CHANNELS),
  status: z.enum(REFUND_STATUSES),
  at: moment,
  by: actor,
});

const resolution = shapeOf<Resolution>({
  outcome: z.enum(PAYMENT_OUTCOMES),
  reference: text,
  reason: text,
  at: moment,
  by: actor,
});

const payment = shapeOf<Payment>({
  ...entity,
  invoiceId: id,
  channel: z.enum(PAYMENT_CHANNELS),
  status: z.enum(PAYMENT_STATUSES),
  currency,
  amountMinor: number,
  receivedMinor: number,
  refunds: z.array(refund),
  trackingId: text.nullable(),
  confirmationCode: text.nullable(),
  method: text.nullable(),
  redirectUrl: text.nullable(),
  payerPhone: text.nullable(),
  problem: text.nullable(),
  completedAt: moment.nullable(),
  nextCheckAt: number.nullable(),
  checks: number,
  notes: text,
  resolution: resolution.nullable(),
});

const apiKey = shapeOf<ApiKey>({
  ...entity,
  name: text,
  scopes: z.array(z.enum(SCOPES)),
  secretHash: digest,
  expiresAt: moment.nullable(),
  revokedAt: moment.nullable(),
});

const auditEntry = shapeOf<AuditEntry>({
  entity: z.enum(ENTITY_KINDS),
  entityId: id,
  revision: z.int().min(2), // revision 1 has no entry
  at: moment,
  by: actor,
  requestId: text,
  action: text,
  fields: z.array(text),
  changes: present<AuditEntry["changes"]>(),
  previousDigest: digest,
  stateDigest: digest,
  digest,
});

const repair = shapeOf<RepairRecord>({
  id,
  sweepId: id,
  check: text,
  key: text,
  detail: text,
  done: text,
  at: moment,
  by: actor,
  requestId: text,
});

const outboxEvent = shapeOf<OutboxEvent>({
  id,
  type: z.enum(EVENT_TYPES),
  at: moment,
  subject: present<OutboxEvent["subject"]>(),
  data: present<OutboxEvent["data"]>(),
});

const message = shapeOf<OutboxMessage>({
  id,
  kind: z.enum(MESSAGE_KINDS),
  type: text,
  to: text,
  lane: text,
  orderKey: text.nullable(),
  eventId: id,
  at: moment,
  subject: present<OutboxMessage["subject"]>(),
  data: present<OutboxMessage["data"]>(),
  status: z.enum(MESSAGE_STATUSES),
  attempts: number,
  attemptsBefore: number,
  dueAt: number,
  since: number,
  lease: present<OutboxMessage["lease"]>(),
  lastError: text.nullable(),
  createdAt: moment,
  endedAt: moment.nullable(),
  exp: number.nullable(),
});

const mailTemplate = shapeOf<MailTemplate>({
  ...entity,
  kind: z.enum(MAIL_KINDS),
  language: z.enum(LANGUAGES),
  subject: text,
  text,
  html: text,
  resetAt: moment.nullable(),
});

/** Any text: a later version may have more event types. */
const eventTypes = z.array(word<WebhookEventType>());

const webhook = shapeOf<WebhookEndpoint>({
  ...entity,
  url: text,
  description: text,
  eventTypes,
  isEnabled: flag,
  disabledReason: z.enum(WEBHOOK_DISABLED_REASONS).nullable(),
  secretAt: moment,
  deletedAt: moment.nullable(),
});

const webhookDirectory = shapeOf<WebhookDirectory>({
  subscriptions: z.array(shapeOf<WebhookSubscription>({ id, eventTypes, isEnabled: flag })),
});

const webhookSecrets = shapeOf<WebhookSecrets>({
  secrets: z.array(shapeOf<WebhookSecret>({ sealed: text, until: z.number().nullable() })),
});

/** Whether a stored value has the shape that its key requires. */
type ShapeTest = (value: unknown, key: keys.Key<unknown>) => boolean;

/** By the first part of the key. */
const SHAPE_TESTS: ReadonlyMap<string, ShapeTest> = new Map([
  ["product", stored(product, ({ id }) => keys.product(id))],
  ["client", stored(client, ({ id }) => keys.client(id))],
  ["lead", stored(lead, ({ id }) => keys.lead(id))],
  ["invoice", stored(invoice, ({ id }) => keys.invoice(id))],
  ["payment", stored(payment, ({ id }) => keys.payment(id))],
  ["api_key", stored(apiKey, ({ id }) => keys.apiKey(id))],
  ["audit", stored(auditEntry, (e) => keys.audit(e.entity, e.entityId, e.revision))],
  ["invoice_sequence", stored(invoiceSequence)],
  ["repair", stored(repair, ({ sweepId, id }) => keys.repair(sweepId, id))],
  ["outbox_event", stored(outboxEvent, ({ id }) => keys.outboxEvent(id))],
  ["message", stored(message, ({ id }) => keys.message(id))],
  ["mail_template", stored(mailTemplate, ({ id }) => keys.mailTemplate(id))],
  ["webhook", stored(webhook, ({ id }) => keys.webhook(id))],
  ["webhook_directory", stored(webhookDirectory)],
  ["webhook_secrets", stored(webhookSecrets)],
  ...[
    "product_by_slug",
    "client_by_email",
    "client_by_phone",
    "lead_by_status",
    "lead_by_client",
    "invoice_by_number",
    "invoice_by_status",
    "invoice_by_client",
    "payment_by_invoice",
    "payment_by_status",
    "payment_by_tracking",
    "payment_due",
    "message_dead",
    "outbox_due",
  ].map((index): [string, ShapeTest] => [index, stored(text)]),
]);

/** Whether a value has the shape that its key requires; true for keys of no known table. */
export function hasValidShape(value: unknown, key: keys.Key<unknown>): boolean {
  return SHAPE_TESTS.get(String(key[0]))?.(value, key) ?? true;
}

/** Tests the shape of a value, and that it is stored under its own key, if it has one. */
function stored<T>(schema: z.ZodType<T>, keyOf?: (value: T) => keys.Key<T>): ShapeTest {
  return (value, key) => {
    const { success, data } = schema.safeParse(value);
    return success && (keyOf === undefined || isSameKey(keyOf(data), key));
  };
}

function isSameKey(a: keys.Key<unknown>, b: keys.Key<unknown>): boolean {
  return a.length === b.length && a.every((part, i) => part === b[i]);
}
