/**
 * Objects in a folder: one file each, under its key. A file is written under another
 * name, flushed to the disk and then renamed, so that it is always whole. For
 * development, and for a shop with a disk of its own.
 *
 * The SHA-256 of an object is the name of an empty file under `.digests/` and the key.
 * While an object is being replaced there are two, and the bytes must have one of them;
 * so a crash at any moment leaves a readable object.
 *
 * Only one process at a time should write. Several lose nothing, but may leave digests
 * of replaced versions.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { type Clock, DAY_MS } from "../time.ts";
import { alreadyThere, checkRange, corrupt, streamOf, verified } from "./_streams.ts";
import {
  checkKey,
  type GetOptions,
  isHidden,
  isKey,
  type ObjectInfo,
  type ObjectStorage,
  type PutOptions,
  StorageError,
} from "./mod.ts";

/** Files that are being written. */
const INCOMING = ".incoming";
const DIGESTS = ".digests";
const CHUNK_BYTES = 64 * 1024;

/** A folder as storage; it is created with the first object. */
export function openFolder(path: string, clock: Clock): ObjectStorage {
  return new Folder(path, clock);
}

class Folder implements ObjectStorage {
  readonly #root: string;
  readonly #clock: Clock;
  readonly #turns = new Map<string, Promise<void>>();

  constructor(root: string, clock: Clock) {
    this.#root = root;
    this.#clock = clock;
  }

