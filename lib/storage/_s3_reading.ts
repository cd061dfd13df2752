/**
 * Reads one object over as many connections as needed: after a break the next one
 * resumes, as long as the object is still the same.
 *
 * @module
 */
import type { S3Body, S3Client } from "./_s3_client.ts";
import { isTemporary } from "./_s3_failures.ts";
import { streamOf } from "./_streams.ts";
import { type ByteRange, StorageError } from "./mod.ts";

/** Options of an {@linkcode S3Reading}. */
export interface ReadingOptions {
  /** For messages. */
  key: string;
  /** The key in the bucket. */
  place: string;
  /** The whole object when undefined. */
  range: ByteRange | undefined;
}

/** Consecutive breaks before a reading fails. */
const BREAKS_MAX = 5;
/** Breaks with this much progress between them are not consecutive. */
const PROGRESS_BYTES = 2 ** 20;

/** One reading: open it, then use its stream, or close it. */
export class S3Reading {
  readonly #client: S3Client;
  readonly #options: ReadingOptions;
  #body: S3Body | undefined;
  #etag: string | null = null;
  /** The next byte. */
  #position: number;
  /** The first byte not to read, if known. */
  #end: number | undefined;
  #breaks = 0;
  #lastBreakAt = 0;

  /** Makes no request yet. */
  constructor(client: S3Client, options: ReadingOptions) {
    this.#client = client;
    this.#options = options;
    this.#position = options.range?.offset ?? 0;
  }

  /** Requests the object, with retries; returns its headers. */
  async open(): Promise<Headers> {
    const { key, range } = this.#options;
    const body = await this.#client.repeat(() => this.#request(range ? rangeHeader(range) : {}));
    this.#body = body;
    const { status, headers } = body;
    const isBehindEnd = status === 416;
    if (range && status !== 206 && !isBehindEnd) {
      await this.close();
      throw new StorageError(
        "unsupported",
        `Cannot read a part of "${key}": the service sends the whole object`,
      );
    }
    const length = headers.get("content-length");
    if (isBehindEnd) this.#end = this.#position;
    else if (length !== null) this.#end = this.#position + Number(length);
    this.#etag = headers.get("etag");
    return headers;
  }

  /** The requested bytes; read the stream to its end or cancel it. */
  stream(): ReadableStream<Uint8Array> {
    return streamOf(() => this.#next(), () => this.close());
  }

  /** Releases the connection. */
  async close(): Promise<void> {
    await this.#body?.close();
    this.#body = undefined;
  }

  async #next(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#position === this.#end) {
        await this.close();
        return undefined;
      }
      try {
        this.#body ??= await this.#resume();
        const chunk = await this.#body.read();
        if (!chunk && this.#end !== undefined) throw this.#failure("interrupted", "it ended early");
        this.#position += chunk?.length ?? 0;
        return chunk;
      } catch (error) {
        await this.close();
        if (!isTemporary(error) || this.#etag === null) throw error;
        if (this.#position - this.#lastBreakAt >= PROGRESS_BYTES) this.#breaks = 0;
        this.#lastBreakAt = this.#position;
        if (++this.#breaks >= BREAKS_MAX) throw error;
        await this.#client.backOff(this.#breaks);
      }
    }
  }

  async #resume(): Promise<S3Body> {
    const offset = this.#position;
    const length = this.#end === undefined ? {} : { length: this.#end - offset };
    const range = rangeHeader({ offset, ...length });
    const body = await this.#request({ ...range, "if-match": this.#etag ?? "" });
    const { status, headers } = body;
    const isNext = status === 206 && headers.get("etag") === this.#etag &&
      headers.get("content-range")?.startsWith(`bytes ${offset}-`);
    if (isNext) return body;
    await body.close();
    throw this.#failure("precondition_failed", "it was replaced in the meantime");
  }

  #request(headers: Record<string, string>): Promise<S3Body> {
    const { key, place } = this.#options;
    const does = `read "${key}"`;
    return this.#client.open({ does, method: "GET", key: place, headers, accepts: [416] });
  }

  #failure(code: "interrupted" | "precondition_failed", reason: string): StorageError {
    return new StorageError(code, `Cannot read "${this.#options.key}": ${reason}`);
  }
}

function rangeHeader({ offset, length }: ByteRange): Record<string, string> {
  return { range: `bytes=${offset}-${length === undefined ? "" : offset + length - 1}` };
}
