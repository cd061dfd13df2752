/**
 * A gateway's token: requested once for all concurrent callers, used until shortly
 * before it expires, and shared with the other instances.
 *
 * @module
 */
import { type Clock, DAY_MS, MINUTE_MS } from "../time.ts";
import type { SharedCache } from "./mod.ts";

/** A new token. */
export interface FreshToken {
  /** Authorizes calls. */
  token: string;
  /** How long it is valid from now on, in milliseconds; null if the gateway did not say. */
  lifeMs: number | null;
}

/** Options of a {@linkcode TokenKeeper}. */
export interface TokenKeeperOptions {
  /** Shares the token with other instances. */
  cache: SharedCache;
  /** Its name in the cache, different for each account and environment. */
  name: string;
  /** Decides when it has expired. */
  clock: Clock;
  /** Requests a new token from the gateway. */
  request: () => Promise<FreshToken>;
}

/** For clocks that differ, and slow calls. */
const MARGIN_MS = MINUTE_MS;
/** Pesapal's documentation promises no more than five minutes. */
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

  /** Makes no call yet. */
  constructor(options: TokenKeeperOptions) {
    this.#options = options;
  }

  /**
   * A token for the next call.
   *
   * @param refused A token that the gateway no longer accepts; the result is another one.
   * @throws what `request` throws
   */
  async get(refused: string | null = null): Promise<string> {
    // A renewal already in progress may return the refused token.
    for (let tries = 0; tries < 2; tries++) {
      if (this.#isGood(this.#held, refused)) break;
      this.#renewal ??= this.#renew(refused).finally(() => this.#renewal = null);
      this.#held = await this.#renewal;
    }
    return this.#held!.token;
  }

  async #renew(refused: string | null): Promise<Held> {
    const { cache, name, clock, request } = this.#options;
    const stored = await cache.get(name);
    const shared: Held | null = stored === null ? null : JSON.parse(stored);
    if (shared && this.#isGood(shared, refused)) return shared;
    const { token, lifeMs } = await request();
    const fresh = { token, goodUntil: clock() + usableMs(lifeMs) };
    await cache.set(name, JSON.stringify(fresh), fresh.goodUntil);
    return fresh;
  }

  #isGood(held: Held | null, refused: string | null): boolean {
    return held !== null && held.token !== refused && this.#options.clock() < held.goodUntil;
  }
}

/** How long a token is used: its life less a margin, or half of a life too short for one. */
export function usableMs(lifeMs: number | null): number {
  const isSaid = lifeMs !== null && lifeMs > 0;
  const life = Math.min(isSaid ? lifeMs : LIFE_ASSUMED_MS, LIFE_MAX_MS);
  return Math.max(life - MARGIN_MS, Math.floor(life / 2));
}
