/**
 * The invariants, each a named check over one entry and what it refers to.
 *
 * A check is pure: it asks for what it needs and says what is wrong, or nothing.
 * Whoever runs it decides how the values are read, so the same check looks over
 * a scan, judges a snapshot, and decides a repair within a transaction.
 *
 * Together they leave no room for two findings about one fault: an entity tells
 * what is missing around it, an index entry what it should not say, and an audit
 * entry asks for the one before it.
 *
 * @module
 */
import { follows, isUnaltered, leadsTo, putChange } from "../entities/audit.ts";
import * as keys from "../kv/keys.ts";
import type { MailTemplate } from "../kv/mail_records.ts";
import type { WebhookEndpoint } from "../kv/webhook_records.ts";
import type { Payment } from "../kv/payment_records.ts";
import type {
  ApiKey,
  AuditEntry,
  Client,
  Entity,
  EntityKind,
  Invoice,
  Lead,
  Product,
} from "../kv/records.ts";
import {
  amountFault,
  formFault,
  mendTotals,
  productAmountFault,
  statusFault,
  totalFault,
} from "./amounts.ts";
import {
  type Check,
  check,
  clientByEmail,
  clientByPhone,
  type Get,
  indexRoom,
  invoiceByClient,
  invoiceByNumber,
  invoiceByStatus,
  leadByClient,
  leadByStatus,
  type Mend,
  missing,
  productBySlug,
  type Room,
  shared,
} from "./indexes.ts";
import { markFault } from "../invoices/due.ts";
import { OUTBOX_ROOMS } from "./outbox.ts";
import { WEBHOOK_CHECKS, WEBHOOK_ROOMS } from "./webhooks.ts";
import { parseNumber, raisingSequence } from "./numbers.ts";
import { PAYMENT_CHECKS, PAYMENT_INDEX_ROOMS } from "./payments.ts";

/** Every prefix whose entries must agree with others. */
export const ROOMS: readonly Room[] = [
  room(keys.products, [
    critical<Product>("product.amount_invalid", productAmountFault),
    missing(productBySlug),
    shared("product.slug_shared", productBySlug),
    ...history<Product>("product"),
  ]),
  room(keys.clients, [
    missing(clientByEmail),
    missing(clientByPhone),
    shared("client.email_shared", clientByEmail),
    shared("client.phone_shared", clientByPhone),
    ...history<Client>("client"),
  ]),
  room(keys.leads, [
    critical<Lead>("lead.client_missing", clientFault),
    critical<Lead>("lead.invoice_mismatch", leadInvoiceFault),
    missing(leadByStatus),
    missing(leadByClient),
    ...history<Lead>("lead"),
  ]),
  // By these their invoices are judged, and found by indexes that are mended before.
  room(keys.payments, [...PAYMENT_CHECKS, ...history<Payment>("payment")]),
  room(keys.invoices, [
    critical<Invoice>("invoice.client_missing", clientFault),
    critical<Invoice>("invoice.lead_mismatch", invoiceLeadFault),
    check<Invoice>("invoice.amount_invalid", "critical", amountFault, undefined, mendTotals),
    check<Invoice>("invoice.total_wrong", "critical", totalFault, undefined, mendTotals),
    // Whether it agrees with the money on it is seen with the payments: see paid.ts.
    critical<Invoice>("invoice.status_wrong", formFault),
    critical<Invoice>("invoice.number_invalid", numberFault),
    check<Invoice>("invoice.overdue_wrong", "warning", overdueFault, undefined, mendMark),
    missing(invoiceByNumber),
    shared("invoice.number_duplicate", invoiceByNumber),
    missing(invoiceByStatus),
    missing(invoiceByClient),
    ...history<Invoice>("invoice"),
  ]),
  room(keys.apiKeys, history<ApiKey>("api_key")),
  room(keys.mailTemplates, history<MailTemplate>("mail_template")),
  room(keys.webhooks, [...WEBHOOK_CHECKS, ...history<WebhookEndpoint>("webhook")]),
  indexRoom(productBySlug),
  indexRoom(clientByEmail),
  indexRoom(clientByPhone),
  indexRoom(leadByStatus),
  indexRoom(leadByClient),
  indexRoom(invoiceByNumber),
  indexRoom(invoiceByStatus),
  indexRoom(invoiceByClient),
  ...PAYMENT_INDEX_ROOMS,
  room(["audit"], [
    critical<AuditEntry>("audit.entity_missing", auditEntityFault),
    critical<AuditEntry>("audit.entry_missing", previousEntryFault, previousEntryKey),
    critical<AuditEntry>("audit.chain_broken", linkFault),
  ]),
  // What the sequences say is compared with the numbers: see numbers.ts.
  { ...room(["invoice_sequence"], []), mendUnreadable: raisingSequence },
  room(["repair"], []),
  ...OUTBOX_ROOMS,
  ...WEBHOOK_ROOMS,
];

