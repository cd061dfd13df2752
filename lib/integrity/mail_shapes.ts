/**
 * What the shop's own words for a mail look like; `shapes.ts` has the
 * other records.
 *
 * @module
 */
import { entity, type Is, maybe, moment, oneOf, record, text } from "./kinds.ts";
import type { MailKind, MailTemplate } from "../kv/mail_records.ts";
import type { Language } from "../languages.ts";

/** Whether a value is a whole {@linkcode MailTemplate}. */
export const isMailTemplate: Is = record<MailTemplate>({
  ...entity,
  kind: oneOf<MailKind>({
    lead_received: true,
    lead_notice: true,
    invoice_sent: true,
    invoice_reminder: true,
    payment_received: true,
    payment_notice: true,
    payment_refunded: true,
    operator_alert: true,
    news: true,
  }),
  language: oneOf<Language>({ en: true, sw: true }),
  subject: text,
  text,
  html: text,
  resetAt: maybe(moment),
});
