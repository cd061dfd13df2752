/**
 * Resend, as of https://resend.com/docs/api-reference/emails/send-email and
 * https://resend.com/docs/api-reference/errors.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type MailDialect, wordOf } from "./_dialect.ts";
import { headersOf, senderOf } from "./_message.ts";

/** Refusals of the sender or the account, for an operator to fix. */
const OF_ACCOUNT: ReadonlySet<string> = new Set([
  "missing_api_key",
  "invalid_api_key",
  "restricted_api_key",
  "invalid_from_address",
  "invalid_access",
  "daily_quota_exceeded",
  "monthly_quota_exceeded",
  "security_error",
]);

/** Requests to Resend, and its answers. */
export const resend: MailDialect = {
  path: "/emails",
  headersOf: ({ id }, key) => ({
    authorization: `Bearer ${key}`,
    // Remembered for 24 hours, which is as long as a mail is tried.
    "idempotency-key": id,
  }),
  bodyOf: (mail) => ({
    from: senderOf(mail),
    to: [mail.to],
    subject: mail.subject,
    text: mail.text,
    ...(mail.html === undefined ? {} : { html: mail.html }),
    ...(mail.replyTo === undefined ? {} : { reply_to: mail.replyTo }),
    // Resend makes the Message-ID itself; this one identifies the mail.
    headers: { ...headersOf(mail), "X-Entity-Ref-ID": mail.id },
    ...(mail.attachments === undefined ? {} : {
      attachments: mail.attachments.map(({ name, type, bytes }) => ({
        filename: name,
        content: Buffer.from(bytes).toString("base64"),
        content_type: type,
      })),
    }),
  }),
  interpret(status, answer) {
    const code = wordOf(answer, "name");
    if (status >= 200 && status < 300) return "sent";
    if (status === 409) {
      // A mail with this key was sent and its answer was lost; the content has changed since.
      if (code === "invalid_idempotent_request") return "sent";
      return { scope: "mail", code, isTemporary: true };
    }
    const isOfMail = status === 400 || status === 413 || status === 422;
    return { scope: isOfMail && !OF_ACCOUNT.has(code) ? "mail" : "all", code };
  },
};
