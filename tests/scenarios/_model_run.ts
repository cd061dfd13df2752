/** Runs commands on a shop, and compares its store with the model. */
import { deepStrictEqual as deepEqual, ok } from "node:assert/strict";
import { changeClient, eraseClient } from "../../lib/leads/clients.ts";
import { AppError } from "../../lib/errors.ts";
import { sweep } from "../../lib/integrity/mod.ts";
import { changeInvoice, createInvoice, issueInvoice, voidInvoice } from "../../lib/invoices/mod.ts";
import * as keys from "../../lib/kv/keys.ts";
import type { AuditEntry, Client, Entity } from "../../lib/kv/records.ts";
import { type AcceptedLead, acceptLead, moveLead } from "../../lib/leads/mod.ts";
import type { Caller } from "../../lib/entities/caller.ts";
import { changeProduct, createProduct } from "../../lib/products/mod.ts";
import { DAY_MS } from "../../lib/time.ts";
import { PRODUCT } from "../support/program/app.ts";
import { type Books, invoiceOf, leadOf } from "../support/program/books.ts";
import {
  checkReplays,
  contactOf,
  type Exchange,
  Model,
  type Stored,
  withoutPerson,
} from "./_model.ts";
import type { Command, Moment } from "./_model_commands.ts";

/** The shop, the people who use it, and the answers that they got. */
export class Run {
  readonly model = new Model();
  /** Every other command has a key of its own, so that it can be repeated; the others have none. */
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
      const [known, found] of [
        [products, stored.products],
        [clients, stored.clients],
        [leads, stored.leads],
        [invoices, stored.invoices],
      ] as const
    ) {
      deepEqual([...found.keys()].sort(), [...known.keys()].sort());
    }

    const isErased = (id: string) => stored.clients.get(id)!.erasedAt !== null;
    for (const product of products.values()) deepEqual(stored.products.get(product.id), product);
    for (const [id, client] of clients) {
      const found = stored.clients.get(id)!;
      if (client) deepEqual(found, client);
      else deepEqual(contactOf(found), this.#firstContactOf(found));
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

  /** An unchanged client has the contact of its first lead. */
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

async function ending(done: Promise<unknown>): Promise<Exchange["ended"]> {
  try {
    return { kind: "done", answer: await done };
  } catch (error) {
    if (error instanceof AppError && error.kind !== "internal") return { kind: error.kind };
    throw error;
  }
}

function phoneOf(person: number): string {
  return `+25571234567${person}`;
}
