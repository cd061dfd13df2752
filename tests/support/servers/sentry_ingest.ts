/**
 * An ingest endpoint of Sentry's protocol that keeps everything that it receives.
 *
 * @module
 */

/** One item of an envelope. */
export interface EnvelopeItem {
  /** `event`, `transaction`, `check_in`, … */
  type: string;
  // As varied as the protocol.
  // deno-lint-ignore no-explicit-any
  payload: any;
}

/** The endpoint, listening. */
export interface SentryIngest extends AsyncDisposable {
  /** The DSN for the program. */
  readonly dsn: string;
  readonly host: string;
  /** Everything received so far, in order. */
  readonly items: EnvelopeItem[];
  /** Everything received, headers included, as text, to search for what must not be sent. */
  text(): string;
  /** Items of one type. */
  of(type: string): EnvelopeItem["payload"][];
  /** From now on: `ok`, an error, or no answer until it is closed. */
  mood: "ok" | "error" | "hang";
}

/** Starts an endpoint on a free port. */
export function startSentryIngest(): SentryIngest {
  const items: EnvelopeItem[] = [];
  let all = "";
  const { promise: closing, resolve: close } = Promise.withResolvers<void>();
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const text = await readBody(request);
      all += `${request.url} ${JSON.stringify([...request.headers])}\n${text}\n`;
      items.push(...itemsOf(text));
      if (ingest.mood === "hang") await closing;
      return Response.json({ id: "0".repeat(32) }, { status: ingest.mood === "ok" ? 200 : 500 });
    },
  );
  const host = `127.0.0.1:${server.addr.port}`;
  const ingest: SentryIngest = {
    dsn: `http://public@${host}/42`,
    host,
    items,
    mood: "ok",
    text: () => all,
    of: (type) => items.filter((item) => item.type === type).map(({ payload }) => payload),
    async [Symbol.asyncDispose]() {
      close();
      await server.shutdown();
    },
  };
  return ingest;
}

async function readBody(request: Request): Promise<string> {
  const isGzip = request.headers.get("content-encoding") === "gzip";
  const body = request.body ?? new Blob().stream();
  return await new Response(isGzip ? body.pipeThrough(new DecompressionStream("gzip")) : body)
    .text();
}

/** An envelope: a header line, then for each item a header line and a payload line. */
function itemsOf(envelope: string): EnvelopeItem[] {
  const lines = envelope.split("\n").filter((line) => line !== "");
  const items: EnvelopeItem[] = [];
  for (let i = 1; i + 1 < lines.length; i += 2) {
    items.push({ type: JSON.parse(lines[i]!).type, payload: JSON.parse(lines[i + 1]!) });
  }
  return items;
}
