/**
 * What measurements over HTTP need of the program's data: a product on sale, and the
 * count of what was stored.
 *
 * @module
 */
import { decode } from "../../lib/kv/codec.ts";
import { invoices, leads, logPart } from "../../lib/kv/keys.ts";
import type { Invoice } from "../../lib/kv/records.ts";
import { API_KEY, type Program } from "./_processes.ts";
import { PRODUCT } from "./_visitors.ts";

/** What a store holds. */
export interface Books {
  leads: number;
  /** Distinct numbers of invoices. */
  numbers: number;
  /** Commits that are in the log. */
  commits: number;
}

/** Puts the product on sale. @returns Its id */
export async function sellProduct(program: Program): Promise<string> {
  const { id } = await ask<{ id: string }>(program, "POST", "/api/v2/products", PRODUCT);
  return id;
}

/** Makes a request as the holder of the API key. @throws if it is not answered with success */
export async function ask<T>(
  { port }: Program,
  method: string,
  path: string,
  body?: unknown,
): Promise<T> {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${API_KEY}`,
      "content-type": "application/json",
      "x-forwarded-proto": "https",
    },
    body: body === undefined ? null : JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`);
  return JSON.parse(text);
}

/** Counts what the store at `kvPath` holds; no program may have it open. */
export async function countBooks(kvPath: string): Promise<Books> {
  using kv = await Deno.openKv(kvPath);
  const size = async (prefix: Deno.KvKey) => {
    let count = 0;
    for await (const _ of kv.list({ prefix }, { batchSize: 500 })) count++;
    return count;
  };
  const numbers = new Set<string | null>();
  for await (const { value } of kv.list<Uint8Array>({ prefix: invoices }, { batchSize: 500 })) {
    numbers.add(decode<Invoice>(value).number);
  }
  return { leads: await size(leads), numbers: numbers.size, commits: await size(logPart(0)) };
}

/** @throws if what is stored is not what was acknowledged */
export function expectStored({ leads, numbers }: Books, acknowledged: number): void {
  if (leads === acknowledged && numbers === acknowledged) return;
  throw new Error(
    `Acknowledged ${acknowledged} leads, but stored ${leads} with ${numbers} distinct numbers`,
  );
}
