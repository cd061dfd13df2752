/**
 * The states of an invoice: those that follow from its money, and those that an operator decides.
 * Every change of either is written here, with the index.
 *
 * @module
 */
import { putChange } from "../entities/mod.ts";
import { AppError } from "../errors.ts";
import { markIn } from "./due.ts";
import * as keys from "../kv/keys.ts";
import type { Invoice, InvoiceStatus } from "../kv/records.ts";
import type { Writes } from "../kv/transaction.ts";
import type { Caller } from "../entities/caller.ts";

/** Allowed transitions. */
export const TRANSITIONS: Readonly<Record<InvoiceStatus, readonly InvoiceStatus[]>> = {
  draft: ["open", "void"],
  open: ["partially_paid", "paid", "void", "uncollectible"],
  partially_paid: ["paid", "open", "uncollectible", "refunded"],
  paid: ["partially_paid", "open", "refunded"],
  uncollectible: ["partially_paid", "paid", "open", "void", "refunded"],
  // Money may arrive late, and a gateway may reverse a refund.
  refunded: ["open", "partially_paid", "paid"],
  void: [],
};

/** The fields that the state follows from, in minor units. */
export type InvoiceMoney = Pick<Invoice, "totalMinor" | "paidMinor" | "refundedMinor">;

/**
 * The state of an invoice with this money. A draft and a void invoice stay what they are, and a
 * written-off one until money arrives; money on a void invoice is credit.
 */
export function statusWith(
  status: InvoiceStatus,
  { totalMinor, paidMinor, refundedMinor }: InvoiceMoney,
): InvoiceStatus {
  if (status === "draft" || status === "void") return status;
  if (paidMinor >= totalMinor) return "paid";
  if (paidMinor > 0) return "partially_paid";
  if (refundedMinor > 0) return "refunded";
  return status === "uncollectible" ? status : "open";
}

/** Whether it is payable. */
export function isPayable({ status }: Pick<Invoice, "status">): boolean {
  return status === "open" || status === "partially_paid" || status === "uncollectible";
}

/** The balance due, in minor units; 0 unless payable. */
export function owedMinor(invoice: InvoiceMoney & Pick<Invoice, "status">): number {
  return isPayable(invoice) ? invoice.totalMinor - invoice.paidMinor : 0;
}

/** The credit: what was paid beyond the total, in minor units. */
export function creditMinor({ status, totalMinor, paidMinor }: Invoice): number {
  return Math.max(0, paidMinor - (status === "void" ? 0 : totalMinor));
}

/** Refuses a transition that is not allowed. @throws {AppError} `conflict` */
export function expectTransition({ status }: Invoice, to: InvoiceStatus): void {
  if (!TRANSITIONS[status].includes(to)) {
    throw new AppError("conflict", `Cannot change the invoice from ${status} to ${to}`);
  }
}

/** A change of an invoice that may change its state. */
export interface StatusChange {
  /** The fields that get new values. */
  fields: Partial<Invoice>;
  /** The use case, such as `invoice.void`. */
  action: string;
  /** Who is named in the history. */
  by: Caller;
  /** Milliseconds UTC. */
  now: number;
}

/** Writes a change and the index by state. */
export function putStatus(
  writes: Writes,
  before: Invoice,
  { fields: changed, action, by, now }: StatusChange,
): Invoice {
  const { id } = before;
  const fields = { ...changed, ...markIn(changed.status ?? before.status, before) };
  const key = keys.invoice(id);
  const after = putChange(writes, { entity: "invoice", action, key, before, fields, by, now });
  if (after.status !== before.status) {
    writes.delete(keys.invoiceByStatus(before.status, id));
    writes.set(keys.invoiceByStatus(after.status, id), id);
  }
  return after;
}

/** Writes money that arrived or was returned, in minor units, and the state that follows. */
export function putMoney(
  writes: Writes,
  before: Invoice,
  change: { paidMinor: number; refundedMinor: number },
  { action, by, now }: Omit<StatusChange, "fields">,
): Invoice {
  const paidMinor = before.paidMinor + change.paidMinor;
  const refundedMinor = before.refundedMinor + change.refundedMinor;
  const { totalMinor } = before;
  const status = statusWith(before.status, { totalMinor, paidMinor, refundedMinor });
  return putStatus(writes, before, {
    fields: { paidMinor, refundedMinor, status },
    action,
    by,
    now,
  });
}
