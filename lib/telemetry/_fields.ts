/**
 * The fields of a log record as JSON: one walk, redacted, and bounded whatever it is given.
 *
 * @module
 */
import { isPrivateName, REDACTED, redactText } from "./redact.ts";

/** Characters of names and values; longer ones are cut. */
export const NAME_MAX = 128;
const TEXT_MAX = 2_048;
const STACK_MAX = 4_096;
/** Fields of an object, or items of a list. */
const ITEMS_MAX = 50;
/** Levels of nested objects or causes. */
const DEPTH_MAX = 6;
/** Characters read beyond a cut, so that a secret across it is recognised: more than the longest e-mail address. */
const CUT_MARGIN = 512;

/** The state of the walk over a record's fields. */
export interface Walk {
  /** Characters left. */
  remaining: number;
  /** The objects that contain the current one. */
  readonly path: object[];
}

/** In place of a value that throws when it is read. */
export const UNREADABLE = '"[unreadable]"';
const FULL = '"[cut]"';
const HIDDEN = JSON.stringify(REDACTED);

/** Emits the fields of `object` up to the limits; may throw what `object` throws. */
export function walkFields(
  object: object,
  walk: Walk,
  emit: (name: string, json: string) => void,
): void {
  const names = Object.keys(object);
  for (const [i, name] of names.entries()) {
    if (i === ITEMS_MAX || walk.remaining <= 0) return emit("more", String(names.length - i));
    let json: string | undefined;
    try {
      json = fieldJson(name, Reflect.get(object, name), walk);
    } catch {
      json = UNREADABLE;
    }
    if (json === undefined) continue;
    walk.remaining -= name.length + 4;
    emit(name, json);
  }
}

/** A value under its name; `undefined` if there is none. */
function fieldJson(name: string, value: unknown, walk: Walk): string | undefined {
  if (value === undefined) return undefined;
  const isHidden = value !== null && typeof value !== "boolean" && isPrivateName(name);
  return isHidden ? HIDDEN : toJson(value, walk);
}

function toJson(value: unknown, walk: Walk): string {
  if (walk.remaining <= 0) return FULL;
  if (typeof value === "object" && value !== null) return objectJson(value, walk);
  const json = primitiveJson(value);
  walk.remaining -= json.length;
  return json;
}

/** Values that JSON does not support become text. */
function primitiveJson(value: unknown): string {
  switch (typeof value) {
    case "string":
      return quote(value, TEXT_MAX);
    case "number":
      return Number.isFinite(value) ? String(value) : `"${value}"`;
    case "bigint":
      // Printing digits takes more than linear time.
      return BigInt.asIntN(256, value) === value ? quote(String(value), NAME_MAX) : '"[bigint]"';
    case "symbol":
      return quote(String(value), NAME_MAX);
    case "function":
      return '"[function]"';
    default:
      return String(value ?? null);
  }
}

function objectJson(value: object, walk: Walk): string {
  if (walk.path.includes(value)) return '"[circular]"';
  if (walk.path.length === DEPTH_MAX) return '"[deep]"';
  walk.path.push(value);
  try {
    if (Array.isArray(value)) return listJson(value, value.length, walk);
    if (value instanceof Error) return errorJson(value, walk);
    if (value instanceof Date) return quote(String(value.toJSON()), NAME_MAX);
    if (value instanceof URL) return quote(value.href, TEXT_MAX);
    if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
      return `"[${Number(value.byteLength)} bytes]"`;
    }
    if (value instanceof Set) return listJson(value, value.size, walk);
    if (value instanceof Map) return mapJson(value, walk);
    let json = "";
    walkFields(value, walk, (name, field) => json += `,${nameJson(name)}:${field}`);
    return `{${json.slice(1)}}`;
  } catch {
    return UNREADABLE;
  } finally {
    walk.path.pop();
  }
}

function listJson(items: Iterable<unknown>, count: number, walk: Walk): string {
  let json = "";
  let i = 0;
  for (const item of items) {
    if (i === ITEMS_MAX || walk.remaining <= 0) {
      json += `,"${Number(count) - i} more"`;
      break;
    }
    json += `,${toJson(item ?? null, walk)}`;
    i++;
  }
  return `[${json.slice(1)}]`;
}

function mapJson(map: Map<unknown, unknown>, walk: Walk): string {
  const fields: [string, unknown][] = [];
  for (const [key, value] of map) {
    if (fields.length > ITEMS_MAX) break;
    fields.push([typeof key === "object" ? "[object]" : String(key), value]);
  }
  let json = "";
  walkFields(
    Object.fromEntries(fields),
    walk,
    (name, field) => json += `,${nameJson(name)}:${field}`,
  );
  return `{${json.slice(1)}}`;
}

/** An error with its kind, message, stack and causes. */
function errorJson(error: Error, walk: Walk): string {
  let json = "";
  const names = ["name", "kind", "code", "message", "stack", "fields", "errors", "cause"];
  for (const name of names) {
    let value: unknown;
    try {
      value = Reflect.get(error, name);
    } catch {
      value = "[unreadable]";
    }
    if (value === undefined) continue;
    if (name !== "stack" || typeof value !== "string") {
      json += `,"${name}":${toJson(value, walk)}`;
      continue;
    }
    // The stack begins with the name and the message.
    const frames = quote(value.slice(Math.max(value.indexOf("\n    at "), 0)).trim(), STACK_MAX);
    walk.remaining -= frames.length;
    json += `,"stack":${frames}`;
  }
  return `{${json.slice(1)}}`;
}

/** A field's name in JSON. */
export function nameJson(name: string): string {
  return /^[a-z_]{1,64}$/i.test(name) ? `"${name}"` : quote(name, NAME_MAX);
}

/** Characters that JSON does not escape, but that end a line or reverse the text in some viewers. */
const UNSAFE = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** Texts that come again and again, such as routes, with their JSON: the first short ones. */
const steady = new Map<string, string>();
const STEADY_MAX = 1_000;
const STEADY_LENGTH_MAX = 64;

/** `text` in JSON, redacted, then cut at `max` characters. */
export function quote(text: string, max: number): string {
  if (text.length > STEADY_LENGTH_MAX) return quoted(text, max);
  const known = steady.get(text);
  if (known !== undefined) return known;
  const json = quoted(text, max);
  // Nothing that had to be redacted is kept.
  if (steady.size < STEADY_MAX && json === `"${text}"`) steady.set(text, json);
  return json;
}

function quoted(text: string, max: number): string {
  const clean = text.length <= max
    ? redactText(text)
    : `${redactText(text.slice(0, max + CUT_MARGIN)).slice(0, max)}… of ${text.length}`;
  return JSON.stringify(clean).replace(
    UNSAFE,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
