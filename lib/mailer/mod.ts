/**
 * The contract of mailers; `open.ts` opens one.
 *
 * @module
 */
/** A file attached to a mail. */
export interface Attachment {
  /** The file name, with its extension. */
  name: string;
  /** The media type, such as `application/pdf`. */
  type: string;
  /** The contents. */
  bytes: Uint8Array;
}

/** One mail. */
export interface Mail {
  /** Becomes its Message-ID, by which a repeated mail is recognised. */
  id: string;
  /** The address of the sender. */
  from: string;
  /** The display name of the sender. */
  fromName?: string;
  /** The address of the recipient. */
  to: string;
  /** The address for replies; `from` when absent. */
  replyTo?: string;
  /** One line; a longer text is cut, other characters are replaced. */
  subject: string;
  /** The body as plain text. */
  text: string;
  /** The body as HTML, which most mail programs prefer. */
  html?: string;
  /** Attached files. */
  attachments?: readonly Attachment[];
  /** For mail that a recipient may unsubscribe from: a POST to it does so. */
  unsubscribeUrl?: string;
}

/** What a refusal applies to. */
export type RefusalScope =
  /** The address of the recipient: no mail is delivered there. */
  | "recipient"
  /** This mail. */
  | "mail"
  /** All mail: no connection, no answer, wrong credentials, no permission to send. */
  | "all";

/** The result of sending a mail. */
export type SendResult =
  | { isSent: true }
  | {
    isSent: false;
    /** A retry would fail too; never so for scope `all`. */
    isFinal: boolean;
    /** What the refusal applies to. */
    scope: RefusalScope;
    /** Codes or a few words, without addresses and credentials. */
    reason: string;
    /** The earliest retry, in milliseconds from now. */
    retryAfterMs?: number;
  };

/** Sends mail. */
export interface Mailer {
  /** The server's host, for the log; contains no secret. */
  readonly name: string;
  /**
   * Makes one attempt within `timeoutMs`. Never throws: a failure is a result. Texts
   * cannot inject headers: see `safeMail`.
   */
  send(mail: Mail, timeoutMs: number): Promise<SendResult>;
}
