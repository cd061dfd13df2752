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
import type { SmtpServer } from "../endpoints.ts";
import { SECOND_MS, sleep } from "../time.ts";

/** From the mail's acceptance until the connection is dropped, whether the server said goodbye or not. */
const PARTING_MS = SECOND_MS;

/** One mail. */
export interface Mail {
  /** Makes its Message-ID: the same mail sent twice can be recognised as one. */
  id: string;
  /** An address, or `Name <address>`. */
  from: string;
  /** An address. */
  to: string;
  /** One line. */
  subject: string;
  /** The body as plain text. */
  text: string;
  /** The body as HTML, for programs that prefer it. */
  html?: string;
}

/** What became of a mail; `isFinal` when sending it again would end the same. */
export type SendResult =
  | { isSent: true }
  | { isSent: false; isFinal: boolean; reason: string };

/**
 * Gives one mail to the server, over a connection of its own.
 *
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
  const timer = setTimeout(() => resolve({ isSent: false, isFinal: false, reason }), timeoutMs);
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

function messageOf({ id, from, to, subject, text, html }: Mail) {
  return {
    messageId: `<${id}@${domainOf(from)}>`,
    from,
    to,
    subject,
    text,
    ...(html === undefined ? {} : { html }),
    headers: { "Auto-Submitted": "auto-generated" },
  };
}

function domainOf(address: string): string {
  return /@([\w.-]+)>?\s*$/.exec(address)?.[1] ?? "localhost";
}

/** Only codes are told: what a server says may repeat an address, and a credential. */
function failure(error: unknown): SendResult {
  const { code, responseCode }: { code?: unknown; responseCode?: unknown } = Object(error);
  const isRefused = typeof responseCode === "number";
  return {
    isSent: false,
    // A refusal of who sends is for an operator to mend; the mail itself may be good.
    isFinal: isRefused ? responseCode >= 500 && code !== "EAUTH" : code === "EENVELOPE",
    reason: [code, responseCode].filter((part) => part !== undefined).join(" ") || "no connection",
  };
}
