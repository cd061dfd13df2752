/**
 * Invoices: what is owed, numbered without gaps in each series and year.
 *
 * An issued invoice is not edited; it is paid or voided. A draft has no number,
 * so nothing is missing when it never becomes an invoice.
 *
 * @module
 */
import { expectRevision, newEntity, putChange } from "./audit.ts";
import { AppError, invalidField } from "./errors.ts";
import { newId } from "./ids.ts";
import * as keys from "./kv/keys.ts";
import type {
  Contact,
  Invoice,
  InvoiceLine,
  InvoiceSequence,
  InvoiceStatus,
  Product,
} from "./kv/records.ts";
import { transact, type Writes } from "./kv/transact.ts";
import { add, type Currency, type Money, multiply } from "./money.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "./operation.ts";
import { listByIndex, listEntities, type Page, type PageRequest } from "./page.ts";
import type { Services } from "./services.ts";
import { addDays, businessDate, businessYear, isoTime } from "./time.ts";

export type { Invoice, InvoiceLine, InvoiceStatus } from "./kv/records.ts";

/** The key that everyone who issues an invoice writes. */
export const NUMBERS = "invoice_sequence";

/** Lines an invoice may have; keeps it well under the size of one value. */
export const LINES_MAX = 50;

/** Which states may follow which. */
const TRANSITIONS: Readonly<Record<InvoiceStatus, readonly InvoiceStatus[]>> = {
  draft: ["open", "void"],
  open: ["partially_paid", "paid", "void", "uncollectible"],
  partially_paid: ["paid", "open", "uncollectible", "refunded"],
  paid: ["partially_paid", "open", "refunded"],
  uncollectible: ["partially_paid", "paid", "void"],
  refunded: [],
  void: [],
};

/** A line as an operator writes it: a product, or a text with a price. */
export interface NewLine {
  productId?: string | undefined;
  /** The product's title when absent. */
  description?: string | undefined;
  quantity: number;
  /** The product's price when absent. */
  unitMinor?: number | undefined;
}

/** What a new invoice is made of. */
export interface NewInvoice {
  clientId: string;
  lines: NewLine[];
  currency: Currency;
  taxMinor: number;
  /** `YYYY-MM-DD`; the shop's usual term when absent. */
  dueOn?: string | undefined;
  notes: string;
  /** Not numbered and not owed until issued. */
  draft: boolean;
}

/** What can change: lines only in a draft, the rest while nothing is paid. */
export interface InvoiceChange {
  lines?: NewLine[] | undefined;
  taxMinor?: number | undefined;
  dueOn?: string | undefined;
  notes?: string | undefined;
}

/** Which invoices are listed; at most one of the two is used, the client first. */
export interface InvoiceFilter {
  status: InvoiceStatus | null;
  clientId: string | null;
  /** Finds the one invoice that has it. */
  number: string | null;
}

/** The parts of an invoice that its maker decides. */
export interface InvoiceParts {
  id: string;
  clientId: string;
  leadId: string | null;
  billTo: Contact;
  currency: Currency;
  lines: InvoiceLine[];
  taxMinor: number;
  dueOn: string;
  notes: string;
}

/** Adds up lines and tax into an invoice without a number. @throws {AppError} `invalid_input` on too much */
export function newDraft(parts: InvoiceParts, by: Caller, now: number): Invoice {
  return {
    ...newEntity(parts.id, by, now),
    number: null,
    clientId: parts.clientId,
    leadId: parts.leadId,
    billTo: parts.billTo,
    status: "draft",
    ...totalled(parts),
    paidMinor: 0,
    issuedAt: null,
    dueOn: parts.dueOn,
    notes: parts.notes,
    voidReason: null,
  };
}

/** Numbers a draft, which makes it owed. */
export function issued(draft: Invoice, number: string, now: number): Invoice {
  return { ...draft, number, status: "open", issuedAt: isoTime(now) };
}

/** Writes a new invoice with its indexes, and the sequence when it has a number. */
export function putNewInvoice(writes: Writes, invoice: Invoice): void {
  writes.set(keys.invoice(invoice.id), invoice);
  writes.set(keys.invoiceByStatus(invoice.status, invoice.id), invoice.id);
  writes.set(keys.invoiceByClient(invoice.clientId, invoice.id), invoice.id);
  if (invoice.number !== null) writes.set(keys.invoiceByNumber(invoice.number), invoice.id);
}

/** Where the numbers of the year that is in the shop's time zone come from. */
export function sequenceKey({ config }: Services, now: number): keys.Key<InvoiceSequence> {
  return keys.invoiceSequence(config.invoiceSeries, businessYear(now, config.timeZone));
}

/** Takes the next number of a sequence. @returns Such as `INV-2026-000123` */
export function takeNumber(
  writes: Writes,
  key: keys.Key<InvoiceSequence>,
  sequence: InvoiceSequence | null,
): string {
  const last = (sequence?.last ?? 0) + 1;
  writes.set(key, { last });
  const [, series, year] = key;
  return `${series}-${year}-${String(last).padStart(6, "0")}`;
}

