/**
 * Mail, whichever way it is given away.
 *
 * @module
 */
/** A file that goes with a mail. */
export interface Attachment {
  /** A name with its ending. */
  name: string;
  /** Such as `application/pdf`. */
  type: string;
  /** All of it. */
  bytes: Uint8Array;
}

/** One mail. */
export interface Mail {
  /** Makes its Message-ID: the same mail sent twice can be recognised as one. */
  id: string;
  /** An address. */
  from: string;
  /** What is shown in its place. */
  fromName?: string;
  /** An address. */
  to: string;
  /** Who gets the answers; `from` when absent. */
  replyTo?: string;
  /** One line; longer ones and other characters are cut. */
  subject: string;
  /** The body as plain text. */
  text: string;
  /** The body as HTML, for programs that prefer it. */
  html?: string;
  /** What goes with it. */
  attachments?: readonly Attachment[];
  /** Of mail that somebody may not want: where a POST ends it. */
  unsubscribeUrl?: string;
}

/** What a refusal is of. */
export type RefusalScope =
  /** The address: no mail gets there. */
  | "recipient"
  /** This mail. */
  | "mail"
  /** All mail: no answer, no connection, not let in, not allowed to send. */
  | "all";

/** What became of a mail. */
export type SendResult =
  | { isSent: true }
  | {
    isSent: false;
    /** Sending it again would end the same; never so for what is of all mail. */
    isFinal: boolean;
    /** What it is of. */
    scope: RefusalScope;
    /** Codes or a few words, without addresses and credentials. */
    reason: string;
    /** Not to be tried again before, in milliseconds from now. */
    retryAfterMs?: number;
  };

/** Gives mail away. */
export interface Mailer {
  /** Which way, for the log: says nothing secret. */
  readonly name: string;
  /**
   * Makes one attempt, that ends within `timeoutMs`. Never throws: a failure is
   * told. What is in the mail's head cannot add to it: see `safeMail`.
   */
  send(mail: Mail, timeoutMs: number): Promise<SendResult>;
}
