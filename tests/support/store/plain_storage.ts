/**
 * An object storage for tests of stored objects: a folder with one file per object, and a
 * wrapper in which requests fail.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { ObjectInfo, ObjectStorage } from "../../../lib/storage/mod.ts";

/** A folder without checks, so that tests can damage objects; these appear whole or not at all. */
export class PlainStorage implements ObjectStorage {
  /** Stores below `folder`, which exists. */
  constructor(readonly folder: string) {}

  /** @see ObjectStorage */
  async put(
    key: string,
    body: ReadableStream<Uint8Array> | Uint8Array,
    { sha256 }: { sha256?: string } = {},
  ): Promise<ObjectInfo> {
    const bytes = body instanceof Uint8Array ? body : await new Response(body as BodyInit).bytes();
    if (sha256 && createHash("sha256").update(bytes).digest("hex") !== sha256) {
      throw new Error("Other bytes arrived than were sent");
    }
    const path = this.path(key);
    await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    const temporary = `${this.folder}/.${crypto.randomUUID()}`;
    await Deno.writeFile(temporary, bytes);
    await Deno.rename(temporary, path);
    return (await this.head(key))!;
  }

  /** @see ObjectStorage */
  async get(key: string): Promise<ReadableStream<Uint8Array>> {
    return (await Deno.open(this.path(key))).readable;
  }

  /** @see ObjectStorage */
  async head(key: string): Promise<ObjectInfo | null> {
    try {
      const { size, mtime } = await Deno.stat(this.path(key));
      return { key, size, modifiedAt: mtime?.getTime() ?? 0 };
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }

  /** @see ObjectStorage */
  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    const keys = await filesBelow(this.folder, "");
    for (const key of keys.sort()) {
      const info = key.startsWith(prefix) ? await this.head(key) : null;
      if (info) yield info;
    }
  }

  /** @see ObjectStorage */
  async delete(key: string): Promise<void> {
    await Deno.remove(this.path(key)).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }

  /** There is nothing to tidy. */
  tidy(): Promise<number> {
    return Promise.resolve(0);
  }

  /** Where an object is. */
  path(key: string): string {
    return `${this.folder}/${key}`;
  }

  /** Names of all objects below `prefix`. */
  async names(prefix = ""): Promise<string[]> {
    return (await Array.fromAsync(this.list(prefix))).map(({ key }) => key);
  }
}

/** A request to the storage. */
export interface StorageCall {
  /** Which request. */
  does: "put" | "get" | "head" | "list" | "delete";
  /** Of which object. */
  key: string;
  /** From 1. */
  count: number;
}

/** A storage in which chosen requests fail. */
export class FaultyStorage implements ObjectStorage {
  /** The fate of each request: `fail` before it is done, `lose` the answer, or `cut` the body. */
  fault: (call: StorageCall) => "ok" | "fail" | "lose" | "cut" = () => "ok";
  #count = 0;

  /** Stands in front of `storage`. */
  constructor(readonly storage: ObjectStorage) {}

  /** @see ObjectStorage */
  async put(
    key: string,
    body: ReadableStream<Uint8Array> | Uint8Array,
    options: { sha256?: string } = {},
  ): Promise<ObjectInfo> {
    const fault = this.#ask("put", key);
    if (fault === "cut" && body instanceof Uint8Array) {
      return await this.storage.put(key, body.slice(0, body.length / 2));
    }
    const info = await this.storage.put(key, body, options);
    if (fault === "lose") throw new Error("Injected: the answer was lost");
    return info;
  }

  /** @see ObjectStorage */
  async get(key: string): Promise<ReadableStream<Uint8Array>> {
    this.#ask("get", key);
    return await this.storage.get(key);
  }

  /** @see ObjectStorage */
  async head(key: string): Promise<ObjectInfo | null> {
    this.#ask("head", key);
    return await this.storage.head(key);
  }

  /** @see ObjectStorage */
  list(prefix: string): AsyncIterable<ObjectInfo> {
    this.#ask("list", prefix);
    return this.storage.list(prefix);
  }

  /** @see ObjectStorage */
  async delete(key: string): Promise<void> {
    this.#ask("delete", key);
    await this.storage.delete(key);
  }

  /** @see ObjectStorage */
  tidy(ageMs?: number): Promise<number> {
    return this.storage.tidy(ageMs);
  }

  #ask(does: StorageCall["does"], key: string): "ok" | "fail" | "lose" | "cut" {
    const fault = this.fault({ does, key, count: ++this.#count });
    if (fault === "fail") throw new Error(`Injected: ${does} failed`);
    return fault;
  }
}

async function filesBelow(folder: string, path: string): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${path}`)) {
    if (isDirectory) files.push(...await filesBelow(folder, `${path}${name}/`));
    else if (!name.startsWith(".")) files.push(path + name);
  }
  return files;
}
