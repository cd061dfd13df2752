/** Walks over unpaid invoices, and reads which events they stored. */
import { sweep } from "../../../lib/integrity/mod.ts";
import { createInvoice } from "../../../lib/invoices/mod.ts";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { OutboxEvent } from "../../../lib/kv/outbox_records.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import { markOverdue, type OverdueReport } from "../../../lib/invoices/overdue.ts";
import { type TestApp, TESTER } from "../../support/program/app.ts";
import { FaultyKv } from "../../support/store/faulty_kv.ts";
import { newClient } from "../../support/program/shop.ts";
import { TOTAL } from "../../support/program/till.ts";

export const BUDGET = { budgetMs: 60_000 };
const DUE = "2026-06-20";

/** Where the clock of tests begins, it is noon in Dar es Salaam. */
export function walk({ services }: TestApp): Promise<OverdueReport> {
  return markOverdue(services, BUDGET, TESTER);
}

/** Moves the clock to a moment. */
export function goTo(app: TestApp, time: string): void {
  app.advance(Date.parse(time) - app.services.clock());
}

/** The stored events about due dates, oldest first. */
export async function storedEvents({ services: { store } }: TestApp): Promise<OutboxEvent[]> {
  const entries = await store.list(keys.outboxEvents, { limit: 10_000 });
  return entries.map(({ value }) => value)
    .filter(({ type }) => type === "invoice.overdue" || type === "invoice.reminder");
}

/** Their names in short, such as `reminder 7`. */
export async function eventNames(app: TestApp): Promise<string[]> {
  return (await storedEvents(app)).map(({ type, data }) =>
    type === "invoice.overdue" ? "overdue" : `reminder ${data.days}`
  );
}

/** What a sweep finds, as `check key`. */
export async function swept({ services }: TestApp): Promise<string[]> {
  const { findings } = await sweep(services);
  return findings.map(({ check, key }) => `${check} ${key}`).sort();
}

export async function put<T>({ kv }: { kv: FaultyKv }, key: keys.Key<T>, value: T): Promise<void> {
  await kv.atomic().set(key, encode(value)).commit();
}

/** Bills many at once, all due on one day. */
export async function billMany(app: TestApp, count: number, dueOn = DUE): Promise<Invoice[]> {
  const clientId = await newClient(app);
  const lines = [{ description: "Work", quantity: 1, unitMinor: TOTAL }];
  const input = {
    clientId,
    lines,
    currency: "TZS",
    taxMinor: 0,
    dueOn,
    notes: "",
    draft: false,
  } as const;
  return await Promise.all(
    Array.from(
      { length: count },
      () => createInvoice(app.services, { ...input, lines: [...lines] }, TESTER),
    ),
  );
}

export async function first({ services: { store } }: TestApp): Promise<Invoice> {
  const [entry] = await store.list(keys.invoices, { limit: 1 });
  return entry!.value;
}
