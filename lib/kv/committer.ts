/**
 * Group commit: transactions that wait at the same moment are decided one after
 * another over one shared view and committed as one atomic.
 *
 * There is no timer: a batch is what gathered during the previous commit, so a single
 * transaction does not wait. Each transaction is settled by its own receipt, whatever
 * happened to the atomic that contained it.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { backoffMs, type Clock, sleep, withDeadline } from "../time.ts";
import { traced } from "../telemetry/tracing.ts";
import { Batch, EXPIRY_GRACE_MS, type Outcome, type Transaction } from "./batch.ts";
import { decode, encode } from "./codec.ts";
import type { Deadlines } from "./deadlines.ts";
import { Head, moveHead } from "./head.ts";
import { head, type Key, type Prefix } from "./keys.ts";
import type { Receipt } from "./records.ts";
import type { View } from "./transaction.ts";
import { type Reading, readView } from "./view.ts";

/** The knee of the throughput curve; more per atomic only adds latency. */
const BATCH_MAX = 64;
/** With more waiting the store cannot keep up, and callers should retry later. */
const QUEUE_MAX = 2_000;
/** A batch that keeps conflicting is split, so that one hot key does not delay the rest. */
const SPLIT_AFTER_ATTEMPTS = 3;
const BACKOFF_MS = 2;
const BACKOFF_MAX_MS = 64;

interface Pending extends Transaction {
  /** By `performance.now()`. */
  deadline: number;
  /**
   * Revisions that commits without an `ok` have checked: of the head on an embedded store, else of
   * the receipt's key. Each of these commits may have been applied, or may yet be while that key
   * has that revision.
   */
  inDoubt: Set<string | null>;
  /** Why the last attempt failed, for the log. */
  cause: unknown;
  resolve: (result: unknown) => void;
  reject: (error: unknown) => void;
}

/** The outcome of one attempt; `again` has the transactions that it did not settle. */
interface Attempt {
  again: Pending[];
  isConflict: boolean;
}

/**
 * Called with a key that was set and committed; with null when a commit turned out to have been
 * applied and its keys are not known. Must not throw.
 */
export type WriteListener = (key: Key<unknown> | null) => void;

/** What the committer needs of a Deno KV. */
type CommitterKv = Pick<Deno.Kv, "getMany" | "atomic" | "commitVersionstamp">;

/** How a {@linkcode Committer} works. */
export interface CommitterOptions {
  /** Decides what has expired, and dates receipts and log entries. */
  clock: Clock;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /**
   * An embedded store commits one atomic at a time, so everything that waits is
   * grouped; a remote one commits in parallel, so only what shares a hot key is.
   */
  isEmbedded: boolean;
  /** How many checks one atomic may have: 100 in the runtime, 10 in a self-hosted KV Connect server. */
  checksMax: number;
  /** Time limits. */
  deadlines: Deadlines;
}

/** Decides and commits transactions; see `transact()`. */
export class Committer {
  readonly #kv: CommitterKv;
  readonly #clock: Clock;
  readonly #options: CommitterOptions;
  readonly #lanes = new Map<string, Pending[]>();
  readonly #underWay = new Set<Promise<unknown>>();
  /** Null on a remote store. */
  readonly #head: Head | null;
  /** By the first part of the keys. */
  readonly #listeners = new Map<unknown, WriteListener[]>();
  #waiting = 0;

  /** Commits to `kv`. */
  constructor(kv: CommitterKv, options: CommitterOptions) {
    this.#kv = kv;
    this.#clock = options.clock;
    this.#options = options;
    this.#head = options.isEmbedded ? new Head() : null;
  }

