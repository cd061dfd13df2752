/**
 * Checks of amounts, and the repair of an invoice's totals.
 *
 * People decide quantities, prices and the tax; line totals, the subtotal and
 * the total follow from them.
 *
 * @module
 */
import { leadsTo, putChange } from "../entities/mod.ts";
import type { Get, Repair } from "./indexes.ts";
import { statusWith } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { Invoice, InvoiceLine, Product } from "../kv/records.ts";
import { isCurrency, MINOR_MAX } from "../money.ts";

/** Whether minor units are a safe integer from `least` up to the limit of an amount. */
export function isAmount(minor: number, { least }: { least: number }): boolean {
  return Number.isSafeInteger(minor) && minor >= least && minor <= MINOR_MAX;
}

/** The fault of a product's prices. */
export function productAmountFault({ price, oldPrice }: Product): string | null {
  if (!isCurrency(price.currency)) return "The currency is unknown";
  if (!isAmount(price.minor, { least: 1 })) return "The price is not a valid amount";
  if (oldPrice === null) return null;
  if (oldPrice.currency !== price.currency) return "The old price is in another currency";
  const isMore = isAmount(oldPrice.minor, { least: price.minor + 1 });
  return isMore ? null : "The old price is not a valid amount above the price";
}

/** The first invalid amount of an invoice. */
export function amountFault(invoice: Invoice): string | null {
  const { currency, lines, subtotalMinor, taxMinor, totalMinor, paidMinor, refundedMinor } =
    invoice;
  if (!isCurrency(currency)) return "The currency is unknown";
  const areLinesAmounts = lines.every((line) =>
    [line.quantity, line.unitMinor, line.totalMinor].every((n) => isAmount(n, { least: 1 }))
  );
  if (!areLinesAmounts) return "A line has an invalid amount";
  if (!isAmount(subtotalMinor, { least: 1 })) return "The subtotal is not a valid amount";
  if (!isAmount(taxMinor, { least: 0 })) return "The tax is not a valid amount";
  if (!isAmount(totalMinor, { least: 1 })) return "The total is not a valid amount";
  if (!isAmount(paidMinor, { least: 0 })) return "The paid amount is invalid";
  return isAmount(refundedMinor, { least: 0 }) ? null : "The refunded amount is invalid";
}

/** The first total of an invoice that does not follow from its parts. */
export function totalFault(invoice: Invoice): string | null {
  if (amountFault(invoice) !== null) return null; // invalid amounts have no sum
  const { lines, subtotalMinor, taxMinor, totalMinor } = invoice;
  const i = lines.findIndex((line) => line.quantity * line.unitMinor !== line.totalMinor);
  if (i >= 0) return `The total of line ${i} is not its quantity times its unit price`;
  const sum = lines.reduce((sum, line) => sum + line.totalMinor, 0);
  if (sum !== subtotalMinor) return `The lines add up to ${sum}, the subtotal is ${subtotalMinor}`;
  if (subtotalMinor + taxMinor === totalMinor) return null;
  return `Subtotal and tax add up to ${subtotalMinor + taxMinor}, the total is ${totalMinor}`;
}

/** The first contradiction between the status of an invoice and its other fields. */
export function statusFault(invoice: Invoice): string | null {
  return formFault(invoice) ?? moneyFault(invoice);
}

/** The first contradiction between the status of an invoice and its fields other than amounts. */
export function formFault(invoice: Invoice): string | null {
  const { status, number, issuedAt, voidReason } = invoice;
  if ((number === null) !== (issuedAt === null)) {
    return "The invoice has only one of a number and an issue date";
  }
  const needsNumber = status !== "draft" && status !== "void";
  if (needsNumber && number === null) return `The status is ${status} without a number`;
  if (status === "draft" && number !== null) return "The invoice is a draft with a number";
  if ((status === "void") === (voidReason !== null)) return null;
  return status === "void"
    ? "The invoice is void without a reason"
    : "Only void invoices have a reason";
}

/** The contradiction between the status of an invoice and its paid and refunded amounts. */
export function moneyFault(invoice: Invoice): string | null {
  const isRight = amountFault(invoice) !== null || hasStatusOfAmounts(invoice);
  return isRight
    ? null
    : `The status is ${invoice.status} with ${invoice.paidMinor} of ${invoice.totalMinor} paid`;
}

function hasStatusOfAmounts(invoice: Invoice): boolean {
  const { status, paidMinor, refundedMinor, totalMinor } = invoice;
  switch (status) {
    case "draft":
      return paidMinor === 0 && refundedMinor === 0;
    case "void":
      return true; // payments after voiding are credit
    case "uncollectible":
      return paidMinor < totalMinor;
    default:
      return statusWith(status, invoice) === status;
  }
}

/**
 * Recomputes the totals of an invoice from its quantities, prices and tax.
 *
 * Null where that would be a guess: the history does not confirm the result, a
 * line's own total shows that its quantity or price was damaged, or the result is
 * not valid either.
 */
export function repairTotals(invoice: Invoice, get: Get): Repair | null {
  const fields = recomputedTotals(invoice);
  const repaired: Invoice = { ...invoice, ...fields };
  if (amountFault(repaired) !== null) return null;
  if (statusFault(repaired) !== null && statusFault(invoice) === null) return null;
  if (!isConfirmed(invoice, repaired, get)) return null;
  return {
    done: `Total set to ${repaired.totalMinor}`,
    put(writes, by, now) {
      const key = keys.invoice(invoice.id);
      const action = "repair.totals";
      putChange(writes, { entity: "invoice", action, key, before: invoice, fields, by, now });
    },
  };
}

function recomputedTotals(
  { lines, taxMinor }: Invoice,
): Pick<Invoice, "lines" | "subtotalMinor" | "totalMinor"> {
  const added = lines.map((line) => ({ ...line, totalMinor: line.quantity * line.unitMinor }));
  const subtotalMinor = sumOf(added);
  return { lines: added, subtotalMinor, totalMinor: subtotalMinor + taxMinor };
}

function isConfirmed(invoice: Invoice, repaired: Invoice, get: Get): boolean {
  const { id, revision, subtotalMinor, lines } = invoice;
  if (revision > 1) {
    const last = get(keys.audit("invoice", id, revision));
    if (last === null) return false;
    if (leadsTo(last, repaired)) return true;
    if (!leadsTo(last, invoice)) return false; // more than the totals was damaged
  }
  return repaired.subtotalMinor === subtotalMinor ||
    lines.every((line, i) => line.totalMinor === repaired.lines[i]?.totalMinor);
}

function sumOf(lines: readonly InvoiceLine[]): number {
  return lines.reduce((sum, line) => sum + line.totalMinor, 0);
}
