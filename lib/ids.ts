/**
 * Ids for records and secrets for people.
 *
 * An id is a UUIDv7 (RFC 9562, 5.7). Its text sorts by the time it was made, so that
 * primary keys are in order of age. Make it before a decision, not within it.
 *
 * @module
 */
import { sha256Hex, toBase64Url } from "./digest.ts";
import { AppError } from "./errors.ts";

/** The first moment beyond 48 bits, in the year 10889. */
const TIME_END_MS = 2 ** 48;
const COUNTER_END = 2 ** 32;

/** Fewer bytes can be guessed by repeated attempts. */
const SECRET_MIN_BYTES = 16;

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

let lastMs = -1;
let counter = 0;

/**
 * An id greater, as text, than every id that this process has made before. It is
 * unique but not a secret; its time is `now` or later.
 *
 * While `now` stands still or goes back, the latest moment stays in use and a 32-bit
 * counter is raised (RFC 9562, 6.2, method 1): 12 bits in `rand_a` and 20 at the start
 * of `rand_b`. It starts in each millisecond at a random value whose top bit is clear,
 * which leaves two thousand million ids. 42 random bits follow.
 *
 * @param now Milliseconds UTC.
 */
export function newId(now: number): string {
  if (!(now >= 0 && now < TIME_END_MS)) {
    throw new AppError("internal", `Cannot make an id: ${now} is not a time`);
  }
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const view = new DataView(bytes.buffer);
  const ms = Math.floor(now);
  if (ms > lastMs || ++counter === COUNTER_END) {
    lastMs = Math.max(ms, lastMs + 1);
    counter = view.getUint32(0) >>> 1;
  }

  view.setUint32(0, Math.floor(lastMs / 2 ** 16));
  view.setUint16(4, lastMs % 2 ** 16);
  view.setUint16(6, 0x7000 | (counter >>> 20));
  view.setUint16(8, 0x8000 | ((counter >>> 6) & 0x3fff));
  view.setUint8(10, ((counter & 0x3f) << 2) | (view.getUint8(10) & 0x03));
  return toText(bytes);
}

/** Whether `text` is a UUIDv7 in lower case, as {@linkcode newId} writes it. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/**
 * An id derived from `name`: the same whenever it is made, and different for every name.
 *
 * @param sameTimeAs An id whose time it takes, so that both sort by the same age;
 * without one it has no meaningful time and sorts before all others.
 */
export function derivedId(name: readonly unknown[], sameTimeAs?: string): string {
  const hex = sha256Hex(JSON.stringify(name));
  const time = sameTimeAs?.slice(0, 13) ?? "00000000-0000";
  return `${time}-7${hex.slice(0, 3)}-8${hex.slice(3, 6)}-${hex.slice(6, 18)}`;
}

/** The text of a UUID from its 32 hexadecimal digits. */
export function hyphenated(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/**
 * Random bytes as base64url, for tokens and keys: 43 characters for the default of
 * 32 bytes.
 *
 * @throws {AppError} `internal` for fewer than 16 bytes.
 */
export function newSecret(bytes: number = 32): string {
  if (!(bytes >= SECRET_MIN_BYTES)) {
    throw new AppError("internal", `Cannot make a secret of fewer than ${SECRET_MIN_BYTES} bytes`);
  }
  return toBase64Url(crypto.getRandomValues(new Uint8Array(bytes)));
}

function toText(bytes: Uint8Array): string {
  let text = "";
  for (const [i, byte] of bytes.entries()) {
    if (i === 4 || i === 6 || i === 8 || i === 10) text += "-";
    text += HEX[byte];
  }
  return text;
}
