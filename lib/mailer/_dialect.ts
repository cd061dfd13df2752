/**
 * The protocol of a mail API: what a request looks like and what an answer means.
 *
 * @module
 */
import type { Mail, RefusalScope } from "./mod.ts";

/** One API. */
export interface MailDialect {
  /** Where mail is posted, from the root. */
  path: string;
  /** Credentials, and the id of the mail if the API takes one. */
  headersOf(mail: Mail, key: string): Record<string, string>;
  /** The mail, to be sent as JSON. */
  bodyOf(mail: Mail): unknown;
  /** What an answer means if its status alone does not say; `answer` is its JSON, if it is JSON. */
  interpret(status: number, answer: unknown): Meaning;
}

/** The meaning of an answer: the mail is sent, or refused and why. */
export type Meaning =
  | "sent"
  | {
    scope: RefusalScope;
    /** The API's own code; may be empty. */
    code: string;
    /** The refusal is of this mail, but a later attempt may succeed. */
    isTemporary?: true;
  };

/** A field of an answer if it is a single word; otherwise empty, so that nothing else is logged. */
export function wordOf(answer: unknown, field: string): string {
  const value: unknown = Object(answer)[field];
  return typeof value === "string" && /^\w{1,64}$/.test(value) ? value : "";
}
