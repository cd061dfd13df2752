/**
 * Invoices, numbered without gaps in each series and year.
 *
 * An issued invoice is not edited; it is paid or voided. A draft has no number, so one that is
 * never issued leaves no gap.
 *
 * @module
 */
import { expectRevision, newEntity, putChange } from "../entities/mod.ts";
import { AppError, invalidField } from "../errors.ts";
import { newId } from "../ids.ts";
import { isOverdue, movedTo } from "./due.ts";
import { linesOf, type NewLine, productsOf, totalled } from "./lines.ts";
import { expectTransition, putStatus } from "./status.ts";
import * as keys from "../kv/keys.ts";
import type {
  Contact,
  Invoice,
  InvoiceLine,
  InvoiceSequence,
  InvoiceStatus,
} from "../kv/records.ts";
import { transact } from "../kv/mod.ts";
import type { Writes } from "../kv/transaction.ts";
import type { Currency } from "../money.ts";
import { type Caller, MONEY_RECEIPT_MS, operationOf } from "../entities/caller.ts";
import { putInvoiceEvent } from "../outbox/events.ts";
import { listByIndex, listEntities, type Page, type PageRequest } from "../entities/page.ts";
import type { StoreServices } from "../kv/store.ts";
import type { Config } from "../config/mod.ts";
import { addDays, businessDate, businessYear, isoTime } from "../time.ts";

/** What invoices need. */
export interface InvoiceServices extends StoreServices {
  /** How they are numbered, when they are due, and whose days count. */
  readonly config: Pick<Config, "invoiceSeries" | "invoiceDueDays" | "timeZone">;
}

export type { Invoice, InvoiceLine, InvoiceStatus } from "../kv/records.ts";
export { INVOICE_STATUSES } from "../kv/records.ts";

/** The hot key of all writes that issue an invoice. */
export const NUMBERS = "invoice_sequence";

/** The fields of a new invoice. */
export interface NewInvoice {
  /** A client whose data is not erased. */
  clientId: string;
  /** 1 to {@linkcode LINES_MAX}. */
  lines: NewLine[];
  /** The currency of every line; a product in another one is refused. */
  currency: Currency;
  /** On top of the lines, in minor units; 0 for none. */
  taxMinor: number;
  /** `YYYY-MM-DD`; the shop's default term when absent. */
  dueOn?: string | undefined;
  /** Plain text for the buyer, up to 2,000 characters; may be empty. */
  notes: string;
  /** Not numbered and not due until issued. */
  draft: boolean;
}

/** A change of an invoice: lines only of a draft, the rest while nothing is paid. */
export interface InvoiceChange {
  /** All lines; they replace the stored ones. */
  lines?: NewLine[] | undefined;
  /** In minor units; only of a draft. */
  taxMinor?: number | undefined;
  /** `YYYY-MM-DD`. */
  dueOn?: string | undefined;
  /** Plain text for the buyer, up to 2,000 characters; may be empty. */
  notes?: string | undefined;
}

/** Which invoices are listed: those for which all of it holds. */
export interface InvoiceFilter {
  /** Only invoices in this state; null for all. */
  status: InvoiceStatus | null;
  /** Only invoices of this client; null for all. */
  clientId: string | null;
  /** Only the invoice with this number; null for all. */
  number: string | null;
  /** Only invoices that are overdue, or that are not; null for all. */
  isOverdue: boolean | null;
}

/** The fields that whoever creates an invoice decides. */
export interface InvoiceParts {
  /** Drawn before the decision, so that every attempt writes the same record. */
  id: string;
  /** The client. */
  clientId: string;
  /** The lead that it comes from; null when an operator created it. */
  leadId: string | null;
  /** A copy of the buyer's contact; later changes of the client do not reach it. */
  billTo: Contact;
  /** The currency of every line. */
  currency: Currency;
  /** With their totals, at most {@linkcode LINES_MAX}. */
  lines: InvoiceLine[];
  /** On top of the lines, in minor units; 0 for none. */
  taxMinor: number;
  /** A date in the shop's time zone, `YYYY-MM-DD`. */
  dueOn: string;
  /** Plain text for the buyer; may be empty. */
  notes: string;
}

/** A draft with its totals. @throws {AppError} `invalid_input` beyond the amount limit */
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
    refundedMinor: 0,
    issuedAt: null,
    dueOn: parts.dueOn,
    notes: parts.notes,
    voidReason: null,
  };
}

/** The draft as an issued invoice with this number. */
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