/** The last day on which an invoice of today can be paid in time. */
export function usualDueOn({ config }: Services, now: number): string {
  return businessDate(addDays(now, config.invoiceDueDays), config.timeZone);
}

/** A line that sells a product at its price. @throws {AppError} `invalid_input` on too much */
export function productLine(product: Product, quantity: number): InvoiceLine {
  return {
    productId: product.id,
    description: product.title,
    quantity,
    unitMinor: product.price.minor,
    totalMinor: multiply(product.price, quantity).minor,
  };
}

/** Writes an invoice for a client. @throws {AppError} `invalid_input`, also for an unknown client or product */
export async function createInvoice(
  services: Services,
  input: NewInvoice,
  by: Caller,
): Promise<Invoice> {
  const now = services.clock();
  const id = newId(now);
  const products = await productsOf(services, input.lines);
  const reads = { client: keys.client(input.clientId), sequence: sequenceKey(services, now) };
  return await transact(services, reads, ({ client, sequence }, writes) => {
    if (!client) throw invalidField("clientId", "No such client", "unknown");
    if (client.erasedAt) throw invalidField("clientId", "The client's data was erased", "erased");
    const { name, email, phone } = client;
    const draft = newDraft(
      {
        id,
        clientId: client.id,
        leadId: null,
        billTo: { name, email, phone },
        currency: input.currency,
        lines: linesOf(input.lines, products, input.currency),
        taxMinor: input.taxMinor,
        dueOn: input.dueOn ?? usualDueOn(services, now),
        notes: input.notes,
      },
      by,
      now,
    );
    const invoice = input.draft
      ? draft
      : issued(draft, takeNumber(writes, reads.sequence, sequence), now);
    putNewInvoice(writes, invoice);
    return invoice;
  }, {
    operation: operationOf(by, "invoice.create", input, { now, keepMs: MONEY_RECEIPT_MS }),
    hotKey: NUMBERS,
  });
}

/** An invoice. @throws {AppError} `not_found` */
export async function getInvoice({ store }: Services, id: string): Promise<Invoice> {
  const invoice = await store.get(keys.invoice(id));
  if (!invoice) throw unknownInvoice();
  return invoice;
}

/** A page of invoices, newest first. */
export async function listInvoices(
  services: Services,
  { status, clientId, number }: InvoiceFilter,
  page: PageRequest,
): Promise<Page<Invoice>> {
  const isWanted = (invoice: Invoice) =>
    (status === null || invoice.status === status) &&
    (clientId === null || invoice.clientId === clientId);
  if (number !== null) {
    const id = await services.store.get(keys.invoiceByNumber(number));
    const invoice = id === null ? null : await services.store.get(keys.invoice(id));
    return { data: invoice && isWanted(invoice) ? [invoice] : [], nextCursor: null };
  }
  if (clientId !== null) {
    const prefix = keys.invoicesByClient(clientId);
    return listByIndex(
      services,
      `invoices/client/${clientId}`,
      prefix,
      keys.invoice,
      page,
      isWanted,
    );
  }
  if (status !== null) {
    const prefix = keys.invoicesByStatus(status);
    return listByIndex(
      services,
      `invoices/status/${status}`,
      prefix,
      keys.invoice,
      page,
      isWanted,
    );
  }
  return listEntities(services, "invoices", keys.invoices, page);
}

/**
 * Changes a draft, or the notes and due date of an open invoice.
 *
 * @throws {AppError} `not_found`, `stale_revision`, `invalid_input`, or
 * `conflict` if it is beyond changing
 */
export async function changeInvoice(
  services: Services,
  id: string,
  change: InvoiceChange,
  { by, revision = null }: { by: Caller; revision?: number | null },
): Promise<Invoice> {
  const now = services.clock();
  const products = await productsOf(services, change.lines ?? []);
  const key = keys.invoice(id);
  return await transact(services, { invoice: key }, (found, writes) => {
    const before = found.invoice;
    if (!before) throw unknownInvoice();
    expectRevision(before, revision);
    const { lines, taxMinor, dueOn, notes } = change;
    const isOfMoney = lines !== undefined || taxMinor !== undefined;
    if (before.status !== "draft" && (isOfMoney || before.status !== "open")) {
      throw new AppError(
        "conflict",
        isOfMoney
          ? "An issued invoice keeps its lines; void it and write another"
          : `An invoice that is ${before.status} does not change`,
      );
    }
    const { currency } = before;
    const fields: Partial<Invoice> = {
      ...(isOfMoney
        ? totalled({
          currency,
          lines: lines ? linesOf(lines, products, currency) : before.lines,
          taxMinor: taxMinor ?? before.taxMinor,
        })
        : {}),
      ...(dueOn === undefined ? {} : { dueOn }),
      ...(notes === undefined ? {} : { notes }),
    };
    return putChange(writes, {
      entity: "invoice",
      action: "invoice.change",
      key,
      before,
      fields,
      by,
      now,
    });
  }, {
    operation: operationOf(by, "invoice.change", [id, change], { now, keepMs: MONEY_RECEIPT_MS }),
  });
}

