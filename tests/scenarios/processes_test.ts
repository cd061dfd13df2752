// What only the real program shows, with one file under it: several writers,
// kill -9, signals, bad starts. The store is looked at when all writers are dead.

// Under the name `equal`, Deno exports from here what compares with `==`.
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { encode } from "../../lib/kv/codec.ts";
import { environment, readConfig } from "../../lib/config/mod.ts";
import { sweep } from "../../lib/integrity/sweep.ts";
import * as keys from "../../lib/kv/keys.ts";
import type { Client, Invoice, Lead } from "../../lib/kv/records.ts";
import { openLog } from "../../lib/telemetry/log.ts";
import { openServices } from "../../lib/app/open.ts";
import { sleep, systemClock } from "../../lib/time.ts";
import {
  logLines,
  runServer,
  type ServerProcess,
  startServer,
} from "../support/processes/server_process.ts";

const KILLS = 100;
/** Kills come at a random moment of this many milliseconds of load. */
const KILL_WITHIN_MS = 250;
/** The platform kills after five seconds. */
const STOPPED_WITHIN_MS = 4_500;

Deno.test("three processes on one file lose no lead and give no number twice", async () => {
  await using store = await newStore();
  await using first = await startServer(store);
  const servers = [first, ...await Promise.all([startServer(store), startServer(store)])];
  await using _rest = killedAtEnd(servers);
  const productId = await anyProduct(first);
  const fresh = Array.from({ length: 240 }, (_, i) => ({
    server: servers[i % 3]!,
    sent: newSent(productId),
  }));
  const sameClient = Array.from({ length: 120 }, (_, i) => ({
    server: servers[i % 3]!,
    sent: newSent(productId, { email: `client${i % 10}@example.com`, phone: undefined }),
  }));
  const sameKey = Array.from({ length: 40 }, () => newSent(productId))
    .flatMap((sent) => servers.map((server) => ({ server, sent: { ...sent } })));

  await Promise.all(
    [...fresh, ...sameClient, ...sameKey].map(({ server, sent }) => send(server, sent)),
  );
  for (const server of servers) await stopped(server, "SIGTERM");

  const all = [...fresh, ...sameClient, ...sameKey].map(({ sent }) => sent);
  deepEqual(all.map(({ answer }) => answer?.status), all.map(() => 201));
  for (let i = 0; i < sameKey.length; i += 3) {
    const [one, two, three] = sameKey.slice(i, i + 3).map(({ sent }) => sent.answer!);
    deepEqual([two!.body, three!.body], [one!.body, one!.body]);
  }
  const books = await readBooks(store.kvPath);
  deepEqual(books.problems, []);
  deepEqual(missing(books, all), []);
  equal(books.leads.size, 240 + 120 + 40);
  equal(books.clients.size, 240 + 10 + 40);
  equal(books.invoices.size, 240 + 120 + 40);
});

