import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { decode, encode, SCHEMA_VERSION } from "../../../lib/kv/codec.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Names that objects must not trip over. */
const NAMES = ["$", "v", "__proto__", "constructor", "toString", "", "\u0000", "é"];

const VALUE: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => {
  const items = fc.array(tie("value"), { maxLength: 4 });
  const pairs = fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 4 });
  // V8 14 and 15: once JSON.parse() has met the key "a\\", it may take "a\n" for it.
  const name = fc.oneof(
    fc.constantFrom(...NAMES),
    fc.string().filter((text) => !text.endsWith("\\")),
  );
  return {
    value: fc.oneof(
      { depthSize: "medium", withCrossShrink: true },
      fc.constantFrom<unknown>(null, undefined, true, false, 0, -0, NaN, Infinity, -Infinity),
      fc.double(),
      fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("\ud800", "\n\t", "$")),
      fc.bigInt(),
      fc.date({ noInvalidDate: false }),
      fc.uint8Array({ maxLength: 20 }),
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value) => new Deno.KvU64(value)),
      items,
      items.map((all) => new Set(all)),
      pairs.map((all) => new Map(all)),
      fc.array(fc.tuple(name, tie("value")), { maxLength: 4 }).map(Object.fromEntries),
    ),
  };
}).value;

/**
 * A value as lists of what it is made of: the assertions of Deno 2.5 stumble over
 * objects with a key named `constructor`.
 */
function anatomy(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return ["array", ...value.map(anatomy)];
  if (value instanceof Map) return ["map", ...[...value].flat(1).map(anatomy)];
  if (value instanceof Set) return ["set", ...[...value].map(anatomy)];
  if (value instanceof Date) return ["date", value.getTime()];
  if (value instanceof Uint8Array) return ["bytes", ...value];
  if (value instanceof Deno.KvU64) return ["u64", value.value];
  equal(Object.getPrototypeOf(value), Object.prototype);
  return ["object", ...Object.entries(value).flat(1).map(anatomy)];
}

Deno.test("decode() returns any value that encode() was given", () => {
  fc.assert(
    fc.property(VALUE, (value) => {
      const bytes = encode(value);

      deepEqual(anatomy(decode(bytes)), anatomy(value));
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("encode() writes readable text: the schema's version, then JSON", () => {
  const text = decoder.decode(encode({ name: "Asha", tags: ["a"] }));

  equal(text, `${SCHEMA_VERSION} {"name":"Asha","tags":["a"]}`);
});

Deno.test("encode() writes no line breaks and no tabs, which separate log lines", () => {
  fc.assert(
    fc.property(VALUE, (value) => {
      ok(!/[\t\n\r]/.test(decoder.decode(encode(value))));
    }),
  );
});

Deno.test("encode() does not change its argument", () => {
  const value = { when: new Date(0), nested: [{ big: 1n }], $: "x" };

  encode(value);

  deepEqual(value, { when: new Date(0), nested: [{ big: 1n }], $: "x" });
});

Deno.test("a key named __proto__ stays a key", () => {
  const value = JSON.parse('{"__proto__":{"isAdmin":true},"when":null}');
  value.when = new Date(0);

  const decoded = decode<Record<string, unknown>>(encode(value));

  deepEqual(Object.keys(decoded), ["__proto__", "when"]);
  equal(Object.getPrototypeOf(decoded), Object.prototype);
  equal(decoded["isAdmin"], undefined);
});

Deno.test("an object that looks like a tag is decoded as the same object", () => {
  const lookalikes = [
    { $: "date", v: 0 },
    { $: "object", v: { $: "bigint", v: "1" } },
    { $: { $: undefined } },
    { $: "unknown" },
  ];

  deepEqual(decode(encode(lookalikes)), lookalikes);
});

Deno.test("an object without a prototype is decoded as a plain object", () => {
  const bare = Object.assign(Object.create(null), { a: 1 });

  deepEqual(decode(encode(bare)), { a: 1 });
});

class Money {
  minor = 1;
}

const REFUSED: Record<string, unknown> = {
  "a function": () => 1,
  "a symbol": Symbol("s"),
  "an instance of a class of ours": new Money(),
  "a regular expression": /a/,
  "an error": new Error("e"),
  "a promise": Promise.resolve(),
  "a URL": new URL("https://example.com"),
  "a typed array of another kind": new Uint16Array(1),
  "an array buffer": new ArrayBuffer(1),
  "a weak map": new WeakMap(),
};

for (const [what, value] of Object.entries(REFUSED)) {
  Deno.test(`encode() refuses ${what} at any depth`, () => {
    throws(() => encode(value), { name: "TypeError", message: /^Cannot encode a/ });
    throws(() => encode({ list: [value] }), TypeError);
    throws(() => encode(new Map([["k", value]])), TypeError);
    throws(() => encode(new Set([value])), TypeError);
  });
}

Deno.test("encode() refuses circular values", () => {
  const loop: unknown[] = [];
  loop.push(loop);

  throws(() => encode(loop), RangeError);
});

Deno.test("decode() refuses a value of a newer schema, and names its version", () => {
  const newer = encoder.encode(`${SCHEMA_VERSION + 1} {"a":1}`);

  throws(() => decode(newer), {
    name: "TypeError",
    message: new RegExp(`schema ${SCHEMA_VERSION + 1}.*up to ${SCHEMA_VERSION}`),
  });
});

for (const head of ["", "0 ", "-1 ", "1.5 ", "x ", "NaN "]) {
  Deno.test(`decode() refuses a value that starts with ${JSON.stringify(head)}`, () => {
    throws(() => decode(encoder.encode(`${head}{}`)), TypeError);
  });
}

Deno.test("decode() refuses an unknown tag", () => {
  throws(() => decode(encoder.encode('1 {"$":"regexp","v":"a"}')), {
    name: "TypeError",
    message: /unknown tag "regexp"/,
  });
});

Deno.test("decode() refuses bytes that are not UTF-8", () => {
  throws(() => decode(new Uint8Array([0x31, 0x20, 0x22, 0xff, 0x22])), TypeError);
});

Deno.test("decode() refuses bytes cut off anywhere", () => {
  const object = fc.dictionary(fc.string(), VALUE, { maxKeys: 4 });
  fc.assert(
    fc.property(object, fc.nat(), (value, at) => {
      const bytes = encode(value);

      throws(() => decode(bytes.slice(0, at % bytes.length)));
    }),
    { numRuns: 500 },
  );
});