  /** Queues a transaction. @throws what `transact()` throws. */
  submit(transaction: Transaction): Promise<unknown> {
    if (this.#waiting >= QUEUE_MAX) {
      return Promise.reject(
        new AppError("unavailable", "Too many writes are waiting", { retryAfterMs: 1_000 }),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const deadline = performance.now() + this.#options.deadlines.transactionMs;
    const pending = {
      ...transaction,
      deadline,
      inDoubt: new Set<string | null>(),
      cause: undefined,
      resolve,
      reject,
    };
    this.#waiting++;
    const lane = this.#options.isEmbedded ? "" : transaction.hotKey;
    if (lane === undefined) this.#track(this.#settle([pending]));
    else this.#join(lane, pending);
    return promise.finally(() => this.#waiting--);
  }

  /** Calls `listener` after each commit of this process that set a key under `prefix`. */
  onWrite(prefix: Prefix<unknown>, listener: WriteListener): void {
    this.#listeners.set(prefix[0], [...this.#listeners.get(prefix[0]) ?? [], listener]);
  }

  /** Waits until no transaction is queued or running. */
  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.all(this.#underWay);
  }

  #track(work: Promise<unknown>): void {
    const tracked = work.finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
  }

  #join(lane: string, pending: Pending): void {
    const queue = this.#lanes.get(lane);
    if (queue) {
      queue.push(pending);
      return;
    }
    const started = [pending];
    this.#lanes.set(lane, started);
    this.#track(this.#run(lane, started));
  }

  async #run(lane: string, queue: Pending[]): Promise<void> {
    await Promise.resolve(); // lets transactions of this moment join
    while (queue.length > 0) {
      queue.unshift(...await this.#settle(this.#inTime(this.#takeBatch(queue))));
    }
    this.#lanes.delete(lane);
  }

  /** Takes from the front as many as one atomic can guard: with a check of the head, any number. */
  #takeBatch(queue: Pending[]): Pending[] {
    if (this.#head) return queue.splice(0, BATCH_MAX);
    const keys = new Set<string>();
    let size = 0;
    for (; size < Math.min(queue.length, BATCH_MAX); size++) {
      const { receipt, reads } = queue[size]!;
      for (const { text } of [receipt, ...reads]) keys.add(text);
      if (keys.size > this.#options.checksMax && size > 0) break;
    }
    return queue.splice(0, size);
  }

  /** Ends those whose time is up, and returns the others. */
  #inTime(batch: Pending[]): Pending[] {
    return batch.filter((pending) => {
      const isInTime = performance.now() < pending.deadline;
      if (!isInTime) this.#track(this.#endUnwritten(pending, { error: outOfTime(pending) }));
      return isInTime;
    });
  }

  /**
   * Settles the transactions of a batch. Never throws.
   *
   * @returns Those that did not fit into one atomic; they join those that wait by now,
   * since a batch costs one commit however small it is.
   */
  async #settle(batch: Pending[]): Promise<Pending[]> {
    let waiting = batch;
    for (let attempt = 1; waiting.length > 0; attempt++) {
      const { again, isConflict } = await this.#attempt(waiting).catch((error) => {
        for (const pending of waiting) pending.reject(error); // a defect: no caller may wait for ever
        return { again: [], isConflict: false };
      });
      if (!isConflict) return again;
      waiting = this.#inTime(again);
      if (waiting.length === 0) break;
      await this.#backOff(attempt);
      if (attempt >= SPLIT_AFTER_ATTEMPTS && waiting.length > 1) {
        const half = Math.ceil(waiting.length / 2);
        const rest = await this.#settle(waiting.slice(0, half));
        waiting = this.#inTime([...rest, ...waiting.slice(half)]);
      }
    }
    return [];
  }

  async #attempt(batch: Pending[]): Promise<Attempt> {
    const retry = (cause: unknown): Attempt => {
      for (const pending of batch) {
        pending.cause = cause;
        pending.meter.kvConflicts++;
      }
      return { again: batch, isConflict: true };
    };
    let reading: Reading;
    try {
      reading = await timed(batch, "kvRead", () => this.#read(batch));
    } catch (error) {
      return retry(error);
    }
    const { view, stamp } = reading;
    const { decided, rest, writes } = this.#decide(batch, view);
    const written = decided.filter(({ pending }) => writes.settles(pending));
    if (!writes.isEmpty) {
      const atomic = writes.build(this.#kv, stamp);
      try {
        for (const { pending } of decided) pending.meter.kvCommits++;
        const answer = await timed(
          batch,
          "kvCommit",
          () => withDeadline(atomic.commit(), this.#options.deadlines.commitMs, "A commit"),
        );
        // `false` may be the answer to the client's own repetition of an applied commit.
        if (!answer.ok) return retry(this.#doubt(written, reading));
        if (this.#head) this.#head.stamp = answer.versionstamp;
        for (const key of writes.keysSet()) {
          for (const listener of this.#listeners.get(key[0]) ?? []) listener(key);
        }
      } catch (error) {
        if (!isNeverApplied(error)) this.#doubt(written, reading);
        return retry(error);
      }
    }
    for (const { pending, outcome } of decided) {
      if (writes.settles(pending)) end(pending, outcome);
      else this.#track(this.#endUnwritten(pending, outcome));
    }
    return { again: rest, isConflict: false };
  }

  #doubt(written: { pending: Pending }[], { view, stamp }: Reading): void {
    this.#head?.lose();
    for (const { pending } of written) {
      const { versionstamp } = view.get(pending.receipt.text)!;
      pending.inDoubt.add(stamp === undefined ? versionstamp : stamp);
    }
  }

  #decide(batch: Pending[], view: View) {
    const writes = new Batch(view, this.#clock());
    const decided: { pending: Pending; outcome: Outcome }[] = [];
    for (const pending of batch) {
      const outcome = writes.decide(pending);
      if (outcome === null) break;
      decided.push({ pending, outcome });
    }
    return { decided, rest: batch.slice(decided.length), writes };
  }

  /** Reads what the batch needs. A new id has no receipt before its first commit. */
  async #read(batch: Pending[]): Promise<Reading> {
    for (const { meter } of batch) meter.kvReads++;
    const isAbsent = (_: unknown, i: number) =>
      batch[i]!.operation.isNew && batch[i]!.inDoubt.size === 0;
    const reading = readView(this.#kv, batch, isAbsent, this.#head);
    return await withDeadline(reading, this.#options.deadlines.readMs, "A read");
  }

  /**
   * Ends a transaction that has written nothing, as far as is known: its time is up, or
   * its decision refused or changed nothing. If a commit of it may still apply, a fence
   * is written in place of its receipt, which that commit checks. A change of other keys
   * is not a fence, since they may change back.
   */
  async #endUnwritten(pending: Pending, outcome: Outcome): Promise<void> {
    if (pending.inDoubt.size === 0) return end(pending, outcome);
    const fencedBy = performance.now() + this.#options.deadlines.fenceMs;
    for (let attempt = 1; performance.now() < fencedBy; attempt++) {
      try {
        const state = await this.#fence(pending, fencedBy);
        if (state === "applied") return;
        if (state === "fenced") return end(pending, outcome);
      } catch {
        // Without an answer there is no fence: only a confirmed or read-back commit counts.
      }
      await this.#backOff(attempt);
    }
    pending.reject(
      new AppError(
        "outcome_unknown",
        "The store did not say whether the write happened; repeat it with the same Idempotency-Key",
        { cause: pending.cause, retryAfterMs: 2_000 },
      ),
    );
  }

  async #fence(
    pending: Pending,
    fencedBy: number,
  ): Promise<"applied" | "fenced" | "open"> {
    const { operation, receipt } = pending;
    const { readMs, commitMs } = this.#options.deadlines;
    const left = () => fencedBy - performance.now();
    const [entry, headEntry] = await withDeadline(
      this.#kv.getMany<[Uint8Array, Uint8Array]>([receipt.key, head]),
      Math.max(0, Math.min(readMs, left())),
      "A read",
    );
    const now = this.#clock();
    const found = entry.value && decode<Receipt>(entry.value);
    if (
      found && !found.isAborted && found.exp > now && found.fingerprint === operation.fingerprint
    ) {
      pending.resolve(found.result);
      // The keys that this commit set are no longer known.
      for (const listener of [...this.#listeners.values()].flat()) listener(null);
      return "applied";
    }
    // The key that the commits in doubt check has changed since: none of them can pass.
    const checked = this.#head ? headEntry : entry;
    if (!pending.inDoubt.has(checked.versionstamp)) return "fenced";
    const { fingerprint, keepMs } = operation;
    const fence: Receipt = { fingerprint, isAborted: true, at: now, exp: now + keepMs };
    const atomic = this.#kv.atomic().check(checked)
      .set(receipt.key, encode(fence), { expireIn: keepMs + EXPIRY_GRACE_MS });
    if (this.#head) moveHead(atomic);
    this.#head?.lose();
    const { ok } = await withDeadline(
      atomic.commit(),
      Math.max(0, Math.min(commitMs, left())),
      "A fence",
    );
    return ok ? "fenced" : "open";
  }

  #backOff(attempt: number): Promise<void> {
    const { random } = this.#options;
    return sleep(backoffMs(attempt, { firstMs: BACKOFF_MS, maxMs: BACKOFF_MAX_MS, random }));
  }
}

/** Names of the spans. */
const SPANS = { kvRead: "kv.read", kvCommit: "kv.commit" } as const;

/** Waits for `call`, in a span, and adds the time to every meter of the batch. */
async function timed<T>(
  batch: readonly Pending[],
  what: "kvRead" | "kvCommit",
  call: () => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  try {
    return await traced(SPANS[what], { transactions: batch.length }, call);
  } finally {
    const ms = performance.now() - startedAt;
    for (const { meter } of batch) meter.spentMs[what] += ms;
  }
}

function end(pending: Pending, outcome: Outcome): void {
  if ("error" in outcome) return pending.reject(outcome.error);
  // A receipt found after a commit of this transaction is most likely its own.
  if (outcome.isReplay && pending.inDoubt.size === 0) pending.meter.replays++;
  pending.resolve(outcome.result);
}

function outOfTime({ cause }: Pending): AppError {
  return new AppError("unavailable", "The store did not accept the write in time", {
    cause,
    retryAfterMs: 1_000,
  });
}

/** How a second process on one KV file is refused, before anything is written. */
function isNeverApplied(error: unknown): boolean {
  return error instanceof Error && error.message.includes("database is locked");
}