Deno.test(`a kill -9 under load loses nothing that was acknowledged, ${KILLS} times`, async () => {
  await using store = await newStore();
  const all: Sent[] = [];
  let unanswered: Sent[] = [];
  let unansweredTotal = 0;
  let applied = 0;
  let productId = "";

  for (let cycle = 0; cycle < KILLS; cycle++) {
    await using server = await startServer(store);
    productId ||= await anyProduct(server);
    const retries = unanswered;
    const load = Array.from({ length: 16 }, async () => {
      for (;;) {
        let sent = retries.pop();
        if (!sent) all.push(sent = newSent(productId));
        // Once it is killed, nothing answers.
        if (!await send(server, sent).then(() => true, () => false)) return sent;
        if (sent.tries > 1 && sent.answer!.isReplay) applied++;
      }
    });
    await sleep(Math.random() * KILL_WITHIN_MS);
    server.kill("SIGKILL");
    await server.ended;
    unanswered = [...await Promise.all(load), ...retries];
    unansweredTotal += unanswered.length;
    // Every other time, so that it is also the program that finds the file as the kill left it.
    if (cycle % 2 === 0) deepEqual(await torn(store.kvPath, unanswered), []);
  }

  const acknowledged = all.filter(({ answer }) => answer);
  const before = await readBooks(store.kvPath);
  const lost = missing(before, acknowledged);
  await using server = await startServer(store);
  await Promise.all(unanswered.map((sent) => send(server, sent)));
  const replayed = acknowledged.slice(-50).map((sent) => ({ ...sent, answer: null }));
  await Promise.all(replayed.map((sent) => send(server, sent)));
  await stopped(server, "SIGTERM");
  const after = await readBooks(store.kvPath);
  console.log(
    `  ${KILLS} kills: ${acknowledged.length} acknowledged, ${lost.length} lost, ` +
      `${before.problems.length} torn; ${unansweredTotal} unanswered, of which ${applied} were applied`,
  );

  deepEqual(lost, []);
  deepEqual(before.problems, []);
  deepEqual(all.map(({ answer }) => answer?.status), all.map(() => 201));
  deepEqual(
    replayed.map(({ answer }) => answer),
    acknowledged.slice(-50).map(({ answer }) => ({ ...answer, isReplay: true })),
  );
  deepEqual(after.problems, []);
  deepEqual(missing(after, all), []);
  equal(after.leads.size, all.length);
  equal(after.clients.size, all.length);
  equal(after.invoices.size, all.length);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`${signal} under load answers what is in flight, then ends with 0`, async () => {
    await using store = await newStore();
    await using server = await startServer(store);
    const productId = await anyProduct(server);
    const inFlight = await Promise.all(Array.from({ length: 16 }, () => begin(server, productId)));
    const load = Array.from({ length: 16 }, async () => {
      const done: Sent[] = [];
      for (;;) {
        const sent = newSent(productId);
        done.push(sent);
        if (!await send(server, sent).then(() => true, () => false)) return done;
      }
    });
    await sleep(300);

    const stopping = stopped(server, signal);
    await sleep(50);
    const begun = await Promise.all(inFlight.map(({ finish }) => finish()));
    const { code, stdout } = await stopping;

    const all = [...(await Promise.all(load)).flat(), ...begun];
    const accepted = all.filter(({ answer }) => answer?.status === 201);
    const refused = all.filter(({ answer }) => answer && answer.status !== 201);
    const broken = all.length - accepted.length - refused.length;
    equal(code, 0);
    // Deno 2.9 cuts off what has not come whole when the stop begins; 2.5 waits for it.
    ok(
      begun.every(({ answer }) => answer && [201, 503].includes(answer.status)),
      Deno.inspect(begun[0]),
    );
    deepEqual(refused.map(({ answer }) => answer!.status), refused.map(() => 503));
    ok(refused.every((sent) => begun.includes(sent)));
    deepEqual(
      // Of requests and of the mails that follow from them there are as many as there was time for.
      logLines(stdout).map(({ event }) => event)
        .filter((event) => !/^(?:request|mail|message)\./.test(event)),
      ["server.started", "server.stopping", "server.stopped"],
    );
    const books = await readBooks(store.kvPath);
    deepEqual(books.problems, []);
    deepEqual(missing(books, accepted), []);
    // Sent over a connection that was being closed: one of each sender at most.
    ok(broken <= 16);
    ok(books.leads.size >= accepted.length && books.leads.size <= accepted.length + broken);
  });
}

Deno.test("a stop with nobody there is immediate, and twice is once", async () => {
  await using store = await newStore();
  await using server = await startServer(store);
  await anyProduct(server); // leaves an idle connection

  server.kill("SIGINT");
  server.kill("SIGINT");
  const { code, stderr } = await within(STOPPED_WITHIN_MS, server.ended);

  equal(code, 0);
  equal(stderr, "");
  await rejects(fetch(server.url));
});

