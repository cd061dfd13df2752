/**
 * Mail by SMTP. The client is loaded with the first mail.
 *
 * Nothing is sent unencrypted to another machine: `smtps:` uses TLS from the first
 * byte, `smtp:` requires STARTTLS unless the server is on this machine.
 *
 * @module
 */
import type { Socket } from "node:net";
import { Buffer } from "node:buffer";
import type { SmtpServer } from "../config/endpoints.ts";
import { isLoopbackHost } from "../outgoing/mod.ts";
import { SECOND_MS, sleep, withDeadline } from "../time.ts";
import { headersOf, messageIdOf } from "./_message.ts";
import type { Mail, RefusalScope, SendResult } from "./mod.ts";

/** From the acceptance of the mail until the connection is dropped, with or without the server's goodbye. */
const CLOSE_MS = SECOND_MS;

/**
 * Sends one mail over a connection of its own.
 *
 * @param mail With a safe head.
 * @param timeoutMs For the whole exchange; the connection is dropped then.
 * @returns Never throws: a failure is a result, in words without credentials.
 */
export async function sendMail(
  server: SmtpServer,
  mail: Mail,
  timeoutMs: number,
): Promise<SendResult> {
  const attempt = new Attempt();
  const result = await withDeadline(
    attempt.send(server, mail, timeoutMs),
    timeoutMs,
    (): SendResult => ({
      isSent: false,
      isFinal: false,
      scope: "all",
      reason: `no answer in ${timeoutMs} ms`,
    }),
  );
  if (!result.isSent) attempt.drop();
  await attempt.end();
  return result;
}

/** One connection and one mail over it. */
class Attempt {
  #socket: Socket | undefined;
  #closed: Promise<void> = Promise.resolve();
  #isEnded = false;

  async send(server: SmtpServer, mail: Mail, timeoutMs: number): Promise<SendResult> {
    const { host, port, isImplicitTls, credentials, ca } = server;
    const { createTransport } = await import("nodemailer");
    const isPlain = isLoopbackHost(host) && ca === undefined;
    try {
      const transport = createTransport({
        connection: await this.#connected(server),
        host,
        port,
        secure: isImplicitTls,
        secured: isImplicitTls,
        requireTLS: !isImplicitTls && !isPlain,
        ignoreTLS: !isImplicitTls && isPlain,
        ...(credentials ? { auth: { user: credentials.user, pass: credentials.password } } : {}),
        ...(ca === undefined ? {} : { tls: { ca } }),
        greetingTimeout: timeoutMs,
        socketTimeout: timeoutMs,
        // This class closes the connection; no timer may outlive the mail.
        socketCloseTimeout: 0,
        disableFileAccess: true,
        disableUrlAccess: true,
      });
      await transport.sendMail(messageOf(mail));
      return { isSent: true };
    } catch (error) {
      return failure(error);
    }
  }

  /**
   * A connection, by TLS if so configured. Made here so that it is certain to end; and
   * Deno 2.5 hangs when the library makes a TLS connection to a name with several
   * addresses.
   */
  async #connected({ host, port, isImplicitTls, ca }: SmtpServer): Promise<Socket> {
    const [net, tls] = await Promise.all([import("node:net"), import("node:tls")]);
    if (this.#isEnded) throw new Error("The time limit was reached");
    const socket = isImplicitTls
      ? tls.connect({
        host,
        port,
        // An IP address is not a server name.
        ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
        ...(ca === undefined ? {} : { ca }),
      })
      : net.connect({ host, port });
    this.#socket = socket;
    this.#closed = new Promise((closed) => socket.once("close", () => closed()));
    await new Promise<void>((connected, failed) => {
      socket.once(isImplicitTls ? "secureConnect" : "connect", () => connected());
      socket.once("error", failed);
      socket.once("close", () => failed(new Error("The connection was closed")));
    });
    return socket;
  }

  /** Waits briefly for the server to close the connection, then drops it. */
  async end(): Promise<void> {
    this.#isEnded = true;
    const timer = setTimeout(() => this.#socket?.destroy(), CLOSE_MS);
    await this.#closed;
    clearTimeout(timer);
    await sleep(0); // lets the library finish what it postponed
  }

  /** Drops the connection at once. */
  drop(): void {
    this.#isEnded = true;
    this.#socket?.destroy();
  }
}

function messageOf(mail: Mail) {
  const { from, fromName = "", to, replyTo, subject, text, html, attachments = [] } = mail;
  return {
    messageId: messageIdOf(mail),
    from: { name: fromName, address: from },
    to: { name: "", address: to },
    subject,
    text,
    ...(replyTo === undefined ? {} : { replyTo: { name: "", address: replyTo } }),
    ...(html === undefined ? {} : { html }),
    attachments: attachments.map(({ name, type, bytes }) => ({
      filename: name,
      contentType: type,
      content: Buffer.from(bytes),
    })),
    headers: headersOf(mail),
  };
}

/** The mail exceeds the server's size limit: a refusal of the mail, although it answers MAIL FROM. */
const TOO_LARGE = 552;
/** The server accepts no mail at all. */
const CLOSING = 421;

/** Codes only: a server's text may repeat an address or a credential. */
function failure(error: unknown): SendResult {
  const { code, responseCode, command }: {
    code?: unknown;
    responseCode?: unknown;
    command?: unknown;
  } = Object(error);
  // The library compares the size with the announced limit before it sends.
  const isKnownTooLarge = code === "EMESSAGE" && command === "MAIL FROM";
  const status = isKnownTooLarge ? TOO_LARGE : typeof responseCode === "number" ? responseCode : 0;
  const scope = scopeOf(code, command, status);
  return {
    isSent: false,
    isFinal: scope !== "all" && status >= 500,
    scope,
    reason: [code, status || undefined].filter((part) => part !== undefined).join(" ") ||
      "no connection",
  };
}

/** A refusal of the sender, or of all mail, is for an operator to fix; the mail may be valid. */
function scopeOf(code: unknown, command: unknown, status: number): RefusalScope {
  if (status === 0 || status === CLOSING) return "all";
  if (code === "EENVELOPE" && command === "RCPT TO") return "recipient";
  return code === "EMESSAGE" || command === "DATA" || status === TOO_LARGE ? "mail" : "all";
}
