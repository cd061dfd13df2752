/**
 * Whatever people do to the shop at the same moment, the books are those of the
 * answers that they got.
 *
 * The model is what was acknowledged: entities by id, each as the answer with the
 * highest revision told it. Random commands run several at once over a real KV;
 * after each run every invariant holds, all that was acknowledged is stored as it
 * was told, and nothing else is.
 */
// Under their short names Deno exports from here what compares with `==`.
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { changeClient, eraseClient } from "../../lib/leads/clients.ts";
import { AppError, type ErrorKind } from "../../lib/errors.ts";
import { sweep } from "../../lib/integrity/sweep.ts";
import { changeInvoice, createInvoice, issueInvoice, voidInvoice } from "../../lib/invoices/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import type {
  AuditEntry,
  Client,
  Entity,
  Invoice,
  Lead,
  LeadStatus,
  Product,
} from "../../lib/kv/records.ts";
import { type AcceptedLead, acceptLead, moveLead } from "../../lib/leads/mod.ts";
import type { Caller } from "../../lib/entities/caller.ts";
import { changeProduct, createProduct } from "../../lib/products/mod.ts";
import { DAY_MS } from "../../lib/time.ts";
import { PRODUCT } from "../support/program/app.ts";
import { type Books, invoiceOf, leadOf, openBooks } from "../support/program/books.ts";
import { bySchedule, COMMIT_FAULTS, FaultyKv, seededRandom } from "../support/store/faulty_kv.ts";

/** Something that somebody does; numbers pick from what there is, and null is none. */
type Command =
  | {
    does: "accept";
    person: number;
    way: "email" | "phone" | "both";
    product: number | null;
    quantity: number;
    key: number | null;
  }
  | { does: "move"; lead: number; status: LeadStatus; key: number | null }
  | {
    does: "write";
    client: number;
    product: number | null;
    isDraft: boolean;
    key: number | null;
  }
  | { does: "edit"; invoice: number; taxMinor: number }
  | { does: "issue"; invoice: number; key: number | null }
  | { does: "void"; invoice: number; key: number | null }
  | { does: "update"; client: number; person: number; way: "email" | "phone" }
  | { does: "erase"; client: number }
  | { does: "stock"; slug: number }
  | { does: "reprice"; product: number; minor: number }
  | { does: "rename"; product: number; slug: number }
  | { does: "toggle"; product: number; active: boolean };

/** Commands in flight together, after some days have passed. */
interface Moment {
  days: number;
  commands: Command[];
}

const pick = fc.nat({ max: 40 });
/** Few people, so that they meet; few keys, so that they come again. */
const person = fc.nat({ max: 4 });
const key = fc.option(fc.nat({ max: 3 }), { freq: 2 });
const product = fc.option(fc.nat({ max: 5 }), { freq: 2 });
const slug = fc.nat({ max: 4 });

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      does: fc.constant("accept" as const),
      person,
      way: fc.constantFrom("email" as const, "phone" as const, "both" as const),
      product,
      quantity: fc.integer({ min: 1, max: 2 }),
      key,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant("move" as const),
      lead: pick,
      status: fc.constantFrom<LeadStatus>("new", "contacted", "qualified", "won", "lost"),
      key,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      does: fc.constant("write" as const),
      client: pick,
      product,
      isDraft: fc.boolean(),
      key,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("edit" as const),
      invoice: pick,
      taxMinor: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ does: fc.constant("issue" as const), invoice: pick, key }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ does: fc.constant("void" as const), invoice: pick, key }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constant("update" as const),
      client: pick,
      person,
      way: fc.constantFrom("email" as const, "phone" as const),
    }),
  },
  fc.record({ does: fc.constant("erase" as const), client: pick }),
  fc.record({ does: fc.constant("stock" as const), slug }),
  fc.record({
    does: fc.constant("reprice" as const),
    product: pick,
    minor: fc.integer({ min: 1, max: 3 }),
  }),
  fc.record({ does: fc.constant("rename" as const), product: pick, slug }),
  fc.record({ does: fc.constant("toggle" as const), product: pick, active: fc.boolean() }),
);