/** The number sequence of the present year in the shop's time zone. */
export function sequenceKey({ config }: InvoiceServices, now: number): keys.Key<InvoiceSequence> {
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

/** The default due date of an invoice that is issued now. */
export function usualDueOn({ config }: InvoiceServices, now: number): string {
  return businessDate(addDays(now, config.invoiceDueDays), config.timeZone);
}

/** Creates an invoice or a draft. Two reads and one commit. @throws {AppError} `invalid_input`, also for an unknown client or product */
export async function createInvoice(
  services: InvoiceServices,
  input: NewInvoice,
  by: Caller,
): Promise<Invoice> {
  const now = services.clock();
  const id = newId(now);
  const eventId = newId(now);
  const products = await productsOf(services, input.lines);
  const reads = { client: keys.client(input.clientId), sequence: sequenceKey(services, now) };
  const created = await transact(services, reads, ({ client, sequence }, writes) => {
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
    if (!input.draft) {
      putInvoiceEvent(writes, { id: eventId, type: "invoice.issued", invoice }, now);
    }
    return invoice;
  }, {
    operation: operationOf(by, "invoice.create", input, { now, keepMs: MONEY_RECEIPT_MS }),
    hotKey: NUMBERS,
  });
  return created;
}

/** An invoice. @throws {AppError} `not_found` */
export async function getInvoice({ store }: InvoiceServices, id: string): Promise<Invoice> {
  const invoice = await store.get(keys.invoice(id));
  if (!invoice) throw unknownInvoice();
  return invoice;
}

/** A page of invoices, newest first. */
export async function listInvoices(
  services: InvoiceServices,
  { status, clientId, number, isOverdue: wantsOverdue }: InvoiceFilter,
  page: PageRequest,
): Promise<Page<Invoice>> {
  const today = businessDate(services.clock(), services.config.timeZone);
  const isWanted = (invoice: Invoice) =>
    (status === null || invoice.status === status) &&
    (wantsOverdue === null || isOverdue(invoice, today) === wantsOverdue) &&
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
  if (wantsOverdue !== null) {
    const list = `invoices/${wantsOverdue ? "overdue" : "not_overdue"}`;
    return listEntities(services, list, keys.invoices, page, isWanted);
  }
  return listEntities(services, "invoices", keys.invoices, page);
}

/**
 * Changes a draft, or the notes and due date of an open invoice.
 *
 * @throws {AppError} `not_found`, `stale_revision`, `invalid_input`, or
 * `conflict` if its state allows no change
 */
export async function changeInvoice(
  services: InvoiceServices,
  id: string,
  change: InvoiceChange,
  { by, revision = null }: { by: Caller; revision?: number | null },
): Promise<Invoice> {
  const now = services.clock();
  const { timeZone } = services.config;
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
          ? "Cannot change the lines of an issued invoice: void it and create another"
          : `Cannot change the invoice: it is ${before.status}`,
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
      ...(dueOn === undefined ? {} : movedTo(dueOn, before, { now, timeZone })),
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

/** Issues a draft. One read and one commit. @throws {AppError} `not_found`; `conflict` if it is not a draft */
export async function issueInvoice(
  services: InvoiceServices,
  id: string,
  by: Caller,
): Promise<Invoice> {
  const now = services.clock();
  const eventId = newId(now);
  const reads = { invoice: keys.invoice(id), sequence: sequenceKey(services, now) };
  const owed = await transact(services, reads, ({ invoice: before, sequence }, writes) => {
    if (!before) throw unknownInvoice();
    expectTransition(before, "open");
    if (before.status !== "draft") {
      throw new AppError(
        "conflict",
        `Cannot issue the invoice: it is ${before.status}, not a draft`,
      );
    }
    const number = takeNumber(writes, reads.sequence, sequence);
    writes.set(keys.invoiceByNumber(number), id);
    const invoice = putStatus(writes, before, {
      fields: { ...issued(before, number, now) },
      action: "invoice.issue",
      by,
      now,
    });
    putInvoiceEvent(writes, { id: eventId, type: "invoice.issued", invoice }, now);
    return invoice;
  }, {
    operation: operationOf(by, "invoice.issue", id, { now, keepMs: MONEY_RECEIPT_MS }),
    hotKey: NUMBERS,
  });
  return owed;
}

/**
 * Voids an invoice; it keeps its number. One read and one commit.
 *
 * @throws {AppError} `not_found`; `conflict` if it has payments or is void already
 */
export async function voidInvoice(
  services: InvoiceServices,
  id: string,
  reason: string,
  by: Caller,
): Promise<Invoice> {
  const now = services.clock();
  const eventId = newId(now);
  const voided = await transact(services, { invoice: keys.invoice(id) }, (found, writes) => {
    const before = found.invoice;
    if (!before) throw unknownInvoice();
    if (before.paidMinor > 0) {
      throw new AppError("conflict", "Cannot void the invoice: it has payments. Refund them first");
    }
    expectTransition(before, "void");
    const invoice = putStatus(writes, before, {
      fields: { status: "void", voidReason: reason },
      action: "invoice.void",
      by,
      now,
    });
    // A draft was never published.
    if (invoice.number !== null) {
      putInvoiceEvent(writes, { id: eventId, type: "invoice.voided", invoice }, now);
    }
    return invoice;
  }, {
    operation: operationOf(by, "invoice.void", [id, reason], { now, keepMs: MONEY_RECEIPT_MS }),
  });
  return voided;
}

function unknownInvoice(): AppError {
  return new AppError("not_found", "No such invoice");
}
