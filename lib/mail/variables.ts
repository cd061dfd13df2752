/**
 * What can stand in each mail: the names, and an example of each. A name that an
 * example lacks is refused in a template.
 *
 * @module
 */
import type { MailKind } from "../kv/mail_records.ts";
import type { Language } from "../languages.ts";

/** One line of an invoice. A type: an interface has no signature that {@linkcode Variables} could ask for. */
export type LineVariables = {
  /** What is sold. */
  description: string;
  /** With separators of thousands. */
  quantity: string;
  /** For one, with its currency. */
  unitPrice: string;
  /** For all of them, with its currency. */
  amount: string;
};

/** What every mail may say. Texts are empty where there is nothing to say. */
export interface ShopVariables {
  /** The shop. */
  shopName: string;
  /** Where it can be rung. */
  shopPhone: string;
  /** Where it can be written to. */
  shopEmail: string;
}

/** What mails about an invoice may say. */
export interface InvoiceVariables extends ShopVariables {
  /** The buyer. */
  clientName: string;
  /** Such as `INV-2026-000123`. */
  invoiceNumber: string;
  /** With its currency, as all amounts are. */
  total: string;
  /** What was paid and not paid back; empty for nothing. */
  paid: string;
  /** What is to be paid; empty for nothing. */
  owed: string;
  /** By when. */
  dueDay: string;
  /** The public page. */
  invoiceUrl: string;
}

/** What mails about a payment may say. */
export interface PaymentVariables extends InvoiceVariables {
  /** What was paid, or paid back. */
  amount: string;
}

/** What each kind of mail may say. */
export interface MailVariables {
  /** Nothing of what the visitor wrote: anyone can give anyone's address. */
  lead_received: InvoiceVariables;
  /** Also what the visitor wrote, in lines, and from which kind of page. */
  lead_notice: InvoiceVariables & {
    clientEmail: string;
    clientPhone: string;
    message: string;
    source: string;
  };
  /** Also what is sold, the notes to the buyer, and whether the PDF goes with it. */
  invoice_sent: InvoiceVariables & { lines: LineVariables[]; notes: string; hasPdf: boolean };
  /** Also whether the due date has passed. */
  invoice_reminder: InvoiceVariables & { isOverdue: boolean };
  /** What came in. */
  payment_received: PaymentVariables;
  /** What came in, and by which way, such as `pesapal`. */
  payment_notice: PaymentVariables & { channel: string };
  /** What went back, all of it together. */
  payment_refunded: PaymentVariables;
  /** What is or was unwell: since when (UTC), and for how long once it is over. */
  operator_alert: ShopVariables & {
    isResolved: boolean;
    isCritical: boolean;
    title: string;
    detail: string;
    since: string;
    duration: string;
    system: string;
  };
  /** Where the shop's pages are, and where one click ends it. */
  news: ShopVariables & { clientName: string; shopUrl: string; unsubscribeUrl: string };
}

/** What may stand in a template. */
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

/** An example of all that a kind of mail may say. */
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
