/**
 * Resend, as of https://resend.com/docs/api-reference/emails/send-email and
 * https://resend.com/docs/api-reference/errors.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { headersOf, senderOf } from "./_message.ts";
import { type MailDialect, wordOf } from "./http.ts";

/** Refusals of who sends, or of the account: for an operator to mend. */
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

/** What Resend is told, and says. */
export const resend: MailDialect = {
  path: "/emails",
  headersOf: ({ id }, key) => ({
    authorization: `Bearer ${key}`,
    // Known for 24 hours, which is as long as a mail is tried.
    "idempotency-key": id,
  }),
  bodyOf: (mail) => ({
    from: senderOf(mail),
    to: [mail.to],
    subject: mail.subject,
    text: mail.text,
    ...(mail.html === undefined ? {} : { html: mail.html }),
    ...(mail.replyTo === undefined ? {} : { reply_to: mail.replyTo }),
    // It makes the Message-ID itself; by this one can be told apart from another.
    headers: { ...headersOf(mail), "X-Entity-Ref-ID": mail.id },
    ...(mail.attachments === undefined ? {} : {
      attachments: mail.attachments.map(({ name, type, bytes }) => ({
        filename: name,
        content: Buffer.from(bytes).toString("base64"),
        content_type: type,
      })),
    }),
  }),
  judge(status, answer) {
    const code = wordOf(answer, "name");
    if (status >= 200 && status < 300) return "sent";
    if (status === 409) {
      // A mail of this name was sent: what it said has changed since, its answer was lost.
      if (code === "invalid_idempotent_request") return "sent";
      return { scope: "mail", code, isPassing: true };
    }
    const isOfMail = status === 400 || status === 413 || status === 422;
    return { scope: isOfMail && !OF_ACCOUNT.has(code) ? "mail" : "all", code };
  },
};
