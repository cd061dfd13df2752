/**
 * What an invoice has on it: what is wrong with that, and what mends it. What is
 * paid, what went back and the state follow from the payments, which are never
 * touched.
 *
 * @module
 */
import { leadsTo } from "../entities/audit.ts";
import { amountFault, formFault, moneyFault, statusFault, totalFault } from "./amounts.ts";
import type { Get, Mender } from "./indexes.ts";
import type { Judge } from "./view.ts";
import { markIn } from "../invoices/due.ts";
import { putStatus, statusWith } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import { worthOf } from "../payments/state.ts";

/** What payments are worth to an invoice, in minor units. */
export type Worth = ReturnType<typeof worthOf>;

/** An invoice that has other money on it than its payments are worth, or than its state says. */
export interface PaidFault {
  /** Which one. */
  invoiceId: string;
  /** What the finding is called. */
  check: "invoice.paid_wrong" | "invoice.status_wrong";
  /** Finds it again; what is wrong itself where that takes more than a snapshot shows. */
  judge: Judge | string;
  /** What mends it; null where only a person can. */
  mender: Mender | null;
  /** What the judge asks for. */
  asked: readonly keys.Key<unknown>[];
}

/** An invoice as it was when all of its payments were read. */
interface Account {
  invoiceId: string;
  revision: number;
  paymentIds: readonly string[];
}

/** What a repair calls itself in the history. */
const ACTION = "repair.paid";
/** Keys that a repair may read, beside the one that fences it. */
const KEYS_MAX = 8;

/** What no payments are worth. */
export const NO_WORTH: Worth = Object.freeze({ paidMinor: 0, refundedMinor: 0 });

/** What several are worth together. */
export function sumOf(worths: readonly Worth[]): Worth {
  return worths.reduce((sum, { paidMinor, refundedMinor }) => ({
    paidMinor: sum.paidMinor + paidMinor,
    refundedMinor: sum.refundedMinor + refundedMinor,
  }), NO_WORTH);
}

/**
 * What is wrong with the money on an invoice, by the name of the finding and in
 * words; null for nothing, and where it is wrong in itself and says so already.
 *
 * @param worth That of all of its payments; null if one of them cannot be read.
 */
export function paidFault(
  invoice: Invoice,
  worth: Worth | null,
): { check: PaidFault["check"]; detail: string } | null {
  if (amountFault(invoice) ?? formFault(invoice) ?? totalFault(invoice)) return null;
  const contradiction = moneyFault(invoice);
  if (contradiction !== null) return { check: "invoice.status_wrong", detail: contradiction };
  if (worth === null) return null;
  const check = "invoice.paid_wrong";
  const { paidMinor, refundedMinor } = invoice;
  if (worth.paidMinor !== paidMinor) {
    return { check, detail: `${paidMinor} are paid, its payments are ${worth.paidMinor}` };
  }
  if (worth.refundedMinor === refundedMinor) return null;
  return { check, detail: `${refundedMinor} went back, of its payments ${worth.refundedMinor}` };
}

/**
 * The same as something that can be judged again, and mended within a transaction.
 *
 * @param paymentIds All of its payments, read while it was at this revision.
 */
export function faultWithMend(
  invoice: Invoice,
  paymentIds: readonly string[],
  worth: Worth | null,
): PaidFault | null {
  const fault = paidFault(invoice, worth);
  if (fault === null) return null;
  const { check, detail } = fault;
  const { id: invoiceId, revision } = invoice;
  const key = keys.invoice(invoiceId);
  const asked = [key, ...paymentIds.map(keys.payment)];
  // With what was written after it: more than that no transaction could look at.
  if (worth === null || asked.length + 1 > KEYS_MAX) {
    return { invoiceId, check, judge: detail, mender: null, asked: [key] };
  }
  const account = { invoiceId, revision, paymentIds };
  return { invoiceId, check, judge: judgeOf(account), mender: menderOf(account), asked };
}

/**
 * Payments that were not there yet are worth nothing until they change the
 * invoice, so of its next revision nothing can be said unless a repair made it.
 */
