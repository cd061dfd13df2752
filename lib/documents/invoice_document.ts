/**
 * An invoice in words: all that its page and its PDF show, put into a language,
 * so that both say the same. Pure; nothing here knows HTML or PDF.
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

/** What of the configuration an invoice shows. */
export type SellerConfig =
  & LinkConfig
  & Pick<Config, "shopName" | "shopAddress" | "shopTaxId" | "shopPhone" | "timeZone">;

/** What is written about. */
export interface DocumentSource {
  /** As stored. */
  invoice: Invoice;
  /** The words' language. */
  language: Language;
  /** `YYYY-MM-DD` in the shop's time zone: it decides what is overdue. */
  today: string;
}

/** One line, ready to be printed. */
export interface DocumentLine {
  /** Plain text, as it was stored. */
  description: string;
  /** With separators of thousands. */
  quantity: string;
  /** For one, with its currency. */
  unitPrice: string;
  /** For all of them, with its currency. */
  amount: string;
}

/** One line of the sum below. */
export interface TotalRow {
  /** Such as `Total`. */
  label: string;
  /** With its currency. */
  amount: string;
  /** It is one of those that people look for. */
  isStrong: boolean;
}

/** All that is printed; equal documents look the same. */
export interface InvoiceDocument {
  /** In which all of it is. */
  language: Language;
  /** Null for a draft. */
  number: string | null;
  /** ISO 8601; what the file says that it was made at. */
  issuedAt: string;
  /** How it stands. */
  state: InvoiceState;
  /** That, in a word or two. */
  stateWords: string;
  /** What it means for the buyer. */
  stateNote: string;
  /** The shop; `lines` are its address and tax number. */
  seller: { name: string; lines: string[]; phone: string | null };
  /** By name only: who has the address of the page need not be the buyer. */
  buyer: string;
  /** Such as the due date, each under its label. */
  facts: [label: string, value: string][];
  /** What it is for. */
  lines: DocumentLine[];
  /** What that comes to, and what was paid of it. */
  totals: TotalRow[];
  /** What is to be paid; null for nothing. */
  owed: string | null;
  /** Plain text for the buyer; may be empty. */
  notes: string;
  /** The public page; null for a draft, which has none. */
  url: string | null;
}

/** How an invoice stands on a day. */
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

/** Puts an invoice into words. */
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
    stateWords: texts.states[state],
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
    // While nothing is paid, what is owed is the total.
    ...(owed > 0 && receivedMinor > 0 ? [row(texts.balance, owed, true)] : []),
    ...(credit > 0 ? [row(texts.credit, credit, true)] : []),
  ];
}
