/**
 * Postmark, as of https://postmarkapp.com/developer/api/email-api and
 * https://postmarkapp.com/developer/api/overview#error-codes. It knows no
 * idempotency: a mail whose answer is lost comes twice, under one Message-ID.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { headersOf, messageIdOf, senderOf } from "./_message.ts";
import type { MailDialect } from "./http.ts";

/** Error codes that are about the mail; 300 is also said of an address that is none. */
const OF_MAIL: ReadonlySet<number> = new Set([300, 402, 403, 409, 411]);
/** The recipient complained, or its address bounced before. */
const INACTIVE_RECIPIENT = 406;

/** What Postmark is told, and says. */
export const postmark: MailDialect = {
  path: "/email",
  headersOf: (_, key) => ({ "x-postmark-server-token": key }),
  bodyOf: (mail) => ({
    From: senderOf(mail),
    To: mail.to,
    Subject: mail.subject,
    TextBody: mail.text,
    ...(mail.html === undefined ? {} : { HtmlBody: mail.html }),
    ...(mail.replyTo === undefined ? {} : { ReplyTo: mail.replyTo }),
    Headers: Object.entries({
      ...headersOf(mail),
      "Message-ID": messageIdOf(mail),
      // Without it another Message-ID is made.
      "X-PM-KeepID": "true",
    }).map(([Name, Value]) => ({ Name, Value })),
    ...(mail.attachments === undefined ? {} : {
      Attachments: mail.attachments.map(({ name, type, bytes }) => ({
        Name: name,
        Content: Buffer.from(bytes).toString("base64"),
        ContentType: type,
      })),
    }),
    // The names that every server of theirs begins with.
    MessageStream: mail.unsubscribeUrl === undefined ? "outbound" : "broadcast",
    TrackOpens: false,
  }),
  judge(status, answer) {
    const { ErrorCode: number }: { ErrorCode?: unknown } = Object(answer);
    const code = typeof number === "number" ? String(number) : "";
    if (status === 200 && (number === 0 || number === undefined)) return "sent";
    if (number === INACTIVE_RECIPIENT) return { scope: "recipient", code };
    const isOfMail = status === 413 ||
      (status === 422 || status === 200) && typeof number === "number" && OF_MAIL.has(number);
    // All other codes are about the account, its addresses to send from, or its credit.
    return { scope: isOfMail ? "mail" : "all", code };
  },
};
