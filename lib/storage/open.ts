/**
 * Opens the storage that a URL names, and loads only the code it needs.
 *
 * @module
 */
import { SECOND_MS, sleep as realSleep } from "../time.ts";
import { isKey, type ObjectStorage, type StorageOptions } from "./mod.ts";

const SILENCE_MS = 30 * SECOND_MS;
/** The minimum of S3, except for the last part. */
const PART_MIN_BYTES = 5 * 2 ** 20;
/** At most 10,000 parts make an object: 78 GiB. */
const PART_BYTES = 8 * 2 ** 20;

/**
 * Opens the storage of `options.url`. Makes no request yet.
 *
 * @throws {TypeError} If the URL or the endpoint is not valid.
 */
export async function openStorage(options: StorageOptions): Promise<ObjectStorage> {
  const { url, s3, clock, random, sleep = realSleep, silenceMs = SILENCE_MS } = options;
  const { partBytes = PART_BYTES } = options;
  if (url.startsWith("file:")) {
    const { openFolder } = await import("./folder.ts");
    return openFolder(folderOf(url), clock);
  }
  const [, bucket, prefix = ""] = /^s3:\/\/([\w.-]{3,63})(?:\/(.*?))?\/*$/.exec(url) ?? [];
  if (bucket === undefined || !(prefix === "" || isKey(prefix))) {
    throw new TypeError(`Cannot open storage at "${url}": use file:folder or s3://bucket/prefix`);
  }
  if (!s3) throw new TypeError("Cannot open S3 storage: endpoint, region and keys are missing");
  if (!(partBytes >= PART_MIN_BYTES)) {
    throw new TypeError(`Cannot upload in parts of ${partBytes} bytes: the minimum of S3 is 5 MiB`);
  }
  const { openBucket } = await import("./s3.ts");
  return openBucket({
    ...s3,
    bucket,
    prefix: prefix === "" ? "" : `${prefix}/`,
    clock,
    random,
    sleep,
    silenceMs,
    partBytes,
  });
}

/** After `file:` comes a relative or absolute path, or the URL is a file URL. */
function folderOf(url: string): string {
  const path = url.startsWith("file://")
    ? decodeURIComponent(new URL(url).pathname)
    : url.slice("file:".length);
  if (path.replaceAll("/", "") === "") {
    throw new TypeError(`Cannot store in "${url}": name a folder`);
  }
  return path.replace(/\/+$/, "");
}
