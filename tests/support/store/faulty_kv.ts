/**
 * A KV with faults around a real one, in the place of the network and the database below our
 * store.
 *
 * | commit fault     | applied           | the caller sees            |
 * | ---------------- | ----------------- | -------------------------- |
 * | `ok`             | yes               | the true answer            |
 * | `lost-before`    | no                | an error                   |
 * | `lost-after`     | yes               | an error                   |
 * | `false-conflict` | yes               | `{ ok: false }`            |
 * | `hang`           | no                | nothing, ever              |
 * | `hang-after`     | yes               | nothing, ever              |
 * | `late`           | when released, or | nothing, ever              |
 * |                  | after `lateMs`    |                            |
 * | `locked`         | no                | `database is locked`       |
 *
 * Reads fail with `error` or never end with `hang`.
 *
 * @module
 */
import type { KvPort } from "../../../lib/kv/store.ts";

/** The fate of a commit. */
export type CommitFault =
  | "ok"
  | "lost-before"
  | "lost-after"
  | "false-conflict"
  | "hang"
  | "hang-after"
  | "late"
  | "locked";

/** Every way in which a commit goes wrong. */
export const COMMIT_FAULTS = [
  "lost-before",
  "lost-after",
  "false-conflict",
  "hang",
  "hang-after",
  "late",
  "locked",
] as const satisfies CommitFault[];

/** The fate of a read. */
export type ReadFault = "ok" | "error" | "hang";

/** A commit about to be sent. */
export interface SentCommit {
  /** From 1, in the order of sending. */
  count: number;
  /** The keys that it sets or deletes. */
  keys: readonly Deno.KvKey[];
  /** Whether it writes one receipt and nothing else but the head, as our store's fences do. */
  isFence: boolean;
}

/** Outcomes of late commits that were released. */
export interface Released {
  applied: number;
  refused: number;
}

type Answer = Deno.KvCommitResult | Deno.KvCommitError;

const NO_FAULT = () => "ok" as const;

/** A real KV with faults in front of it. Healthy until a test injects a fault. */
export class FaultyKv implements KvPort {
  /** Decides the fate of each commit; a promise delays it. */
  commitFault: (commit: SentCommit) => CommitFault | Promise<CommitFault> = NO_FAULT;
  /** Decides the fate of each read, a batch of a listing included; a promise delays it. */
  readFault: () => ReadFault | Promise<ReadFault> = NO_FAULT;
  /** While false, nothing expires: what has expired is returned for ever. */
  isExpiring = true;
  /** After how long a late commit is applied by itself; null for only when released. */
  lateMs: number | null = null;
  /** Every commit so far. */
  readonly commits: SentCommit[] = [];
  /** Reads so far. */
  reads = 0;

  readonly #kv: KvPort;
  readonly #late = new Map<() => Promise<Answer>, ReturnType<typeof setTimeout> | undefined>();
  readonly #underWay = new Set<Promise<unknown>>();

  /** Stands in front of `kv`, which it then owns. */
  constructor(kv: KvPort) {
    this.#kv = kv;
  }

  /** Ends all faults; late commits stay late. */
  heal(): void {
    this.commitFault = NO_FAULT;
    this.readFault = NO_FAULT;
  }

  /** Whether anything decides on faults, even if only some calls have them. */
  get hasFaults(): boolean {
    return this.commitFault !== NO_FAULT || this.readFault !== NO_FAULT;
  }

