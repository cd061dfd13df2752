/**
 * Renders mails from what is stored when they are sent, with templates that
 * operators may change.
 *
 * @module
 */
import { documentOf } from "../documents/mod.ts";
import { type RenderedTexts, renderTexts } from "./words.ts";
import type { InvoiceVariables, MailVariables } from "./variables.ts";
import { formatDay } from "../documents/texts.ts";
import { unsubscribeUrl } from "./consent.ts";
import { invoiceUrl } from "../invoices/links.ts";
import { owedMinor } from "../invoices/status.ts";
import * as keys from "../kv/keys.ts";
import type { MailKind, MailTexts } from "../kv/mail_records.ts";
import type { Payment } from "../kv/payment_records.ts";
import type { Client, Invoice, Lead } from "../kv/records.ts";
import type { Language } from "../languages.ts";
import { getTemplate } from "./templates.ts";
import type { Attachment, Mail } from "../mailer/mod.ts";
import { formatMoney } from "../money.ts";
import type { OutboxMessage } from "../outbox/ports.ts";
import type { MailServices } from "./needs.ts";
import { businessDate } from "../time.ts";

/** A mail without sender and id, or the reason why it is skipped. */
export type MailResult = { mail: Omit<Mail, "id" | "from"> } | { skipped: string };

/** A mail before its template is rendered. */
interface Content {
  kind: MailKind;
  language: Language;
  to: string;
  replyTo?: string | undefined;
  unsubscribeUrl?: string;
  attachments?: Attachment[];
  render(texts: MailTexts): RenderedTexts;
}

/** The subjects of a message as stored now; null if the message does not name one, or it does not exist. */
interface Stored {
  lead: Lead | null;
  invoice: Invoice | null;
  payment: Payment | null;
  client: Client | null;
}

/** Returns the content of a mail, or the reason why it is skipped. */
type Builder = (
  services: MailServices,
  stored: Stored,
) => Promise<Content | string> | Content | string;

/** By the message's type and recipient. */
const BUILDERS: ReadonlyMap<string, Builder> = new Map<string, Builder>([
  ["lead.created client", leadReceived],
  ["lead.created shop", leadNotice],
  ["invoice.sent client", invoiceSent],
  ["invoice.reminder client", invoiceReminder],
  ["payment.completed client", paymentReceived],
  ["payment.completed shop", paymentNotice],
  ["payment.refunded client", paymentRefunded],
  ["news client", news],
]);

/** Renders the mail of a message. Two or three reads, and the time of a PDF if one is attached. */
export async function renderMail(
  services: MailServices,
  message: OutboxMessage,
): Promise<MailResult> {
  const builder = BUILDERS.get(`${message.type} ${message.to}`);
  if (!builder) return { skipped: "unknown mail type" };
  const content = await builder(services, await storedOf(services, message));
  if (typeof content === "string") return { skipped: content };
  const { kind, language, to, replyTo, render, attachments, unsubscribeUrl } = content;
  const texts = render(await getTemplate(services, { kind, language }));
  return {
    mail: {
      to,
      fromName: services.config.shopName,
      ...texts,
      ...(replyTo === undefined ? {} : { replyTo }),
      ...(attachments === undefined ? {} : { attachments }),
      ...(unsubscribeUrl === undefined ? {} : { unsubscribeUrl }),
    },
  };
}

async function storedOf({ store }: MailServices, { subject }: OutboxMessage): Promise<Stored> {
  const { leadId, invoiceId, paymentId, clientId } = subject;
  const find = <T>(id: string | undefined, keyOf: (id: string) => keys.Key<T>) =>
    id === undefined ? null : store.get(keyOf(id));
  const [lead, invoice, payment, client] = await Promise.all([
    find(leadId, keys.lead),
    find(invoiceId, keys.invoice),
    find(paymentId, keys.payment),
    find(clientId, keys.client),
  ]);
  // Payment events do not name the lead.
  const enquiry = lead ?? await find(invoice?.leadId ?? undefined, keys.lead);
  return { lead: enquiry, invoice, payment, client };
}

