/**
 * Amounts: what is one, what they must add up to, and what mends a total.
 *
 * Quantities, prices and the tax are what somebody decided; line totals, the
 * subtotal and the total follow from them.
 *
 * @module
 */
import { leadsTo, putChange } from "../entities/audit.ts";
import type { Get, Mend } from "./indexes.ts";
import { statusWith } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { Invoice, InvoiceLine, Product } from "../kv/records.ts";
import { isCurrency, MINOR_MAX } from "../money.ts";

/** Whether a number of minor units is an amount. */
export function isAmount(minor: number, { least }: { least: number }): boolean {
  return Number.isSafeInteger(minor) && minor >= least && minor <= MINOR_MAX;
}

/** What is wrong with what a product costs. */
export function productAmountFault({ price, oldPrice }: Product): string | null {
  if (!isCurrency(price.currency)) return "The currency is not one";
  if (!isAmount(price.minor, { least: 1 })) return "The price is not an amount";
  if (oldPrice === null) return null;
  if (oldPrice.currency !== price.currency) return "The old price is in another currency";
  const isMore = isAmount(oldPrice.minor, { least: price.minor + 1 });
  return isMore ? null : "The old price is not an amount above the price";
}

/** Which of an invoice's amounts is none. */
export function amountFault(invoice: Invoice): string | null {
  const { currency, lines, subtotalMinor, taxMinor, totalMinor, paidMinor, refundedMinor } =
    invoice;
  if (!isCurrency(currency)) return "The currency is not one";
  const areLinesAmounts = lines.every((line) =>
    [line.quantity, line.unitMinor, line.totalMinor].every((n) => isAmount(n, { least: 1 }))
  );
  if (!areLinesAmounts) return "A line has what is no amount";
  if (!isAmount(subtotalMinor, { least: 1 })) return "The subtotal is not an amount";
  if (!isAmount(taxMinor, { least: 0 })) return "The tax is not an amount";
  if (!isAmount(totalMinor, { least: 1 })) return "The total is not an amount";
  if (!isAmount(paidMinor, { least: 0 })) return "What is paid is not an amount";
  return isAmount(refundedMinor, { least: 0 }) ? null : "What went back is not an amount";
}

/** Which of an invoice's amounts is not what it follows from. */
export function totalFault(invoice: Invoice): string | null {
  if (amountFault(invoice) !== null) return null; // nothing to add up
  const { lines, subtotalMinor, taxMinor, totalMinor } = invoice;
  const i = lines.findIndex((line) => line.quantity * line.unitMinor !== line.totalMinor);
  if (i >= 0) return `Line ${i} is not its quantity times its price`;
  const sum = lines.reduce((sum, line) => sum + line.totalMinor, 0);
  if (sum !== subtotalMinor) return `The lines are ${sum}, the subtotal ${subtotalMinor}`;
  if (subtotalMinor + taxMinor === totalMinor) return null;
  return `Subtotal and tax are ${subtotalMinor + taxMinor}, the total ${totalMinor}`;
}

/** What an invoice's state does not agree with. */
export function statusFault(invoice: Invoice): string | null {
  return formFault(invoice) ?? moneyFault(invoice);
}

/** What an invoice's state does not agree with, beside the money on it. */
export function formFault(invoice: Invoice): string | null {
  const { status, number, issuedAt, voidReason } = invoice;
  if ((number === null) !== (issuedAt === null)) return "Only issued invoices have numbers";
  const needsNumber = status !== "draft" && status !== "void";
  if (needsNumber && number === null) return `It is ${status} and has no number`;
  if (status === "draft" && number !== null) return "It is a draft and has a number";
  return (status === "void") === (voidReason !== null) ? null : "Only void invoices have a reason";
}

/** How an invoice's state does not agree with the money on it. */
export function moneyFault(invoice: Invoice): string | null {
  const isRight = amountFault(invoice) !== null || isPaidAsItSays(invoice);
  return isRight
    ? null
    : `It is ${invoice.status}, with ${invoice.paidMinor} of ${invoice.totalMinor} paid`;
}

function isPaidAsItSays(invoice: Invoice): boolean {
  const { status, paidMinor, refundedMinor, totalMinor } = invoice;
  switch (status) {
    case "draft":
      return paidMinor === 0 && refundedMinor === 0;
    case "void":
      return true; // what came in after it was voided is credit
    case "uncollectible":
      return paidMinor < totalMinor;
    default:
      return statusWith(status, invoice) === status;
  }
}

/**
 * Adds an invoice up again from its quantities, prices and tax.
 *
 * It is left to a person where that would be a guess: where the history does not
 * bear it out, where a line's own total bears out that its quantity or price is
 * what was damaged, and where the result is not sound either.
 */
export function mendTotals(invoice: Invoice, get: Get): Mend | null {
  const fields = addedUp(invoice);
  const mended: Invoice = { ...invoice, ...fields };
  if (amountFault(mended) !== null) return null;
  if (statusFault(mended) !== null && statusFault(invoice) === null) return null;
  if (!isBorneOut(invoice, mended, get)) return null;
  return {
    done: `The total is ${mended.totalMinor} now`,
    put(writes, by, now) {
      const key = keys.invoice(invoice.id);
      const action = "repair.totals";
      putChange(writes, { entity: "invoice", action, key, before: invoice, fields, by, now });
    },
  };
}

function addedUp(
  { lines, taxMinor }: Invoice,
): Pick<Invoice, "lines" | "subtotalMinor" | "totalMinor"> {
  const added = lines.map((line) => ({ ...line, totalMinor: line.quantity * line.unitMinor }));
  const subtotalMinor = sumOf(added);
  return { lines: added, subtotalMinor, totalMinor: subtotalMinor + taxMinor };
}

function isBorneOut(invoice: Invoice, mended: Invoice, get: Get): boolean {
  const { id, revision, subtotalMinor, lines } = invoice;
  if (revision > 1) {
    const last = get(keys.audit("invoice", id, revision));
    if (last === null) return false;
    if (leadsTo(last, mended)) return true;
    if (!leadsTo(last, invoice)) return false; // more than that was damaged
  }
  return mended.subtotalMinor === subtotalMinor ||
    lines.every((line, i) => line.totalMinor === mended.lines[i]?.totalMinor);
}

function sumOf(lines: readonly InvoiceLine[]): number {
  return lines.reduce((sum, line) => sum + line.totalMinor, 0);
}
