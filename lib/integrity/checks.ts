/**
 * The invariants: each is a named check of one entry and the entries it refers to.
 *
 * A check is pure: it asks for values and returns the fault, or null. Its caller
 * decides how values are read, so one check serves a scan, a snapshot and a
 * repair within a transaction.
 *
 * No fault has two findings: an entity reports the entries that it lacks, an
 * index entry its own wrong value, and an audit entry the missing one before it.
 *
 * @module
 */
import { follows, isUnaltered, leadsTo, putChange } from "../entities/mod.ts";
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
  productAmountFault,
  repairTotals,
  statusFault,
  totalFault,
} from "./amounts.ts";
import {
  type Check,
  check,
  clientByEmail,
  clientByPhone,
  type Get,
  indexTable,
  invoiceByClient,
  invoiceByNumber,
  invoiceByStatus,
  leadByClient,
  leadByStatus,
  missing,
  productBySlug,
  type Repair,
  shared,
  type Table,
} from "./indexes.ts";
import { markFault } from "../invoices/due.ts";
import { OUTBOX_TABLES } from "./outbox.ts";
import { WEBHOOK_CHECKS, WEBHOOK_TABLES } from "./webhooks.ts";
import { parseNumber, raisingSequence } from "./numbers.ts";
import { PAYMENT_CHECKS, PAYMENT_INDEX_TABLES } from "./payments.ts";

/** Every table, in the order of the sweep. */
export const TABLES: readonly Table[] = [
  table(keys.products, [
    critical<Product>("product.amount_invalid", productAmountFault),
    missing(productBySlug),
    shared("product.slug_shared", productBySlug),
    ...history<Product>("product"),
  ]),
  table(keys.clients, [
    missing(clientByEmail),
    missing(clientByPhone),
    shared("client.email_shared", clientByEmail),
    shared("client.phone_shared", clientByPhone),
    ...history<Client>("client"),
  ]),
  table(keys.leads, [
    critical<Lead>("lead.client_missing", clientFault),
    critical<Lead>("lead.invoice_mismatch", leadInvoiceFault),
    missing(leadByStatus),
    missing(leadByClient),
    ...history<Lead>("lead"),
  ]),
  // Before the invoices, which are judged by their payments and find them by the repaired indexes.
  table(keys.payments, [...PAYMENT_CHECKS, ...history<Payment>("payment")]),
  table(keys.invoices, [
    critical<Invoice>("invoice.client_missing", clientFault),
    critical<Invoice>("invoice.lead_mismatch", invoiceLeadFault),
    check<Invoice>("invoice.amount_invalid", "critical", amountFault, undefined, repairTotals),
    check<Invoice>("invoice.total_wrong", "critical", totalFault, undefined, repairTotals),
    // The paid amounts are compared with the payments: see paid.ts.
    critical<Invoice>("invoice.status_wrong", formFault),
    critical<Invoice>("invoice.number_invalid", numberFault),
    check<Invoice>("invoice.overdue_wrong", "warning", overdueFault, undefined, clearOverdueMark),
    missing(invoiceByNumber),
    shared("invoice.number_duplicate", invoiceByNumber),
    missing(invoiceByStatus),
    missing(invoiceByClient),
    ...history<Invoice>("invoice"),
  ]),
  table(keys.apiKeys, history<ApiKey>("api_key")),
  table(keys.mailTemplates, history<MailTemplate>("mail_template")),
  table(keys.webhooks, [...WEBHOOK_CHECKS, ...history<WebhookEndpoint>("webhook")]),
  indexTable(productBySlug),
  indexTable(clientByEmail),
  indexTable(clientByPhone),
  indexTable(leadByStatus),
  indexTable(leadByClient),
  indexTable(invoiceByNumber),
  indexTable(invoiceByStatus),
  indexTable(invoiceByClient),
  ...PAYMENT_INDEX_TABLES,
  table(["audit"], [
    critical<AuditEntry>("audit.entity_missing", auditEntityFault),
    critical<AuditEntry>("audit.entry_missing", previousEntryFault, previousEntryKey),
    critical<AuditEntry>("audit.chain_broken", linkFault),
  ]),
  // Sequences are compared with the invoice numbers: see numbers.ts.
  { ...table(["invoice_sequence"], []), repairUnreadable: raisingSequence },
  table(["repair"], []),
  ...OUTBOX_TABLES,
  ...WEBHOOK_TABLES,
];