const NO_ADDRESS = "no email address";
const NOT_FOUND = "record not found";

function leadReceived({ config }: MailServices, { lead, invoice }: Stored): Content | string {
  if (!lead?.contact.email) return NO_ADDRESS;
  const language = languageOf(config, lead);
  return contentOf("lead_received", {
    config,
    language,
    to: lead.contact.email,
    variables: {
      ...invoiceVariables(config, invoice?.status === "void" ? null : invoice, language),
      clientName: greetingName(lead.contact.name),
    },
  });
}

/** Anyone can submit another person's address: a name that looks like an advertisement is left out. */
function greetingName(name: string): string {
  return /[/@:]|\bwww\b|\.[\p{L}\d]{2,}/iu.test(name) ? "" : name;
}

function leadNotice({ config }: MailServices, { lead, invoice }: Stored): Content | string {
  const { shopEmail, defaultLanguage: language } = config;
  if (shopEmail === undefined) return NO_ADDRESS;
  if (!lead) return NOT_FOUND;
  const { contact: { name, email, phone }, message, source } = lead;
  if (email === null && phone === null) return "client data erased";
  return contentOf("lead_notice", {
    config,
    language,
    to: shopEmail,
    replyTo: email ?? undefined,
    variables: {
      ...invoiceVariables(config, invoice, language),
      clientName: name,
      clientEmail: email ?? "",
      clientPhone: phone ?? "",
      message,
      source,
    },
  });
}

async function invoiceSent(services: MailServices, stored: Stored): Promise<Content | string> {
  const { config, clock, pdfs } = services;
  const found = buyerOf(stored);
  if (typeof found === "string") return found;
  const { invoice, to } = found;
  const language = languageOf(config, stored.lead);
  const today = businessDate(clock(), config.timeZone);
  const document = documentOf(config, { invoice, language, today });
  const content = contentOf("invoice_sent", {
    config,
    language,
    to,
    variables: {
      ...invoiceVariables(config, invoice, language),
      lines: document.lines.map((line) => ({ ...line })),
      notes: invoice.notes,
      hasPdf: config.attachesPdf,
    },
  });
  if (!config.attachesPdf) return content;
  const bytes = await pdfs.get(document);
  const name = `${invoice.number ?? "invoice"}.pdf`;
  return { ...content, attachments: [{ name, type: "application/pdf", bytes }] };
}

function invoiceReminder(services: MailServices, stored: Stored): Content | string {
  const { config, clock } = services;
  const found = buyerOf(stored);
  if (typeof found === "string") return found;
  const { invoice, to } = found;
  if (owedMinor(invoice) === 0) return "no balance due";
  const language = languageOf(config, stored.lead);
  const isOverdue = invoice.dueOn < businessDate(clock(), config.timeZone);
  const variables = { ...invoiceVariables(config, invoice, language), isOverdue };
  return contentOf("invoice_reminder", { config, language, to, variables });
}

function paymentReceived({ config }: MailServices, stored: Stored): Content | string {
  const found = buyerOf(stored, { isVoidToo: true });
  if (typeof found === "string") return found;
  const { invoice, to } = found;
  const language = languageOf(config, stored.lead);
  const amount = receivedOf(stored.payment, language);
  if (amount === null) return "payment not completed";
  const variables = { ...invoiceVariables(config, invoice, language), amount };
  return contentOf("payment_received", { config, language, to, variables });
}

function paymentNotice({ config }: MailServices, { invoice, payment }: Stored): Content | string {
  const { shopEmail: to, defaultLanguage: language } = config;
  if (to === undefined) return NO_ADDRESS;
  const amount = receivedOf(payment, language);
  if (!invoice || !payment || amount === null) return "payment not completed";
  const { channel } = payment;
  const variables = { ...invoiceVariables(config, invoice, language), amount, channel };
  return contentOf("payment_notice", { config, language, to, variables });
}

