/**
 * Stored values have the shape of their records: each field is required, of its type,
 * and stored under its own key.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { hasValidShape } from "../../../lib/integrity/shapes.ts";
import { decode } from "../../../lib/kv/codec.ts";
import { type Key, keyText } from "../../../lib/kv/keys.ts";
import { fillBooks, openBooks } from "../../support/program/books.ts";

/** Fields that a record may lack. */
const OPTIONAL = new Set(["language", "overdueAt", "remindedDays"]);

/** Every record of filled books, with its key. */
async function records(): Promise<[Key<unknown>, Record<string, unknown>][]> {
  await using books = await openBooks();
  await fillBooks(books);
  const found: [Key<unknown>, Record<string, unknown>][] = [];
  for (const [key, bytes] of await books.entries()) {
    const value = decode<unknown>(bytes);
    // Nothing is known of the values of other tables.
    if (typeof value !== "object" || value === null || hasValidShape({}, key)) continue;
    found.push([key, value as Record<string, unknown>]);
  }
  return found;
}

Deno.test("hasValidShape() accepts every record that the program writes, with unknown fields too", async () => {
  const found = await records();

  ok(found.length > 10);
  for (const [key, value] of found) {
    ok(hasValidShape(value, key), keyText(key));
    ok(hasValidShape({ ...value, unknown: true }, key), keyText(key));
  }
});

Deno.test("hasValidShape() refuses a record without any one of its fields, or with one of another type", async () => {
  const accepted: string[] = [];
  for (const [key, value] of await records()) {
    for (const field of Object.keys(value)) {
      const { [field]: _, ...rest } = value;
      const isAccepted = hasValidShape(rest, key) ||
        hasValidShape({ ...value, [field]: undefined }, key);
      if (isAccepted && !OPTIONAL.has(field)) accepted.push(`${key[0]}.${field}`);
      if (hasValidShape({ ...value, [field]: Symbol() }, key)) accepted.push(`${key[0]}.${field}`);
    }
  }

  // Their content is not part of the shape.
  const open = ["audit.changes", "outbox_event.subject", "outbox_event.data"];
  deepEqual(new Set(accepted).difference(new Set(open)), new Set());
});

Deno.test("hasValidShape() refuses a record under another key, or a key with another part", async () => {
  for (const [key, value] of await records()) {
    if (key.length < 2 || key[0] === "invoice_sequence") continue;
    equal(hasValidShape(value, [...key.slice(0, -1), "other"]), false, keyText(key));
    equal(hasValidShape(value, [...key, "more"]), false, keyText(key));
  }
});

Deno.test("hasValidShape() accepts any value under a key of an unknown table", () => {
  equal(hasValidShape({ any: "value" }, ["unknown", "x"]), true);
});