Deno.test("a sender that never ends its request does not hold up the stop", async () => {
  await using store = await newStore();
  await using server = await startServer(store);
  const connect = () => Deno.connect({ hostname: "127.0.0.1", port: server.port });
  using _silent = await connect();
  using unfinished = await connect();
  const head = "POST /api/v2/leads HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{";
  await unfinished.write(new TextEncoder().encode(head));
  await sleep(100);

  const { code } = await stopped(server, "SIGTERM");

  equal(code, 0);
});

Deno.test("a wrong environment ends the start with one readable list", async () => {
  await using store = await newStore();

  const { code, stdout, stderr } = await runServer({
    ...store,
    env: { APP_ENV: "production", PORT: "http", LOG_LEVEL: "loud" },
  });

  equal(code, 1);
  equal(stdout, "");
  const [head, ...list] = stderr.trim().split("\n");
  match(head!, /^The configuration has \d problems:$/);
  equal(list.length, Number(head!.match(/\d/)![0]));
  for (const line of list) match(line, /^ {2}- [A-Z_]+ .*$/);
  for (const name of ["PORT", "LOG_LEVEL", "PUBLIC_URL", "SECRET_KEY"]) {
    ok(list.some((line) => line.startsWith(`  - ${name} `)), `${name} is not in: ${stderr}`);
  }
  await rejects(Deno.stat(store.kvPath), Deno.errors.NotFound);
});

Deno.test("a store whose restore was not finished is not served", async () => {
  await using store = await newStore();
  {
    using kv = await Deno.openKv(store.kvPath);
    await kv.set(keys.restoring, encode({ phase: "base" }));
  }

  const { code, stderr } = await runServer({ ...store });

  equal(code, 1);
  match(stderr, /A restore of this store was not finished/);
});

Deno.test("a port in use ends the start with one line that names it", async () => {
  await using store = await newStore();
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;

  const { code, stderr } = await runServer({ ...store, env: { PORT: String(port) } });

  equal(code, 1);
  equal(stderr, `Cannot listen on 127.0.0.1:${port}: the port is in use; set PORT to another\n`);
});

Deno.test("the first start has the demo catalogue, and the second the same", async () => {
  await using store = await newStore();
  const startedAt = performance.now();
  await using server = await startServer(store);
  const products = await catalogue(server);
  const firstMs = performance.now() - startedAt;
  console.log(
    `  listening after ${Math.round(server.startMs)} ms, answered after ${Math.round(firstMs)} ms`,
  );
  await stopped(server, "SIGTERM");
  await using again = await startServer(store);

  const productsAgain = await catalogue(again);

  equal(products.length, 4);
  deepEqual(productsAgain, products);
});

Deno.test("processes that start at once on an empty store fill the catalogue once", async () => {
  for (let round = 0; round < 5; round++) {
    await using store = await newStore();
    const servers = await Promise.all([startServer(store), startServer(store)]);
    await using _all = killedAtEnd(servers);

    const [one, two] = await Promise.all(servers.map(catalogue));

    equal(one!.length, 4);
    deepEqual(two, one);
  }
});

/** An answer to an enquiry. */
interface Answer {
  status: number;
  body: { lead: Lead; client: { id: string }; invoice: Invoice };
  /** It had been done before. */
  isReplay: boolean;
}

/** An enquiry that was sent, and what came back. */
interface Sent {
  key: string;
  body: { name: string; email: string; phone?: string | undefined; productId: string };
  tries: number;
  answer: Answer | null;
}

let made = 0;

function newSent(productId: string, contact: Partial<Sent["body"]> = {}): Sent {
  const n = made++;
  return {
    key: crypto.randomUUID(),
    body: {
      name: `Asha ${n}`,
      email: `asha${n}@example.com`,
      phone: `+2557${String(10_000_000 + n)}`,
      productId,
      ...contact,
    },
    tries: 0,
    answer: null,
  };
}

