/**
 * A KV that a test looks into and gets in the way of, as `wrapKv` of
 * `startApp()`: it stands where the network to a database would be.
 *
 * @module
 */
import type { KvPort } from "../../../lib/kv/store.ts";

/** A read that has its answer, and keeps it from the program until released. */
export interface HeldRead {
  /** Resolves once the database has answered. */
  answered: Promise<void>;
  release(): void;
}

/** A KV between the program and the one that was opened. */
export class TestKv {
  /** Calls of `getMany` so far. */
  reads = 0;
  /** Atomics that were sent so far. */
  commits = 0;
  /** While set, no call is answered. */
  isHanging = false;
  #kv: KvPort | undefined;
  readonly #whole = new Map<string, Uint8Array | null>();
  #hangsAtCommit = false;
  #held: { onAnswer: () => void; released: Promise<void> } | undefined;

  /** Takes its place; for `startApp({ wrapKv })`. */
  readonly wrapKv = (kv: KvPort): KvPort => {
    this.#kv = kv;
    const port: Pick<KvPort, keyof KvPort> = {
      getMany: async (keys, options) => {
        this.reads++;
        await this.#hang();
        const held = this.#held;
        this.#held = undefined;
        const found = await kv.getMany(keys, options);
        held?.onAnswer();
        await held?.released;
        return found as never; // what `kv` found for the same keys
      },
      list: (selector, options) => this.#listing(kv.list(selector, options)),
      atomic: () => this.#atomic(kv.atomic()),
      commitVersionstamp: () => kv.commitVersionstamp(),
      close: () => kv.close(),
    };
    return port;
  };

  /** Lets the next read have its answer, but not give it to the program yet. */
  holdNextRead(): HeldRead {
    const { promise: answered, resolve: onAnswer } = Promise.withResolvers<void>();
    const { promise: released, resolve: release } = Promise.withResolvers<void>();
    this.#held = { onAnswer, released };
    return { answered, release };
  }

  /** Hangs from the next commit on, which is sent all the same. */
  hangNextCommitOnwards(): void {
    this.#hangsAtCommit = true;
  }

  /** Every key of the store with its versionstamp, as lines; equal lines mean no change. */
  async dump(): Promise<string[]> {
    const lines: string[] = [];
    for await (const { key, versionstamp } of this.#opened.list({ prefix: [] })) {
      lines.push(`${JSON.stringify(key)} ${versionstamp}`);
    }
    return lines;
  }

  /** All that the store holds, as text, to look for what must not be there. */
  async text(prefix: Deno.KvKey = []): Promise<string> {
    const decoder = new TextDecoder();
    let text = "";
    for await (const { key, value } of this.#opened.list<Uint8Array>({ prefix })) {
      text += `${JSON.stringify(key)} ${decoder.decode(value)}\n`;
    }
    return text;
  }

  /** Replaces a record by bytes that are no record. */
  async corrupt(key: Deno.KvKey): Promise<void> {
    const [{ value }] = await this.#opened.getMany<[Uint8Array]>([key]);
    this.#whole.set(JSON.stringify(key), value);
    await this.#opened.atomic().set(key, new Uint8Array([0xff, 0x00, 0x7b])).commit();
  }

  /** Undoes `corrupt()`. */
  async restore(key: Deno.KvKey): Promise<void> {
    const value = this.#whole.get(JSON.stringify(key));
    await (value ? this.#opened.atomic().set(key, value) : this.#opened.atomic().delete(key))
      .commit();
  }

  get #opened(): KvPort {
    if (!this.#kv) throw new Error("Cannot look into the store before the program has opened it");
    return this.#kv;
  }

  async #hang(): Promise<void> {
    if (this.isHanging) await new Promise<never>(() => {});
  }

  #atomic(atomic: Deno.AtomicOperation): Deno.AtomicOperation {
    const commit = atomic.commit.bind(atomic);
    atomic.commit = async () => {
      this.commits++;
      if (this.#hangsAtCommit) {
        this.#hangsAtCommit = false;
        this.isHanging = true;
        await commit();
      }
      await this.#hang();
      return await commit();
    };
    return atomic;
  }

  #listing<T>(entries: Deno.KvListIterator<T>): Deno.KvListIterator<T> {
    const next = entries.next.bind(entries);
    entries.next = async () => {
      await this.#hang();
      return await next();
    };
    return entries;
  }
}
