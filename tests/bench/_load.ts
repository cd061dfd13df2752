/**
 * Sends load over keep-alive connections, one request at a time over each. It runs in
 * a process of its own, so that it takes no time from what it measures.
 *
 * @module
 */
import { percentile, type Rate } from "./_figures.ts";
import { cpuEach, cpuMs, inAnotherProcess, type Program } from "./_processes.ts";
import { enquiryRequest, readRequest } from "./_visitors.ts";

/** What is sent. */
export type Requests =
  /** A lead from each visitor from number `first` on. */
  | { kind: "leads"; productId: string; first: number }
  /** The same request again and again. */
  | { kind: "reads"; path: string; key: string | null };

/** How much is sent. */
export interface Amount {
  connections: number;
  /** How long it is measured, after a warm-up. */
  ms: number;
  warmUpMs: number;
}

/** What a generator saw. */
interface Seen {
  /** Answered as expected, warm-up included: 201 to a lead, 200 to a read. */
  accepted: number;
  /** The first answer that was not; null if all were. */
  refused: string | null;
  perSecond: number;
  p50: number;
  p99: number;
}

/** A rate, and how many requests were accepted in all. */
export interface Loaded {
  rate: Rate;
  accepted: number;
}

/** Sends load to a program. @throws if it answers anything but success */
export async function load(
  { port, pid }: Program,
  requests: Requests,
  amount: Amount,
): Promise<Loaded> {
  const before = cpuMs(pid);
  const seen = await inAnotherProcess<Seen>("_load.ts", { port, requests, amount });
  const { accepted, refused, perSecond, p50, p99 } = seen;
  if (refused !== null) throw new Error(`A request was answered ${refused}`);
  return { rate: { perSecond, p50, p99, cpuUs: cpuEach(before, cpuMs(pid), accepted) }, accepted };
}

async function send(
  { port, requests, amount }: { port: number; requests: Requests; amount: Amount },
): Promise<Seen> {
  const countFrom = performance.now() + amount.warmUpMs;
  const endAt = countFrom + amount.ms;
  const latencies: number[] = [];
  const expected = requests.kind === "leads" ? "201" : "200";
  const next = requestsOf(requests);
  let accepted = 0;
  let refused: string | null = null;
  await Promise.all(Array.from({ length: amount.connections }, async () => {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port });
    socket.setNoDelay(true);
    const exchange = exchanger(socket);
    for (;;) {
      const startedAt = performance.now();
      if (startedAt >= endAt || refused !== null) break;
      const answer = await exchange(next());
      const endedAt = performance.now();
      if (answer.startsWith(expected)) accepted++;
      else refused ??= answer;
      if (startedAt >= countFrom && endedAt <= endAt) latencies.push(endedAt - startedAt);
    }
    socket.close();
  }));
  return {
    accepted,
    refused,
    perSecond: latencies.length * 1_000 / amount.ms,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
  };
}

function requestsOf(requests: Requests): () => Uint8Array<ArrayBuffer> {
  if (requests.kind === "leads") {
    let { first } = requests;
    return () => enquiryRequest(first++, requests.productId);
  }
  const request = readRequest(requests.path, requests.key);
  return () => request;
}

const CRLF_TWICE = [13, 10, 13, 10];
const LAST_CHUNK = [13, 10, 48, ...CRLF_TWICE];

/** Sends a request and reads the answer to its end. @returns Its status and reason, such as `200 OK`. */
function exchanger(socket: Deno.TcpConn): (request: Uint8Array) => Promise<string> {
  let buffer = new Uint8Array(64 * 1_024);
  const decoder = new TextDecoder("latin1");
  return async (request) => {
    for (let at = 0; at < request.length;) at += await socket.write(request.subarray(at));
    let length = 0;
    let head: { text: string; size: number | null } | null = null;
    for (;;) {
      if (length === buffer.length) buffer = grown(buffer);
      const read = await socket.read(buffer.subarray(length));
      if (read === null) throw new Error("The server closed the connection");
      length += read;
      head ??= headOf(decoder.decode(buffer.subarray(0, length)));
      // Deno 2.5 sends in chunks what it might have compressed.
      const isWhole = head !== null &&
        (head.size === null
          ? endsWith(buffer.subarray(0, length), LAST_CHUNK)
          : length >= head.size);
      if (isWhole) return head!.text.slice(9, head!.text.indexOf("\r\n"));
    }
  };
}

/** The head of an answer and the bytes of all of it, null if it comes in chunks. */
function headOf(text: string): { text: string; size: number | null } | null {
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return null;
  const head = text.slice(0, end + 4);
  const size = /^content-length: (\d+)/im.exec(head)?.[1];
  return { text: head, size: size === undefined ? null : head.length + Number(size) };
}

function endsWith(bytes: Uint8Array, end: number[]): boolean {
  const at = bytes.length - end.length;
  return at >= 0 && end.every((byte, i) => bytes[at + i] === byte);
}

function grown(buffer: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(buffer.length * 2);
  larger.set(buffer);
  return larger;
}

if (import.meta.main) console.log(JSON.stringify(await send(JSON.parse(Deno.args[0]!))));