/** Numbers a draft, which makes it owed. @throws {AppError} `not_found`, or `conflict` if it is no draft */
export async function issueInvoice(
  services: Services,
  id: string,
  by: Caller,
): Promise<Invoice> {
  const now = services.clock();
  const reads = { invoice: keys.invoice(id), sequence: sequenceKey(services, now) };
  return await transact(services, reads, ({ invoice: before, sequence }, writes) => {
    if (!before) throw unknownInvoice();
    expectTransition(before, "open");
    if (before.status !== "draft") throw new AppError("conflict", "Only a draft is issued");
    const number = takeNumber(writes, reads.sequence, sequence);
    writes.set(keys.invoiceByNumber(number), id);
    return putStatus(writes, before, {
      fields: { ...issued(before, number, now) },
      action: "invoice.issue",
      by,
      now,
    });
  }, {
    operation: operationOf(by, "invoice.issue", id, { now, keepMs: MONEY_RECEIPT_MS }),
    hotKey: NUMBERS,
  });
}

/**
 * Makes an invoice no longer owed; it keeps its number.
 *
 * @throws {AppError} `not_found`, or `conflict` if money was paid on it or it is void
 */
export async function voidInvoice(
  services: Services,
  id: string,
  reason: string,
  by: Caller,
): Promise<Invoice> {
  const now = services.clock();
  return await transact(services, { invoice: keys.invoice(id) }, (found, writes) => {
    const before = found.invoice;
    if (!before) throw unknownInvoice();
    if (before.paidMinor > 0) {
      throw new AppError("conflict", "Money was paid on this invoice; refund it first");
    }
    expectTransition(before, "void");
    return putStatus(writes, before, {
      fields: { status: "void", voidReason: reason },
      action: "invoice.void",
      by,
      now,
    });
  }, {
    operation: operationOf(by, "invoice.void", [id, reason], { now, keepMs: MONEY_RECEIPT_MS }),
  });
}

/** Writes a change that may change the status, with the index by status. */
function putStatus(
  writes: Writes,
  before: Invoice,
  { fields, action, by, now }: {
    fields: Partial<Invoice>;
    action: string;
    by: Caller;
    now: number;
  },
): Invoice {
  const { id } = before;
  const key = keys.invoice(id);
  const after = putChange(writes, { entity: "invoice", action, key, before, fields, by, now });
  if (after.status !== before.status) {
    writes.delete(keys.invoiceByStatus(before.status, id));
    writes.set(keys.invoiceByStatus(after.status, id), id);
  }
  return after;
}

function expectTransition({ status }: Invoice, to: InvoiceStatus): void {
  if (!TRANSITIONS[status].includes(to)) {
    throw new AppError("conflict", `An invoice that is ${status} cannot become ${to}`);
  }
}

function totalled(
  { currency, lines, taxMinor }: Pick<InvoiceParts, "currency" | "lines" | "taxMinor">,
): Pick<
  Invoice,
  "currency" | "lines" | "subtotalMinor" | "taxMinor" | "totalMinor"
> {
  const subtotal = lines.reduce(
    (sum: Money, { totalMinor }) => add(sum, { currency, minor: totalMinor }),
    { currency, minor: 0 },
  );
  const total = add(subtotal, { currency, minor: taxMinor });
  if (total.minor <= 0) throw invalidField("lines", "Nothing is owed", "not_positive");
  return {
    currency,
    lines,
    subtotalMinor: subtotal.minor,
    taxMinor,
    totalMinor: total.minor,
  };
}

/** The products that lines name, as they are now. The price an operator sees is the price written. */
async function productsOf(
  { store }: Services,
  lines: NewLine[],
): Promise<Map<string, Product>> {
  const ids = [...new Set(lines.flatMap(({ productId }) => productId ?? []))];
  const found = await store.getMany(ids.map(keys.product));
  return new Map(
    found.flatMap((product) => product ? [[product.id, product]] : []),
  );
}

function linesOf(
  lines: NewLine[],
  products: Map<string, Product>,
  currency: Currency,
): InvoiceLine[] {
  return lines.map(({ productId, description, quantity, unitMinor }, i) => {
    const product = productId === undefined ? null : products.get(productId);
    if (product === undefined) {
      throw invalidField(`lines.${i}.productId`, "No such product", "unknown");
    }
    if (product && product.price.currency !== currency) {
      throw invalidField(
        `lines.${i}.productId`,
        `The product is sold in ${product.price.currency}`,
        "currency_mismatch",
      );
    }
    const text = description ?? product?.title;
    const unit = unitMinor ?? product?.price.minor;
    if (text === undefined || unit === undefined) {
      const path = text === undefined ? "description" : "unitMinor";
      throw invalidField(`lines.${i}.${path}`, "Needed on a line without a product", "required");
    }
    return {
      productId: product?.id ?? null,
      description: text,
      quantity,
      unitMinor: unit,
      totalMinor: multiply({ currency, minor: unit }, quantity).minor,
    };
  });
}

function unknownInvoice(): AppError {
  return new AppError("not_found", "No such invoice");
}
