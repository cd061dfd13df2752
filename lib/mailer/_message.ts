/**
 * What is the same of a mail whichever way it goes: how it is named, what marks
 * it as sent by a program, and that nothing in its head is more than one line.
 *
 * @module
 */
import { normalizeEmail } from "../contact.ts";
import type { Mail } from "./mod.ts";

/** A line of a head has 998 characters at most (RFC 5322, 2.1.1), which encoding takes up fast. */
const LINE_MAX = 250;

/** What breaks a line, hides in it or turns it round: controls, separators, and orders of direction. */
const NOT_IN_HEAD =
  /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\u202A-\u202E\u2066-\u2069\u2028\u2029\uFEFF]+/gu;

/**
 * A mail whose head is safe to be written: its subject, names and file names are
 * one line each, its addresses are addresses.
 *
 * @returns null if who it is from or to is no address
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

/** `text` as one line, cut where it is too long. What looks encoded is not: readers would decode it. */
export function headLine(text: string): string {
  const line = text.replaceAll(NOT_IN_HEAD, " ").replaceAll("=?", "= ?").trim();
  return line.length <= LINE_MAX ? line : `${wholeStart(line, LINE_MAX - 1)}…`;
}

/** The beginning of `text`, without half a character at its end. */
function wholeStart(text: string, length: number): string {
  return text.slice(0, length).replace(/[\uD800-\uDBFF]$/, "");
}

/** By this a receiver knows the same mail, should it come twice. */
export function messageIdOf({ id, from }: Mail): string {
  return `<${id}@${from.slice(from.lastIndexOf("@") + 1)}>`;
}

/** `"Name" <address>`, or the address. */
export function senderOf({ from, fromName = "" }: Mail): string {
  return fromName === "" ? from : `"${fromName.replaceAll(/["\\]/g, "\\$&")}" <${from}>`;
}

/** What stands in the head beside the usual. */
export function headersOf({ unsubscribeUrl }: Mail): Record<string, string> {
  return {
    // So that no program answers (RFC 3834).
    "Auto-Submitted": "auto-generated",
    ...(unsubscribeUrl === undefined ? {} : {
      // RFC 8058: mail programs show a button, and post.
      "List-Unsubscribe": `<${unsubscribeUrl}>`,
      "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }),
  };
}