/** Sends an enquiry and notes the answer. @throws when the connection breaks before it is read. */
async function send({ url }: ServerProcess, sent: Sent): Promise<void> {
  sent.tries++;
  const response = await fetch(`${url}/api/v2/leads`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": sent.key },
    body: JSON.stringify(sent.body),
  });
  const body = await response.json();
  const isReplay = response.headers.has("idempotency-replayed");
  sent.answer = { status: response.status, body, isReplay };
}

/** Sends all but the end of an enquiry, and returns what sends the rest and reads the answer. */
async function begin({ port }: ServerProcess, productId: string) {
  const sent = newSent(productId);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const text = JSON.stringify(sent.body);
  const head = [
    "POST /api/v2/leads HTTP/1.1",
    `host: 127.0.0.1:${port}`,
    "content-type: application/json",
    `content-length: ${text.length}`,
    `idempotency-key: ${sent.key}`,
  ];
  const write = (text: string) => connection.write(new TextEncoder().encode(text));
  await write(`${head.join("\r\n")}\r\n\r\n${text.slice(0, 10)}`);
  async function finish(): Promise<Sent> {
    await write(text.slice(10));
    // The server is stopping: it closes the connection after the answer.
    const answer = await new Response(connection.readable).text();
    sent.answer = {
      status: Number(answer.split(" ")[1]),
      // Deno 2.5 sends it in one chunk, with its length before it.
      body: JSON.parse(/\{.*\}/.exec(answer)![0]),
      isReplay: false,
    };
    return sent;
  }
  return { finish };
}

async function catalogue({ url }: ServerProcess): Promise<{ id: string; slug: string }[]> {
  const response = await fetch(`${url}/api/v2/products`);
  equal(response.status, 200);
  return (await response.json()).data;
}

async function anyProduct(server: ServerProcess): Promise<string> {
  return (await catalogue(server))[0]!.id;
}

/** Asks the program to end, and waits until it has. */
async function stopped(server: ServerProcess, signal: Deno.Signal) {
  server.kill(signal);
  return await within(STOPPED_WITHIN_MS, server.ended);
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`It took over ${ms} ms`)), ms);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function newStore() {
  const directory = await Deno.makeTempDir();
  return {
    kvPath: `${directory}/test.kv`,
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

function killedAtEnd(servers: ServerProcess[]): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]();
    },
  };
}

/** All that is stored, and what is wrong with it. */
interface Books {
  leads: Map<string, Lead>;
  clients: Map<string, Client>;
  invoices: Map<string, Invoice>;
  problems: string[];
}

/** Opens the store of a program that is no more. */
async function openStore(kvPath: string) {
  const config = readConfig({ ...environment(), APP_ENV: "test", KV_PATH: kvPath });
  const log = openLog({ level: "error", format: "json" });
  return (await openServices(config, { log, clock: systemClock, random: Math.random })).store;
}

