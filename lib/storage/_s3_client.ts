/**
 * Calls to S3: signed with the digest of their body (AWS Signature Version 4), given up
 * when the service is silent, and repeated with full jitter
 * (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter). All calls made
 * through it are repeatable.
 *
 * `@aws-sdk/client-s3` (25 packages, 8.3 MB, 65 ms to import, against 21 ms for this
 * folder) would replace only the signer and the XML: recognising a write whose answer
 * was lost, resuming reads and bounding silence would stay ours.
 *
 * @module
 */
import { AwsV4Signer } from "aws4fetch";
import { backoffMs, isoTime } from "../time.ts";
import { type Attempted, disconnection, isTemporary, refusal, silence } from "./_s3_failures.ts";
import { type S3Options, StorageError, type StorageOptions } from "./mod.ts";

/** Options of an {@linkcode S3Client}. */
export interface S3ClientOptions extends S3Options, Required<Omit<StorageOptions, "url" | "s3">> {
  /** The name of the bucket. */
  bucket: string;
}

/** One request. */
export interface S3Call {
  /** For messages, after "Cannot": such as `store "a.json"`. */
  does: string;
  /** In capitals. */
  method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** The whole key; absent for a call about the bucket. */
  key?: string;
  /** Not encoded. */
  query?: Record<string, string>;
  /** In addition to those of the signature. */
  headers?: Record<string, string>;
  /** Sent whole; none by default. */
  body?: Uint8Array<ArrayBuffer>;
  /** Accepted statuses, in addition to those of success. */
  accepts?: number[];
}

/** An answer, read to its end. */
export interface S3Answer {
  /** Of success, or accepted. */
  status: number;
  /** As received. */
  headers: Headers;
  /** The body. */
  text: string;
}

/** An answer whose body must be read to its end, or closed. */
export interface S3Body {
  /** Of success, or accepted. */
  status: number;
  /** As received. */
  headers: Headers;
  /** The next bytes; undefined at the end. */
  read(): Promise<Uint8Array | undefined>;
  /** Releases the connection. */
  close(): Promise<void>;
}

const ATTEMPTS_MAX = 5;
const BACKOFF_MS = 500;
const BACKOFF_MAX_MS = 5_000;
/** The time for a body assumes 0.5 Mbit/s, since the progress of an upload is not known. */
const UPLOAD_BYTES_PER_MS = 64;
/** A list of 1,000 keys has about 1 MiB. */
const TEXT_MAX_BYTES = 16 * 2 ** 20;

const EMPTY = new Uint8Array();

/** One bucket of an S3 service. */
export class S3Client {
  /** Bucket and host, for messages. */
  readonly where: string;
  readonly #options: S3ClientOptions;
  readonly #base: string;
  /** The signer's cache of the keys that it derives for each day. */
  readonly #derived = new Map<string, ArrayBuffer>();

  /** Makes no request yet. @throws {TypeError} If the endpoint is not valid. */
  constructor(options: S3ClientOptions) {
    const { bucket } = options;
    const given = options.endpoint.replace("{bucket}", bucket);
    const url = URL.canParse(given) ? new URL(given) : undefined;
    if (!url || !/^https?:$/.test(url.protocol) || url.username !== "" || url.search !== "") {
      throw new TypeError(
        "Cannot open S3 storage: S3_ENDPOINT must be like https://s3.example.com",
      );
    }
    const root = url.href.replace(/\/+$/, "");
    this.#base = url.host.startsWith(`${bucket}.`) ? root : `${root}/${bucket}`;
    this.#options = options;
    this.where = `bucket "${bucket}" at ${url.origin}`;
  }