function moments({ least, most }: { least: number; most: number }): fc.Arbitrary<Moment[]> {
  return fc.array(
    fc.record({
      days: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 90 })),
      commands: fc.array(command, { minLength: 2, maxLength: 10, size: "max" }),
    }),
    { minLength: least, maxLength: most, size: "max" },
  );
}

/** What was asked, and what the answer was. */
interface Exchange {
  command: Command;
  /** As the use case got it, with the ids that the numbers stood for. */
  input: string;
  by: Caller;
  ended: { kind: "done"; answer: unknown } | { kind: ErrorKind };
  /** Asks the same again, under another request id. */
  again: () => Promise<Exchange>;
}

/** Commands that always write when they succeed, so that they always leave a receipt. */
const ALWAYS_WRITE = new Set(["accept", "write", "issue", "void"]);
/** Nothing was stored, and the store was well. */
const REFUSALS = new Set<ErrorKind>(["conflict", "invalid_input", "idempotency_key_reused"]);

/** What was acknowledged. */
class Model {
  readonly products = new Map<string, Product>();
  /** By id, as they were last told; null for one that was only named. */
  readonly clients = new Map<string, Client | null>();
  readonly leads = new Map<string, Lead>();
  readonly invoices = new Map<string, Invoice>();
  readonly exchanges: Exchange[] = [];

  /** Takes in an answer. */
  learn({ command, ended }: Exchange): void {
    if (ended.kind !== "done") return;
    const { answer } = ended;
    switch (command.does) {
      case "accept": {
        const { lead, client, invoice } = answer as AcceptedLead;
        equal(lead.clientId, client.id);
        equal(lead.invoiceId, invoice?.id ?? null);
        learnOne(this.leads, lead);
        if (invoice) learnOne(this.invoices, invoice);
        if (!this.clients.has(client.id)) this.clients.set(client.id, null);
        return;
      }
      case "move":
        return learnOne(this.leads, answer as Lead);
      case "write":
      case "edit":
      case "issue":
      case "void":
        return learnOne(this.invoices, answer as Invoice);
      case "update":
      case "erase":
        return learnOne(this.clients, answer as Client);
      case "stock":
      case "reprice":
      case "rename":
      case "toggle":
        return learnOne(this.products, answer as Product);
      default:
        return command satisfies never;
    }
  }
}

/** Two answers about one revision are the same. */
function learnOne<T extends Entity>(known: Map<string, T | null>, told: T): void {
  const before = known.get(told.id);
  if (before && before.revision > told.revision) return; // an older answer, told again
  if (before?.revision === told.revision) deepEqual(told, before);
  known.set(told.id, told);
}

/** The shop, the people in front of it, and what they were told. */
class Run {
  readonly model = new Model();
  /** Whether every other command has a key of its own, so that it can be repeated, and the rest none. */
  readonly #hasOwnKeys: boolean;
  #requests = 0;
  #keysOf = 0;

  constructor(readonly books: Books, { hasOwnKeys = false }: { hasOwnKeys?: boolean } = {}) {
    this.#hasOwnKeys = hasOwnKeys;
  }

  async live({ days, commands }: Moment): Promise<void> {
    this.books.advance(days * DAY_MS);
    // Keys are forgotten after two days or seven; a new day has new ones.
    if (days > 0) this.#keysOf++;
    const started = commands.map((command) => this.#start(command));
    for (const exchange of await Promise.all(started)) {
      if (!exchange) continue;
      this.model.exchanges.push(exchange);
      this.model.learn(exchange);
    }
  }

  /** Starts a command on what is known now; null if there is nothing yet to do it to. */
  #start(command: Command): Promise<Exchange> | null {
    const action = this.#action(command);
    if (!action) return null;
    const number = ++this.#requests;
    const own = "key" in command && command.key !== null ? `${this.#keysOf}/${command.key}` : null;
    const idempotencyKey = this.#hasOwnKeys ? (number % 2 ? null : `own/${number}`) : own;
    const ask = async (times: number): Promise<Exchange> => {
      const requestId = `request ${number}, time ${times}`;
      const by: Caller = { actor: "cli", requestId, idempotencyKey };
      return {
        command,
        input: action.input,
        by,
        ended: await ending(action.run(by)),
        again: () => ask(times + 1),
      };
    };
    return ask(1);
  }

