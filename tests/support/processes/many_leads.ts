/**
 * Many leads at once through the use case, and the outcome of each: the answer to its
 * caller, and what is stored.
 *
 * @module
 */
import { deepStrictEqual as deepEqual } from "node:assert/strict";
import { AppError, type ErrorKind } from "../../../lib/errors.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { type AcceptedLead, acceptLead } from "../../../lib/leads/mod.ts";
import type { Product } from "../../../lib/products/mod.ts";
import type { Services } from "../../../lib/app/mod.ts";

/** Where leads go. */
export interface Shop {
  services: Services;
  /** What is on sale. */
  product: Product;
}

/** The answer to a caller. */
export type Outcome = { kind: "stored"; accepted: AcceptedLead } | { kind: ErrorKind };

/** A request for the product that was stored once. */
export const ONCE = "1 leads, 1 invoices";
/** A request without a product that was stored once. */
export const ONCE_UNBILLED = "1 leads, 0 invoices";
/** A request that was not stored. */
export const NOT_AT_ALL = "0 leads, 0 invoices";

/** Sends request `i`, each with an e-mail address and, by default, a key of its own. */
export async function ask(
  { services, product }: Shop,
  i: number,
  { isSale = true, idempotencyKey = `key ${i}` }: {
    isSale?: boolean;
    idempotencyKey?: string | null;
  } = {},
): Promise<Outcome> {
  const input = {
    name: "Asha Mushi",
    email: emailOf(i),
    message: "Habari",
    productId: isSale ? product.id : undefined,
    quantity: 1,
    source: "website",
    marketingConsent: false,
  } as const;
  const by = { actor: "public", requestId: `request ${i}`, idempotencyKey } as const;
  try {
    return { kind: "stored", accepted: await acceptLead(services, input, by) };
  } catch (error) {
    if (error instanceof AppError && error.kind !== "internal") return { kind: error.kind };
    throw error;
  }
}

/** Sends requests `0…count-1`, at most `concurrency` at a time. @returns The answers by request. */
export async function askAll<T>(
  count: number,
  send: (i: number) => Promise<T>,
  concurrency: number = 8,
): Promise<T[]> {
  const answers: T[] = [];
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const i = next++;
      answers[i] = await send(i);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return answers;
}

/** How many leads and invoices requests `0…count-1` have; asserts that the numbers have no gap. */
export async function booksOf({ services: { store } }: Shop, count: number): Promise<string[]> {
  const leads = await store.list(keys.leads, { limit: 100_000 });
  const invoices = await store.list(keys.invoices, { limit: 100_000 });
  deepEqual(
    invoices.map(({ value }) => value.number).sort(),
    invoices.map((_, i) => `INV-2026-${String(i + 1).padStart(6, "0")}`),
  );
  const leadsBy = countBy(leads, ({ value }) => String(value.contact.email));
  const invoicesBy = countBy(invoices, ({ value }) => String(value.billTo.email));
  return Array.from({ length: count }, (_, i) => {
    const email = emailOf(i);
    return `${leadsBy[email] ?? 0} leads, ${invoicesBy[email] ?? 0} invoices`;
  });
}

/** How many there are of each kind. */
export function countBy<T>(
  items: readonly T[],
  kindOf: (item: T) => string,
): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[kindOf(item)] = (counts[kindOf(item)] ?? 0) + 1;
  return counts;
}

function emailOf(i: number): string {
  return `asha${i}@example.com`;
}
