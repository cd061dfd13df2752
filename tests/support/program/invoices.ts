/**
 * Ordinary invoices, without a store.
 *
 * @module
 */
import type { Invoice, InvoiceLine } from "../../../lib/invoices/mod.ts";

/** A line with a correct total. */
export function invoiceLine(
  description: string,
  { quantity = 1, unitMinor = 1_234_50 }: { quantity?: number; unitMinor?: number } = {},
): InvoiceLine {
  return { productId: null, description, quantity, unitMinor, totalMinor: quantity * unitMinor };
}

/** An open invoice of 15 June 2026, due on the 29th; its sums follow from its lines and tax. */
export function sampleInvoice(fields: Partial<Invoice> = {}): Invoice {
  const lines = fields.lines ?? [invoiceLine("Duka POS")];
  const subtotalMinor = lines.reduce((sum, { totalMinor }) => sum + totalMinor, 0);
  const taxMinor = fields.taxMinor ?? 0;
  return {
    id: "01938d6e-3c00-7000-8000-000000000001",
    revision: 1,
    createdAt: "2026-06-15T09:00:00.000Z",
    createdBy: "public",
    createdIn: "01938d6e-3c00-7000-8000-000000000002",
    updatedAt: "2026-06-15T09:00:00.000Z",
    chain: null,
    number: "INV-2026-000123",
    clientId: "01938d6e-3c00-7000-8000-000000000003",
    leadId: null,
    billTo: { name: "Asha Mushi", email: "asha@example.com", phone: "+255712345678" },
    status: "open",
    currency: "TZS",
    lines,
    subtotalMinor,
    taxMinor,
    totalMinor: subtotalMinor + taxMinor,
    paidMinor: 0,
    refundedMinor: 0,
    issuedAt: "2026-06-15T09:00:00.000Z",
    dueOn: "2026-06-29",
    notes: "",
    voidReason: null,
    ...fields,
  };
}

/** A draft of it. */
export const DRAFT: Partial<Invoice> = { status: "draft", number: null, issuedAt: null };