  /** A command on what its numbers stand for; the clock is read when it runs. */
  #action(
    command: Command,
  ): { input: string; run: (by: Caller) => Promise<unknown> } | null {
    const { services } = this.books;
    const { products, clients, leads, invoices } = this.model;
    const on = (
      known: Map<string, unknown>,
      number: number,
      run: (id: string, by: Caller) => Promise<unknown>,
      said: unknown = null,
    ) => {
      const id = [...known.keys()][number % known.size];
      return id === undefined
        ? null
        : { input: JSON.stringify([id, said]), run: (by: Caller) => run(id, by) };
    };
    switch (command.does) {
      case "accept": {
        const { person, way, quantity } = command;
        const productId = command.product === null
          ? undefined
          : [...products.keys()][command.product % products.size];
        const lead = leadOf(`person${person}`, {
          quantity,
          ...(way === "phone" ? { email: undefined } : {}),
          ...(way === "email" ? {} : { phone: phoneOf(person) }),
          ...(productId === undefined ? {} : { productId }),
        });
        return { input: JSON.stringify(lead), run: (by) => acceptLead(services, lead, by) };
      }
      case "move":
        return on(leads, command.lead, (id, by) => moveLead(services, id, command.status, { by }));
      case "write": {
        const { isDraft: draft } = command;
        const productId = command.product === null
          ? undefined
          : [...products.keys()][command.product % products.size];
        const lines = productId === undefined ? {} : { lines: [{ productId, quantity: 2 }] };
        return on(
          clients,
          command.client,
          (id, by) => createInvoice(services, invoiceOf(id, { draft, ...lines }), by),
          [draft, lines],
        );
      }
      case "edit": {
        const { taxMinor } = command;
        return on(
          invoices,
          command.invoice,
          (id, by) => changeInvoice(services, id, { taxMinor }, { by }),
        );
      }
      case "issue":
        return on(invoices, command.invoice, (id, by) => issueInvoice(services, id, by));
      case "void":
        return on(invoices, command.invoice, (id, by) => voidInvoice(services, id, "Wrong", by));
      case "update": {
        const { person, way } = command;
        const change = way === "email"
          ? { email: `person${person}@example.com` }
          : { phone: phoneOf(person) };
        return on(clients, command.client, (id, by) => changeClient(services, id, change, { by }));
      }
      case "erase":
        return on(clients, command.client, (id, by) => eraseClient(services, id, by));
      case "stock": {
        const product = { ...PRODUCT, slug: `slug-${command.slug}` };
        return {
          input: JSON.stringify(product),
          run: (by) => createProduct(services, product, by),
        };
      }
      case "reprice": {
        const price = { currency: "TZS", minor: command.minor } as const;
        return on(
          products,
          command.product,
          (id, by) => changeProduct(services, id, { price }, { by }),
        );
      }
      case "rename": {
        const slug = `slug-${command.slug}`;
        return on(
          products,
          command.product,
          (id, by) => changeProduct(services, id, { slug }, { by }),
        );
      }
      case "toggle": {
        const { active } = command;
        return on(
          products,
          command.product,
          (id, by) => changeProduct(services, id, { active }, { by }),
        );
      }
      default:
        return command satisfies never;
    }
  }

  /** The books are those of the model. */
  async check(): Promise<void> {
    const { findings } = await sweep(this.books.services);
    deepEqual(findings, []);

    const stored = await this.#stored();
    const { products, clients, leads, invoices, exchanges } = this.model;
    for (
      const [told, found] of [
        [products, stored.products],
        [clients, stored.clients],
        [leads, stored.leads],
        [invoices, stored.invoices],
      ] as const
    ) {
      deepEqual([...found.keys()].sort(), [...told.keys()].sort());
    }

    const isErased = (id: string) => stored.clients.get(id)!.erasedAt !== null;
    for (const product of products.values()) deepEqual(stored.products.get(product.id), product);
    for (const [id, client] of clients) {
      if (client) deepEqual(stored.clients.get(id), client);
      else {deepEqual(
          contactOf(stored.clients.get(id)!),
          this.#firstContactOf(stored.clients.get(id)!),
        );}
    }
    for (const lead of leads.values()) {
      const found = stored.leads.get(lead.id)!;
      if (!isErased(lead.clientId)) deepEqual(found, lead);
      else {
        deepEqual(withoutPerson(found), withoutPerson(lead));
        deepEqual([found.contact.email, found.contact.phone, found.message], [null, null, ""]);
      }
    }
    for (const invoice of invoices.values()) {
      const found = stored.invoices.get(invoice.id)!;
      if (!isErased(invoice.clientId)) deepEqual(found, invoice);
      else {
        deepEqual(withoutPerson(found), withoutPerson(invoice));
        deepEqual([found.billTo.email, found.billTo.phone], [null, null]);
      }
    }

    const numbers = [...stored.invoices.values()].flatMap(({ number }) => number ?? []).sort();
    const byYear = Map.groupBy(numbers, (number) => number.slice(0, 8));
    for (const [year, ofYear] of byYear) {
      deepEqual(ofYear, ofYear.map((_, i) => `${year}-${String(i + 1).padStart(6, "0")}`));
    }
    checkReplays(exchanges);
    this.#checkRefused(stored, exchanges);
  }

  /** A client that nobody changed is as its first lead said. */
  #firstContactOf(client: Client): unknown {
    const first = this.model.exchanges.find(({ by, command }) =>
      command.does === "accept" && by.requestId === client.createdIn
    );
    ok(first?.ended.kind === "done", "a client came from a lead that was not acknowledged");
    const { client: { name, email, phone } } = first.ended.answer as AcceptedLead;
    return { name, email, phone };
  }

  /** What was refused has left no trace. */
  #checkRefused(stored: Stored, exchanges: Exchange[]): void {
    const refused = new Set(
      exchanges.filter(({ ended, command }) =>
        // Erasing goes step by step, and is repeated until it is done.
        ended.kind !== "done" && ended.kind !== "outcome_unknown" && command.does !== "erase"
      ).map(({ by }) => by.requestId),
    );
    const { products, clients, leads, invoices, history } = stored;
    for (const entities of [products, clients, leads, invoices]) {
      for (const { createdIn } of entities.values()) ok(!refused.has(createdIn), createdIn);
    }
    for (const { requestId } of history) ok(!refused.has(requestId), requestId);
  }

  async #stored(): Promise<Stored> {
    const { store } = this.books.services;
    const all = async <T extends Entity>(prefix: keys.Prefix<T>) => {
      const entries = await store.list(prefix, { limit: 10_000 });
      return new Map(entries.map(({ value }) => [value.id, value]));
    };
    const history = await store.list<AuditEntry>(["audit"], { limit: 10_000 });
    return {
      products: await all(keys.products),
      clients: await all(keys.clients),
      leads: await all(keys.leads),
      invoices: await all(keys.invoices),
      history: history.map(({ value }) => value),
    };
  }
}

