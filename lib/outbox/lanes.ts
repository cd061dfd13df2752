/**
 * Lanes: the routes that messages take, such as one endpoint. Each instance keeps
 * its own view of how much each lane is sending and which lanes are down.
 *
 * @module
 */
import * as keys from "../kv/keys.ts";
import type { Listed, Store } from "../kv/store.ts";
import { type AttemptResult, type MessageKind, pauseOf } from "./ports.ts";
import type { Due } from "./rules.ts";

/** Consecutive failures of a lane, not of a message, after which it is paused. */
const FAILURES_MAX = 3;

/** A route that messages take. */
export class Lane {
  /** Due messages that were listed and not yet claimed. */
  due: Due[] = [];
  #mayHaveMore = false;
  #active = 0;
  #failures = 0;
  #pausedUntil = 0;
  #reason = "";

  /** Named such as `webhook:0193…`, with up to `atOnce` attempts in parallel. */
  constructor(readonly name: string, readonly atOnce: number) {}

  /** How many more attempts may start at `now`, milliseconds UTC. */
  capacity(now: number): number {
    if (now < this.#pausedUntil) return 0;
    // After a pause one attempt finds out whether the lane is up again.
    return (this.#failures >= FAILURES_MAX ? 1 : this.atOnce) - this.#active;
  }

  /** Why it is paused; null when it is not. */
  downReason(now: number): string | null {
    return now < this.#pausedUntil ? this.#reason : null;
  }

  /** Whether there may be due messages that are not being sent. */
  get hasMore(): boolean {
    return this.#mayHaveMore || this.due.length > 0;
  }

  /** Marks whether more than the listed messages may be due. */
  set hasMore(mayHaveMore: boolean) {
    this.#mayHaveMore = mayHaveMore;
  }

  /** Sets the due messages, and whether those are all. */
  setDue(due: Due[], { isAll }: { isAll: boolean }): void {
    this.due = due;
    this.#mayHaveMore = !isAll;
  }

  /** Whether nothing is being sent, due or remembered. */
  get isIdle(): boolean {
    return this.#active === 0 && this.#failures === 0 && !this.hasMore;
  }

  /** Takes one unit of its capacity. */
  acquire(): void {
    this.#active++;
  }

  /** Returns one unit of its capacity. */
  release(): void {
    this.#active--;
  }

  /** Records the result of an attempt: pauses the lane after failures, ends the pause otherwise. */
  record(result: AttemptResult, now: number, random: () => number): void {
    if (result.state === "skipped") return;
    if (result.state !== "failed" || !result.isLaneDown) {
      this.#failures = 0;
      this.#pausedUntil = 0;
      return;
    }
    this.#failures++;
    this.#reason = result.reason;
    const beyond = this.#failures - FAILURES_MAX + 1;
    if (beyond > 0) this.#pausedUntil = now + pauseOf(beyond, random);
  }
}

/** The lanes that an instance sends through. */
export class Lanes {
  readonly #all = new Map<string, Lane>();
  readonly #atOnce: (kind: MessageKind) => number;

  /** With the number of parallel attempts by kind. */
  constructor(atOnce: (kind: MessageKind) => number) {
    this.#atOnce = atOnce;
  }

  /** A lane by its name, which starts with the kind. */
  get(name: string): Lane {
    let lane = this.#all.get(name);
    if (!lane) {
      lane = new Lane(name, this.#atOnce(kindOf(name)));
      this.#all.set(name, lane);
    }
    return lane;
  }

  /** Lanes with capacity in which messages may be due. */
  withMore(now: number): Lane[] {
    return [...this.#all.values()].filter((lane) => lane.hasMore && lane.capacity(now) > 0);
  }

  /** Paused lanes. */
  down(now: number): Lane[] {
    return [...this.#all.values()].filter((lane) => lane.downReason(now) !== null);
  }

  /** Removes idle lanes. */
  tidy(): void {
    for (const [name, lane] of this.#all) if (lane.isIdle) this.#all.delete(name);
  }
}

/** The kind at the start of a lane's name. */
export function kindOf(lane: string): MessageKind {
  return lane.split(":", 1)[0] as MessageKind; // newMessage() starts every lane with the kind
}

/** Parses a key of `outboxDues`. */
export function parseDueKey(key: keys.Key<unknown>): Due {
  const [, lane, dueAt, id] = key;
  return { lane: String(lane), dueAt: Number(dueAt), id: String(id) };
}

/** The first due message of each lane, for up to `max` lanes: one short listing each, and one more. */
export async function* firstDues(store: Store, max: number): AsyncGenerator<Due> {
  let start: keys.Key<unknown> | null = null;
  for (let lanes = 0; lanes < max; lanes++) {
    const [first]: Listed<string>[] = await store.list(keys.outboxDues, {
      limit: 1,
      ...(start ? { start } : {}),
    });
    if (!first) return;
    const due = parseDueKey(first.key);
    yield due;
    // Sorts after every time of this lane and before the next lane's name.
    start = [...keys.outboxDues, due.lane, Number.MAX_SAFE_INTEGER];
  }
}
