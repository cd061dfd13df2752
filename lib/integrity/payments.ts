/**
 * The invariants of money: each payment is consistent, belongs to its invoice and
 * is indexed, and each invoice has the paid amounts of its payments.
 *
 * @module
 */
import { isAmount } from "./amounts.ts";
import {
  type Check,
  check,
  type Get,
  type Index,
  indexTable,
  missing,
  shared,
  type Table,
} from "./indexes.ts";
import {
  NO_WORTH,
  type PaidFault,
  paidFault,
  repairableFault,
  totalWorth,
  type Worth,
} from "./paid.ts";
import { View } from "./view.ts";
import { chunksOf } from "../kv/chunks.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import type { Store, StoredEntry } from "../kv/store.ts";
import { isCurrency } from "../money.ts";
import { trackingKey } from "../payments/records.ts";
import { refundedOf, worthOf } from "../payments/state.ts";

const paymentByInvoice: Index<Payment> = {
  prefix: ["payment_by_invoice"],
  keyOf: ({ invoiceId, id }) => keys.paymentByInvoice(invoiceId, id),
  primary: keys.payment,
  hasIds: true,
};
const paymentByStatus: Index<Payment> = {
  prefix: ["payment_by_status"],
  keyOf: ({ status, id }) => keys.paymentByStatus(status, id),
  primary: keys.payment,
  hasIds: true,
};
const paymentByTracking: Index<Payment> = {
  prefix: ["payment_by_tracking"],
  keyOf: ({ channel, trackingId }) => trackingId === null ? null : trackingKey(channel, trackingId),
  primary: keys.payment,
  hasIds: false,
};
const paymentDue: Index<Payment> = {
  prefix: ["payment_due"],
  keyOf: ({ nextCheckAt, id }) => nextCheckAt === null ? null : keys.paymentDue(nextCheckAt, id),
  primary: keys.payment,
  hasIds: true,
};

/** The checks of a payment, except its history. */
export const PAYMENT_CHECKS: readonly Check[] = [
  check<Payment>("payment.invoice_missing", "critical", invoiceFault),
  check<Payment>("payment.amount_invalid", "critical", amountFault),
  check<Payment>("payment.state_wrong", "critical", stateFault),
  missing(paymentByInvoice),
  missing(paymentByStatus),
  missing(paymentByTracking),
  shared("payment.tracking_shared", paymentByTracking),
  missing(paymentDue),
];

/** The tables of the indexes of payments. */
export const PAYMENT_INDEX_TABLES: readonly Table[] = [
  indexTable(paymentByInvoice),
  indexTable(paymentByStatus),
  indexTable(paymentByTracking),
  indexTable(paymentDue),
];

function invoiceFault({ invoiceId, currency }: Payment, get: Get): string | null {
  const invoice = get(keys.invoice(invoiceId));
  if (!invoice) return `Invoice ${invoiceId} does not exist`;
  if (invoice.currency !== currency) return `Invoice ${invoiceId} is in another currency`;
  return invoice.status === "draft" ? `Invoice ${invoiceId} is a draft` : null;
}

function amountFault(payment: Payment): string | null {
  const { currency, amountMinor, receivedMinor, refunds } = payment;
  if (!isCurrency(currency)) return "The currency is unknown";
  if (!isAmount(amountMinor, { least: 1 })) return "The requested amount is invalid";
  if (!isAmount(receivedMinor, { least: 0 })) return "The received amount is invalid";
  if (!refunds.every(({ amountMinor }) => isAmount(amountMinor, { least: 1 }))) {
    return "The amount of a refund is invalid";
  }
  const refunded = refundedOf(payment);
  return refunded <= receivedMinor
    ? null
    : `${refunded} was refunded, only ${receivedMinor} was received`;
}

/** A completed payment was confirmed: by the gateway for this amount, or by a named person. */
function stateFault(payment: Payment): string | null {
  const { channel, status, amountMinor, receivedMinor, completedAt, resolution } = payment;
  const isReceived = receivedMinor > 0;
  if (status === "completed" && (!isReceived || completedAt === null)) {
    return "The payment is completed without an amount received or a time";
  }
  if (status !== "completed" && status !== "reversed" && isReceived) {
    return `The status is ${status} with ${receivedMinor} received`;
  }
  if (!isReceived || resolution?.outcome === "completed") return null;
  if (receivedMinor !== amountMinor) {
    return `${receivedMinor} was received instead of ${amountMinor}`;
  }
  const hasReference = channel === "manual" || payment.trackingId !== null;
  return hasReference ? null : "The payment has no reference of the gateway";
}