/** Everything that is in the store. */
interface Stored {
  products: Map<string, Product>;
  clients: Map<string, Client>;
  leads: Map<string, Lead>;
  invoices: Map<string, Invoice>;
  history: AuditEntry[];
}

async function ending(done: Promise<unknown>): Promise<Exchange["ended"]> {
  try {
    return { kind: "done", answer: await done };
  } catch (error) {
    if (error instanceof AppError && error.kind !== "internal") return { kind: error.kind };
    throw error;
  }
}

/** One key is one intent: it has one answer, and is refused for any other. */
function checkReplays(exchanges: Exchange[]): void {
  const keyed = exchanges.filter(({ by, command }) =>
    by.idempotencyKey !== null && ALWAYS_WRITE.has(command.does)
  );
  const groups = Map.groupBy(keyed, ({ by, command }) => `${command.does} ${by.idempotencyKey}`);
  for (const group of groups.values()) {
    const done = group.filter(({ ended }) => ended.kind === "done");
    for (const { input, ended } of done) {
      equal(input, done[0]!.input);
      deepEqual(ended, done[0]!.ended);
    }
    for (const { input, ended } of group) {
      if (ended.kind === "idempotency_key_reused") ok(done[0] && done[0].input !== input);
    }
  }
}

function phoneOf(person: number): string {
  return `+25571234567${person}`;
}

