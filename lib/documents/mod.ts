/**
 * The content of an invoice in one language, as its page and its PDF show it, so that
 * both say the same. Pure; independent of HTML and PDF.
 *
 * @module
 */
import type { Config } from "../config/mod.ts";
import { invoiceUrl, type LinkConfig } from "../invoices/links.ts";
import { creditMinor, owedMinor } from "../invoices/status.ts";
import type { Invoice } from "../kv/records.ts";
import type { Language } from "../languages.ts";
import { formatMoney } from "../money.ts";
import { businessDate } from "../time.ts";
import { fill, formatDay, INVOICE_TEXTS, type InvoiceState } from "./texts.ts";

/** The configuration that an invoice shows. */
export type SellerConfig =
  & LinkConfig
  & Pick<Config, "shopName" | "shopAddress" | "shopTaxId" | "shopPhone" | "timeZone">;

/** Input of {@linkcode documentOf}. */
export interface DocumentSource {
  /** As stored. */
  invoice: Invoice;
  /** Language of the texts. */
  language: Language;
  /** `YYYY-MM-DD` in the shop's time zone; decides whether the invoice is overdue. */
  today: string;
}

/** One line, formatted. */
export interface DocumentLine {
  /** Plain text, as stored. */
  description: string;
  /** With thousands separators. */
  quantity: string;
  /** Price of one, with its currency. */
  unitPrice: string;
  /** Price of the line, with its currency. */
  amount: string;
}

/** One row of the totals. */
export interface TotalRow {
  /** Such as `Total`. */
  label: string;
  /** With its currency. */
  amount: string;
  /** Whether the row is emphasized. */
  isStrong: boolean;
}

/** Everything that is shown; equal documents look the same. */
export interface InvoiceDocument {
  /** Language of all texts. */
  language: Language;
  /** Null for a draft. */
  number: string | null;
  /** ISO 8601; the creation date of the PDF. */
  issuedAt: string;
  /** State of the invoice. */
  state: InvoiceState;
  /** The state, in a word or two. */
  stateLabel: string;
  /** What the state means for the buyer. */
  stateNote: string;
  /** The shop; `lines` are its address and tax number. */
  seller: { name: string; lines: string[]; phone: string | null };
  /** Name only: the holder of the link may not be the buyer. */
  buyer: string;
  /** Dates with their labels. */
  facts: [label: string, value: string][];
  /** Products and services. */
  lines: DocumentLine[];
  /** Totals, payments, refunds and balance. */
  totals: TotalRow[];
  /** Balance due; null if none. */
  owed: string | null;
  /** Plain text for the buyer; may be empty. */
  notes: string;
  /** The public page; null for a draft. */
  url: string | null;
}

/** State of an invoice on a day. */
export function stateOf({ status, dueOn, paidMinor }: Invoice, today: string): InvoiceState {
  switch (status) {
    case "draft":
    case "paid":
    case "void":
    case "refunded":
      return status;
    case "open":
    case "partially_paid":
    case "uncollectible": {
      const isOverdue = dueOn < today;
      if (paidMinor > 0) return isOverdue ? "partly_overdue" : "partly_paid";
      return isOverdue ? "overdue" : "due";
    }
    default:
      return status satisfies never;
  }
}

/** The content of an invoice. */
export function documentOf(config: SellerConfig, source: DocumentSource): InvoiceDocument {
  const { invoice, language, today } = source;
  const { currency, number, billTo, issuedAt, createdAt, dueOn, notes } = invoice;
  const texts = INVOICE_TEXTS[language];
  const money = (minor: number) => formatMoney({ currency, minor }, language);
  const count = new Intl.NumberFormat(language);
  const state = stateOf(invoice, today);
  const owed = owedMinor(invoice);
  const dueDay = formatDay(dueOn, language);
  const issuedDay = issuedAt === null
    ? null
    : formatDay(businessDate(Date.parse(issuedAt), config.timeZone), language);
  return {
    language,
    number,
    issuedAt: issuedAt ?? createdAt,
    state,
    stateLabel: texts.states[state],
    stateNote: fill(texts.stateNotes[state], { day: dueDay }),
    seller: {
      name: config.shopName,
      lines: [
        ...config.shopAddress,
        ...(config.shopTaxId ? [`${texts.taxId}: ${config.shopTaxId}`] : []),
      ],
      phone: config.shopPhone ?? null,
    },
    buyer: billTo.name,
    facts: [
      ...(issuedDay === null ? [] : [[texts.issued, issuedDay] as [string, string]]),
      [texts.due, dueDay],
    ],
    lines: invoice.lines.map(({ description, quantity, unitMinor, totalMinor }) => ({
      description,
      quantity: count.format(quantity),
      unitPrice: money(unitMinor),
      amount: money(totalMinor),
    })),
    totals: totalsOf(invoice, language),
    owed: owed > 0 ? money(owed) : null,
    notes,
    url: state === "draft" ? null : invoiceUrl(config, invoice.id),
  };
}

function totalsOf(invoice: Invoice, language: Language): TotalRow[] {
  const { currency, subtotalMinor, taxMinor, totalMinor, paidMinor, refundedMinor } = invoice;
  const receivedMinor = paidMinor + refundedMinor;
  const owed = owedMinor(invoice);
  const credit = creditMinor(invoice);
  const texts = INVOICE_TEXTS[language];
  const row = (label: string, minor: number, isStrong = false): TotalRow => ({
    label,
    amount: formatMoney({ currency, minor }, language),
    isStrong,
  });
  return [
    ...(taxMinor > 0 ? [row(texts.subtotal, subtotalMinor), row(texts.tax, taxMinor)] : []),
    row(texts.total, totalMinor, true),
    ...(receivedMinor > 0 ? [row(texts.paid, receivedMinor)] : []),
    ...(refundedMinor > 0 ? [row(texts.refunded, refundedMinor)] : []),
    // Before any payment the balance is the total.
    ...(owed > 0 && receivedMinor > 0 ? [row(texts.balance, owed, true)] : []),
    ...(credit > 0 ? [row(texts.credit, credit, true)] : []),
  ];
}