function receivedOf(payment: Payment | null, language: Language): string | null {
  if (payment?.status !== "completed") return null;
  const { currency, receivedMinor: minor } = payment;
  return formatMoney({ currency, minor }, language);
}

function paymentRefunded({ config }: MailServices, stored: Stored): Content | string {
  const found = buyerOf(stored, { isVoidToo: true });
  if (typeof found === "string") return found;
  const { payment } = stored;
  const completed = payment?.refunds.filter(({ status }) => status === "completed") ?? [];
  // The sum of all refunds: the event does not name the one it is about.
  const minor = completed.reduce((sum, { amountMinor }) => sum + amountMinor, 0);
  if (!payment || minor === 0) return "no completed refund";
  const { invoice, to } = found;
  const language = languageOf(config, stored.lead);
  const amount = formatMoney({ currency: payment.currency, minor }, language);
  const variables = { ...invoiceVariables(config, invoice, language), amount };
  return contentOf("payment_refunded", { config, language, to, variables });
}

function news({ config }: MailServices, { client }: Stored): Content | string {
  if (!client?.email) return NO_ADDRESS;
  if (!client.marketingConsent) return "no marketing consent";
  const url = unsubscribeUrl(config, client.id);
  const content = contentOf("news", {
    config,
    language: config.defaultLanguage,
    to: client.email,
    variables: {
      ...shopVariables(config),
      clientName: client.name,
      shopUrl: config.publicUrl,
      unsubscribeUrl: url,
    },
  });
  return { ...content, unsubscribeUrl: url };
}

/** The invoice and its buyer's address, or the reason why the mail is skipped. */
function buyerOf(
  { invoice }: Stored,
  { isVoidToo = false }: { isVoidToo?: boolean } = {},
): { invoice: Invoice; to: string } | string {
  if (!invoice) return NOT_FOUND;
  const { status, billTo: { email } } = invoice;
  if (status === "draft" || status === "void" && !isVoidToo) return `invoice is ${status}`;
  return email === null ? NO_ADDRESS : { invoice, to: email };
}

type Config = MailServices["config"];

function languageOf({ defaultLanguage }: Config, lead: Lead | null): Language {
  return lead?.language ?? defaultLanguage;
}

function contentOf<K extends MailKind>(
  kind: K,
  { config, language, to, replyTo = config.shopEmail, variables }: {
    config: Config;
    language: Language;
    to: string;
    replyTo?: string | undefined;
    variables: MailVariables[K];
  },
): Content {
  return {
    kind,
    language,
    to,
    replyTo,
    render: (texts) => renderTexts(kind, texts, { language, variables }),
  };
}

function shopVariables({ shopName, shopPhone = "", shopEmail = "" }: Config) {
  return { shopName, shopPhone, shopEmail };
}

/** Variables of every mail about an invoice; all empty without one. */
function invoiceVariables(
  config: Config,
  invoice: Invoice | null,
  language: Language,
): InvoiceVariables {
  const shop = shopVariables(config);
  const { currency, number = null, paidMinor = 0 } = invoice ?? {};
  if (!invoice || !currency || number === null) {
    const none = { invoiceNumber: "", total: "", paid: "", owed: "", dueDay: "" };
    return { ...shop, ...none, clientName: "", invoiceUrl: "" };
  }
  const money = (minor: number) => minor > 0 ? formatMoney({ currency, minor }, language) : "";
  return {
    ...shop,
    clientName: invoice.billTo.name,
    invoiceNumber: number,
    total: money(invoice.totalMinor),
    paid: money(paidMinor),
    owed: money(owedMinor(invoice)),
    dueDay: formatDay(invoice.dueOn, language),
    invoiceUrl: invoiceUrl(config, invoice.id),
  };
}