  put(
    key: string,
    body: ReadableStream<Uint8Array> | Uint8Array,
    options: PutOptions = {},
  ): Promise<ObjectInfo> {
    return this.#explained(`store "${key}"`, async () => {
      const path = this.#path(key);
      const incoming = `${this.#root}/${INCOMING}/${crypto.randomUUID()}`;
      await Deno.mkdir(parentOf(incoming), { recursive: true });
      try {
        const sha256 = await writeFile(incoming, body);
        if (options.sha256 !== undefined && options.sha256 !== sha256) throw corrupt("store", key);
        await this.#inTurn(key, () => this.#place(key, { ...options, incoming, sha256 }));
        const { size, mtime } = await Deno.stat(path);
        return { key, size, modifiedAt: millis(mtime), sha256 };
      } finally {
        await removeIfThere(incoming);
      }
    });
  }

  get(key: string, { range }: GetOptions = {}): Promise<ReadableStream<Uint8Array>> {
    return this.#explained(`read "${key}"`, async () => {
      const path = this.#path(key);
      if (range) checkRange(range);
      const digests = await this.#digests(key);
      const file = await openFile(path);
      if (!file) throw await this.#isMissing() ?? notThere(key);
      await file.seek(range?.offset ?? 0, Deno.SeekMode.Start);
      // The object may have been replaced just before it was opened.
      digests.push(...await this.#digests(key));
      return verified(contentOf(file, range?.length ?? Infinity), range ? [] : digests, key);
    });
  }

  head(key: string): Promise<ObjectInfo | null> {
    return this.#explained(`look up "${key}"`, async () => {
      const found = await statFile(this.#path(key));
      if (!found) {
        const missing = await this.#isMissing();
        if (missing) throw missing;
        return null;
      }
      const digests = await this.#digests(key);
      const [sha256] = digests;
      return {
        key,
        size: found.size,
        modifiedAt: millis(found.mtime),
        ...sha256 !== undefined && digests.length === 1 && { sha256 },
      };
    });
  }

  async *list(prefix: string): AsyncGenerator<ObjectInfo> {
    const missing = await this.#isMissing();
    if (missing) throw missing;
    const walk = filesBelow(this.#root, "", prefix);
    for (;;) {
      const { done, value } = await this.#explained(`list "${prefix}"`, () => walk.next());
      if (done) return;
      const found = isKey(value) ? await statFile(this.#path(value)) : undefined;
      if (found) yield { key: value, size: found.size, modifiedAt: millis(found.mtime) };
    }
  }

  delete(key: string): Promise<void> {
    return this.#explained(`delete "${key}"`, async () => {
      const path = this.#path(key);
      const missing = await this.#isMissing();
      if (missing) throw missing;
      await this.#inTurn(key, async () => {
        if (!await statFile(path)) return;
        await removeIfThere(path);
        for (const digest of await this.#digests(key)) {
          await removeIfThere(this.#digestPath(key, digest));
        }
      });
    });
  }

  tidy(ageMs = DAY_MS): Promise<number> {
    return this.#explained("tidy", async () => {
      let count = 0;
      for (const folder of [INCOMING, DIGESTS]) {
        for await (const path of filesBelow(`${this.#root}/${folder}`, "", "")) {
          const found = await statFile(`${this.#root}/${folder}/${path}`);
          const isOld = found && millis(found.mtime) < this.#clock() - ageMs;
          if (!isOld) continue;
          if (folder === DIGESTS && await statFile(this.#path(parentOf(path)))) continue;
          await removeIfThere(`${this.#root}/${folder}/${path}`);
          count++;
        }
      }
      return count;
    });
  }

  #path(key: string): string {
    return `${this.#root}/${checkKey(key)}`;
  }

  #digestPath(key: string, sha256: string): string {
    return `${this.#root}/${DIGESTS}/${key}/${sha256}`;
  }

  /** Of the object, and of a version that is replacing it or being replaced. */
  async #digests(key: string): Promise<string[]> {
    const entries = await entriesOf(`${this.#root}/${DIGESTS}/${key}`);
    return entries.filter(({ isFile }) => isFile).map(({ name }) => name);
  }

  /** Gives the written file the name of its object. */
  async #place(
    key: string,
    { incoming, sha256, ifAbsent }: PutOptions & { incoming: string; sha256: string },
  ): Promise<void> {
    const path = this.#path(key);
    if (ifAbsent && await statFile(path)) throw alreadyThere(key);
    const before = await this.#digests(key);
    const digest = this.#digestPath(key, sha256);
    await Deno.mkdir(parentOf(digest), { recursive: true });
    await Deno.writeFile(digest, new Uint8Array());
    await flush(parentOf(digest));
    try {
      await Deno.mkdir(parentOf(path), { recursive: true });
      // Unlike rename, link refuses an existing name.
      if (ifAbsent) await Deno.link(incoming, path);
      else await Deno.rename(incoming, path);
    } catch (error) {
      if (ifAbsent && await statFile(path)) throw alreadyThere(key);
      if (error instanceof Deno.errors.PermissionDenied) throw error;
      const reason = `in a folder "a" and "a/b" cannot both be objects`;
      throw await isBlocked(this.#root, key)
        ? new StorageError("invalid_key", `Cannot store "${key}": ${reason}`, { cause: error })
        : error;
    }
    await flush(parentOf(path));
    for (const old of before) {
      if (old !== sha256) await removeIfThere(this.#digestPath(key, old));
    }
  }

  /** Runs the changes of one key one after another. */
  #inTurn(key: string, work: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(key) ?? Promise.resolve()).then(work);
    const end = turn.catch(() => {}).then(() => {
      if (this.#turns.get(key) === end) this.#turns.delete(key);
    });
    this.#turns.set(key, end);
    return turn;
  }

  /** The error to throw if the folder does not exist. */
  async #isMissing(): Promise<StorageError | undefined> {
    const root = await Deno.stat(this.#root).catch(goneAsUndefined);
    if (root?.isDirectory) return undefined;
    return new StorageError(
      "missing_bucket",
      `Cannot read from "${this.#root}": the folder does not exist; create it, or correct STORAGE_URL`,
    );
  }

  /** Runs `work`; failures of the disk become {@linkcode StorageError}s. */
  async #explained<T>(does: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof SourceFailure) throw error.cause;
      if (error instanceof StorageError || error instanceof RangeError) throw error;
      throw diskFailure(`Cannot ${does} in "${this.#root}"`, error);
    }
  }
}

/** An error of the stream to be stored, not of the disk. */
class SourceFailure extends Error {}

async function* chunksOf(
  body: ReadableStream<Uint8Array> | Uint8Array,
): AsyncGenerator<Uint8Array> {
  try {
    if (body instanceof Uint8Array) yield body;
    else yield* body;
  } catch (cause) {
    throw new SourceFailure("", { cause });
  }
}