  /** Applies all late commits, in the order in which they were sent. */
  async release(): Promise<Released> {
    const released = { applied: 0, refused: 0 };
    for (const [commit, timer] of [...this.#late]) {
      clearTimeout(timer);
      this.#late.delete(commit);
      const { ok } = await this.#tracked(commit());
      released[ok ? "applied" : "refused"]++;
    }
    return released;
  }

  /** Waits until the real KV has answered every call. */
  async settled(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }

  /** @see KvPort */
  getMany<T extends readonly unknown[]>(
    keys: readonly [...{ [K in keyof T]: Deno.KvKey }],
    options?: { consistency?: Deno.KvConsistencyLevel },
  ): Promise<{ [K in keyof T]: Deno.KvEntryMaybe<T[K]> }> {
    return this.#read(() => this.#kv.getMany<T>(keys, options));
  }

  /** @see KvPort */
  list<T>(selector: Deno.KvListSelector, options?: Deno.KvListOptions): Deno.KvListIterator<T> {
    const entries = this.#kv.list<T>(selector, options);
    const next = entries.next.bind(entries);
    entries.next = () => this.#read(next);
    return entries;
  }

  /** @see KvPort */
  atomic(): Deno.AtomicOperation {
    const atomic = this.#kv.atomic();
    const keys: Deno.KvKey[] = [];
    const set = atomic.set.bind(atomic);
    const remove = atomic.delete.bind(atomic);
    const commit = atomic.commit.bind(atomic);
    atomic.set = (key, value, options) => {
      keys.push(key);
      return set(key, value, this.isExpiring ? options : {});
    };
    atomic.delete = (key) => {
      keys.push(key);
      return remove(key);
    };
    atomic.commit = () => this.#commit(keys, commit);
    return atomic;
  }

  /** @see KvPort */
  commitVersionstamp(): symbol {
    return this.#kv.commitVersionstamp();
  }

  /** Closes the real KV; late commits are never applied. */
  close(): void {
    for (const timer of this.#late.values()) clearTimeout(timer);
    this.#late.clear();
    this.#kv.close();
  }

  async #read<T>(read: () => Promise<T>): Promise<T> {
    this.reads++;
    const fault = await this.readFault();
    switch (fault) {
      case "ok":
        return await this.#tracked(read());
      case "error":
        throw new Error("Injected: the read failed");
      case "hang":
        return await never();
      default:
        return fault satisfies never;
    }
  }

  async #commit(keys: Deno.KvKey[], commit: () => Promise<Answer>): Promise<Answer> {
    const others = keys.filter(([name]) => name !== "head");
    const isFence = others.length === 1 && others[0]?.[0] === "op";
    const sent = { count: this.commits.length + 1, keys, isFence };
    this.commits.push(sent);
    const fault = await this.commitFault(sent);
    switch (fault) {
      case "ok":
        return await this.#tracked(commit());
      case "lost-before":
        throw new Error("Injected: the commit was not sent");
      case "lost-after":
        await this.#tracked(commit());
        throw new Error("Injected: the commit's answer was lost");
      case "false-conflict":
        await this.#tracked(commit());
        return { ok: false };
      case "hang":
        return await never();
      case "hang-after":
        await this.#tracked(commit());
        return await never();
      case "late":
        this.#late.set(commit, this.#applyLater(commit));
        return await never();
      case "locked":
        throw new TypeError("database is locked");
      default:
        return fault satisfies never;
    }
  }

  #applyLater(commit: () => Promise<Answer>): ReturnType<typeof setTimeout> | undefined {
    if (this.lateMs === null) return undefined;
    return setTimeout(() => {
      this.#late.delete(commit);
      this.#tracked(commit()).catch(() => {}); // nobody waits for it any more
    }, this.lateMs);
  }

  #tracked<T>(call: Promise<T>): Promise<T> {
    const tracked = call.finally(() => this.#underWay.delete(tracked));
    tracked.catch(() => {}); // its caller may have gone
    this.#underWay.add(tracked);
    return tracked;
  }
}

function never(): Promise<never> {
  return new Promise(() => {});
}

/** These faults, one after another, then none. */
export function inOrder<F extends string>(...faults: F[]): () => F | "ok" {
  const left = [...faults];
  return () => left.shift() ?? "ok";
}

/** A fault in this share of the calls, each kind as often as the others. */
export function bySchedule<const F extends string>(
  kinds: readonly F[],
  { share, random }: { share: number; random: () => number },
): () => F | "ok" {
  return () => random() < share ? kinds[Math.floor(random() * kinds.length)]! : "ok";
}

/** A seed, printed with its purpose; `TEST_SEED` in the environment repeats one. */
export function newSeed(purpose: string): number {
  const seed = Number(Deno.env.get("TEST_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  console.log(`${purpose}: TEST_SEED=${seed}`);
  return seed;
}

/** Numbers in [0, 1), always the same for a seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
