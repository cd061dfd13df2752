/**
 * The variables of each mail, with example values. A template with a name that the
 * example lacks is rejected.
 *
 * @module
 */
import type { MailKind } from "../kv/mail_records.ts";
import type { Language } from "../languages.ts";

/** One line of an invoice. A type, since an interface lacks the index signature of {@linkcode Variables}. */
export type LineVariables = {
  /** The product or service. */
  description: string;
  /** With thousands separators. */
  quantity: string;
  /** Price of one, with its currency. */
  unitPrice: string;
  /** Price of the line, with its currency. */
  amount: string;
};

/** Variables of every mail. Texts without a value are empty. */
export interface ShopVariables {
  /** The seller. */
  shopName: string;
  /** Phone number of the shop. */
  shopPhone: string;
  /** Email address of the shop. */
  shopEmail: string;
}

/** Variables of mails about an invoice. */
export interface InvoiceVariables extends ShopVariables {
  /** The buyer. */
  clientName: string;
  /** Such as `INV-2026-000123`. */
  invoiceNumber: string;
  /** With its currency, as all amounts. */
  total: string;
  /** Payments less refunds; empty if zero. */
  paid: string;
  /** Balance due; empty if zero. */
  owed: string;
  /** Due date. */
  dueDay: string;
  /** Public invoice page. */
  invoiceUrl: string;
}

/** Variables of mails about a payment. */
export interface PaymentVariables extends InvoiceVariables {
  /** Amount paid or refunded. */
  amount: string;
}

/** Variables of each kind of mail. */
export interface MailVariables {
  /** Excludes the visitor's message: anyone can submit another person's address. */
  lead_received: InvoiceVariables;
  /** Adds the visitor's message, in lines, and the kind of page it came from. */
  lead_notice: InvoiceVariables & {
    clientEmail: string;
    clientPhone: string;
    message: string;
    source: string;
  };
  /** Adds the lines, the notes to the buyer, and whether the PDF is attached. */
  invoice_sent: InvoiceVariables & { lines: LineVariables[]; notes: string; hasPdf: boolean };
  /** Adds whether the due date has passed. */
  invoice_reminder: InvoiceVariables & { isOverdue: boolean };
  /** The payment received. */
  payment_received: PaymentVariables;
  /** Adds the channel of the payment, such as `pesapal`. */
  payment_notice: PaymentVariables & { channel: string };
  /** The sum of all refunds of the payment. */
  payment_refunded: PaymentVariables;
  /** The incident: start (UTC) and, once resolved, duration. */
  operator_alert: ShopVariables & {
    isResolved: boolean;
    isCritical: boolean;
    title: string;
    detail: string;
    since: string;
    duration: string;
    system: string;
  };
  /** Adds the shop's website and the unsubscribe link. */
  news: ShopVariables & { clientName: string; shopUrl: string; unsubscribeUrl: string };
}

/** Values for a template. */
export type Variables = Readonly<
  Record<string, string | boolean | readonly Readonly<Record<string, string>>[]>
>;

const SHOP: ShopVariables = {
  shopName: "WeTech",
  shopPhone: "+255 712 345 678",
  shopEmail: "shop@example.com",
};

const INVOICE: Readonly<Record<Language, InvoiceVariables>> = {
  en: {
    ...SHOP,
    clientName: "Asha Mushi",
    invoiceNumber: "INV-2026-000123",
    total: "TZS 450,000",
    paid: "TZS 150,000",
    owed: "TZS 300,000",
    dueDay: "29 June 2026",
    invoiceUrl: "https://shop.example.com/i/example",
  },
  sw: {
    ...SHOP,
    clientName: "Asha Mushi",
    invoiceNumber: "INV-2026-000123",
    total: "TSh 450,000",
    paid: "TSh 150,000",
    owed: "TSh 300,000",
    dueDay: "29 Juni 2026",
    invoiceUrl: "https://shop.example.com/i/example",
  },
};

/** Example values of every variable of a kind of mail. */
export function exampleOf<K extends MailKind>(kind: K, language: Language): MailVariables[K] {
  const invoice = INVOICE[language];
  const payment = { ...invoice, amount: invoice.paid };
  const examples: MailVariables = {
    lead_received: invoice,
    lead_notice: {
      ...invoice,
      clientEmail: "asha@example.com",
      clientPhone: "+255754000111",
      message: "Habari, naomba maelezo.\nAsante.",
      source: "website",
    },
    invoice_sent: {
      ...invoice,
      lines: [{
        description: "Duka POS",
        quantity: "1",
        unitPrice: invoice.total,
        amount: invoice.total,
      }],
      notes: "Asante.",
      hasPdf: true,
    },
    invoice_reminder: { ...invoice, isOverdue: true },
    payment_received: payment,
    payment_notice: { ...payment, channel: "pesapal" },
    payment_refunded: payment,
    operator_alert: {
      ...SHOP,
      isResolved: false,
      isCritical: true,
      title: "The job backup failed",
      detail: "Error: no space left",
      since: "2026-06-15 09:00:00",
      duration: "",
      system: "production 2026.06.0 at shop.example.com",
    },
    news: {
      ...SHOP,
      clientName: "Asha Mushi",
      shopUrl: "https://shop.example.com",
      unsubscribeUrl: "https://shop.example.com/u/example",
    },
  };
  return examples[kind];
}
