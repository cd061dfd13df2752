/**
 * Lists the objects and open uploads of a bucket, page by page.
 *
 * @module
 */
import type { S3Client } from "./_s3_client.ts";
import { elements, isDocument, textOf } from "./_xml.ts";
import { type ObjectInfo, StorageError } from "./mod.ts";

/** An upload that was started, and neither completed nor aborted. */
export interface OpenUpload {
  /** The whole key. */
  key: string;
  /** The service's id of it. */
  id: string;
  /** Milliseconds UTC. */
  startedAt: number;
}

/** What to list. */
interface Listing {
  /** For messages. */
  does: string;
  query: Record<string, string>;
  /** The name of the answer's outermost element. */
  document: string;
  /** The element with the value of each parameter of the next page. */
  next: Record<string, string>;
}

/** Every object whose whole key begins with `prefix`. */
export async function* objectsOf(client: S3Client, prefix: string): AsyncGenerator<ObjectInfo> {
  const pages = pagesOf(client, {
    does: `list "${prefix}"`,
    query: { "list-type": "2", prefix },
    document: "ListBucketResult",
    next: { "continuation-token": "NextContinuationToken" },
  });
  for await (const page of pages) {
    for (const item of elements(page, "Contents")) {
      const etag = textOf(item, "ETag");
      yield {
        key: textOf(item, "Key") ?? "",
        size: Number(textOf(item, "Size")),
        modifiedAt: Date.parse(textOf(item, "LastModified") ?? ""),
        ...etag !== undefined && { etag },
      };
    }
  }
}

/** Every open upload of a whole key that begins with `prefix`. */
export async function* uploadsOf(client: S3Client, prefix: string): AsyncGenerator<OpenUpload> {
  const pages = pagesOf(client, {
    does: "list uploads",
    query: { uploads: "", prefix },
    document: "ListMultipartUploadsResult",
    next: { "key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker" },
  });
  for await (const page of pages) {
    for (const item of elements(page, "Upload")) {
      yield {
        key: textOf(item, "Key") ?? "",
        id: textOf(item, "UploadId") ?? "",
        startedAt: Date.parse(textOf(item, "Initiated") ?? ""),
      };
    }
  }
}

async function* pagesOf(
  client: S3Client,
  { does, query, document, next }: Listing,
): AsyncGenerator<string> {
  let place: Record<string, string> = {};
  for (;;) {
    const { text } = await client.request(
      { does, method: "GET", query: { ...query, ...place } },
      (text) => isDocument(text, document),
    );
    yield text;
    if (textOf(text, "IsTruncated") !== "true") return;
    const after = Object.fromEntries(
      Object.entries(next).map(([parameter, name]) => [parameter, textOf(text, name) ?? ""]),
    );
    if (Object.entries(after).every(([name, value]) => value === (place[name] ?? ""))) {
      throw new StorageError(
        "unsupported",
        `Cannot ${does}: the service gave no position for the next page`,
      );
    }
    place = after;
  }
}
