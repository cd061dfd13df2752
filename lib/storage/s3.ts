/**
 * Objects in a bucket of S3 or a compatible service: AWS, R2, B2, Ceph, MinIO. Uses
 * only what these do alike, except where noted.
 *
 * Each object has its SHA-256 in its metadata. For a long stream the digest is known
 * only after the last part, too late for metadata; it is then a separate object: under
 * `.digests/`, the key, and the id of the write, which the metadata has too, so that it
 * cannot be mistaken for the digest of another version.
 *
 * By the id of its write a writer that did not receive the answer also recognises its
 * object when it tries again.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { sha256Hex } from "../digest.ts";
import { DAY_MS } from "../time.ts";
import { S3Client, type S3ClientOptions } from "./_s3_client.ts";
import { objectsOf, uploadsOf } from "./_s3_lists.ts";
import { S3Reading } from "./_s3_reading.ts";
import { alreadyThere, checkRange, corrupt, inParts, verified } from "./_streams.ts";
import { escapeXml, isDocument, textOf } from "./_xml.ts";
import {
  checkKey,
  type GetOptions,
  isHidden,
  type ObjectInfo,
  type ObjectStorage,
  type PutOptions,
  StorageError,
} from "./mod.ts";

/** Options for {@linkcode openBucket}. */
export interface BucketOptions extends S3ClientOptions {
  /** Prefix of every key; empty, or with `/` at its end. */
  prefix: string;
  /** The size of the parts of a large object; an object of up to one part is stored in one call. */
  partBytes: number;
}

const WRITE_ID = "x-amz-meta-write-id";
const SHA256 = "x-amz-meta-sha256";
/** In place of a digest that is a separate object. */
const BESIDE = "beside";
const DIGESTS = ".digests/";
const HEX = /^[0-9a-f]{64}$/;
const PARTS_MAX = 10_000;

/** A bucket as storage. */
export function openBucket(options: BucketOptions): ObjectStorage {
  return new Bucket(options);
}

/** One put of one object. */
interface Write extends PutOptions {
  key: string;
  /** Random; stored in the object's metadata. */
  id: string;
}

/** An upload in parts. */
interface Upload {
  id: string;
  etags: string[];
}

class Bucket implements ObjectStorage {
  readonly #client: S3Client;
  readonly #options: BucketOptions;

  constructor(options: BucketOptions) {
    this.#options = options;
    this.#client = new S3Client(options);
  }

  async put(
    key: string,
    body: ReadableStream<Uint8Array> | Uint8Array,
    options: PutOptions = {},
  ): Promise<ObjectInfo> {
    const write: Write = { ...options, key: checkKey(key), id: crypto.randomUUID() };
    if (body instanceof Uint8Array) {
      const sha256 = sha256Hex(body);
      checkDigest(write, sha256);
      write.sha256 = sha256;
    }
    const hash = createHash("sha256");
    let size = 0;
    let upload: Upload | undefined;
    try {
      for await (const { bytes, isLast } of inParts(body, this.#options.partBytes)) {
        hash.update(bytes);
        size += bytes.length;
        if (isLast && !upload) return await this.#putWhole(write, bytes, hash.digest("hex"));
        upload ??= await this.#begin(write);
        await this.#putPart(write, upload, bytes);
      }
      return await this.#complete(write, upload!, { size, sha256: hash.digest("hex") });
    } catch (error) {
      if (upload) await this.#abort(key, upload.id).catch(() => {}); // tidy() does it later
      throw error;
    }
  }

  async get(key: string, { range }: GetOptions = {}): Promise<ReadableStream<Uint8Array>> {
    if (range) checkRange(range);
    const reading = new S3Reading(this.#client, {
      key: checkKey(key),
      place: this.#place(key),
      range,
    });
    const headers = await reading.open();
    try {
      const digest = range ? undefined : await this.#digestOf(key, headers);
      return verified(reading.stream(), digest === undefined ? [] : [digest], key);
    } catch (error) {
      await reading.close();
      throw error;
    }
  }

