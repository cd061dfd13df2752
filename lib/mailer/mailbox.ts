/**
 * Where mail goes on a laptop: nowhere. The last ones can be looked at.
 *
 * @module
 */
import type { Log } from "../telemetry/log.ts";
import { type Clock, isoTime } from "../time.ts";
import { safeMail } from "./_message.ts";
import type { Mail, Mailer, SendResult } from "./mod.ts";

/** So many are kept. */
export const MAILBOX_MAX = 50;

/** A mail that was not sent. */
export interface KeptMail {
  /** Counts from 1. */
  number: number;
  /** When it came, ISO 8601. */
  at: string;
  /** All of it. */
  mail: Mail;
}

/** The mailbox of one process: takes everything, and keeps the last {@linkcode MAILBOX_MAX}. */
export class DevMailbox implements Mailer {
  /** As the log has it. */
  readonly name = "log";
  readonly #log: Log;
  readonly #clock: Clock;
  #kept: KeptMail[] = [];
  #count = 0;

  /** Begins empty. */
  constructor({ log, clock }: { log: Log; clock: Clock }) {
    this.#log = log;
    this.#clock = clock;
  }

  /** Keeps a mail, and writes down that there was one: nothing of it that is personal. */
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

  /** What is kept, newest first. */
  list(): readonly KeptMail[] {
    return this.#kept;
  }

  /** One of them; null if it is not kept any more. */
  find(number: number): KeptMail | null {
    return this.#kept.find((kept) => kept.number === number) ?? null;
  }
}