/** Invoices whose payments are compared in one step. */
const STEP = 200;
/** Payments per page. */
const PAGE = 500;
/** Retries of an invoice that changed while its payments were read. */
const MOVES_MAX = 3;

/**
 * Compares a page of invoices with their payments, and each suspect once more by
 * itself. A payment that changes the paid amounts of an invoice changes the invoice
 * in the same commit, so payments read between two equal revisions belong to that
 * revision.
 *
 * @param after The last invoice of the previous step; null at the beginning.
 * @returns The faults, and the position of the next step; null at the end.
 */
export async function comparePaid(
  store: Store,
  after: keys.Key<unknown> | null,
): Promise<{ faults: PaidFault[]; next: keys.Key<unknown> | null }> {
  const page = await store.listStored(keys.invoices, {
    limit: STEP,
    ...(after ? { start: [...after, ""] } : {}),
  });
  const [first, last] = [page[0]?.key[1], page.at(-1)?.key[1]];
  if (first === undefined || last === undefined) return { faults: [], next: null };
  const sums = await sumsBetween(store, String(first), String(last));
  const faults: PaidFault[] = [];
  for (const entry of page) {
    const invoice = valueOf<Invoice>(entry);
    if (!invoice || paidFault(invoice, worthIn(sums, invoice)) === null) continue;
    const fault = await compareOne(store, invoice.id);
    if (fault !== null) faults.push(fault);
  }
  return { faults, next: page.length < STEP ? null : page.at(-1)!.key };
}

/** The payments of an invoice and their total worth; null if one of them is unreadable. */
interface Sum {
  paymentIds: string[];
  worth: Worth | null;
}

/** The sums of all invoices between two ids, both included. */
async function sumsBetween(
  store: Store,
  first: string,
  last: string,
): Promise<Map<string, Sum>> {
  const sums = new Map<string, Sum>();
  const end = [...keys.paymentsByInvoice(last), "\u{10ffff}"];
  for (let start: keys.Key<unknown> = keys.paymentsByInvoice(first);;) {
    const index = await store.listStored(["payment_by_invoice"], { limit: PAGE, start, end });
    const ids = index.map(({ key }) => String(key[2]));
    const payments = await readAll(store, ids.map(keys.payment));
    for (const [i, { key }] of index.entries()) {
      const invoiceId = String(key[1]);
      const sum = sums.get(invoiceId) ?? { paymentIds: [], worth: NO_WORTH };
      sum.paymentIds.push(ids[i]!);
      sum.worth = plus(sum.worth, payments[i], invoiceId);
      sums.set(invoiceId, sum);
    }
    if (index.length < PAGE) return sums;
    start = [...index.at(-1)!.key, ""];
  }
}

function plus(
  worth: Worth | null,
  payment: Payment | null | undefined,
  invoiceId: string,
): Worth | null {
  if (worth === null || payment === undefined) return null;
  return payment?.invoiceId === invoiceId ? totalWorth([worth, worthOf(payment)]) : worth;
}

function worthIn(sums: Map<string, Sum>, { id }: Invoice): Worth | null {
  const sum = sums.get(id);
  return sum ? sum.worth : NO_WORTH;
}

/** Payments in the order of their keys: null for a missing one, undefined for an unreadable one. */
async function readAll(
  store: Store,
  paymentKeys: readonly keys.Key<Payment>[],
): Promise<(Payment | null | undefined)[]> {
  const reads = chunksOf(paymentKeys).map((chunk) => store.getStored(chunk));
  const entries = (await Promise.all(reads)).flat();
  return entries.map((entry) => entry.versionstamp === null ? null : valueOf<Payment>(entry));
}

/** The value of an entry; undefined for an unreadable one, which is a finding itself. */
function valueOf<T>(entry: StoredEntry): T | undefined {
  const reading = new View().add(entry);
  return "value" in reading ? reading.value as T : undefined; // its shape was checked
}

/** Null also for an invoice that keeps changing: the next sweep checks it again. */
async function compareOne(store: Store, invoiceId: string): Promise<PaidFault | null> {
  const readInvoice = async () => {
    const [entry] = await store.getStored([keys.invoice(invoiceId)]);
    return entry && entry.versionstamp !== null ? valueOf<Invoice>(entry) : undefined;
  };
  for (let move = 0; move <= MOVES_MAX; move++) {
    const before = await readInvoice();
    const sums = await sumsBetween(store, invoiceId, invoiceId);
    const after = await readInvoice();
    if (!before || !after) return null;
    if (before.revision !== after.revision) continue;
    const paymentIds = sums.get(invoiceId)?.paymentIds ?? [];
    return repairableFault(after, paymentIds, worthIn(sums, after));
  }
  return null;
}
