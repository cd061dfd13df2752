/**
 * Values and bytes: every durable value is stored as UTF-8 text, the schema
 * version and tagged JSON, in a `Uint8Array`.
 *
 * Deno KV would serialize objects with V8, whose format changed in Deno 2.8:
 * what a newer Deno writes, 2.5 cannot read, and one such value makes a whole
 * listing throw. Bytes are the same in all versions.
 *
 * Values that JSON does not support are wrapped in an object with a tag `$` and the
 * value `v`.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** The version of the stored records. Raise it together with an entry in `UPGRADES`. */
export const SCHEMA_VERSION = 1;

/** Upgrades a value as stored under version `n + 1` to `n + 2`, at index `n`. */
const UPGRADES: ReadonlyArray<(value: unknown) => unknown> = [];

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const HEADER = `${SCHEMA_VERSION} `;

/**
 * Encodes a value as bytes. Plain data, `undefined`, non-finite numbers, -0,
 * bigints, dates, byte arrays, maps, sets and `Deno.KvU64` come back the same.
 *
 * @throws {TypeError} on anything else (functions, symbols, class instances).
 */
export function encode(value: unknown): Uint8Array {
  return encoder.encode(HEADER + JSON.stringify(isPlain(value) ? value : tag(value)));
}

/**
 * Decodes bytes from {@linkcode encode}. The caller names the type that the key
 * promises; it is not checked here.
 *
 * @throws {TypeError} on bytes that are not such a text, or of a newer schema.
 */
export function decode<T>(bytes: Uint8Array): T {
  const text = decoder.decode(bytes);
  const space = text.indexOf(" ");
  const version = Number(text.slice(0, space));
  if (!Number.isInteger(version) || version < 1) {
    throw new TypeError("Cannot decode a value: it does not start with a schema version");
  }
  if (version > SCHEMA_VERSION) {
    throw new TypeError(
      `Cannot decode a value of schema ${version}: this program knows up to ${SCHEMA_VERSION}`,
    );
  }
  let value: unknown = JSON.parse(text.slice(space + 1));
  if (text.includes('"$"')) value = untag(value);
  for (const upgrade of UPGRADES.slice(version - 1)) value = upgrade(value);
  return value as T;
}

/** Whether JSON carries a value as it is, as almost all; found without making anything. */
function isPlain(value: unknown): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0);
    case "object":
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (Array.isArray(value)) return value.every(isPlain);
  if (Object.getPrototypeOf(value) !== Object.prototype) return false;
  const record = value as Record<string, unknown>; // what the prototype says
  for (const name in record) if (name === "$" || !isPlain(record[name])) return false;
  return true;
}

/** Returns `value` itself if JSON supports it, so that plain records are not copied. */
function tag(value: unknown): unknown {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) && !Object.is(value, -0)
        ? value
        : { $: "number", v: Object.is(value, -0) ? "-0" : String(value) };
    case "undefined":
      return { $: "undefined" };
    case "bigint":
      return { $: "bigint", v: String(value) };
    case "object":
      return value === null ? null : tagObject(value);
    default:
      throw new TypeError(`Cannot encode a ${typeof value}`);
  }
}

function tagObject(value: object): unknown {
  if (Array.isArray(value)) {
    const items = value.map(tag);
    return items.some((item, i) => item !== value[i]) ? items : value;
  }
  if (value instanceof Date) return { $: "date", v: tag(value.getTime()) };
  if (value instanceof Uint8Array) return { $: "bytes", v: Buffer.from(value).toString("base64") };
  if (value instanceof Map) {
    return { $: "map", v: [...value].map(([k, v]) => [tag(k), tag(v)]) };
  }
  if (value instanceof Set) return { $: "set", v: [...value].map(tag) };
  if (value instanceof Deno.KvU64) return { $: "u64", v: String(value.value) };
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new TypeError(
      `Cannot encode a ${prototype.constructor?.name ?? "object without a constructor"}`,
    );
  }
  let isChanged = false;
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => {
    const tagged = tag(item);
    if (tagged !== item) isChanged = true;
    return [key, tagged];
  });
  if (Object.hasOwn(value, "$")) return { $: "object", v: Object.fromEntries(entries) };
  // Not by assignment: a key named __proto__ must stay a key.
  return isChanged ? Object.fromEntries(entries) : value;
}

interface Tagged {
  $: string;
  v?: unknown;
}

function isTagged(value: object): value is Tagged {
  return Object.hasOwn(value, "$");
}

function untag(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(untag);
  return isTagged(value) ? untagOne(value) : untagEntries(value);
}

function untagEntries(value: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, untag(item)]));
}

function untagOne({ $: name, v }: Tagged): unknown {
  switch (name) {
    case "number":
      return Number(v);
    case "undefined":
      return undefined;
    case "bigint":
      return BigInt(String(v));
    case "date":
      return new Date(Number(untag(v)));
    case "bytes":
      return new Uint8Array(Buffer.from(String(v), "base64"));
    case "map":
      return new Map((v as unknown[][]).map(([k, item]) => [untag(k), untag(item)]));
    case "set":
      return new Set((v as unknown[]).map(untag));
    case "u64":
      return new Deno.KvU64(BigInt(String(v)));
    case "object":
      return untagEntries(v as object);
    default:
      throw new TypeError(`Cannot decode a value: unknown tag "${name}"`);
  }
}