function contactOf({ name, email, phone }: Client): unknown {
  return { name, email, phone };
}

/** What erasing leaves as it was. */
function withoutPerson(entity: Lead | Invoice): unknown {
  const hidden = new Set([
    "contact",
    "billTo",
    "message",
    "marketingConsent",
    "revision",
    "updatedAt",
    "chain",
  ]);
  return Object.fromEntries(Object.entries(entity).filter(([field]) => !hidden.has(field)));
}

Deno.test("whatever is done at once, the books are those of the answers", async () => {
  const ended = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(moments({ least: 4, most: 16 }), async (story) => {
      await using books = await openBooks();
      const run = new Run(books);
      await run.live({
        days: 0,
        commands: [{ does: "stock", slug: 0 }, { does: "stock", slug: 1 }],
      });
      for (const moment of story) await run.live(moment);

      await run.check();

      for (const { ended: { kind }, command: { does } } of run.model.exchanges) {
        ok(kind === "done" || REFUSALS.has(kind), `${does}: ${kind}`);
        ended.set(`${does} ${kind}`, (ended.get(`${does} ${kind}`) ?? 0) + 1);
      }
    }),
    { numRuns: 150, interruptAfterTimeLimit: 60_000 },
  );

  // It is about something: every command was carried out, and keys came again.
  for (const does of ["accept", "move", "write", "edit", "issue", "void", "update", "erase"]) {
    ok(ended.has(`${does} done`), does);
  }
  for (const does of ["stock", "reprice", "rename", "toggle"]) ok(ended.has(`${does} done`), does);
  ok(ended.has("accept idempotency_key_reused"));
});

/** Long enough for a KV that works, so that what fails fails because of a fault. */
const IMPATIENT = { readMs: 40, commitMs: 40, transactionMs: 120, fenceMs: 80 };

Deno.test("whatever the store does meanwhile, the books are those of the answers", async () => {
  const ended = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(moments({ least: 3, most: 8 }), fc.nat(), async (story, seed) => {
      const random = seededRandom(seed);
      let faulty: FaultyKv | undefined;
      await using books = await openBooks({
        wrapKv: (kv) => faulty = new FaultyKv(kv),
        deadlines: IMPATIENT,
      });
      const run = new Run(books, { hasOwnKeys: true });
      await run.live({
        days: 0,
        commands: [{ does: "stock", slug: 0 }, { does: "stock", slug: 1 }],
      });
      faulty!.commitFault = bySchedule(COMMIT_FAULTS, { share: 0.5, random });
      faulty!.readFault = bySchedule(["error", "hang"], { share: 0.03, random });
      for (const moment of story) await run.live(moment);

      faulty!.heal();
      await faulty!.release();
      await faulty!.settled();
      const { exchanges } = run.model;
      const open = exchanges.filter(({ ended: { kind } }) =>
        kind === "unavailable" || kind === "outcome_unknown"
      );
      for (const exchange of open) {
        const { command: { does }, by, ended: { kind } } = exchange;
        if (by.idempotencyKey === null && does !== "erase") {
          // Its sender cannot ask again: it may trust that it was not done, or knows nothing.
          fc.pre(kind !== "outcome_unknown");
          continue;
        }
        const again = await exchange.again();
        ok(again.ended.kind === "done" || REFUSALS.has(again.ended.kind), again.ended.kind);
        exchanges.push(again);
        run.model.learn(again);
      }

      await run.check();

      for (const { ended: { kind } } of exchanges) ended.set(kind, (ended.get(kind) ?? 0) + 1);
    }),
    { numRuns: 30, endOnFailure: true },
  );

  ok(ended.has("unavailable"), JSON.stringify([...ended]));
});
