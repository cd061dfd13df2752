/**
 * An SMTP server within the test that accepts mails, keeps them as received, and answers with
 * an error where a test asks for it. A real server is in `smtp_server.ts`.
 *
 * @module
 */
import PostalMime, { type Email } from "postal-mime";

/** A received mail. */
export interface TakenMail {
  /** The envelope's, as said: `<a@b>`. */
  from: string;
  to: string[];
  /** Head and body, without the dots of the protocol. */
  raw: string;
}

/** Its answers, where they are not an acceptance. */
export interface TakerReplies {
  greeting?: string;
  mail?: string;
  rcpt?: string;
  data?: string;
  message?: string;
}

/** The server. */
export interface MailTaker extends AsyncDisposable {
  /** The value for MAIL_URL. */
  readonly url: string;
  readonly taken: TakenMail[];
  replies: TakerReplies;
}

/** Starts it on 127.0.0.1. */
export function startMailTaker(replies: TakerReplies = {}): MailTaker {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const work = new Set<Promise<void>>();
  const server: MailTaker = {
    url: `smtp://127.0.0.1:${listener.addr.port}`,
    taken: [],
    replies,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      await Promise.all(work);
    },
  };
  const accepting = (async () => {
    for await (const connection of listener) {
      const talking: Promise<void> = talk(connection, server).catch(() => {}).finally(() => {
        try {
          connection.close();
        } catch {
          // It was closed before.
        }
        work.delete(talking);
      });
      work.add(talking);
    }
  })();
  return server;
}

async function talk(connection: Deno.TcpConn, { replies, taken }: MailTaker): Promise<void> {
  const say = (line: string) => connection.write(new TextEncoder().encode(`${line}\r\n`));
  await say(replies.greeting ?? "220 here");
  let mail: TakenMail = { from: "", to: [], raw: "" };
  let isData = false;
  for await (const line of linesOf(connection)) {
    if (isData) {
      if (line !== ".") mail.raw += `${line.replace(/^\./, "")}\r\n`;
      else {
        isData = false;
        if (!replies.message) taken.push(mail);
        mail = { from: "", to: [], raw: "" };
        await say(replies.message ?? "250 taken");
      }
      continue;
    }
    const [, verb = "", rest = ""] = /^(EHLO|HELO|MAIL FROM:|RCPT TO:|DATA|QUIT|RSET)(.*)$/i
      .exec(line) ?? [];
    switch (verb.toUpperCase()) {
      case "QUIT":
        return void await say("221 bye");
      case "MAIL FROM:":
        mail.from = rest;
        await say(replies.mail ?? "250 ok");
        break;
      case "RCPT TO:":
        mail.to.push(rest);
        await say(replies.rcpt ?? "250 ok");
        break;
      case "DATA":
        isData = replies.data === undefined;
        await say(replies.data ?? "354 go on");
        break;
      case "":
        await say("500 what");
        break;
      default:
        await say("250 ok");
    }
  }
}

async function* linesOf(connection: Deno.TcpConn): AsyncGenerator<string> {
  let bytes = "";
  // One character per byte, so that every encoding survives.
  const decoder = new TextDecoder("latin1");
  for await (const chunk of connection.readable) {
    bytes += decoder.decode(chunk, { stream: true });
    const lines = bytes.split("\r\n");
    bytes = lines.pop()!;
    yield* lines;
  }
}

/** A mail as a mail program reads it. */
export async function readMail(raw: string): Promise<Email> {
  return await PostalMime.parse(raw);
}

/** The values of a header, unfolded. */
export function headerOf(email: Email, name: string): string[] {
  return email.headers.filter(({ key }) => key === name.toLowerCase()).map(({ value }) => value);
}