  /** Makes a call and reads its answer, with retries. */
  request(call: S3Call, isGood?: (text: string) => boolean): Promise<S3Answer> {
    return this.repeat(async () => {
      const body = await this.open(call);
      const { status, headers } = body;
      const text = await readText(body, TEXT_MAX_BYTES);
      // Some failures have status 200.
      if (isGood && status < 300 && !isGood(text)) throw refusal(this.#about(call), status, text);
      return { status, headers, text };
    });
  }

  /** Calls `once` until it succeeds, fails permanently, or has failed too often. */
  async repeat<T>(once: () => Promise<T>): Promise<T> {
    for (let attempt = 1;; attempt++) {
      try {
        return await once();
      } catch (error) {
        if (!isTemporary(error) || attempt === ATTEMPTS_MAX) throw error;
        await this.backOff(attempt);
      }
    }
  }

  /** Waits after the failure of attempt `attempt`. */
  backOff(attempt: number): Promise<void> {
    const { sleep, random } = this.#options;
    return sleep(backoffMs(attempt, { firstMs: BACKOFF_MS, maxMs: BACKOFF_MAX_MS, random }));
  }

  /** Makes a call once. */
  async open(call: S3Call): Promise<S3Body> {
    const about = this.#about(call);
    const { silenceMs } = this.#options;
    const line = new Line(about);
    const sent = await this.#signed(call);
    const sendMs = (call.body?.length ?? 0) / UPLOAD_BYTES_PER_MS;
    const response = await line.within(silenceMs + sendMs, () =>
      fetch(sent.url, {
        method: call.method,
        headers: sent.headers,
        body: call.body ?? null,
        redirect: "manual",
        signal: line.signal,
      }));
    const reader = response.body?.getReader();
    const body: S3Body = {
      status: response.status,
      headers: response.headers,
      async read() {
        if (!reader) return undefined;
        return (await line.within(silenceMs, () => reader.read())).value;
      },
      async close() {
        // A failed stream has already released it.
        await reader?.cancel().catch(() => {});
      },
    };
    if (response.ok || call.accepts?.includes(response.status)) return body;
    throw refusal(about, response.status, await readText(body, TEXT_MAX_BYTES));
  }

  async #signed({ method, key, query, headers = {}, body }: S3Call) {
    const { accessKeyId, secretAccessKey, region, clock } = this.#options;
    const path = key === undefined ? "" : `/${key.split("/").map(encodeURIComponent).join("/")}`;
    const search = Object.entries(query ?? {}).map((pair) =>
      pair.map(encodeURIComponent).join("=")
    );
    const signed = await new AwsV4Signer({
      method,
      url: `${this.#base}${path}${search.length > 0 ? `?${search.join("&")}` : ""}`,
      headers: { ...headers, "x-amz-content-sha256": await hexDigest(body ?? EMPTY) },
      accessKeyId,
      secretAccessKey,
      region,
      service: "s3",
      cache: this.#derived,
      datetime: isoTime(clock()).replaceAll(/[-:]|\.\d+/g, ""),
    }).sign();
    // Not signed, since a proxy may change it.
    signed.headers.set("accept-encoding", "identity");
    return signed;
  }

  #about({ does }: S3Call): Attempted {
    return { does, where: this.where };
  }
}

/** A connection that is closed when it is silent; its failures become {@linkcode StorageError}s. */
class Line {
  readonly #about: Attempted;
  readonly #controller = new AbortController();

  constructor(about: Attempted) {
    this.#about = about;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  async within<T>(ms: number, work: () => Promise<T>): Promise<T> {
    const timer = setTimeout(
      () => this.#controller.abort(silence(this.#about, Math.round(ms))),
      ms,
    );
    try {
      return await work();
    } catch (error) {
      if (this.signal.aborted) throw this.signal.reason;
      throw disconnection(this.#about, error);
    } finally {
      clearTimeout(timer);
    }
  }
}

async function readText(body: S3Body, maxBytes: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for (let chunk = await body.read(); chunk; chunk = await body.read()) {
    size += chunk.length;
    if (size > maxBytes) {
      await body.close();
      throw new StorageError("unsupported", `Cannot read an answer of more than ${maxBytes} bytes`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** On another thread, unlike `lib/digest.ts`, since a part has megabytes. */
async function hexDigest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