/** Reads the whole store and checks that every entry has what belongs to it, and nothing else is there. */
async function readBooks(kvPath: string): Promise<Books> {
  using store = await openStore(kvPath);
  const read = async <T>(prefix: keys.Prefix<T>) =>
    new Map(
      (await store.list(prefix, { limit: 1_000_000 }))
        .map(({ key, value }) => [keys.keyText(key), value]),
    );
  const byId = <T extends { id: string }>(entries: Map<string, T>) =>
    new Map([...entries.values()].map((entity) => [entity.id, entity]));
  const leads = byId(await read(keys.leads));
  const clients = byId(await read(keys.clients));
  const invoices = byId(await read(keys.invoices));

  const expected = new Map<string, string>();
  const expect = (key: keys.Key<string>, id: string) => expected.set(keys.keyText(key), id);
  const problems: string[] = [];
  for (const { id, email, phone } of clients.values()) {
    if (email !== null) expect(keys.clientByEmail(email), id);
    if (phone !== null) expect(keys.clientByPhone(phone), id);
  }
  for (const { id, clientId, status, invoiceId } of leads.values()) {
    expect(keys.leadByStatus(status, id), id);
    expect(keys.leadByClient(clientId, id), id);
    if (!clients.has(clientId)) problems.push(`lead ${id} has no client`);
    const invoice = invoices.get(invoiceId!);
    if (invoice?.leadId !== id || invoice.clientId !== clientId) {
      problems.push(`lead ${id} has no invoice`);
    }
  }
  for (const { id, clientId, leadId, status, number } of invoices.values()) {
    expect(keys.invoiceByStatus(status, id), id);
    expect(keys.invoiceByClient(clientId, id), id);
    expect(keys.invoiceByNumber(number!), id);
    if (!leads.has(leadId!)) problems.push(`invoice ${id} has no lead`);
  }
  const found = new Map<string, string>();
  for (const name of INDEXES) {
    for (const [key, id] of await read<string>([name])) found.set(key, id);
  }
  for (const [key, id] of expected) if (found.get(key) !== id) problems.push(`${key} is missing`);
  for (const key of found.keys()) if (!expected.has(key)) problems.push(`${key} leads nowhere`);

  const numbers = [...invoices.values()].map(({ number }) => Number(number!.slice(-6)));
  numbers.sort((a, b) => a - b).forEach((number, i) => {
    if (number !== i + 1) problems.push(`number ${number} stands at ${i + 1}`);
  });
  const [sequence = { last: 0 }] = (await read<{ last: number }>(["invoice_sequence"])).values();
  if (sequence.last !== numbers.length) problems.push(`the sequence is at ${sequence.last}`);
  const { isComplete, findings } = await sweep({ store });
  ok(isComplete);
  problems.push(...findings.map(({ check, key }) => `${check} at ${key}`));
  return { leads, clients, invoices, problems };
}

const INDEXES = [
  "client_by_email",
  "client_by_phone",
  "lead_by_status",
  "lead_by_client",
  "invoice_by_status",
  "invoice_by_client",
  "invoice_by_number",
];

/** What of the answers is not in the books as it was answered. */
function missing({ leads, clients, invoices }: Books, answered: Sent[]): string[] {
  return answered.filter(({ body, answer }) => {
    const { lead, client, invoice } = answer!.body;
    const { createdBy: _by, createdIn: _in, chain: _chain, ...stored } = leads.get(lead.id) ??
      {} as Lead;
    const owner = clients.get(client.id);
    return JSON.stringify(stored) !== JSON.stringify(lead) || owner?.email !== body.email ||
      invoices.get(invoice.id)?.number !== invoice.number;
  }).map(({ key }) => key);
}

/** Enquiries without an answer that are there only in part. Each has a client of its own. */
async function torn(kvPath: string, unanswered: Sent[]): Promise<string[]> {
  using store = await openStore(kvPath);
  const states = unanswered.map(async ({ body: { email, phone } }) => {
    const [byEmail, byPhone] = await store.getMany([
      keys.clientByEmail(email),
      keys.clientByPhone(phone!),
    ]);
    if (!byEmail && !byPhone) return [];
    if (byEmail !== byPhone) return [email];
    const client = await store.get(keys.client(byEmail!));
    const leads = await store.list(keys.leadsByClient(byEmail!), { limit: 2 });
    const lead = await store.get(keys.lead(leads[0]?.value ?? ""));
    const invoice = await store.get(keys.invoice(lead?.invoiceId ?? ""));
    const isWhole = client && leads.length === 1 && lead && invoice &&
      await store.get(keys.invoiceByNumber(invoice.number!)) === invoice.id &&
      await store.get(keys.invoiceByStatus("open", invoice.id)) === invoice.id &&
      await store.get(keys.leadByStatus("new", lead.id)) === lead.id;
    return isWhole ? [] : [email];
  });
  return (await Promise.all(states)).flat();
}
