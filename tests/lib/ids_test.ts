import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { AppError } from "../../lib/errors.ts";
import { fromBase64Url } from "../../lib/digest.ts";
import { derivedId, hyphenated, isId, newId, newSecret } from "../../lib/ids.ts";

// Ids of this process never go back, so each test starts later than the one before.
const NOW = Date.UTC(2026, 0, 1);

/** The time within an id (RFC 9562, 5.7), in milliseconds UTC. */
function idTime(id: string): number {
  return Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
}

Deno.test("newId() gives 100,000 valid, unique, rising ids while the clock stands still", () => {
  const ids = Array.from({ length: 100_000 }, () => newId(NOW));

  ok(ids.every(isId));
  equal(new Set(ids).size, ids.length);
  deepEqual(ids.toSorted(), ids);
  ok(ids.every((id) => idTime(id) === NOW), "the counter must not run into the time");
});

Deno.test("newId() rises whatever the clock does", () => {
  let last = newId(NOW);
  let latest = NOW;

  fc.assert(fc.property(
    fc.array(fc.double({ min: NOW - 1e9, max: NOW + 1e9, noNaN: true }), { maxLength: 50 }),
    (moments) => {
      for (const moment of moments) {
        const id = newId(moment);
        latest = Math.max(latest, Math.floor(moment));

        ok(isId(id), id);
        ok(id > last, `${id} after ${last}`);
        equal(idTime(id), latest);
        last = id;
      }
    },
  ));
});

Deno.test("newId() has the time of a clock that advances, and restarts its counter", () => {
  const moments = Array.from({ length: 1_000 }, (_, i) => NOW + 2e9 + i);

  const ids = moments.map(newId);

  deepEqual(ids.map(idTime), moments);
  const heads = ids.map((id) => Number.parseInt(id.slice(15, 18), 16));
  ok(heads.every((head) => head < 0x800), "the top bit is room to count");
  ok(new Set(heads).size > 500, "all else is random");
});

Deno.test("consecutive ids differ in more than their counter", () => {
  const ids = Array.from({ length: 1_000 }, () => newId(NOW + 3e9));

  equal(new Set(ids.map((id) => id.slice(-10))).size, ids.length);
  // The two random bits beside the counter's last six.
  equal(new Set(ids.map((id) => Number.parseInt(id.slice(24, 26), 16) & 0x03)).size, 4);
});

Deno.test("newId() refuses a time that 48 bits cannot hold", () => {
  for (const now of [-1, NaN, Infinity, 2 ** 48]) {
    throws(() => newId(now), AppError, String(now));
  }
});

Deno.test("isId() accepts the example of RFC 9562", () => {
  ok(isId("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"));
});

Deno.test("isId() refuses other versions, variants and spellings", () => {
  for (
    const text of [
      "",
      "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
      "017f22e279b07cc398c4dc0c0c07398f",
      "{017f22e2-79b0-7cc3-98c4-dc0c0c07398f}",
      " 017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
      "017f22e2-79b0-7cc3-98c4-dc0c0c07398f\n",
      "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
      "017f22e2-79b0-7cc3-c8c4-dc0c0c07398f",
      "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
      "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
    ]
  ) {
    equal(isId(text), false, text);
  }
});

Deno.test("newSecret() returns the requested number of random bytes, 32 by default", () => {
  const secrets = Array.from({ length: 1_000 }, () => newSecret());

  equal(new Set(secrets).size, secrets.length);
  ok(secrets.every((secret) => fromBase64Url(secret)?.length === 32));
  equal(fromBase64Url(newSecret(16))?.length, 16);
});

Deno.test("newSecret() refuses lengths that can be guessed", () => {
  for (const bytes of [0, 15, -1, NaN]) throws(() => newSecret(bytes), AppError, String(bytes));
});

Deno.test("derivedId() is the same for the same name, another for another, and has the time of the id given", () => {
  const id = newId(NOW + 4e9);

  const derived = derivedId(["payment", 1], id);

  ok(isId(derived), derived);
  equal(derived, derivedId(["payment", 1], id));
  equal(idTime(derived), idTime(id));
  ok(derived !== derivedId(["payment", 2], id));
  ok(isId(derivedId([])));
  equal(idTime(derivedId([])), 0);
});

Deno.test("hyphenated() is the text of a UUID", () => {
  const id = newId(NOW + 5e9);

  equal(hyphenated(id.replaceAll("-", "")), id);
});
