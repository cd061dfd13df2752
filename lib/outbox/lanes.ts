/**
 * What an instance knows of the ways that messages go: how much is under way in
 * each, and which are down. Each instance finds out for itself.
 *
 * @module
 */
import * as keys from "../kv/keys.ts";
import type { Listed, Store } from "../kv/store.ts";
import { type MessageKind, pauseOf, type Sent } from "./ports.ts";
import type { Due } from "./rules.ts";

/** Failures in a row of a lane, not of a message, after which it is left alone for a while. */
const FAILURES_MAX = 3;

/** One way. */
export class Lane {
  /** What was found due, and not yet tried to be taken. */
  known: Due[] = [];
  #mayHaveMore = false;
  #active = 0;
  #failures = 0;
  #pausedUntil = 0;
  #reason = "";

  /** Such as `webhook:0193…`, with attempts side by side up to `atOnce`. */
  constructor(readonly name: string, readonly atOnce: number) {}

  /** How many more may be begun at the moment, milliseconds UTC. */
  room(now: number): number {
    if (now < this.#pausedUntil) return 0;
    // One finds out for the others whether it is up again.
    return (this.#failures >= FAILURES_MAX ? 1 : this.atOnce) - this.#active;
  }

  /** Why it is left alone at the moment; null when it is not. */
  downFor(now: number): string | null {
    return now < this.#pausedUntil ? this.#reason : null;
  }

  /** Whether there may be something due that is not under way. */
  get hasMore(): boolean {
    return this.#mayHaveMore || this.known.length > 0;
  }

  /** Something else may be due. */
  set hasMore(mayHaveMore: boolean) {
    this.#mayHaveMore = mayHaveMore;
  }

  /** Learns what is due, and whether that is all of it. */
  found(due: Due[], { isAll }: { isAll: boolean }): void {
    this.known = due;
    this.#mayHaveMore = !isAll;
  }

  /** Nothing is under way, due or remembered. */
  get isIdle(): boolean {
    return this.#active === 0 && this.#failures === 0 && !this.hasMore;
  }

  /** Takes some of its room. */
  enter(): void {
    this.#active++;
  }

  /** Gives it back. */
  leave(): void {
    this.#active--;
  }

  /** Learns from an attempt. */
  learn(sent: Sent, now: number, random: () => number): void {
    if (sent.state === "moot") return;
    if (sent.state !== "failed" || !sent.isLaneDown) {
      this.#failures = 0;
      this.#pausedUntil = 0;
      return;
    }
    this.#failures++;
    this.#reason = sent.reason;
    const beyond = this.#failures - FAILURES_MAX + 1;
    if (beyond > 0) this.#pausedUntil = now + pauseOf(beyond, random);
  }
}

/** The lanes that an instance has to do with. */
export class Lanes {
  readonly #all = new Map<string, Lane>();
  readonly #atOnce: (kind: MessageKind) => number;

  /** Of the kinds that `atOnce` tells the room of. */
  constructor(atOnce: (kind: MessageKind) => number) {
    this.#atOnce = atOnce;
  }

  /** A lane by its name, which begins with the kind. */
  get(name: string): Lane {
    let lane = this.#all.get(name);
    if (!lane) {
      lane = new Lane(name, this.#atOnce(kindOf(name)));
      this.#all.set(name, lane);
    }
    return lane;
  }

  /** Those in which there may be more to do, the fewest under way first. */
  withMore(now: number): Lane[] {
    return [...this.#all.values()].filter((lane) => lane.hasMore && lane.room(now) > 0);
  }

  /** Those that are left alone. */
  down(now: number): Lane[] {
    return [...this.#all.values()].filter((lane) => lane.downFor(now) !== null);
  }

  /** Forgets those about which there is nothing to know. */
  tidy(): void {
    for (const [name, lane] of this.#all) if (lane.isIdle) this.#all.delete(name);
  }
}

/** The kind at the beginning of a lane's name. */
export function kindOf(lane: string): MessageKind {
  return lane.split(":", 1)[0] as MessageKind; // whoever names a lane begins with the kind
}

/** The place that a key among what is due stands for. */
export function placeOf(key: keys.Key<unknown>): Due {
  const [, lane, dueAt, id] = key;
  return { lane: String(lane), dueAt: Number(dueAt), id: String(id) };
}

/** What is due first in each lane, for up to `max` lanes: one short listing each, and one more. */
export async function* firstDues(store: Store, max: number): AsyncGenerator<Due> {
  let start: keys.Key<unknown> | null = null;
  for (let lanes = 0; lanes < max; lanes++) {
    const [first]: Listed<string>[] = await store.list(keys.outboxDues, {
      limit: 1,
      ...(start ? { start } : {}),
    });
    if (!first) return;
    const due = placeOf(first.key);
    yield due;
    // Greater than any time of this lane, and less than the next one's name.
    start = [...keys.outboxDues, due.lane, Number.MAX_SAFE_INTEGER];
  }
}
