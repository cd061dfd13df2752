/** The model: what the shop acknowledged. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import type { ErrorKind } from "../../lib/errors.ts";
import type { AuditEntry, Client, Entity, Invoice, Lead, Product } from "../../lib/kv/records.ts";
import type { AcceptedLead } from "../../lib/leads/mod.ts";
import type { Caller } from "../../lib/entities/caller.ts";
import type { Command } from "./_model_commands.ts";

/** A request and its answer. */
export interface Exchange {
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
/** Nothing was stored, and the store was healthy. */
export const REFUSALS = new Set<ErrorKind>(["conflict", "invalid_input", "idempotency_key_reused"]);

/** What was acknowledged. */
export class Model {
  readonly products = new Map<string, Product>();
  /** By id, as in the last answer; null for a client of which an answer has only the id. */
  readonly clients = new Map<string, Client | null>();
  readonly leads = new Map<string, Lead>();
  readonly invoices = new Map<string, Invoice>();
  readonly exchanges: Exchange[] = [];

  /** Adds an answer to what is known. */
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
function learnOne<T extends Entity>(known: Map<string, T | null>, answered: T): void {
  const before = known.get(answered.id);
  if (before && before.revision > answered.revision) return; // an older answer, replayed
  if (before?.revision === answered.revision) deepEqual(answered, before);
  known.set(answered.id, answered);
}

/** Everything that is in the store. */
export interface Stored {
  products: Map<string, Product>;
  clients: Map<string, Client>;
  leads: Map<string, Lead>;
  invoices: Map<string, Invoice>;
  history: AuditEntry[];
}

/** One key is one intent: it has one answer, and is refused for any other. */
export function checkReplays(exchanges: Exchange[]): void {
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

export function contactOf({ name, email, phone }: Client): unknown {
  return { name, email, phone };
}

/** What erasing leaves as it was. */
export function withoutPerson(entity: Lead | Invoice): unknown {
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
