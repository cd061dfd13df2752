/**
 * How many leads a second the program accepts, beside what a bare Deno KV does
 * with the same bytes on the same machine in the same minute.
 *
 * The program is `main.ts` as in production: a process of its own, a KV file, a
 * JSON log that is read and dropped. A second process sends
 * `POST /api/v2/leads` for a product over keep-alive sockets, each lead from an
 * address, an e-mail address and a phone number of its own, every other one with
 * an Idempotency-Key. The first second of each round warms up and is not counted.
 *
 * The bare loops write the keys and the sizes of values that such a lead makes:
 * they are recorded from `acceptLead()`, log entry included. The naive one reads,
 * checks and retries as one would without `transact()`; one sequence gives the
 * numbers, as it must. The loop without contention checks nothing and would
 * be wrong as a program. The one with 32 leads in an atomic is what the
 * embedded store can do at all.
 *
 * How to read it: absolute numbers are the machine's; the ratios at the end are
 * ours. Requests a second must rise with the connections, and so must the leads
 * in one atomic, while reads and commits a request (each as the request saw it,
 * though it shared them) stay at 1.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { readConfig } from "../../lib/config/mod.ts";
import type { KvPort } from "../../lib/kv/store.ts";
import { type AcceptedLead, acceptLead } from "../../lib/leads/mod.ts";
import { openLog } from "../../lib/telemetry/log.ts";
import { createProduct, type NewProduct } from "../../lib/products/mod.ts";
import { openServices } from "../../lib/app/open.ts";
import { logLines, type ServerProcess, startServer } from "../support/processes/server_process.ts";

const HELP = `Measures how many leads a second the program accepts, beside a bare Deno KV.

Usage: deno task bench [options]

  --connections <list>  HTTP connections, a round each (default 1,16,64)
  --seconds <n>         length of a round and of a bare loop (default 4)
  --help                this text
`;

const WARM_UP_MS = 1_000;
/** Leads that share an atomic in the last bare loop. */
const GROUP = 32;
/** Bytes of the log in one value, as in `lib/kv/batch.ts`. */
const LOG_PART = 60_000;
const SECRET_KEY = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));
const API_KEY = "bench-bootstrap-api-key-0";
const HOST = "shop.example.com";
const PRODUCT: NewProduct = {
  slug: "duka-pos",
  title: "Duka POS",
  category: "saas",
  price: { currency: "TZS", minor: 45_000_000 },
  oldPrice: null,
  description: "<p>Point of sale for a shop.</p>",
  features: ["Works offline"],
  demoUrl: null,
  active: true,
};

/** What a generator is to do. */
interface Load {
  port: number;
  productId: string;
  connections: number;
  ms: number;
}

/** What a generator saw after the warm-up. */
interface Seen {
  /** Answered 201. */
  accepted: number;
  /** Anything else. */
  errors: number;
  perSecond: number;
  p50: number;
  p99: number;
}

