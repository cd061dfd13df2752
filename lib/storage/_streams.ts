/**
 * Streams of bytes, split into parts for writing and verified when read.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type ByteRange, StorageError } from "./mod.ts";

/** A piece of a body. */
export interface Part {
  /** Valid until the next part is requested. */
  bytes: Uint8Array<ArrayBuffer>;
  /** Whether the body ends with it. */
  isLast: boolean;
}

/**
 * Splits a body into parts of `partBytes`; the last one may be shorter, and is empty
 * only if the body is. All parts share one buffer. Cancels the stream when the
 * iteration ends early.
 */
export async function* inParts(
  body: ReadableStream<Uint8Array> | Uint8Array,
  partBytes: number,
): AsyncGenerator<Part> {
  const part = new Uint8Array(
    body instanceof Uint8Array ? Math.min(body.length, partBytes) : partBytes,
  );
  let filled = 0;
  for await (const chunk of body instanceof Uint8Array ? [body] : body) {
    let rest = chunk;
    while (rest.length > 0) {
      if (filled === part.length) {
        yield { bytes: part, isLast: false };
        filled = 0;
      }
      const taken = rest.subarray(0, part.length - filled);
      part.set(taken, filled);
      filled += taken.length;
      rest = rest.subarray(taken.length);
    }
  }
  yield { bytes: part.subarray(0, filled), isLast: true };
}

/**
 * The same bytes, in a stream that fails with `corrupt` at its end if their SHA-256 is
 * not one of `digests`. Without digests nothing is verified.
 */
export function verified(
  stream: ReadableStream<Uint8Array>,
  digests: readonly string[],
  key: string,
): ReadableStream<Uint8Array> {
  if (digests.length === 0) return stream;
  const hash = createHash("sha256");
  const reader = stream.getReader();
  return streamOf(async () => {
    const { value } = await reader.read();
    if (value) hash.update(value);
    else if (!digests.includes(hash.digest("hex"))) throw corrupt("read", key);
    return value;
  }, () => reader.cancel());
}

/**
 * A stream of the results of `next`, called for each read until it returns nothing;
 * `close` is called if the stream is cancelled before.
 */
export function streamOf(
  next: () => Promise<Uint8Array | undefined>,
  close: () => Promise<void>,
): ReadableStream<Uint8Array> {
  const chunks: AsyncIterableIterator<Uint8Array> = {
    async next() {
      const value = await next();
      return value ? { value } : { value, done: true };
    },
    async return() {
      await close();
      return { value: undefined, done: true };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
  return ReadableStream.from(chunks);
}

/** Checks a range. @throws {RangeError} If it is not valid, which is a defect of the caller. */
export function checkRange({ offset, length = 1 }: ByteRange): void {
  if (Number.isSafeInteger(offset) && offset >= 0 && Number.isSafeInteger(length) && length >= 1) {
    return;
  }
  throw new RangeError(`Cannot read ${length} bytes from ${offset}`);
}

/** The error for bytes whose digest differs. */
export function corrupt(verb: "read" | "store", key: string): StorageError {
  return new StorageError(
    "corrupt",
    verb === "read"
      ? `Cannot read "${key}": the bytes are not those that were stored; use another copy`
      : `Cannot store "${key}": the bytes do not have the given SHA-256`,
  );
}

/** The error for an object that must not be replaced. */
export function alreadyThere(key: string): StorageError {
  return new StorageError("precondition_failed", `Cannot store "${key}": it exists already`);
}
