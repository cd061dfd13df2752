/**
 * A closed list is written once, beside the record that it belongs to. Types, schemas
 * of requests and the API's document are derived from it.
 */
import { deepStrictEqual as deepEqual, ok } from "node:assert/strict";
import { HEALTH_STATUSES } from "../../lib/health/mod.ts";
import * as backup from "../../lib/kv/backup_records.ts";
import * as jobs from "../../lib/kv/job_records.ts";
import * as mail from "../../lib/kv/mail_records.ts";
import * as outbox from "../../lib/kv/outbox_records.ts";
import * as payments from "../../lib/kv/payment_records.ts";
import * as records from "../../lib/kv/records.ts";
import * as sweeps from "../../lib/kv/sweep_records.ts";
import * as webhooks from "../../lib/kv/webhook_records.ts";
import { LANGUAGES } from "../../lib/languages.ts";
import { CURRENCIES } from "../../lib/money.ts";
import { MOBILE_PROVIDERS } from "../../lib/payments/mod.ts";
import { PAYMENT_METHODS } from "../../lib/payments/operators.ts";
import { PRODUCT_LISTS } from "../../lib/products/mod.ts";
import { startApp } from "../support/program/app.ts";

const ROOT = new URL("../../", import.meta.url);

/** A schema or a type made of a literal list. A type with templates is not a closed list. */
const LITERAL_LIST =
  /\.(?:enum|literal)\(\s*\[|z\.union\(\s*\[\s*z\.literal|^(?:export )?type \w+ =\s*\|?\s*"\w+"\s*\|(?![^;]*`)/gm;

/** Lists of words in source code that are not the values of a record. */
function literalLists(source: string): string[] {
  return Array.from(source.matchAll(LITERAL_LIST), ([found]) => found.replace(/\s+/g, " "));
}

/** The TypeScript files below a folder, with their paths from the root. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(new URL(folder, ROOT)));
  const nested = await Promise.all(entries.map(async ({ name, isDirectory }) => {
    if (isDirectory) return await filesBelow(`${folder}${name}/`);
    return /\.tsx?$/.test(name) ? [`${folder}${name}`] : [];
  }));
  return nested.flat().sort();
}

/** Every constant list of words that a module exports, by its name. */
function listsOf(module: Record<string, unknown>): [name: string, values: readonly string[]][] {
  return Object.entries(module).flatMap(([name, value]) =>
    Array.isArray(value) && value.every((item) => typeof item === "string") ? [[name, value]] : []
  );
}

/** Lists of the program that no record has. */
const OTHER_LISTS: readonly (readonly string[])[] = [
  CURRENCIES,
  HEALTH_STATUSES,
  LANGUAGES,
  MOBILE_PROVIDERS,
  PAYMENT_METHODS,
  PRODUCT_LISTS,
];

/** Lists of the data dictionary. */
const LISTS = [backup, jobs, mail, outbox, payments, records, sweeps, webhooks].flatMap(listsOf);

Deno.test("routes take closed lists from constants", async () => {
  const offenders: string[] = [];
  for (const file of [...await filesBelow("routes/"), ...await filesBelow("lib/kv/")]) {
    const source = await Deno.readTextFile(new URL(file, ROOT));
    offenders.push(...literalLists(source).map((found) => `${file}: ${found}`));
  }

  deepEqual(offenders, []);
});

Deno.test("a literal list is found in a schema and in a type", () => {
  const found = (source: string) => literalLists(source).length;

  deepEqual(
    [
      'z.enum(["a", "b"])',
      'z\n  .enum([\n  "a",\n])',
      "z.enum(LEAD_STATUSES)",
      'type Status = "a" | "b";',
      'export type Status =\n  | "a"\n  | "b";',
      "type Status = (typeof STATUSES)[number];",
      'type Actor = "public" | `key:${string}`;',
      'const isOpen = status === "open" || status === "paid";',
    ].map(found),
    [1, 1, 0, 1, 1, 0, 0, 0],
  );
});

Deno.test("the lists of the records have no value twice, and no list is written twice", () => {
  ok(LISTS.length > 20);
  for (const [name, values] of LISTS) {
    deepEqual(values, [...new Set(values)], name);
  }
  const names = LISTS.map(([name]) => name);
  deepEqual(names, [...new Set(names)]);
});

Deno.test("every list of the API's document is one of the program's", async () => {
  await using app = await startApp();
  const { body } = await app.get("/openapi.json");

  const lists = [...LISTS.map(([, values]) => values), ...OTHER_LISTS];
  const known = new Set(lists.map((values) => values.toSorted().join()));
  const unknown = new Set<string>();
  const walk = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [name, inner] of Object.entries(value)) {
      if (name === "enum" && Array.isArray(inner)) {
        const values = inner.filter((item) => item !== null).map(String).toSorted().join();
        if (!known.has(values)) unknown.add(values);
      } else walk(inner);
    }
  };
  walk(body);

  // Words of the API alone: a boolean in a query, and the probes of health.
  deepEqual([...unknown].sort(), ["false,true", "live,not_ready,ready"]);
});
