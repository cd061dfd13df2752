/**
 * Rate limits by the rules of `lib/config/rate_rules.ts`.
 *
 * Writes are limited exactly: a window (a sliding log, one value per subject) is read, decided and
 * written in the request's own transaction, so it costs no round trip, holds across instances, and
 * counts only completed writes. This instance remembers a refused subject until it may return, which
 * costs nothing.
 *
 * Above {@linkcode LOG_MAX} a window is counted in slices instead of moments: it never allows more
 * than the limit, and at most one slice's worth less.
 *
 * @module
 */
import { LRUCache } from "lru-cache";
import { hmacSha256, toBase64Url } from "../digest.ts";
import { AppError } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import type { RateRule, RateRuleName } from "../config/rate_rules.ts";
import type { Key } from "../kv/keys.ts";
import type { RateWindow } from "../kv/records.ts";
import type { Guard } from "../kv/transaction.ts";
import { type Clock, MINUTE_MS } from "../time.ts";

/** Longest window kept as a list of moments; 200 of them take 3 KB. */
export const LOG_MAX = 200;
/** Slices of a window above that. */
const SLICES = 60;
/** Subjects that an instance remembers. */
const SUBJECTS_MAX = 50_000;
/** Counted by size: with `max` the cache allocates everything at once, which delays every start. */
const SUBJECTS = { maxSize: SUBJECTS_MAX, sizeCalculation: () => 1 };
const RECENT = { maxSize: 2_000, sizeCalculation: () => 1 };
/** A window is kept this long after its end, for clocks that differ. */
const GRACE_MS = MINUTE_MS;

/** A subject's use of a rule. */
export interface RateState {
  /** The rule. */
  rule: RateRule;
  /** Remaining requests. */
  remaining: number;
  /** Milliseconds until one more is allowed. */
  resetMs: number;
}

/**
 * Takes one from a window.
 *
 * @param now Milliseconds UTC; a clock that goes back frees nothing.
 * @returns The window after it and the subject's state; `window` is null, and nothing changes, when
 * the limit is reached until `state.resetMs`.
 */
export function takeOne(
  window: RateWindow | null,
  rule: RateRule,
  now: number,
): { window: RateWindow | null; state: RateState } {
  const live = liveSlots(window, rule, now);
  const used = live.reduce((sum, [, count]) => sum + count, 0);
  if (used >= rule.limit) return { window: null, state: { rule, ...roomAt(live, rule, now) } };
  const at = slotOf(Math.max(now, live.at(-1)?.[0] ?? 0), rule);
  const last = live.at(-1);
  const slots: RateWindow["slots"] = last?.[0] === at
    ? [...live.slice(0, -1), [at, last[1] + 1]]
    : [...live, [at, 1]];
  return {
    window: { slots, exp: endOf(at, rule) + GRACE_MS },
    state: {
      rule,
      remaining: rule.limit - used - 1,
      resetMs: Math.max(0, endOf(slots[0]![0], rule) - now),
    },
  };
}

/** When the next request is allowed. */
function roomAt(
  live: RateWindow["slots"],
  rule: RateRule,
  now: number,
): { remaining: 0; resetMs: number } {
  let used = live.reduce((sum, [, count]) => sum + count, 0);
  for (const [at, count] of live) {
    used -= count;
    if (used < rule.limit) return { remaining: 0, resetMs: Math.max(0, endOf(at, rule) - now) };
  }
  return { remaining: 0, resetMs: 0 };
}

function liveSlots(window: RateWindow | null, rule: RateRule, now: number): RateWindow["slots"] {
  const slots = window?.slots ?? [];
  // The latest moment seen by any instance: a clock behind it ends nothing early.
  const latest = Math.max(now, slots.at(-1)?.[0] ?? 0);
  return slots.filter(([at]) => endOf(at, rule) > latest);
}

/** The moment itself, or the start of the slice that it is in. */
function slotOf(at: number, rule: RateRule): number {
  const slice = sliceMs(rule);
  return Math.floor(at / slice) * slice;
}

/** When everything in a slot is out of the window. */
function endOf(slot: number, rule: RateRule): number {
  return slot + rule.windowMs + sliceMs(rule) - 1;
}