async function bench(): Promise<void> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      connections: { type: "string", default: "1,16,64" },
      seconds: { type: "string", default: "4" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const rounds = values.connections.split(",").map(Number);
  const seconds = Number(values.seconds);
  if (!(seconds >= 1 && seconds <= 600) || !rounds.every((n) => n >= 1 && n <= 1_000)) {
    console.error(HELP);
    Deno.exit(2);
  }
  const directory = await Deno.makeTempDir({ prefix: "bench-" });
  try {
    console.log(`Deno ${Deno.version.deno}, ${navigator.hardwareConcurrency} cores\n`);
    const leads = await benchProgram(rounds, { directory, ms: seconds * 1_000 });
    const bare = await benchBare({ directory, ms: seconds * 1_000 });
    const most = Math.max(...leads);
    console.log(`\nThe program at its best, ${Math.round(most)} leads/s, is`);
    for (const [name, perSecond] of bare) {
      console.log(`  ${(most / perSecond).toFixed(2).padStart(6)} × ${name}`);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function benchProgram(
  rounds: number[],
  { directory, ms }: { directory: string; ms: number },
): Promise<number[]> {
  console.log(row("connections", [
    "leads/s",
    "p50 ms",
    "p99 ms",
    "reads/lead",
    "commits/lead",
    "leads/atomic",
    "errors",
  ]));
  const leads: number[] = [];
  for (const connections of rounds) {
    const kvPath = `${directory}/program${connections}.kv`;
    await using server = await startServer({
      kvPath,
      env: {
        APP_ENV: "production",
        PUBLIC_URL: `https://${HOST}`,
        SECRET_KEY,
        BOOTSTRAP_API_KEY: API_KEY,
        RATE_LIMITS: "",
        // Each lead comes from an address of its own, as the proxy tells it.
        TRUSTED_PROXY_HOPS: "1",
        ALLOWED_HOSTS: "127.0.0.1",
      },
    });
    const productId = await stock(server);
    const seen = await inAnotherProcess({ port: server.port, productId, connections, ms });
    server.kill("SIGTERM");
    const { stdout } = await server.ended;
    const lines = logLines(stdout)
      .filter(({ event, route, method }) =>
        event === "request.answered" && route === "/api/v2/leads" && method === "POST"
      );
    const mean = (name: string) =>
      (lines.reduce((sum, line) => sum + Number(line[name]), 0) / lines.length).toFixed(3);
    console.log(row(String(connections), [
      Math.round(seen.perSecond),
      seen.p50.toFixed(1),
      seen.p99.toFixed(1),
      mean("kvReads"),
      mean("kvCommits"),
      (lines.length / await countAtomics(kvPath)).toFixed(1),
      seen.errors,
    ]));
    leads.push(seen.perSecond);
  }
  return leads;
}

/** Puts a product on sale. @returns Its id. */
async function stock({ url }: ServerProcess): Promise<string> {
  const response = await fetch(`${url}/api/v2/products`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${API_KEY}`,
      "content-type": "application/json",
      "x-forwarded-proto": "https",
    },
    body: JSON.stringify(PRODUCT),
  });
  const { id } = await response.json();
  if (response.status !== 201) throw new Error(`The product was answered ${response.status}`);
  return id;
}

/** Every atomic leaves one log entry with a first part. */
async function countAtomics(kvPath: string): Promise<number> {
  using kv = await Deno.openKv(kvPath);
  let atomics = 0;
  for await (const _ of kv.list({ prefix: ["log", 0] })) atomics++;
  return atomics;
}

async function inAnotherProcess(load: Load): Promise<Seen> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-net", import.meta.url, "generate", JSON.stringify(load)],
  }).output();
  const decoder = new TextDecoder();
  if (code !== 0) throw new Error(`The generator ended with ${code}: ${decoder.decode(stderr)}`);
  return JSON.parse(decoder.decode(stdout));
}

/** Sends leads over so many connections, one at a time over each, until time is up. */
async function generate({ port, productId, connections, ms }: Load): Promise<Seen> {
  const countFrom = performance.now() + WARM_UP_MS;
  const endAt = countFrom + ms;
  const latencies: number[] = [];
  let errors = 0;
  const work = Array.from({ length: connections }, async () => {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port });
    socket.setNoDelay(true);
    const exchange = exchanger(socket);
    for (;;) {
      const startedAt = performance.now();
      if (startedAt >= endAt) break;
      const status = await exchange(leadRequest(productId));
      const now = performance.now();
      if (startedAt < countFrom || now > endAt) continue;
      if (status === 201) latencies.push(now - startedAt);
      else errors++;
    }
    socket.close();
  });
  await Promise.all(work);
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor(latencies.length * share)] ?? 0;
  return {
    accepted: latencies.length,
    errors,
    perSecond: latencies.length * 1_000 / ms,
    p50: at(0.5),
    p99: at(0.99),
  };
}

/** Sends a request over a socket and reads the answer to its end. @returns Its status. */
function exchanger(socket: Deno.TcpConn): (request: Uint8Array) => Promise<number> {
  const buffer = new Uint8Array(64 * 1_024);
  const decoder = new TextDecoder("latin1");
  return async (request) => {
    for (let at = 0; at < request.length;) at += await socket.write(request.subarray(at));
    for (let length = 0;;) {
      const read = await socket.read(buffer.subarray(length));
      if (read === null) throw new Error("The server closed the connection");
      length += read;
      const text = decoder.decode(buffer.subarray(0, length));
      const headEnd = text.indexOf("\r\n\r\n");
      if (headEnd < 0) continue;
      // Deno 2.5 sends in chunks what it might have compressed.
      const size = /^content-length: (\d+)/im.exec(text.slice(0, headEnd))?.[1];
      const isWhole = size === undefined
        ? text.endsWith("\r\n0\r\n\r\n")
        : length >= headEnd + 4 + Number(size);
      if (isWhole) return Number(text.slice(9, 12));
    }
  };
}

const encoder = new TextEncoder();
let made = 0;

/** A person of their own, in no order. */
function person() {
  const n = made++;
  // 7,368,787 is prime to ten million, so it passes through all numbers once.
  const scattered = String((n * 7_368_787) % 10_000_000).padStart(7, "0");
  return {
    name: `Asha Mushi ${scattered}`,
    email: `${scattered}.asha@example.com`,
    phone: `+25571${scattered}`,
    address: `10.${n >> 16 & 255}.${n >> 8 & 255}.${n & 255}`,
    key: n % 2 === 0 ? crypto.randomUUID() : null,
  };
}

function leadRequest(productId: string): Uint8Array {
  const { name, email, phone, address, key } = person();
  const body = JSON.stringify({ name, email, phone, message: MESSAGE, productId });
  return encoder.encode(
    `POST /api/v2/leads HTTP/1.1\r\nhost: ${HOST}\r\nx-forwarded-for: ${address}\r\nx-forwarded-proto: https\r\n` +
      `${key === null ? "" : `idempotency-key: ${key}\r\n`}content-type: application/json\r\n` +
      `content-length: ${body.length}\r\n\r\n${body}`,
  );
}

const MESSAGE = "Habari, tunahitaji mfumo wa mauzo kwa maduka mawili. Tafadhali nipigie simu.";

/** What one lead reads and writes, as the store was asked to. */
interface Footprint {
  accepted: AcceptedLead;
  reads: Deno.KvKey[];
  writes: { key: Deno.KvKey; value: unknown }[];
  /** The log entry that goes with them. */
  log: Uint8Array;
  sequence: Deno.KvKey;
}

/** Lets `acceptLead()` accept one and records it. */
async function footprintOf(): Promise<Footprint> {
  const config = readConfig({ APP_ENV: "test", KV_PATH: ":memory:" });
  const log = openLog({ level: "error", format: "json" });
  const recorded = { reads: [] as Deno.KvKey[], writes: [] as Footprint["writes"] };
  const services = await openServices(config, {
    log,
    clock: Date.now,
    random: Math.random,
    wrapKv: (kv) => recorder(kv, recorded),
  });
  const caller = { actor: "public", requestId: crypto.randomUUID() } as const;
  const product = await createProduct(services, PRODUCT, { ...caller, idempotencyKey: null });
  recorded.reads.length = 0;
  recorded.writes.length = 0;
  const { name, email, phone } = person();
  const accepted = await acceptLead(services, {
    name,
    email,
    phone,
    message: MESSAGE,
    productId: product.id,
    quantity: 1,
    source: "website",
    marketingConsent: false,
  }, { ...caller, idempotencyKey: crypto.randomUUID() });
  await services.store.close();
  const { reads, writes } = recorded;
  const isLog = ({ key }: { key: Deno.KvKey }) => key[0] === "log";
  return {
    accepted,
    reads,
    writes: writes.filter((write) => !isLog(write)),
    log: writes.find(isLog)!.value as Uint8Array, // the store writes nothing else there
    sequence: reads.find(([first]) => first === "invoice_sequence")!,
  };
}

function recorder(kv: KvPort, recorded: Pick<Footprint, "reads" | "writes">): KvPort {
  return {
    getMany: kv.getMany.bind(kv),
    list: kv.list.bind(kv),
    close: () => kv.close(),
    commitVersionstamp: () => kv.commitVersionstamp(),
    atomic() {
      const atomic = kv.atomic();
      const { check, set } = atomic;
      atomic.check = (...checks) => {
        recorded.reads.push(...checks.map(({ key }) => key));
        return check.apply(atomic, checks);
      };
      atomic.set = (key, value, options) => {
        recorded.writes.push({ key, value });
        return set.call(atomic, key, value, options);
      };
      return atomic;
    },
  };
}

/** Names that another lead has in place of the recorded one's: as long, and as ordered. */
function renamer({ accepted: { lead, client, invoice } }: Footprint) {
  const { email, phone } = person();
  const names = new Map<Deno.KvKeyPart, Deno.KvKeyPart>([
    [lead.id, timeOrdered()],
    [client.id, timeOrdered()],
    [invoice!.id, timeOrdered()],
    [client.email!, email],
    [client.phone!, phone],
  ]);
  return (key: Deno.KvKey, number: number): Deno.KvKey => {
    // The receipt of a digest, which is in no order.
    if (key[0] === "op") return ["op", crypto.randomUUID() + "0123456"];
    return key.map((part) =>
      part === invoice!.number
        ? `INV-2026-${String(number).padStart(6, "0")}`
        : names.get(part) ?? part
    );
  };
}

let ids = Date.now() * 4_096;

function timeOrdered(): string {
  const digits = (ids++).toString(16).padStart(16, "0");
  return `${digits.slice(0, 8)}-${digits.slice(8, 12)}-7${digits.slice(12, 15)}${
    crypto.randomUUID().slice(18)
  }`;
}

/** The bare loops. @returns Leads a second, by name. */
async function benchBare(
  { directory, ms }: { directory: string; ms: number },
): Promise<[string, number][]> {
  const footprint = await footprintOf();
  const bytes = footprint.writes.reduce(
    (sum, { value }) => sum + (value as Uint8Array).length,
    footprint.log.length,
  );
  console.log(
    `\nA lead writes ${footprint.writes.length} keys and a log entry, ${bytes} bytes of values.\n`,
  );
  const loops: [name: string, atOnce: number, accept: BareLoop][] = [
    ["bare KV, one optimistic commit a lead, 1 at once", 1, naive],
    ["bare KV, one optimistic commit a lead, 64 at once", 64, naive],
    ["bare KV, one commit a lead without contention, 64 at once", 64, single],
    [`bare KV, ${GROUP} leads a commit`, 2, grouped],
  ];
  const results: [string, number][] = [];
  for (const [i, [name, atOnce, accept]] of loops.entries()) {
    using kv = await Deno.openKv(`${directory}/bare${i}.kv`);
    const state: BareState = { kv, footprint, last: 0 };
    const countFrom = performance.now() + WARM_UP_MS / 2;
    const endAt = countFrom + ms;
    let leads = 0;
    await Promise.all(Array.from({ length: atOnce }, async () => {
      while (performance.now() < endAt) {
        const accepted = await accept(state);
        const now = performance.now();
        if (now >= countFrom && now <= endAt) leads += accepted;
      }
    }));
    const perSecond = leads * 1_000 / ms;
    console.log(row(name, [Math.round(perSecond)]));
    results.push([name, perSecond]);
  }
  return results;
}

interface BareState {
  kv: Deno.Kv;
  footprint: Footprint;
  /** The last number given by loops that need not read it. */
  last: number;
}

/** Tries once. @returns How many leads were accepted. */
type BareLoop = (state: BareState) => Promise<number>;

async function naive({ kv, footprint }: BareState): Promise<number> {
  const { reads, writes, log, sequence } = footprint;
  const rename = renamer(footprint);
  const keys = reads.map((key) => rename(key, 0));
  const entries = await kv.getMany<unknown[]>(keys);
  const last = Number(entries[reads.indexOf(sequence)]!.value ?? 0);
  const atomic = kv.atomic().check(...entries);
  for (const { key, value } of writes) {
    atomic.set(rename(key, last + 1), key === sequence ? last + 1 : value);
  }
  atomic.set(["log", 0, kv.commitVersionstamp()], log);
  return (await atomic.commit()).ok ? 1 : 0;
}

async function single(state: BareState): Promise<number> {
  await commitTogether(state, 1);
  return 1;
}

async function grouped(state: BareState): Promise<number> {
  await commitTogether(state, GROUP);
  return GROUP;
}

async function commitTogether(state: BareState, leads: number): Promise<void> {
  const { kv, footprint: { writes, log, sequence } } = state;
  const atomic = kv.atomic();
  for (let i = 0; i < leads; i++) {
    const rename = renamer(state.footprint);
    const number = ++state.last;
    for (const { key, value } of writes) {
      if (key !== sequence) atomic.set(rename(key, number), value);
    }
  }
  atomic.set(sequence, state.last);
  for (let at = 0; at < log.length * leads; at += LOG_PART) {
    const part = new Uint8Array(Math.min(LOG_PART, log.length * leads - at));
    atomic.set(["log", at / LOG_PART, kv.commitVersionstamp()], part);
  }
  await atomic.commit();
}

function row(name: string, cells: (string | number)[]): string {
  const width = cells.length === 1 ? 60 : 12;
  return name.padEnd(width) + cells.map((cell) => String(cell).padStart(13)).join("");
}

if (import.meta.main) {
  const [mode, load] = Deno.args;
  if (mode === "generate") console.log(JSON.stringify(await generate(JSON.parse(load!))));
  else await bench();
}
