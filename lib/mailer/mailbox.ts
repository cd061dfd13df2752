/**
 * The mailer for development: keeps the latest mails for display and sends none.
 *
 * @module
 */
import type { Log } from "../telemetry/mod.ts";
import { type Clock, isoTime } from "../time.ts";
import { safeMail } from "./_message.ts";
import type { Mail, Mailer, SendResult } from "./mod.ts";

/** The number of mails kept. */
export const MAILBOX_MAX = 50;

/** A mail that was kept instead of sent. */
export interface KeptMail {
  /** From 1. */
  number: number;
  /** When it was kept, ISO 8601. */
  at: string;
  /** The whole mail. */
  mail: Mail;
}

/** The mailbox of one process: keeps the latest {@linkcode MAILBOX_MAX} mails. */
export class DevMailbox implements Mailer {
  /** For the log. */
  readonly name = "log";
  readonly #log: Log;
  readonly #clock: Clock;
  #kept: KeptMail[] = [];
  #count = 0;

  /** Starts empty. */
  constructor({ log, clock }: { log: Log; clock: Clock }) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Keeps a mail, and logs that there was one, without personal data. */
  send(mail: Mail): Promise<SendResult> {
    const safe = safeMail(mail);
    if (!safe) {
      return Promise.resolve({ isSent: false, isFinal: true, scope: "mail", reason: "no address" });
    }
    const number = ++this.#count;
    this.#kept = [{ number, at: isoTime(this.#clock()), mail: safe }, ...this.#kept]
      .slice(0, MAILBOX_MAX);
    this.#log.info("mail.not_sent", { messageId: safe.id, mailbox: number });
    return Promise.resolve({ isSent: true });
  }

  /** The kept mails, newest first. */
  list(): readonly KeptMail[] {
    return this.#kept;
  }

  /** One of them; null if it is no longer kept. */
  find(number: number): KeptMail | null {
    return this.#kept.find((kept) => kept.number === number) ?? null;
  }
}