function sliceMs({ limit, windowMs }: RateRule): number {
  return limit <= LOG_MAX ? 1 : Math.max(1, Math.ceil(windowMs / SLICES));
}

/** Options of a {@linkcode RateLimiter}. */
export interface RateLimiterOptions {
  /** For keyed digests of subjects. */
  secret: Uint8Array<ArrayBuffer>;
  /** Milliseconds UTC. */
  clock: Clock;
}

/** The limits of a program: its rules, and the subjects that are refused at present. */
export class RateLimiter {
  readonly #rules: ReadonlyMap<RateRuleName, RateRule>;
  readonly #options: RateLimiterOptions;
  /** When each refusal ends, by window. */
  readonly #refused = new LRUCache<string, number>(SUBJECTS);
  /** Keys of recent subjects: a keyed digest costs as much as the rest of a light request. */
  readonly #keys = new LRUCache<string, Key<RateWindow>>(RECENT);
  /** Windows of this instance alone. */
  readonly #here = new LRUCache<string, RateWindow>(SUBJECTS);

  /** No rules means no limits. */
  constructor(rules: readonly RateRule[], options: RateLimiterOptions) {
    this.#rules = new Map(rules.map((rule) => [rule.name, rule]));
    this.#options = options;
  }

  /**
   * A guard that counts a transaction for a subject.
   *
   * @param subject An address, a key's id: kept as a keyed digest only.
   * @returns null when the rule is not in force
   */
  guard(name: RateRuleName, subject: string): RateGuard | null {
    const rule = this.#rules.get(name);
    if (!rule) return null;
    return new RateGuard(rule, this.#windowKey(name, subject), this.#options.clock);
  }

  #windowKey(name: RateRuleName, subject: string): Key<RateWindow> {
    const text = `rate\0${name}\0${subject}`;
    let key = this.#keys.get(text);
    if (!key) {
      const digest = hmacSha256(this.#options.secret, text).subarray(0, 16);
      key = keys.rateWindow(name, toBase64Url(digest));
      this.#keys.set(text, key);
    }
    return key;
  }

  /**
   * Refuses a subject that this instance has seen refused, without reading the store: until then a
   * window only fills up.
   *
   * @throws {AppError} `rate_limited`
   */
  expectRoom(guard: RateGuard): void {
    const now = this.#options.clock();
    const until = this.#refused.get(keys.keyText(guard.key)) ?? 0;
    if (until > now) guard.refuse(until - now);
  }

  /** Remembers that the guard's subject was refused. */
  noteRefusal({ key, state }: RateGuard): void {
    const until = this.#options.clock() + (state?.resetMs ?? 0);
    this.#refused.set(keys.keyText(key), until);
  }

  /**
   * Takes one from a window of this instance alone: no round trip, and with n instances up to n times
   * the limit.
   *
   * @throws {AppError} `rate_limited`
   */
  takeHere(guard: RateGuard): void {
    const text = keys.keyText(guard.key);
    this.#here.set(text, guard.pass(this.#here.get(text) ?? null).value);
  }
}

/** One subject's window in one request. */
export class RateGuard implements Guard<RateWindow> {
  /** The subject's state at the last decision. */
  state: RateState | null = null;
  /** Whether the last decision was a refusal. */
  isRefused = false;
  readonly #clock: Clock;

  /** For a rule, at a window's key. */
  constructor(
    /** The rule. */
    readonly rule: RateRule,
    /** The window's key. */
    readonly key: Key<RateWindow>,
    clock: Clock,
  ) {
    this.#clock = clock;
  }

  /** Takes one from the window. @throws {AppError} `rate_limited` */
  pass(found: RateWindow | null): { value: RateWindow; expireIn: number } {
    const now = this.#clock();
    const { window, state } = takeOne(found, this.rule, now);
    if (!window) return this.refuse(state.resetMs);
    this.state = state;
    this.isRefused = false;
    return { value: window, expireIn: window.exp - now };
  }

  /** Refuses for `resetMs` milliseconds. @throws {AppError} `rate_limited` */
  refuse(resetMs: number): never {
    this.state = { rule: this.rule, remaining: 0, resetMs };
    this.isRefused = true;
    throw new AppError("rate_limited", "Too many requests. Try again later", {
      retryAfterMs: Math.max(1, resetMs),
    });
  }
}
