/**
 * Postmark, as of https://postmarkapp.com/developer/api/email-api and
 * https://postmarkapp.com/developer/api/overview#error-codes. It has no idempotency
 * keys: a mail whose answer is lost is delivered twice, under one Message-ID.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { headersOf, messageIdOf, senderOf } from "./_message.ts";
import type { MailDialect } from "./_dialect.ts";

/** Error codes about the mail; 300 includes an invalid address. */
const OF_MAIL: ReadonlySet<number> = new Set([300, 402, 403, 409, 411]);
/** The recipient complained, or the address bounced before. */
const INACTIVE_RECIPIENT = 406;

/** Requests to Postmark, and its answers. */
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
      // Without it Postmark makes another Message-ID.
      "X-PM-KeepID": "true",
    }).map(([Name, Value]) => ({ Name, Value })),
    ...(mail.attachments === undefined ? {} : {
      Attachments: mail.attachments.map(({ name, type, bytes }) => ({
        Name: name,
        Content: Buffer.from(bytes).toString("base64"),
        ContentType: type,
      })),
    }),
    // The default streams of every Postmark server.
    MessageStream: mail.unsubscribeUrl === undefined ? "outbound" : "broadcast",
    TrackOpens: false,
  }),
  interpret(status, answer) {
    const { ErrorCode: number }: { ErrorCode?: unknown } = Object(answer);
    const code = typeof number === "number" ? String(number) : "";
    if (status === 200 && (number === 0 || number === undefined)) return "sent";
    if (number === INACTIVE_RECIPIENT) return { scope: "recipient", code };
    const isOfMail = status === 413 ||
      (status === 422 || status === 200) && typeof number === "number" && OF_MAIL.has(number);
    // All other codes are about the account, its sender addresses or its credit.
    return { scope: isOfMail ? "mail" : "all", code };
  },
};