function judgeOf({ invoiceId, revision, paymentIds }: Account): Judge {
  return (get) => {
    const invoice = get(keys.invoice(invoiceId));
    if (!invoice) return null;
    if (invoice.revision !== revision) {
      const next = get(keys.audit("invoice", invoiceId, revision + 1));
      if (invoice.revision !== revision + 1 || next?.action !== ACTION) return null;
    }
    const payments = paymentIds.map((id) => get(keys.payment(id)));
    const worths = payments.filter((payment) => payment !== null)
      .filter((payment) => payment.invoiceId === invoiceId).map(worthOf);
    return paidFault(invoice, sumOf(worths))?.detail ?? null;
  };
}

/** Writes what the payments are worth, where histories prove that they are. */
function menderOf({ invoiceId, revision, paymentIds }: Account): Mender {
  return (get) => {
    const invoice = get(keys.invoice(invoiceId));
    if (invoice?.revision !== revision) return null;
    const found = paymentIds.map((id) => get(keys.payment(id)));
    const payments = found.filter((payment) => payment?.invoiceId === invoiceId)
      .filter((payment) => payment !== null);
    // One that its index names, and that is not there, may have been worth something.
    if (payments.length < paymentIds.length) return null;
    const changed = payments.filter(({ revision }) => revision > 1);
    if (payments.length + changed.length + 3 > KEYS_MAX) return null;

    const { paidMinor, refundedMinor } = sumOf(payments.map(worthOf));
    const { totalMinor } = invoice;
    // To give one up makes a revision, so none begins so.
    const isNone = revision === 1 && invoice.status === "uncollectible";
    const status = statusWith(isNone ? "open" : invoice.status, {
      totalMinor,
      paidMinor,
      refundedMinor,
    });
    const fields = { paidMinor, refundedMinor, status };
    const mended: Invoice = { ...invoice, ...fields, ...markIn(status, invoice) };
    if (amountFault(mended) ?? statusFault(mended) ?? totalFault(mended)) return null;
    if (!isBorneOut(invoice, mended, payments, get)) return null;
    return {
      done: `It is ${status} now, with ${paidMinor} of ${totalMinor} paid`,
      put: (writes, by, now) => putStatus(writes, invoice, { fields, action: ACTION, by, now }),
    };
  };
}

/**
 * Whether histories prove what an invoice is to become. Its own does, if it leads
 * there. If it leads to what the invoice is, the program wrote that: then payments
 * whose histories prove them may add to it, but nothing may be taken away, since a
 * payment that is gone would look like that too.
 */
function isBorneOut(
  invoice: Invoice,
  mended: Invoice,
  payments: readonly Payment[],
  get: Get,
): boolean {
  const { id, revision } = invoice;
  // It has been further than it is: its history must not be written over.
  if (get(keys.audit("invoice", id, revision + 1)) !== null) return false;
  if (!payments.every((payment) => isAsWritten(payment, get))) return false;
  // An invoice begins with nothing on it, and whatever comes makes a revision.
  if (revision === 1) return mended.paidMinor === 0 && mended.refundedMinor === 0;
  const last = get(keys.audit("invoice", id, revision));
  if (last === null) return false;
  if (leadsTo(last, mended)) return true;
  return leadsTo(last, invoice) && payments.every(isProven) &&
    mended.paidMinor >= invoice.paidMinor && mended.refundedMinor >= invoice.refundedMinor;
}

/** Nothing shows that a payment was altered. */
function isAsWritten(payment: Payment, get: Get): boolean {
  const { id, revision, chain, channel, status } = payment;
  if (revision === 1) {
    // Only what a person took is complete from the beginning.
    const isComplete = status === "completed" || status === "reversed";
    return chain === null && isComplete === (channel === "manual");
  }
  const last = get(keys.audit("payment", id, revision));
  return last !== null && leadsTo(last, payment);
}

/** Its history proves what it is worth: that of a payment at its first revision proves nothing. */
function isProven(payment: Payment): boolean {
  return payment.revision > 1 || worthOf(payment).paidMinor === 0;
}
