/**
 * The cache of products that an instance has read.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import type { Page } from "../entities/page.ts";
import type { Product } from "../kv/records.ts";
import { type Clock, MINUTE_MS } from "../time.ts";

/** How long a cached answer is used. */
const CATALOGUE_MS = 4 * MINUTE_MS;
const CACHED_MAX = 500;

/** The catalogue as this instance has cached it. */
export class Catalogue {
  #generation = 0;
  readonly #answers: LRUCache<string, Page<Product> | Product>;

  /** An empty cache that expires by `clock`. */
  constructor(clock: Clock) {
    // Without a resolution it reads the clock each time, and leaves no timers behind.
    this.#answers = new LRUCache({
      max: CACHED_MAX,
      ttl: CATALOGUE_MS,
      ttlResolution: 0,
      perf: { now: clock },
    });
  }

  /** The cached answer under `name`, or else the result of `read`, which is cached. */
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

  /** Empties the cache after a change. */
  forget(): void {
    this.#generation++;
    this.#answers.clear();
  }
}
