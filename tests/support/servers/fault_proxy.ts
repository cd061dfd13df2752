/**
 * A proxy between an HTTP client and its server that records every call and injects faults
 * into those that a test chooses. The bytes of a call are forwarded unchanged, so that
 * signatures stay valid.
 *
 * One call for each connection; bodies need a Content-Length.
 *
 * @module
 */

/** One call, as its head says. */
export interface ProxiedCall {
  method: string;
  /** Path and query. */
  target: string;
  headers: Headers;
}

/** The fate of a call; without a fault it is forwarded. */
export interface ProxyFault {
  /** Answers with this status and this body; the server receives nothing. */
  answer?: { status: number; body: string };
  /** Breaks the connection after so many bytes of the request's body. */
  cutRequestAt?: number;
  /** Breaks the connection after so many bytes of the answer, head included. */
  cutAnswerAt?: number;
  /** Flips one bit of this byte of the request's body. */
  spoilRequestAt?: number;
  /** Flips one bit of this byte of the answer's body. */
  spoilAnswerAt?: number;
  /** Waits before the answer is forwarded. */
  delayMs?: number;
}

/** A running proxy; disposing of it breaks its open connections. */
export interface FaultProxy extends AsyncDisposable {
  /** The address for the client. */
  readonly url: string;
  /** All calls so far. */
  readonly calls: ProxiedCall[];
  /** Decides the fault of each call when its head has arrived. */
  fault: (call: ProxiedCall) => ProxyFault;
}

/** Starts a proxy of the server at `upstream`, such as `http://127.0.0.1:20123`. */
export function startFaultProxy(upstream: string): FaultProxy {
  return new TcpProxy(new URL(upstream));
}

class TcpProxy implements FaultProxy {
  readonly url: string;
  readonly calls: ProxiedCall[] = [];
  fault: (call: ProxiedCall) => ProxyFault = () => ({});
  readonly #upstream: URL;
  readonly #listener: Deno.TcpListener;
  readonly #open = new Set<Deno.TcpConn>();
  readonly #ended: Promise<void>;

  constructor(upstream: URL) {
    this.#upstream = upstream;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.url = `http://127.0.0.1:${this.#listener.addr.port}`;
    this.#ended = this.#serve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#open) close(connection);
    await this.#ended;
  }

  async #serve(): Promise<void> {
    const exchanges = new Set<Promise<void>>();
    for await (const client of this.#listener) {
      this.#open.add(client);
      const exchange = this.#exchange(client)
        .catch(() => {}) // one of the two has gone
        .finally(() => {
          close(client);
          this.#open.delete(client);
          exchanges.delete(exchange);
        });
      exchanges.add(exchange);
    }
    await Promise.all(exchanges);
  }

  async #exchange(client: Deno.TcpConn): Promise<void> {
    const request = new Message(client);
    const head = await request.head();
    const call = parseHead(head);
    this.calls.push(call);
    const fault = this.fault(call);
    const length = Number(call.headers.get("content-length") ?? 0);
    if (fault.answer) {
      await request.body(length, () => Promise.resolve());
      const { status, body } = fault.answer;
      const size = new TextEncoder().encode(body).length;
      return await writeAll(
        client,
        encode(
          `HTTP/1.1 ${status} x\r\nconnection: close\r\ncontent-length: ${size}\r\n\r\n${body}`,
        ),
      );
    }
    const { hostname, port } = this.#upstream;
    const server = await Deno.connect({ hostname, port: Number(port) });
    this.#open.add(server);
    try {
      // A client that uses it as a proxy sends the whole URL.
      const direct = head.replace(/^(\w+) http:\/\/[^/ ]+/, "$1 ");
      await writeAll(server, encode(`${direct}\r\nconnection: close\r\n\r\n`));
      const sent = spoiled(
        fault.spoilRequestAt,
        cut(fault.cutRequestAt, (chunk) => writeAll(server, chunk)),
      );
      await request.body(length, sent);
      await this.#answer(client, new Message(server), fault);
    } finally {
      close(server);
      this.#open.delete(server);
    }
  }

  async #answer(client: Deno.TcpConn, answer: Message, fault: ProxyFault): Promise<void> {
    const head = encode(`${await answer.head()}\r\n\r\n`);
    if (fault.delayMs !== undefined) {
      await new Promise((done) => setTimeout(done, fault.delayMs));
    }
    const passed = cut(fault.cutAnswerAt, (chunk) => writeAll(client, chunk));
    await passed(head);
    await answer.body(Infinity, spoiled(fault.spoilAnswerAt, passed));
  }
}

type Sink = (chunk: Uint8Array) => Promise<void>;

/** Forwards the first `at` bytes, then throws. */
function cut(at = Infinity, sink: Sink): Sink {
  let left = at;
  return async (chunk) => {
    if (chunk.length > 0 && left > 0) await sink(chunk.subarray(0, left));
    left -= chunk.length;
    if (left <= 0) throw new Error("Cut");
  };
}

/** Forwards everything, with one bit of byte `at` flipped. */
function spoiled(at = -1, sink: Sink): Sink {
  let position = 0;
  return (chunk) => {
    const i = at - position;
    position += chunk.length;
    if (i < 0 || i >= chunk.length) return sink(chunk);
    const copy = chunk.slice();
    copy[i]! ^= 1;
    return sink(copy);
  };
}

/** Half of an exchange: a head, then a body. */
class Message {
  readonly #connection: Deno.TcpConn;
  #buffered = new Uint8Array();

  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  /** The head without the empty line at its end. */
  async head(): Promise<string> {
    for (;;) {
      const text = new TextDecoder("latin1").decode(this.#buffered);
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) {
        this.#buffered = this.#buffered.slice(end + 4);
        return text.slice(0, end);
      }
      const chunk = await this.#read();
      if (!chunk) throw new Error("Ended within the head");
      const joined = new Uint8Array(this.#buffered.length + chunk.length);
      joined.set(this.#buffered);
      joined.set(chunk, this.#buffered.length);
      this.#buffered = joined;
    }
  }

  /** Hands `length` bytes to `sink`, or all that come. */
  async body(length: number, sink: Sink): Promise<void> {
    let left = length;
    if (this.#buffered.length > 0) await sink(this.#buffered);
    left -= this.#buffered.length;
    while (left > 0) {
      const chunk = await this.#read();
      if (!chunk) return;
      left -= chunk.length;
      await sink(chunk);
    }
  }

  async #read(): Promise<Uint8Array | undefined> {
    const chunk = new Uint8Array(64 * 1024);
    const size = await this.#connection.read(chunk);
    return size === null ? undefined : chunk.subarray(0, size);
  }
}

function parseHead(head: string): ProxiedCall {
  const [first = "", ...lines] = head.split("\r\n");
  const [method = "", target = ""] = first.split(" ");
  const pairs = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  });
  return { method, target, headers: new Headers(pairs) };
}

/** Heads are read and written byte for byte. */
function encode(head: string): Uint8Array {
  return Uint8Array.from(head, (char) => char.charCodeAt(0));
}

async function writeAll(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    written += await connection.write(bytes.subarray(written));
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}
