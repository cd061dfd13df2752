/** Sends enquiries to processes of the program, and compares the answers with the store. */
import { ok, strictEqual as equal } from "node:assert/strict";
import { environment, readConfig } from "../../lib/config/mod.ts";
import { sweep } from "../../lib/integrity/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import type { Client, Invoice, Lead } from "../../lib/kv/records.ts";
import { openLog } from "../../lib/telemetry/mod.ts";
import { openServices } from "../../lib/app/open.ts";
import { systemClock } from "../../lib/time.ts";
import type { ServerProcess } from "../support/processes/server_process.ts";
import { PATIENT } from "../support/store/deadlines.ts";

/** The platform kills after five seconds. */
export const STOPPED_WITHIN_MS = 4_500;

/** An answer to an enquiry. */
interface Answer {
  status: number;
  body: { lead: Lead; client: { id: string }; invoice: Invoice };
  /** It had been done before. */
  isReplay: boolean;
}

/** An enquiry that was sent, and what came back. */
export interface Sent {
  key: string;
  body: { name: string; email: string; phone?: string | undefined; productId: string };
  tries: number;
  answer: Answer | null;
}

let made = 0;

export function newSent(productId: string, contact: Partial<Sent["body"]> = {}): Sent {
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
export async function send({ url }: ServerProcess, sent: Sent): Promise<void> {
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

/**
 * Repeats an enquiry while the answer asks for it: a busy machine may be slower than the store's
 * deadlines.
 */
export async function sendPatiently(server: ServerProcess, sent: Sent): Promise<void> {
  do await send(server, sent); while (sent.answer?.status === 503);
}

/** Sends all but the end of an enquiry, and returns what sends the rest and reads the answer. */
export async function begin({ port }: ServerProcess, productId: string) {
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

export async function catalogue({ url }: ServerProcess): Promise<{ id: string; slug: string }[]> {
  const response = await fetch(`${url}/api/v2/products`);
  equal(response.status, 200);
  return (await response.json()).data;
}

export async function anyProduct(server: ServerProcess): Promise<string> {
  return (await catalogue(server))[0]!.id;
}

/** Asks the program to end, and waits until it has. */
export async function stopped(server: ServerProcess, signal: Deno.Signal) {
  server.kill(signal);
  return await within(STOPPED_WITHIN_MS, server.ended);
}

export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`It took over ${ms} ms`)), ms);
  });
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export async function newStore() {
  const directory = await Deno.makeTempDir();
  return {
    kvPath: `${directory}/test.kv`,
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

export function killedAtEnd(servers: ServerProcess[]): AsyncDisposable {
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
  return (await openServices(config, {
    log,
    clock: systemClock,
    random: Math.random,
    deadlines: PATIENT,
  })).store;
}

/** Reads the whole store, and checks that it has exactly the index entries that belong to it. */
export async function readBooks(kvPath: string): Promise<Books> {
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
export function missing({ leads, clients, invoices }: Books, answered: Sent[]): string[] {
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
export async function torn(kvPath: string, unanswered: Sent[]): Promise<string[]> {
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
