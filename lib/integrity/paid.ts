/**
 * The paid and refunded amounts and the status of an invoice: their faults and
 * their repair. All follow from the payments, which no repair changes.
 *
 * @module
 */
import { leadsTo } from "../entities/mod.ts";
import { amountFault, formFault, moneyFault, statusFault, totalFault } from "./amounts.ts";
import type { Get, RepairRule } from "./indexes.ts";
import type { Judge } from "./view.ts";
import { markIn } from "../invoices/due.ts";
import { putStatus, statusWith } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { Payment } from "../kv/payment_records.ts";
import type { Invoice } from "../kv/records.ts";
import { worthOf } from "../payments/state.ts";

/** The amounts that payments add to an invoice, in minor units. */
export type Worth = ReturnType<typeof worthOf>;

/** An invoice whose amounts contradict its payments or its status. */
export interface PaidFault {
  /** The invoice. */
  invoiceId: string;
  /** The name of the finding. */
  check: "invoice.paid_wrong" | "invoice.status_wrong";
  /** Judges the fault again; its text if that takes more keys than a snapshot has. */
  judge: Judge | string;
  /** The repair; null where only a person can repair. */
  repairRule: RepairRule | null;
  /** The keys that the judge reads. */
  readKeys: readonly keys.Key<unknown>[];
}

/** An invoice at the revision at which all of its payments were read. */
interface Account {
  invoiceId: string;
  revision: number;
  paymentIds: readonly string[];
}

/** The action of a repair in the audit history. */
const ACTION = "repair.paid";
/** Keys that a repair may read, beside the one that fences it. */
const KEYS_MAX = 8;

/** The worth of no payments. */
export const NO_WORTH: Worth = Object.freeze({ paidMinor: 0, refundedMinor: 0 });

/** The sum of several worths. */
export function totalWorth(worths: readonly Worth[]): Worth {
  return worths.reduce((sum, { paidMinor, refundedMinor }) => ({
    paidMinor: sum.paidMinor + paidMinor,
    refundedMinor: sum.refundedMinor + refundedMinor,
  }), NO_WORTH);
}

/**
 * The fault of an invoice's paid amounts: the name of the finding and its text.
 * Null for none, and for an invoice with another fault, which is a finding itself.
 *
 * @param worth The worth of all of its payments; null if one of them is unreadable.
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
    return {
      check,
      detail: `The paid amount is ${paidMinor}, the payments add up to ${worth.paidMinor}`,
    };
  }
  if (worth.refundedMinor === refundedMinor) return null;
  return {
    check,
    detail: `The refunded amount is ${refundedMinor}, the payments' refunds add up to ` +
      worth.refundedMinor,
  };
}

/**
 * The fault of {@linkcode paidFault} with its judge and its repair.
 *
 * @param paymentIds All payments of the invoice, read while it was at this revision.
 */
export function repairableFault(
  invoice: Invoice,
  paymentIds: readonly string[],
  worth: Worth | null,
): PaidFault | null {
  const fault = paidFault(invoice, worth);
  if (fault === null) return null;
  const { check, detail } = fault;
  const { id: invoiceId, revision } = invoice;
  const key = keys.invoice(invoiceId);
  const readKeys = [key, ...paymentIds.map(keys.payment)];
  // One more for the audit entry of the next revision; a transaction cannot read more keys.
  if (worth === null || readKeys.length + 1 > KEYS_MAX) {
    return { invoiceId, check, judge: detail, repairRule: null, readKeys: [key] };
  }
  const account = { invoiceId, revision, paymentIds };
  const judge = judgeFor(account);
  return { invoiceId, check, judge, repairRule: repairRuleFor(account), readKeys };
}

/**
 * A payment that is not in `paymentIds` counts once it changes the invoice, so the
 * next revision has no verdict unless a repair made it.
 */
function judgeFor({ invoiceId, revision, paymentIds }: Account): Judge {
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
    return paidFault(invoice, totalWorth(worths))?.detail ?? null;
  };
}

/** Sets the amounts to the worth of the payments, if histories prove that worth. */
function repairRuleFor({ invoiceId, revision, paymentIds }: Account): RepairRule {
  return (get) => {
    const invoice = get(keys.invoice(invoiceId));
    if (invoice?.revision !== revision) return null;
    const found = paymentIds.map((id) => get(keys.payment(id)));
    const payments = found.filter((payment) => payment?.invoiceId === invoiceId)
      .filter((payment) => payment !== null);
    // A payment that is indexed and missing may have had a worth.
    if (payments.length < paymentIds.length) return null;
    const changed = payments.filter(({ revision }) => revision > 1);
    if (payments.length + changed.length + 3 > KEYS_MAX) return null;

    const { paidMinor, refundedMinor } = totalWorth(payments.map(worthOf));
    const { totalMinor } = invoice;
    // No invoice is uncollectible at revision 1: writing it off makes a revision.
    const isImpossible = revision === 1 && invoice.status === "uncollectible";
    const status = statusWith(isImpossible ? "open" : invoice.status, {
      totalMinor,
      paidMinor,
      refundedMinor,
    });
    const fields = { paidMinor, refundedMinor, status };
    const repaired: Invoice = { ...invoice, ...fields, ...markIn(status, invoice) };
    if (amountFault(repaired) ?? statusFault(repaired) ?? totalFault(repaired)) return null;
    if (!isConfirmed(invoice, repaired, payments, get)) return null;
    return {
      done: `Status set to ${status} with ${paidMinor} of ${totalMinor} paid`,
      put: (writes, by, now) => putStatus(writes, invoice, { fields, action: ACTION, by, now }),
    };
  };
}

/**
 * Whether histories prove the repaired invoice. The invoice's own history does if
 * it leads there. If it leads to the stored invoice, the program wrote that: then
 * payments with a proven worth may add to it, but nothing may be subtracted, since
 * a lost payment would look the same.
 */
function isConfirmed(
  invoice: Invoice,
  repaired: Invoice,
  payments: readonly Payment[],
  get: Get,
): boolean {
  const { id, revision } = invoice;
  // The invoice had a later revision, whose history must not be overwritten.
  if (get(keys.audit("invoice", id, revision + 1)) !== null) return false;
  if (!payments.every((payment) => isAsWritten(payment, get))) return false;
  // An invoice is created unpaid, and every payment makes a revision.
  if (revision === 1) return repaired.paidMinor === 0 && repaired.refundedMinor === 0;
  const last = get(keys.audit("invoice", id, revision));
  if (last === null) return false;
  if (leadsTo(last, repaired)) return true;
  return leadsTo(last, invoice) && payments.every(isProven) &&
    repaired.paidMinor >= invoice.paidMinor && repaired.refundedMinor >= invoice.refundedMinor;
}

/** Whether nothing shows that a payment was altered. */
function isAsWritten(payment: Payment, get: Get): boolean {
  const { id, revision, chain, channel, status } = payment;
  if (revision === 1) {
    // Only a manual payment is created as completed.
    const isComplete = status === "completed" || status === "reversed";
    return chain === null && isComplete === (channel === "manual");
  }
  const last = get(keys.audit("payment", id, revision));
  return last !== null && leadsTo(last, payment);
}

/** Whether the history of a payment proves its worth; revision 1 has no history. */
function isProven(payment: Payment): boolean {
  return payment.revision > 1 || worthOf(payment).paidMinor === 0;
}
