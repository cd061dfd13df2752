/**
 * Stored records of mail besides its messages: custom templates. The rest of the data
 * dictionary is in `records.ts`.
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

/** The template of a mail. */
export interface MailTexts {
  /** One line of up to 200 characters. */
  subject: string;
  /** Plain text of up to 5,000 characters. */
  text: string;
  /** The body of the HTML part, up to 10,000 characters; empty for a text-only mail. */
  html: string;
}

/** The shop's custom template of one kind of mail in one language. */
export interface MailTemplate extends Entity, MailTexts {
  /** The kind of mail. Kind and language determine the id. */
  kind: MailKind;
  /** Its language. */
  language: Language;
  /** When the default template was restored; null while this one is in use. */
  resetAt: string | null;
}
