/**
 * An SMTP server with the faults that a test asks for, between messages and within them.
 * Correct behaviour is tested with a real server: `smtp_server.ts`.
 *
 * @module
 */

/** The fate of a mail. */
export type SmtpMood =
  | "take"
  /** The recipient is refused this time. */
  | "450"
  /** The recipient is refused for good. */
  | "550"
  /** The message is refused this time. */
  | "data 451"
  /** It refuses every connection. */
  | "421"
  /** It accepts the message, and disconnects before it answers. */
  | "drop after data"
  /** It never answers. */
  | "hang";

/** The server. */
export interface MoodySmtp extends AsyncDisposable {
  readonly port: number;
  /** From now on. */
  mood: SmtpMood;
  /** The Message-ID of each mail that it accepted, acknowledged or not. */
  readonly taken: string[];
  /** Connections so far. */
  connections: number;
  /** Accepts no connection until `up()`, on the same port. */
  down(): Promise<void>;
  up(): void;
}

/** Starts a server without faults. */
export function startMoodySmtp(): MoodySmtp {
  const open = new Set<Deno.TcpConn>();
  const work = new Set<Promise<void>>();
  let listener: Deno.TcpListener | null = null;
  let accepting: Promise<void> = Promise.resolve();

  const listen = (port: number) => {
    const listening = listener = Deno.listen({ hostname: "127.0.0.1", port });
    accepting = (async () => {
      for await (const connection of listening) {
        server.connections++;
        open.add(connection);
        const talking = talk(connection, server).catch(() => {}).finally(() => {
          open.delete(connection);
          work.delete(talking);
          close(connection);
        });
        work.add(talking);
      }
    })();
    return listening.addr.port;
  };
  const down = async () => {
    listener?.close();
    listener = null;
    for (const connection of open) close(connection);
    await Promise.all([accepting, ...work]);
  };
  const server: MoodySmtp = {
    port: 0,
    mood: "take",
    taken: [],
    connections: 0,
    down,
    up: () => void listen(server.port),
    [Symbol.asyncDispose]: down,
  };
  return Object.assign(server, { port: listen(0) });
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // It was closed before.
  }
}

async function talk(connection: Deno.TcpConn, server: MoodySmtp): Promise<void> {
  const say = (text: string) => connection.write(new TextEncoder().encode(`${text}\r\n`));
  const { mood } = server;
  if (mood === "421") return void await say("421 Not now");
  if (mood !== "hang") await say("220 here");
  let isData = false;
  let data = "";
  for await (const line of lines(connection)) {
    if (mood === "hang") continue;
    if (isData) {
      data += `${line}\n`;
      if (line !== ".") continue;
      isData = false;
      if (mood === "data 451") {
        await say("451 Not this time");
        continue;
      }
      server.taken.push(/^Message-ID: (.*)$/m.exec(data)?.[1] ?? "none");
      if (mood === "drop after data") return;
      await say("250 OK");
      continue;
    }
    const verb = line.slice(0, 4).toUpperCase();
    if (verb === "QUIT") return void await say("221 Bye");
    if (verb === "RCPT" && (mood === "450" || mood === "550")) await say(`${mood} No`);
    else if (verb === "DATA") {
      isData = true;
      await say("354 Go on");
    } else await say("250 OK");
  }
}

async function* lines(connection: Deno.TcpConn): AsyncGenerator<string> {
  let text = "";
  for await (const chunk of connection.readable.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const whole = text.split("\r\n");
    text = whole.pop()!;
    yield* whole;
  }
}
