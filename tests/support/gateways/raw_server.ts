/**
 * An HTTP server that can break a connection instead of answering, which those of the
 * platform cannot. One request for each connection; bodies need a Content-Length.
 *
 * @module
 */

/** A request that has been read. */
export interface RawRequest {
  method: string;
  url: URL;
  headers: Headers;
  /** Empty if there was none. */
  body: string;
}

/** What is answered; `break` closes the connection without a byte. */
export type RawAnswer =
  | { status: number; headers?: Record<string, string>; body?: string }
  | "break";

/** The server, listening on 127.0.0.1. */
export interface RawServer extends AsyncDisposable {
  /** Without a slash at the end. */
  readonly url: string;
}

/** Starts a server. What a handler throws breaks the connection, as does its end. */
export function startRawServer(
  handle: (request: RawRequest) => Promise<RawAnswer>,
  port = 0,
): RawServer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port });
  const open = new Map<Deno.TcpConn, Promise<void>>();
  const accepting = (async () => {
    for await (const connection of listener) {
      const exchange = answer(connection, handle)
        .catch(() => {}) // the client has gone, or the server ends
        .finally(() => {
          close(connection);
          open.delete(connection);
        });
      open.set(connection, exchange);
    }
  })();
  return {
    url: `http://127.0.0.1:${listener.addr.port}`,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      const exchanges = [...open.values()];
      for (const connection of open.keys()) close(connection);
      await Promise.all(exchanges);
    },
  };
}

async function answer(
  connection: Deno.TcpConn,
  handle: (request: RawRequest) => Promise<RawAnswer>,
): Promise<void> {
  const request = await read(connection);
  if (!request) return;
  const answered = await handle(request);
  if (answered === "break") return;
  const { status, headers = {}, body = "" } = answered;
  const bytes = new TextEncoder().encode(body);
  const head = [
    `HTTP/1.1 ${status} ${status < 400 ? "OK" : "No"}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `content-length: ${bytes.length}`,
    "connection: close",
    ...("date" in headers ? [] : [`date: ${new Date().toUTCString()}`]),
  ];
  await writeAll(connection, new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n`));
  await writeAll(connection, bytes);
  // A reset on what was not read yet would take the answer with it.
  await connection.closeWrite();
  await drain(connection);
}

/** Undefined if the client says nothing. */
async function read(connection: Deno.TcpConn): Promise<RawRequest | undefined> {
  let bytes = new Uint8Array();
  const more = async () => {
    const chunk = new Uint8Array(16_384);
    const size = await connection.read(chunk);
    if (size === null) return false;
    const joined = new Uint8Array(bytes.length + size);
    joined.set(bytes);
    joined.set(chunk.subarray(0, size), bytes.length);
    bytes = joined;
    return true;
  };
  let end = -1;
  while (end < 0) {
    if (!(await more())) return undefined;
    // One character a byte, so that places are those of bytes.
    end = new TextDecoder("latin1").decode(bytes).indexOf("\r\n\r\n");
  }
  const [start = "", ...lines] = new TextDecoder("latin1").decode(bytes.slice(0, end)).split(
    "\r\n",
  );
  const headers = new Headers(lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  }));
  const length = Number(headers.get("content-length") ?? 0);
  while (bytes.length < end + 4 + length) if (!(await more())) return undefined;
  const [method = "", target = "/"] = start.split(" ");
  return {
    method,
    // A client that takes us for its proxy says the whole address.
    url: new URL(target, "http://localhost"),
    headers,
    body: new TextDecoder().decode(bytes.slice(end + 4, end + 4 + length)),
  };
}

async function drain(connection: Deno.TcpConn): Promise<void> {
  const rest = new Uint8Array(1_024);
  while (await connection.read(rest) !== null);
}

async function writeAll(connection: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += await connection.write(bytes.subarray(done));
  }
}

function close(connection: Deno.TcpConn): void {
  try {
    connection.close();
  } catch {
    // It has ended already.
  }
}
