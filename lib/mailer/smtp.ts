/**
 * Mail by SMTP. The client is loaded with the first mail.
 *
 * Between machines nothing is sent in the clear: `smtps:` speaks TLS from the
 * first byte, `smtp:` asks for STARTTLS and goes no further without it, unless
 * the server is on this machine.
 *
 * @module
 */
import type { Socket } from "node:net";
import { Buffer } from "node:buffer";
import type { SmtpServer } from "../config/endpoints.ts";
import { SECOND_MS, sleep } from "../time.ts";
import { headersOf, messageIdOf } from "./_message.ts";
import type { Mail, RefusalScope, SendResult } from "./mod.ts";

/** From the mail's acceptance until the connection is dropped, whether the server said goodbye or not. */
const PARTING_MS = SECOND_MS;

/**
 * Gives one mail to the server, over a connection of its own.
 *
 * @param mail With a safe head.
 * @param timeoutMs For all of it; the connection is dropped then.
 * @returns Never throws: a failure is told, in words without credentials.
 */
export async function sendMail(
  server: SmtpServer,
  mail: Mail,
  timeoutMs: number,
): Promise<SendResult> {
  const { promise: timeUp, resolve } = Promise.withResolvers<SendResult>();
  const reason = `no answer in ${timeoutMs} ms`;
  const late: SendResult = { isSent: false, isFinal: false, scope: "all", reason };
  const timer = setTimeout(() => resolve(late), timeoutMs);
  const attempt = new Attempt();
  const result = await Promise.race([attempt.send(server, mail, timeoutMs), timeUp]);
  clearTimeout(timer);
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
    const isHere = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/.test(host);
    const isInTheClear = isHere && ca === undefined;
    try {
      const transport = createTransport({
        connection: await this.#connected(server),
        host,
        port,
        secure: isImplicitTls,
        secured: isImplicitTls,
        requireTLS: !isImplicitTls && !isInTheClear,
        ignoreTLS: !isImplicitTls && isInTheClear,
        ...(credentials ? { auth: { user: credentials.user, pass: credentials.password } } : {}),
        ...(ca === undefined ? {} : { tls: { ca } }),
        greetingTimeout: timeoutMs,
        socketTimeout: timeoutMs,
        // The connection is ours to end, and no timer of it may outlive the mail.
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
   * A connection, by TLS if so configured. Made here to be sure that it ends; and
   * Deno 2.5 hangs when the library makes one by TLS, to a name that has several
   * addresses.
   */
  async #connected({ host, port, isImplicitTls, ca }: SmtpServer): Promise<Socket> {
    const [net, tls] = await Promise.all([import("node:net"), import("node:tls")]);
    if (this.#isEnded) throw new Error("There is no time left");
    const socket = isImplicitTls
      ? tls.connect({
        host,
        port,
        // An address is no server name.
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

  /** Waits a while for the parting to be answered, and drops the connection if there still is one. */
  async end(): Promise<void> {
    this.#isEnded = true;
    const timer = setTimeout(() => this.#socket?.destroy(), PARTING_MS);
    await this.#closed;
    clearTimeout(timer);
    await sleep(0); // what the library put off until now is done then
  }

  /** Drops the connection, if there is one. */
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

/** The mail is larger than the server takes: it says so to who sends, but means the mail. */
const TOO_LARGE = 552;
/** The door is closed to every mail. */
const CLOSING = 421;

/** Only codes are told: what a server says may repeat an address, and a credential. */
function failure(error: unknown): SendResult {
  const { code, responseCode, command }: {
    code?: unknown;
    responseCode?: unknown;
    command?: unknown;
  } = Object(error);
  // Before it is sent it is known that it is larger than the server said it takes.
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

/** A refusal of who sends, or of all, is for an operator to mend; the mail itself may be good. */
function scopeOf(code: unknown, command: unknown, status: number): RefusalScope {
  if (status === 0 || status === CLOSING) return "all";
  if (code === "EENVELOPE" && command === "RCPT TO") return "recipient";
  return code === "EMESSAGE" || command === "DATA" || status === TOO_LARGE ? "mail" : "all";
}