function table(prefix: keys.Prefix<unknown>, checks: readonly Check[]): Table {
  return { prefix, severity: "critical", checks };
}

function critical<T>(
  name: string,
  judge: (value: T, get: Get) => string | null,
  at?: (value: T) => keys.Key<unknown>,
): Check {
  return check(name, "critical", judge, at);
}

/** The checks of an entity's newest audit entry; each audit entry checks the one before it. */
function history<T extends Entity>(kind: EntityKind): Check[] {
  const lastKey = ({ id, revision }: T) => keys.audit(kind, id, revision);
  return [
    critical<T>("audit.entry_missing", (entity, get) => {
      if (entity.revision === 1 || get(lastKey(entity)) !== null) return null;
      return `${kind} ${entity.id} at revision ${entity.revision} has no audit entry`;
    }, lastKey),
    critical<T>("audit.chain_broken", (entity, get) => {
      const { revision, chain } = entity;
      if (revision === 1) return chain === null ? null : "Revision 1 has a history";
      const last = get(lastKey(entity));
      return last && !leadsTo(last, entity) ? "The history does not lead to this state" : null;
    }),
  ];
}

function auditEntityFault({ entity, entityId, revision }: AuditEntry, get: Get): string | null {
  const subject = get(entityKey(entity, entityId));
  if (!subject) return "The entity does not exist";
  return subject.revision < revision ? `The entity is only at revision ${subject.revision}` : null;
}

function previousEntryKey({ entity, entityId, revision }: AuditEntry): keys.Key<AuditEntry> {
  return keys.audit(entity, entityId, revision - 1);
}

function previousEntryFault(entry: AuditEntry, get: Get): string | null {
  if (entry.revision === 2 || get(previousEntryKey(entry)) !== null) return null;
  return `The audit entry of revision ${entry.revision} has no predecessor`;
}

function linkFault(entry: AuditEntry, get: Get): string | null {
  if (!isUnaltered(entry)) return "The audit entry was altered";
  const previous = entry.revision === 2 ? null : get(previousEntryKey(entry));
  return previous && !follows(previous, entry)
    ? "The audit entry does not follow from its predecessor"
    : null;
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
  return get(keys.client(clientId)) === null ? `Client ${clientId} does not exist` : null;
}

function leadInvoiceFault({ id, clientId, invoiceId }: Lead, get: Get): string | null {
  if (invoiceId === null) return null;
  const invoice = get(keys.invoice(invoiceId));
  if (!invoice) return `Invoice ${invoiceId} does not exist`;
  if (invoice.leadId !== id) return `Invoice ${invoiceId} belongs to another lead`;
  return invoice.clientId === clientId ? null : `Invoice ${invoiceId} belongs to another client`;
}

function invoiceLeadFault({ id, leadId }: Invoice, get: Get): string | null {
  if (leadId === null) return null;
  const lead = get(keys.lead(leadId));
  if (!lead) return `Lead ${leadId} does not exist`;
  return lead.invoiceId === id ? null : `Lead ${leadId} refers to another invoice`;
}

/** Null for an invoice with a wrong status, which is a finding itself. */
function overdueFault(invoice: Invoice): string | null {
  return statusFault(invoice) === null ? markFault(invoice) : null;
}

/** Clears the mark; the overdue job sets it again if due. Null if more was damaged. */
function clearOverdueMark(invoice: Invoice, get: Get): Repair | null {
  const { id, revision } = invoice;
  const last = get(keys.audit("invoice", id, revision));
  if (revision > 1 && !(last && leadsTo(last, invoice))) return null;
  return {
    done: "Overdue mark cleared",
    put(writes, by, now) {
      const change = { entity: "invoice", action: "repair.overdue", by, now } as const;
      const fields = { overdueAt: null };
      putChange(writes, { ...change, key: keys.invoice(id), before: invoice, fields });
    },
  };
}

function numberFault({ number }: Invoice): string | null {
  return number === null || parseNumber(number)
    ? null
    : "The number is not a series, a year and a count";
}