/** Writes a new file to the disk, and returns its SHA-256. */
async function writeFile(
  path: string,
  body: ReadableStream<Uint8Array> | Uint8Array,
): Promise<string> {
  using file = await Deno.open(path, { write: true, createNew: true });
  const hash = createHash("sha256");
  for await (const chunk of chunksOf(body)) {
    hash.update(chunk);
    for (let written = 0; written < chunk.length;) {
      written += await file.write(chunk.subarray(written));
    }
  }
  await file.sync();
  return hash.digest("hex");
}

/** Up to `length` bytes of a file, from its current position; closes it. */
function contentOf(file: Deno.FsFile, length: number): ReadableStream<Uint8Array> {
  let left = length;
  return streamOf(async () => {
    const chunk = new Uint8Array(Math.min(CHUNK_BYTES, left));
    try {
      const size = chunk.length === 0 ? null : await file.read(chunk);
      if (size === null) file.close();
      left -= size ?? 0;
      return size === null ? undefined : chunk.subarray(0, size);
    } catch (error) {
      file.close();
      throw diskFailure("Cannot continue to read", error);
    }
  }, () => Promise.resolve(file.close()));
}

/** Paths of the files below a folder that begin with `prefix`, in the order of their bytes. */
async function* filesBelow(
  root: string,
  folder: string,
  prefix: string,
): AsyncGenerator<string> {
  const entries = (await entriesOf(`${root}/${folder}`))
    .map(({ name, isDirectory }) => ({
      path: folder + name + (isDirectory ? "/" : ""),
      isDirectory,
    }))
    .filter(({ path }) => !isHidden(path))
    .sort((a, b) => compareUtf8(a.path, b.path));
  for (const { path, isDirectory } of entries) {
    if (!isDirectory && path.startsWith(prefix)) yield path;
    const mayHaveSome = path.startsWith(prefix) || prefix.startsWith(path);
    if (isDirectory && mayHaveSome) yield* filesBelow(root, path, prefix);
  }
}

/** Negative if `a` comes first. UTF-16 orders characters beyond U+FFFF differently. */
function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

async function entriesOf(folder: string): Promise<Deno.DirEntry[]> {
  return await Array.fromAsync(Deno.readDir(folder)).catch(goneAsUndefined) ?? [];
}

/** Whether there is a file where the key needs a folder, or the reverse. */
async function isBlocked(root: string, key: string): Promise<boolean> {
  const segments = key.split("/");
  for (const i of segments.keys()) {
    const path = `${root}/${segments.slice(0, i + 1).join("/")}`;
    const found = await Deno.stat(path).catch(goneAsUndefined);
    if (found && found.isDirectory !== i < segments.length - 1) return true;
  }
  return false;
}

async function statFile(path: string): Promise<Deno.FileInfo | undefined> {
  const found = await Deno.stat(path).catch(goneAsUndefined);
  return found?.isFile ? found : undefined;
}

async function openFile(path: string): Promise<Deno.FsFile | undefined> {
  return await statFile(path) && await Deno.open(path).catch(goneAsUndefined);
}

async function removeIfThere(path: string): Promise<void> {
  await Deno.remove(path).catch(goneAsUndefined);
}

/** Flushes a folder's entries to the disk; Windows does that itself. */
async function flush(folder: string): Promise<void> {
  if (Deno.build.os === "windows") return;
  using file = await Deno.open(folder);
  await file.sync();
}

function goneAsUndefined(error: unknown): undefined {
  const { NotADirectory, NotFound } = Deno.errors;
  if (!(error instanceof NotFound || error instanceof NotADirectory)) throw error;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function millis(time: Date | null): number {
  return time?.getTime() ?? 0;
}

function notThere(key: string): StorageError {
  return new StorageError("not_found", `Cannot read "${key}": the object does not exist`);
}

function diskFailure(what: string, cause: unknown): StorageError {
  const { NotCapable, PermissionDenied } = Deno.errors;
  if (cause instanceof PermissionDenied || cause instanceof NotCapable) {
    const advice = "allow the process to read and write there (--allow-read, --allow-write)";
    return new StorageError("access_denied", `${what}: permission denied; ${advice}`, { cause });
  }
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT"
    ? new StorageError("full", `${what}: the disk is full; free space`, { cause })
    : new StorageError("unavailable", `${what}: the disk failed; check it`, { cause });
}
