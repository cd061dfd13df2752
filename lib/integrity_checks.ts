/**
 * The invariants, each a named check over one entry and what it refers to.
 *
 * A check is pure: it asks for what it needs and says what is wrong, or nothing.
 * Whoever runs it decides how the values are read, so the same check looks over
 * a scan, judges a snapshot, and could decide a repair within a transaction.
 *
 * Together they leave no room for two findings about one fault: an entity tells
 * what is missing around it, an index entry what it should not say, and an audit
 * entry asks for the one before it.
 *
 * @module
 */
import { follows, isUnaltered, leadsTo } from "./audit.ts";
import * as keys from "./kv/keys.ts";
import type {
  ApiKey,
  AuditEntry,
  Client,
  Entity,
  EntityKind,
  Invoice,
  Lead,
  Product,
} from "./kv/records.ts";
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
  missing,
  productBySlug,
  type Room,
  shared,
} from "./integrity_indexes.ts";
import { isCurrency, MINOR_MAX } from "./money.ts";

/** An invoice number taken apart. */
export interface NumberParts {
  /** Such as `INV`. */
  series: string;
  /** Of the business. */
  year: number;
  /** From 1 up. */
  count: number;
}

/** The parts of an invoice number, or null if it is not one as the program writes them. */
export function parseNumber(number: string): NumberParts | null {
  const [, series, year, count = ""] = /^([A-Z]+)-(\d{4})-(\d{6,15})$/.exec(number) ?? [];
  if (series === undefined || (count.length > 6 && count.startsWith("0"))) return null;
  return Number(count) === 0 ? null : { series, year: Number(year), count: Number(count) };
}

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
  room(keys.invoices, [
    critical<Invoice>("invoice.client_missing", clientFault),
    critical<Invoice>("invoice.lead_mismatch", invoiceLeadFault),
    critical<Invoice>("invoice.amount_invalid", amountFault),
    critical<Invoice>("invoice.total_wrong", totalFault),
    critical<Invoice>("invoice.status_wrong", statusFault),
    critical<Invoice>("invoice.number_invalid", numberFault),
    missing(invoiceByNumber),
    shared("invoice.number_duplicate", invoiceByNumber),
    missing(invoiceByStatus),
    missing(invoiceByClient),
    ...history<Invoice>("invoice"),
  ]),
  room(keys.apiKeys, history<ApiKey>("api_key")),
  indexRoom(productBySlug),
  indexRoom(clientByEmail),
  indexRoom(clientByPhone),
  indexRoom(leadByStatus),
  indexRoom(leadByClient),
  indexRoom(invoiceByNumber),
  indexRoom(invoiceByStatus),
  indexRoom(invoiceByClient),
  room(["audit"], [
    critical<AuditEntry>("audit.entity_missing", auditEntityFault),
    critical<AuditEntry>("audit.entry_missing", previousEntryFault, previousEntryKey),
    critical<AuditEntry>("audit.chain_broken", linkFault),
  ]),
  // What the sequences say is compared with the numbers: see integrity_numbers.ts.
  room(["invoice_sequence"], []),
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
    case "api_key":
      return keys.apiKey(id);
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

function isAmount(minor: number, { least }: { least: number }): boolean {
  return Number.isSafeInteger(minor) && minor >= least && minor <= MINOR_MAX;
}

function productAmountFault({ price, oldPrice }: Product): string | null {
  if (!isCurrency(price.currency)) return "The currency is not one";
  if (!isAmount(price.minor, { least: 1 })) return "The price is not an amount";
  if (oldPrice === null) return null;
  if (oldPrice.currency !== price.currency) return "The old price is in another currency";
  const isMore = isAmount(oldPrice.minor, { least: price.minor + 1 });
  return isMore ? null : "The old price is not an amount above the price";
}

function amountFault(invoice: Invoice): string | null {
  const { currency, lines, subtotalMinor, taxMinor, totalMinor, paidMinor } = invoice;
  if (!isCurrency(currency)) return "The currency is not one";
  const areLinesAmounts = lines.every((line) =>
    [line.quantity, line.unitMinor, line.totalMinor].every((n) => isAmount(n, { least: 1 }))
  );
  if (!areLinesAmounts) return "A line has what is no amount";
  if (!isAmount(subtotalMinor, { least: 1 })) return "The subtotal is not an amount";
  if (!isAmount(taxMinor, { least: 0 })) return "The tax is not an amount";
  if (!isAmount(totalMinor, { least: 1 })) return "The total is not an amount";
  return isAmount(paidMinor, { least: 0 }) ? null : "What is paid is not an amount";
}

function totalFault(invoice: Invoice): string | null {
  if (amountFault(invoice) !== null) return null; // nothing to add up
  const { lines, subtotalMinor, taxMinor, totalMinor } = invoice;
  const i = lines.findIndex((line) => line.quantity * line.unitMinor !== line.totalMinor);
  if (i >= 0) return `Line ${i} is not its quantity times its price`;
  const sum = lines.reduce((sum, line) => sum + line.totalMinor, 0);
  if (sum !== subtotalMinor) return `The lines are ${sum}, the subtotal ${subtotalMinor}`;
  if (subtotalMinor + taxMinor === totalMinor) return null;
  return `Subtotal and tax are ${subtotalMinor + taxMinor}, the total ${totalMinor}`;
}

function statusFault(invoice: Invoice): string | null {
  const { status, number, issuedAt, voidReason } = invoice;
  if ((number === null) !== (issuedAt === null)) return "Only issued invoices have numbers";
  const needsNumber = status !== "draft" && status !== "void";
  if (needsNumber && number === null) return `It is ${status} and has no number`;
  if (status === "draft" && number !== null) return "It is a draft and has a number";
  if ((status === "void") !== (voidReason !== null)) return "Only void invoices have a reason";
  const isRight = amountFault(invoice) !== null || isPaidAsItSays(invoice);
  return isRight
    ? null
    : `It is ${status}, with ${invoice.paidMinor} of ${invoice.totalMinor} paid`;
}

function isPaidAsItSays({ status, paidMinor, totalMinor }: Invoice): boolean {
  switch (status) {
    case "draft":
    case "open":
    case "void":
    case "refunded":
      return paidMinor === 0;
    case "partially_paid":
      return paidMinor > 0 && paidMinor < totalMinor;
    case "paid":
      return paidMinor >= totalMinor;
    case "uncollectible":
      return paidMinor < totalMinor;
    default:
      return status satisfies never;
  }
}

function numberFault({ number }: Invoice): string | null {
  return number === null || parseNumber(number) ? null : "Its number is not of a series and year";
}
