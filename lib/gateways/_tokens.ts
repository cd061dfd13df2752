/**
 * A gateway's token: asked for once by all that need it at the same time, used
 * until shortly before it expires, and shared with the other instances.
 *
 * @module
 */
import { type Clock, DAY_MS, MINUTE_MS } from "../time.ts";
import type { SharedCache } from "./mod.ts";

/** A token as the gateway gave it. */
export interface FreshToken {
  /** What calls are authorized by. */
  token: string;
  /** How long it is good from now on, milliseconds; null if the gateway did not say. */
  lifeMs: number | null;
}

/** How a {@linkcode TokenKeeper} works. */
export interface TokenKeeperOptions {
  /** Where it is shared, and under which name: another for other credentials. */
  cache: SharedCache;
  /** Tells the account and the environment apart. */
  name: string;
  /** Tells when it has expired. */
  clock: Clock;
  /** Asks the gateway for a new one. */
  ask: () => Promise<FreshToken>;
}

/** For clocks that differ, and calls that take their time. */
const MARGIN_MS = MINUTE_MS;
/** Pesapal's documents promise no more than five minutes. */
const LIFE_ASSUMED_MS = 4 * MINUTE_MS;
const LIFE_MAX_MS = DAY_MS;

interface Held {
  token: string;
  /** Milliseconds UTC. */
  goodUntil: number;
}

/** Keeps the token of one account. */
export class TokenKeeper {
  readonly #options: TokenKeeperOptions;
  #held: Held | null = null;
  #renewal: Promise<Held> | null = null;

  /** Asks for nothing yet. */
  constructor(options: TokenKeeperOptions) {
    this.#options = options;
  }

  /**
   * A token that is good for the next call.
   *
   * @param refused One that the gateway takes no longer, so that this is another.
   * @throws what `ask` throws
   */
  async get(refused: string | null = null): Promise<string> {
    // What was being fetched when it was refused may be the same one.
    for (let tries = 0; tries < 2; tries++) {
      if (this.#isGood(this.#held, refused)) break;
      this.#renewal ??= this.#renew(refused).finally(() => this.#renewal = null);
      this.#held = await this.#renewal;
    }
    return this.#held!.token;
  }

  async #renew(refused: string | null): Promise<Held> {
    const { cache, name, clock, ask } = this.#options;
    const stored = await cache.get(name);
    const shared: Held | null = stored === null ? null : JSON.parse(stored);
    if (shared && this.#isGood(shared, refused)) return shared;
    const { token, lifeMs } = await ask();
    const fresh = { token, goodUntil: clock() + usableMs(lifeMs) };
    await cache.set(name, JSON.stringify(fresh), fresh.goodUntil);
    return fresh;
  }

  #isGood(held: Held | null, refused: string | null): boolean {
    return held !== null && held.token !== refused && this.#options.clock() < held.goodUntil;
  }
}

/** How long a token is used: its life less a margin, or half of a life that has no room for one. */
export function usableMs(lifeMs: number | null): number {
  const isSaid = lifeMs !== null && lifeMs > 0;
  const life = Math.min(isSaid ? lifeMs : LIFE_ASSUMED_MS, LIFE_MAX_MS);
  return Math.max(life - MARGIN_MS, Math.floor(life / 2));
}
