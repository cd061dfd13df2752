/**
 * What an instance remembers of the products that it has read.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import type { Page } from "../entities/page.ts";
import type { Product } from "../kv/records.ts";
import { type Clock, MINUTE_MS } from "../time.ts";

/** How long an instance uses what it has read. */
const CATALOGUE_MS = 4 * MINUTE_MS;
const CACHED_MAX = 500;

/** What this instance remembers of the catalogue. */
export class Catalogue {
  #generation = 0;
  readonly #answers: LRUCache<string, Page<Product> | Product>;

  /** Remembers by the given clock. */
  constructor(clock: Clock) {
    // Without a resolution it asks the clock each time, and leaves no timers behind.
    this.#answers = new LRUCache({
      max: CACHED_MAX,
      ttl: CATALOGUE_MS,
      ttlResolution: 0,
      perf: { now: clock },
    });
  }

  /** What is remembered under `name`, or else what `read` finds. */
  async recall<T extends Page<Product> | Product>(
    name: string,
    read: () => Promise<T>,
  ): Promise<T> {
    const known = this.#answers.get(name);
    if (known) return known as T; // each name is used for one kind of answer
    const generation = this.#generation;
    const found = await read();
    // Read before a change and stored after it, it would be stale for minutes.
    if (generation === this.#generation) this.#answers.set(name, found);
    return found;
  }

  /** Forgets everything, because something changed. */
  forget(): void {
    this.#generation++;
    this.#answers.clear();
  }
}