  async head(key: string): Promise<ObjectInfo | null> {
    const { status, headers } = await this.#client.request({
      does: `look up "${key}"`,
      method: "HEAD",
      key: this.#place(checkKey(key)),
      accepts: [404],
    });
    if (status !== 404) {
      const sha256 = await this.#digestOf(key, headers);
      const etag = headers.get("etag");
      return {
        key,
        size: Number(headers.get("content-length")),
        modifiedAt: Date.parse(headers.get("last-modified") ?? ""),
        ...etag !== null && { etag },
        ...sha256 !== undefined && { sha256 },
      };
    }
    // A HEAD has no body, and the bucket may be missing.
    try {
      const first = { key, place: this.#place(key), range: { offset: 0, length: 1 } };
      const reading = new S3Reading(this.#client, first);
      await reading.open();
      await reading.close();
    } catch (error) {
      if (error instanceof StorageError && error.code === "not_found") return null;
      throw error;
    }
    return this.head(key); // it was stored in the meantime
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    for await (const info of this.#listAll(prefix)) if (!isHidden(info.key)) yield info;
  }

  async delete(key: string): Promise<void> {
    await this.#remove(checkKey(key));
  }

  async tidy(ageMs = DAY_MS): Promise<number> {
    const isOld = (at: number) => at < this.#options.clock() - ageMs;
    let count = 0;
    for await (const { key, id, startedAt } of uploadsOf(this.#client, this.#options.prefix)) {
      if (!isOld(startedAt)) continue;
      await this.#abort(key.slice(this.#options.prefix.length), id);
      count++;
    }
    for await (const { key: place, modifiedAt } of this.#listAll(DIGESTS)) {
      if (!isOld(modifiedAt)) continue;
      const slash = place.lastIndexOf("/");
      const key = place.slice(DIGESTS.length, slash);
      const id = place.slice(slash + 1);
      if (await this.#isFrom(key, id)) continue;
      await this.#remove(place);
      count++;
    }
    return count;
  }

  #place(key: string): string {
    return this.#options.prefix + key;
  }

  async #putWhole(
    write: Write,
    bytes: Uint8Array<ArrayBuffer>,
    sha256: string,
  ): Promise<ObjectInfo> {
    checkDigest(write, sha256);
    const { key, id } = write;
    const { status, headers } = await this.#client.request({
      does: `store "${key}"`,
      method: "PUT",
      key: this.#place(key),
      headers: { ...newHeaders(write, sha256), ...condition(write) },
      body: bytes,
      accepts: write.ifAbsent ? [412] : [],
    });
    if (status === 412 && !await this.#isFrom(key, id)) throw alreadyThere(key);
    const etag = status === 412 ? null : headers.get("etag");
    const modifiedAt = this.#options.clock();
    return { key, size: bytes.length, modifiedAt, sha256, ...etag !== null && { etag } };
  }

  async #begin(write: Write): Promise<Upload> {
    const { key, sha256 = BESIDE } = write;
    if (write.ifAbsent && await this.head(key)) throw alreadyThere(key);
    const { text } = await this.#client.request({
      does: `start to store "${key}"`,
      method: "POST",
      key: this.#place(key),
      query: { uploads: "" },
      headers: newHeaders(write, sha256),
    }, (text) => isDocument(text, "InitiateMultipartUploadResult"));
    return { id: textOf(text, "UploadId") ?? "", etags: [] };
  }

  async #putPart(
    { key }: Write,
    { id: uploadId, etags }: Upload,
    body: Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    if (etags.length === PARTS_MAX) {
      throw new StorageError(
        "unsupported",
        `Cannot store "${key}": it has more than ${PARTS_MAX} parts`,
      );
    }
    const { headers } = await this.#client.request({
      does: `store part ${etags.length + 1} of "${key}"`,
      method: "PUT",
      key: this.#place(key),
      query: { partNumber: String(etags.length + 1), uploadId },
      body,
    });
    etags.push(headers.get("etag") ?? "");
  }

  async #complete(
    write: Write,
    { id: uploadId, etags }: Upload,
    { size, sha256 }: { size: number; sha256: string },
  ): Promise<ObjectInfo> {
    checkDigest(write, sha256);
    const { key, id } = write;
    if (write.sha256 === undefined) {
      await this.#client.request({
        does: `store the digest of "${key}"`,
        method: "PUT",
        key: this.#place(`${DIGESTS}${key}/${id}`),
        body: new TextEncoder().encode(sha256),
      });
    }
    // For services that ignore the condition of the call below.
    if (write.ifAbsent && await this.head(key)) throw alreadyThere(key);
    const parts = etags.map((etag, i) =>
      `<Part><PartNumber>${i + 1}</PartNumber><ETag>${escapeXml(etag)}</ETag></Part>`
    );
    const { status } = await this.#client.request({
      does: `complete "${key}"`,
      method: "POST",
      key: this.#place(key),
      query: { uploadId },
      headers: condition(write),
      body: new TextEncoder().encode(
        `<CompleteMultipartUpload>${parts.join("")}</CompleteMultipartUpload>`,
      ),
      accepts: [404, 412],
    }, (text) => isDocument(text, "CompleteMultipartUploadResult"));
    // An upload whose completion we did not learn of no longer exists.
    if (status >= 400 && !await this.#isFrom(key, id)) {
      if (status === 412) throw alreadyThere(key);
      throw new StorageError(
        "interrupted",
        `Cannot store "${key}": the upload was removed before it was complete`,
      );
    }
    const info = await this.head(key);
    if (info?.size !== size || info.sha256 !== sha256) {
      throw new StorageError(
        "interrupted",
        `Cannot store "${key}": it was replaced or removed immediately`,
      );
    }
    return info;
  }

  async #abort(key: string, uploadId: string): Promise<void> {
    await this.#client.request({
      does: `abort an upload of "${key}"`,
      method: "DELETE",
      key: this.#place(key),
      query: { uploadId },
      accepts: [404],
    });
  }

  /** Whether the object was stored by the write of this id. */
  async #isFrom(key: string, writeId: string): Promise<boolean> {
    const { status, headers } = await this.#client.request({
      does: `look up "${key}"`,
      method: "HEAD",
      key: this.#place(key),
      accepts: [404],
    });
    return status !== 404 && headers.get(WRITE_ID) === writeId;
  }

  async #digestOf(key: string, headers: Headers): Promise<string | undefined> {
    const kept = headers.get(SHA256);
    // For an object of another program it may be anything.
    if (kept !== BESIDE) return kept !== null && HEX.test(kept) ? kept : undefined;
    try {
      const { text } = await this.#client.request({
        does: `read the digest of "${key}"`,
        method: "GET",
        key: this.#place(`${DIGESTS}${key}/${headers.get(WRITE_ID)}`),
      });
      return text;
    } catch (error) {
      if (error instanceof StorageError && error.code === "not_found") throw corrupt("read", key);
      throw error;
    }
  }

  async #remove(key: string): Promise<void> {
    await this.#client.request({ does: `delete "${key}"`, method: "DELETE", key: this.#place(key) })
      .catch((error) => {
        // Some services report this, others do not.
        if (!(error instanceof StorageError && error.code === "not_found")) throw error;
      });
  }

  /** All objects that begin with `prefix`, reserved ones included. */
  async *#listAll(prefix: string): AsyncGenerator<ObjectInfo> {
    for await (const info of objectsOf(this.#client, this.#place(prefix))) {
      yield { ...info, key: info.key.slice(this.#options.prefix.length) };
    }
  }
}

function checkDigest({ key, sha256 }: Write, actual: string): void {
  if (sha256 !== undefined && sha256 !== actual) throw corrupt("store", key);
}

function newHeaders({ id, contentType }: Write, sha256: string): Record<string, string> {
  return {
    "content-type": contentType ?? "application/octet-stream",
    [WRITE_ID]: id,
    [SHA256]: sha256,
  };
}

function condition({ ifAbsent }: Write): Record<string, string> {
  return ifAbsent ? { "if-none-match": "*" } : {};
}
