/**
 * What all mailers share: ids, the headers that mark a mail as automatic, and the
 * protection against header injection.
 *
 * @module
 */
import { normalizeEmail } from "../contact.ts";
import type { Mail } from "./mod.ts";

/** A header line has at most 998 characters (RFC 5322, 2.1.1); encoding needs several for one. */
const LINE_MAX = 250;

/** Control characters, separators and direction marks, which break, hide in or reverse a line. */
const NOT_IN_HEAD =
  /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\u202A-\u202E\u2066-\u2069\u2028\u2029\uFEFF]+/gu;

/**
 * A mail with a safe head: subject, names and file names are one line each, and the
 * addresses are valid.
 *
 * @returns null if an address is not valid.
 */
export function safeMail(mail: Mail): Mail | null {
  const to = normalizeEmail(mail.to);
  const from = normalizeEmail(mail.from);
  const replyTo = mail.replyTo === undefined ? undefined : normalizeEmail(mail.replyTo);
  if (to === null || from === null || replyTo === null) return null;
  return {
    ...mail,
    id: mail.id.replaceAll(/[^\w.-]/g, "-"),
    to,
    from,
    subject: headLine(mail.subject),
    ...(mail.fromName === undefined ? {} : { fromName: headLine(mail.fromName) }),
    ...(replyTo === undefined ? {} : { replyTo }),
    ...(mail.attachments === undefined ? {} : {
      attachments: mail.attachments.map((file) => ({
        ...file,
        name: headLine(file.name).replaceAll(/[/\\"]/g, "-"),
      })),
    }),
  };
}

/** `text` as one line, cut if too long. Text that looks encoded is broken up, or readers would decode it. */
function headLine(text: string): string {
  const line = text.replaceAll(NOT_IN_HEAD, " ").replaceAll("=?", "= ?").trim();
  return line.length <= LINE_MAX ? line : `${wholeStart(line, LINE_MAX - 1)}…`;
}

/** The beginning of `text`, without half a character at its end. */
function wholeStart(text: string, length: number): string {
  return text.slice(0, length).replace(/[\uD800-\uDBFF]$/, "");
}

/** The Message-ID, by which a receiver recognises a repeated mail. */
export function messageIdOf({ id, from }: Mail): string {
  return `<${id}@${from.slice(from.lastIndexOf("@") + 1)}>`;
}

/** `"Name" <address>`, or the address. */
export function senderOf({ from, fromName = "" }: Mail): string {
  return fromName === "" ? from : `"${fromName.replaceAll(/["\\]/g, "\\$&")}" <${from}>`;
}

/** Additional headers. */
export function headersOf({ unsubscribeUrl }: Mail): Record<string, string> {
  return {
    // Prevents automatic replies (RFC 3834).
    "Auto-Submitted": "auto-generated",
    ...(unsubscribeUrl === undefined ? {} : {
      // RFC 8058: mail programs show a button that sends a POST.
      "List-Unsubscribe": `<${unsubscribeUrl}>`,
      "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }),
  };
}
