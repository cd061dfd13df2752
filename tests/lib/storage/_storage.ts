/** Opens storages, and reads and writes them, for tests. */
import {
  type ObjectStorage,
  StorageError,
  type StorageErrorCode,
  type StorageOptions,
} from "../../../lib/storage/mod.ts";
import { openStorage } from "../../../lib/storage/open.ts";
import { sleep, systemClock } from "../../../lib/time.ts";

export const MIB = 2 ** 20;
export const PART_BYTES = 5 * MIB;

/** An empty storage for one test. */
export interface Opened extends AsyncDisposable {
  storage: ObjectStorage;
  /** The same, as another process has it. */
  other: ObjectStorage;
  /** Opens it such that a bit is wrong in byte `at` of what is read of an object. */
  spoil(key: string, at: number): Promise<ObjectStorage>;
}

/** Opens what `url` says; waits between attempts are short. */
export function openPlace(
  options: Partial<StorageOptions> & Pick<StorageOptions, "url">,
): Promise<ObjectStorage> {
  return openStorage({
    s3: undefined,
    clock: systemClock,
    random: Math.random,
    sleep: (ms) => sleep(ms / 50),
    silenceMs: 10_000,
    partBytes: PART_BYTES,
    ...options,
  });
}

export function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i += 65_536) crypto.getRandomValues(bytes.subarray(i, i + 65_536));
  return bytes;
}

/** Chunks that fit no part; `at` is called with the position before each. */
export function streamOf(
  bytes: Uint8Array,
  at: (position: number) => Promise<void> | void = () => {},
): ReadableStream<Uint8Array> {
  return ReadableStream.from((async function* () {
    for (let i = 0; i < bytes.length; i += 100_003) {
      await at(i);
      yield bytes.subarray(i, i + 100_003);
    }
  })());
}

export async function read(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return await new Response(stream).bytes();
}

export async function textOf(storage: ObjectStorage, key: string): Promise<string> {
  return await new Response(await storage.get(key)).text();
}

export function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

export async function keysOf(storage: ObjectStorage, prefix = ""): Promise<string[]> {
  return (await Array.fromAsync(storage.list(prefix))).map(({ key }) => key);
}

/** What it fails for; `"ok"` if it does not. */
export async function outcome(work: Promise<unknown>): Promise<StorageErrorCode | "ok"> {
  try {
    await work;
    return "ok";
  } catch (error) {
    if (error instanceof StorageError) return error.code;
    throw error;
  }
}

/** Every method but tidy(), each by its name. */
export function everything(storage: ObjectStorage): Record<string, () => Promise<unknown>> {
  return {
    put: () => storage.put("x", bytesOf("x")),
    putStream: () => storage.put("y", streamOf(new Uint8Array(PART_BYTES + 1))),
    get: () => textOf(storage, "x"),
    head: () => storage.head("x"),
    list: () => keysOf(storage),
    delete: () => storage.delete("x"),
  };
}

export async function outcomes(storage: ObjectStorage): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [name, call] of Object.entries(everything(storage))) {
    found[name] = await outcome(call());
  }
  return found;
}

export function allAre(code: StorageErrorCode): Record<string, StorageErrorCode> {
  const names = ["put", "putStream", "get", "head", "list", "delete"];
  return Object.fromEntries(names.map((name) => [name, code]));
}