function room(prefix: keys.Prefix<unknown>, checks: readonly Check[]): Room {
  return { prefix, severity: "critical", checks };
}

function critical<T>(
  name: string,
  judge: (value: T, get: Get) => string | null,
  at?: (value: T) => keys.Key<unknown>,
): Check {
  return check(name, "critical", judge, at);
}

/** The newest entry of a history, which leads up to the entity; the others ask for each other. */
function history<T extends Entity>(kind: EntityKind): Check[] {
  const lastKey = ({ id, revision }: T) => keys.audit(kind, id, revision);
  return [
    critical<T>("audit.entry_missing", (entity, get) => {
      if (entity.revision === 1 || get(lastKey(entity)) !== null) return null;
      return `${kind} ${entity.id} is at revision ${entity.revision}`;
    }, lastKey),
    critical<T>("audit.chain_broken", (entity, get) => {
      const { revision, chain } = entity;
      if (revision === 1) return chain === null ? null : "It is new, and yet has a history";
      const last = get(lastKey(entity));
      return last && !leadsTo(last, entity) ? "Its history does not lead to what it is" : null;
    }),
  ];
}

function auditEntityFault({ entity, entityId, revision }: AuditEntry, get: Get): string | null {
  const subject = get(entityKey(entity, entityId));
  if (!subject) return "There is no such entity";
  return subject.revision < revision ? `The entity is only at revision ${subject.revision}` : null;
}

function previousEntryKey({ entity, entityId, revision }: AuditEntry): keys.Key<AuditEntry> {
  return keys.audit(entity, entityId, revision - 1);
}

function previousEntryFault(entry: AuditEntry, get: Get): string | null {
  if (entry.revision === 2 || get(previousEntryKey(entry)) !== null) return null;
  return `The entry of revision ${entry.revision} has none before it`;
}

function linkFault(entry: AuditEntry, get: Get): string | null {
  if (!isUnaltered(entry)) return "It is not what was written";
  const previous = entry.revision === 2 ? null : get(previousEntryKey(entry));
  return previous && !follows(previous, entry) ? "It does not follow from the one before it" : null;
}

function entityKey(kind: EntityKind, id: string): keys.Key<Entity> {
  switch (kind) {
    case "product":
      return keys.product(id);
    case "client":
      return keys.client(id);
    case "lead":
      return keys.lead(id);
    case "invoice":
      return keys.invoice(id);
    case "payment":
      return keys.payment(id);
    case "api_key":
      return keys.apiKey(id);
    case "webhook":
      return keys.webhook(id);
    case "mail_template":
      return keys.mailTemplate(id);
    default:
      return kind satisfies never;
  }
}

function clientFault({ clientId }: Lead | Invoice, get: Get): string | null {
  return get(keys.client(clientId)) === null ? `Client ${clientId} is not there` : null;
}

function leadInvoiceFault({ id, clientId, invoiceId }: Lead, get: Get): string | null {
  if (invoiceId === null) return null;
  const invoice = get(keys.invoice(invoiceId));
  if (!invoice) return `Invoice ${invoiceId} is not there`;
  if (invoice.leadId !== id) return `Invoice ${invoiceId} is of another lead`;
  return invoice.clientId === clientId ? null : `Invoice ${invoiceId} is of another client`;
}

function invoiceLeadFault({ id, leadId }: Invoice, get: Get): string | null {
  if (leadId === null) return null;
  const lead = get(keys.lead(leadId));
  if (!lead) return `Lead ${leadId} is not there`;
  return lead.invoiceId === id ? null : `Lead ${leadId} does not point back`;
}

/** Where its state is wrong, that is the fault. */
function overdueFault(invoice: Invoice): string | null {
  return statusFault(invoice) === null ? markFault(invoice) : null;
}

/** Takes the mark away; the job sets it again where it belongs. Not where more was damaged. */
function mendMark(invoice: Invoice, get: Get): Mend | null {
  const { id, revision } = invoice;
  const last = get(keys.audit("invoice", id, revision));
  if (revision > 1 && !(last && leadsTo(last, invoice))) return null;
  return {
    done: "It is not marked as overdue any more",
    put(writes, by, now) {
      const change = { entity: "invoice", action: "repair.overdue", by, now } as const;
      const fields = { overdueAt: null };
      putChange(writes, { ...change, key: keys.invoice(id), before: invoice, fields });
    },
  };
}

function numberFault({ number }: Invoice): string | null {
  return number === null || parseNumber(number) ? null : "Its number is not of a series and year";
}
