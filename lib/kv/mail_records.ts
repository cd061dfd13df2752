/**
 * What is stored about mail beside its messages: the words of the shop's own. The
 * rest of the data dictionary is in `records.ts`.
 *
 * @module
 */
import type { Language } from "../languages.ts";
import type { Entity } from "./records.ts";

/** Kinds of mail, in display order. */
export const MAIL_KINDS = [
  /** To the sender of an enquiry. */
  "lead_received",
  /** To the shop, about an enquiry. */
  "lead_notice",
  /** To the buyer, when an operator sends an invoice. */
  "invoice_sent",
  /** To the buyer, about an unpaid amount. */
  "invoice_reminder",
  /** To the buyer. */
  "payment_received",
  /** To the shop, about a payment. */
  "payment_notice",
  /** To the buyer, about a refund. */
  "payment_refunded",
  /** To the shop, when an incident begins or ends. */
  "operator_alert",
  /** The newsletter: to a client who gave marketing consent. */
  "news",
] as const;
/** One of {@linkcode MAIL_KINDS}. */
export type MailKind = (typeof MAIL_KINDS)[number];

/** The words of a mail, in the template language. */
export interface MailTexts {
  /** One line of up to 200 characters. */
  subject: string;
  /** Plain text of up to 5,000 characters. */
  text: string;
  /** What the frame of the HTML part holds, up to 10,000 characters; empty for a mail of text only. */
  html: string;
}

/** The shop's own words for one kind of mail in one language. */
export interface MailTemplate extends Entity, MailTexts {
  /** Of which mail. With the language it makes the id. */
  kind: MailKind;
  /** In which language. */
  language: Language;
  /** Since when the usual words are used again; null while these are. */
  resetAt: string | null;
}
