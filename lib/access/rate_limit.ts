/**
 * Rate limits: how often a subject may do something, as rules that are data.
 *
 * Writes are limited exactly: a window (a sliding log, one value per subject)
 * is read, decided on and written in the request's own transaction, so it costs
 * no round trip, holds across instances, and counts only what was done. A
 * refused subject is remembered in this instance until it may come back, and
 * costs nothing until then.
 *
 * Above {@linkcode LOG_MAX} a window is counted in slices instead of moments: it
 * never lets more than the limit through, and at most one slice's worth less.
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
import type { Guard } from "../kv/transact.ts";
import { type Clock, MINUTE_MS } from "../time.ts";

/** Longest window kept as a list of moments; 200 of them take 3 KB. */
export const LOG_MAX = 200;
/** Parts that a longer one is counted in. */
const SLICES = 60;
/** Subjects that an instance remembers. */
const SUBJECTS_MAX = 50_000;
/** A count by size: with `max` all the room is taken at once, which delays every start. */
const SUBJECTS = { maxSize: SUBJECTS_MAX, sizeCalculation: () => 1 };
/** A window outlives its end by this, for clocks that differ. */
const GRACE_MS = MINUTE_MS;

/** How a subject stands with a rule. */
export interface RateState {
  /** The rule that it was measured by. */
  rule: RateRule;
  /** How many more now. */
  remaining: number;
  /** Until there is room for one more than now, in milliseconds. */
  resetMs: number;
}

/**
 * Lets one more through.
 *
 * @param now Milliseconds UTC; a clock that goes back opens no room.
 * @returns The window with it, and how the subject stands then; `window` is
 * null, and nothing changes, when there is no room before `state.resetMs`.
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

/** When the next one is let through. */
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
  // The latest moment anyone has seen: with a clock behind it nothing ends early.
  const latest = Math.max(now, slots.at(-1)?.[0] ?? 0);
  return slots.filter(([at]) => endOf(at, rule) > latest);
}

/** The moment itself, or the start of the slice that it is in. */
function slotOf(at: number, rule: RateRule): number {
  const slice = sliceMs(rule);
  return Math.floor(at / slice) * slice;
}

/** When all that a slot may hold is out of the window. */
function endOf(slot: number, rule: RateRule): number {
  return slot + rule.windowMs + sliceMs(rule) - 1;
}

function sliceMs({ limit, windowMs }: RateRule): number {
  return limit <= LOG_MAX ? 1 : Math.max(1, Math.ceil(windowMs / SLICES));
}

/** How a program is limited. */
export interface RateLimiterOptions {
  /** For keyed digests of subjects. */
  secret: Uint8Array<ArrayBuffer>;
  /** Milliseconds UTC. */
  clock: Clock;
}

/** The limits of one program: its rules, its key, and who is refused at the moment. */
export class RateLimiter {
  readonly #rules: ReadonlyMap<RateRuleName, RateRule>;
  readonly #options: RateLimiterOptions;
  /** By window: until when. */
  readonly #refused = new LRUCache<string, number>(SUBJECTS);
  /** Windows that only this instance keeps. */
  readonly #here = new LRUCache<string, RateWindow>(SUBJECTS);

  /** No rules means no limits. */
  constructor(rules: readonly RateRule[], options: RateLimiterOptions) {
    this.#rules = new Map(rules.map((rule) => [rule.name, rule]));
    this.#options = options;
  }

  /**
   * A guard that makes a transaction count for a subject.
   *
   * @param subject An address, a key's id: kept as a keyed digest only.
   * @returns null when the rule is not in force
   */
  guard(name: RateRuleName, subject: string): RateGuard | null {
    const rule = this.#rules.get(name);
    if (!rule) return null;
    const { secret, clock } = this.#options;
    const digest = hmacSha256(secret, `rate\0${name}\0${subject}`).subarray(0, 16);
    return new RateGuard(rule, keys.rateWindow(name, toBase64Url(digest)), clock);
  }

  /**
   * Refuses at once, without a look at the store, whom this instance has seen
   * refused: until then a window only gets fuller.
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
   * Takes one from a window that this instance alone keeps: no cost, and with n
   * instances up to n times the limit.
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
  /** How the subject stood when it was last decided. */
  state: RateState | null = null;
  /** Whether the last decision was to refuse. */
  isRefused = false;
  readonly #clock: Clock;

  /** For a rule, at a window's key. */
  constructor(
    /** What is counted. */
    readonly rule: RateRule,
    /** Where. */
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

  /** Says no until then, in milliseconds from now. @throws {AppError} `rate_limited` */
  refuse(resetMs: number): never {
    this.state = { rule: this.rule, remaining: 0, resetMs };
    this.isRefused = true;
    throw new AppError("rate_limited", "Too many requests; come back later", {
      retryAfterMs: Math.max(1, resetMs),
    });
  }
}
