/**
 * takeOne() against an exact sliding window: a list of all the moments that were
 * let through.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import fc from "fast-check";
import { AppError } from "../../../lib/errors.ts";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { RateWindow } from "../../../lib/kv/records.ts";
import { LOG_MAX, type RateGuard, RateLimiter, takeOne } from "../../../lib/access/rate_limit.ts";
import { parseRules, RATE_RULES, type RateRule } from "../../../lib/config/rate_rules.ts";

const START = Date.UTC(2026, 5, 15, 9, 0, 0);
const RULE: RateRule = { name: "lead_post", limit: 10, windowMs: 60_000 };
/** Deno KV keeps no larger value. */
const VALUE_BYTES_MAX = 65_536;

/** Part of a window that a rule above LOG_MAX counts as one. */
const sliceOf = ({ limit, windowMs }: RateRule) => limit <= LOG_MAX ? 1 : Math.ceil(windowMs / 60);

const exactRule = fc.record({
  limit: fc.integer({ min: 1, max: 12 }),
  windowMs: fc.integer({ min: 1_000, max: 5_000 }),
}).map((rule): RateRule => ({ name: "lead_post", ...rule }));

const slicedRule = fc.record({
  limit: fc.integer({ min: LOG_MAX + 1, max: LOG_MAX + 30 }),
  windowMs: fc.integer({ min: 1_000, max: 5_000 }),
}).map((rule): RateRule => ({ name: "key_write", ...rule }));

/** Milliseconds from one request to the next: bursts, pauses, and edges of windows. */
const steps = (maxLength: number, { min = 0, usualMax = 40, weight = 8 } = {}) =>
  fc.array(
    fc.oneof(
      { weight, arbitrary: fc.integer({ min: Math.max(min, -usualMax), max: usualMax }) },
      { weight: 2, arbitrary: fc.integer({ min, max: 1_500 }) },
      { weight: 1, arbitrary: fc.constantFrom(999, 1_000, 1_001, 5_000, 20_000) },
    ),
    { minLength: 1, maxLength, size: "max" },
  );

/** So that hundreds come in a few seconds. */
const DENSE = { usualMax: 4, weight: 150 };

/** Rules, and requests that are enough to reach their limits, forwards in time or also back. */
const KINDS = [
  ["exact", exactRule, (min: number) => steps(80, { min })],
  ["sliced", slicedRule, (min: number) => steps(900, { min, ...DENSE })],
] as const;

/** What became of each request. */
interface Played {
  now: number;
  /** The latest moment that anyone had seen by then. */
  latest: number;
  isLetThrough: boolean;
  window: RateWindow | null;
}

/** Sends a request after each step. */
function play(rule: RateRule, after: readonly number[]): Played[] {
  let window: RateWindow | null = null;
  let now = START;
  let latest = 0;
  return after.map((step) => {
    now += step;
    latest = Math.max(latest, now);
    const taken = takeOne(window, rule, now);
    window = taken.window ?? window;
    return { now, latest, isLetThrough: taken.window !== null, window };
  });
}

/** The most that any window of `ms` has of these moments, which are in order. */
function fullest(moments: readonly number[], ms: number): number {
  let most = 0;
  let first = 0;
  moments.forEach((moment, i) => {
    while (moments[first]! <= moment - ms) first++;
    most = Math.max(most, i - first + 1);
  });
  return most;
}

Deno.test(`takeOne() lets through what an exact sliding window does, up to a limit of ${LOG_MAX}`, () => {
  fc.assert(
    fc.property(exactRule, steps(80, { min: -300 }), (rule, after) => {
      const log: number[] = [];

      for (const { now, isLetThrough } of play(rule, after)) {
        // Behind the last moment that was let through, no time passes.
        const moment = Math.max(now, log.at(-1) ?? 0);
        const inWindow = log.filter((at) => at > moment - rule.windowMs).length;
        equal(isLetThrough, inWindow < rule.limit);
        if (isLetThrough) log.push(moment);
      }
    }),
    { numRuns: 500 },
  );
});

for (const [kind, rules, stepsFrom] of KINDS) {
  Deno.test(`takeOne() never lets more than the limit through in any window (${kind})`, () => {
    fc.assert(
      fc.property(rules, stepsFrom(-50), (rule, after) => {
        const played = play(rule, after).filter(({ isLetThrough }) => isLetThrough);

        ok(fullest(played.map(({ latest }) => latest), rule.windowMs) <= rule.limit);
      }),
      { numRuns: 100 },
    );
  });

  Deno.test(`takeOne() lets one through again after resetMs, and not a millisecond before (${kind})`, () => {
    fc.assert(
      fc.property(rules, stepsFrom(-50), fc.nat(2), (rule, after, back) => {
        let { window, now } = play(rule, after).at(-1)!;
        while (true) {
          const taken = takeOne(window, rule, now);
          if (!taken.window) break;
          window = taken.window;
        }
        now -= back;

        const { state, window: none } = takeOne(window, rule, now);

        equal(none, null);
        equal(state.remaining, 0);
        ok(state.resetMs > 0);
        equal(takeOne(window, rule, now + state.resetMs - 1).window, null);
        ok(takeOne(window, rule, now + state.resetMs).window);
      }),
      { numRuns: 100 },
    );
  });

  Deno.test(`takeOne() says how many more it lets through, and when it is one more (${kind})`, () => {
    fc.assert(
      fc.property(rules, stepsFrom(0), (rule, after) => {
        const { window: before, now } = play(rule, after).at(-1)!;
        const { window, state } = takeOne(before, rule, now);
        if (!window) return;

        equal(roomOf(window, rule, now), state.remaining);
        equal(roomOf(window, rule, now + state.resetMs - 1), state.remaining);
        ok(roomOf(window, rule, now + state.resetMs) > state.remaining);
      }),
      { numRuns: 60 },
    );
  });
}

/** How many are let through at one moment. */
function roomOf(before: RateWindow, rule: RateRule, now: number): number {
  let room = 0;
  for (let window = takeOne(before, rule, now).window; window; room++) {
    window = takeOne(window, rule, now).window;
  }
  return room;
}

// The bound of a sliced rule: it refuses only when a window that is one slice
// less a millisecond longer than the rule's is full.
Deno.test("takeOne() refuses only when a window and one slice are full (sliced)", () => {
  fc.assert(
    fc.property(slicedRule, steps(900, DENSE), (rule, after) => {
      const through: number[] = [];
      const span = rule.windowMs + sliceOf(rule) - 1;

      for (const { now, isLetThrough } of play(rule, after)) {
        if (isLetThrough) through.push(now);
        else ok(through.filter((at) => at > now - span).length >= rule.limit);
      }
    }),
    { numRuns: 60 },
  );
});

Deno.test("takeOne() under steady overload lets through at most one part in 60 less than it might (sliced)", () => {
  const rule: RateRule = { name: "key_write", limit: 600, windowMs: 60_000 };

  const through = play(rule, Array.from({ length: 40_000 }, () => 15))
    .filter(({ isLetThrough }) => isLetThrough).length;

  // Ten minutes of requests, four a limit.
  equal(through <= 6_000, true);
  ok(through >= 6_000 * 60 / 61, `${through}`);
});

Deno.test("takeOne() counts a moment until the window has passed, to the millisecond", () => {
  const rule: RateRule = { ...RULE, limit: 1 };
  const { window } = takeOne(null, rule, START);

  equal(takeOne(window, rule, START + 59_999).window, null);
  deepEqual(takeOne(window, rule, START + 60_000).window?.slots, [[START + 60_000, 1]]);
});

Deno.test("takeOne() takes a burst of the limit at one moment, and nothing at the edge of two windows", () => {
  const burst = [0, ...Array.from({ length: 9 }, () => 0)];

  const played = play(RULE, [...burst, 59_999, 0, 1, ...burst]);

  deepEqual(
    played.map(({ isLetThrough }) => isLetThrough),
    [...burst.map(() => true), false, false, true, ...burst.slice(1).map(() => true), false],
  );
});

Deno.test("takeOne() opens no room to a clock that goes back, however far", () => {
  const full = play(RULE, Array.from({ length: 10 }, () => 100)).at(-1)!.window;

  for (const back of [1, 59_999, 60_000, 86_400_000, START]) {
    const { window, state } = takeOne(full, RULE, START - back);
    equal(window, null);
    // The first of them leaves a minute after it came, by whatever clock.
    equal(state.resetMs, 100 + 60_000 + back);
  }
});

Deno.test("takeOne() keeps to a limit that was lowered, with what was counted before", () => {
  const { window } = play(RULE, Array.from({ length: 10 }, () => 1_000)).at(-1)!;
  const lower = { ...RULE, limit: 3 };

  const { window: none, state } = takeOne(window, lower, START + 10_000);

  equal(none, null);
  // Seven and one more have to leave; the eighth came in the eighth second.
  equal(state.resetMs, 8_000 + 60_000 - 10_000);
});

Deno.test("a window is kept until nothing in it counts, and not much longer", () => {
  fc.assert(
    fc.property(fc.oneof(exactRule, slicedRule), steps(300, { min: -50 }), (rule, after) => {
      const { window, latest } = play(rule, after).at(-1)!;
      const last = window!.slots.at(-1)![0];

      ok(window!.exp >= last + rule.windowMs + sliceOf(rule) - 1);
      ok(window!.exp <= latest + rule.windowMs + sliceOf(rule) + 60_000);
      deepEqual(takeOne(window, rule, window!.exp).window!.slots.length, 1);
    }),
    { numRuns: 100 },
  );
});

for (
  const [limit, windowMs] of [
    [LOG_MAX, 1_000],
    [LOG_MAX, 9_999 * 86_400_000],
    [LOG_MAX + 1, 1_000],
    [999_999, 60_000],
    [999_999, 9_999 * 86_400_000],
  ] as const
) {
  Deno.test(`the fullest window of ${limit} in ${windowMs} ms fits into a value of the store`, () => {
    const rule: RateRule = { name: "key_write", limit, windowMs };
    const step = Math.max(sliceOf(rule), Math.floor(windowMs / LOG_MAX));

    const { window } = play(rule, Array.from({ length: 500 }, () => step)).at(-1)!;
    const slots = window!.slots.map(([at]): [number, number] => [at, limit]);

    ok(slots.length >= 60 && slots.length <= LOG_MAX, `${slots.length}`);
    ok(encode({ ...window, slots }).length < 5_000);
    ok(encode({ ...window, slots }).length < VALUE_BYTES_MAX);
  });
}

function newLimiter(rules = RATE_RULES, secret = 1) {
  const time = { now: START };
  const limiter = new RateLimiter(rules, {
    secret: new Uint8Array(32).fill(secret),
    clock: () => time.now,
  });
  return { limiter, time };
}

function assertRefused(act: () => unknown, retryAfterMs: number): void {
  throws(act, (error) => {
    ok(error instanceof AppError);
    equal(error.kind, "rate_limited");
    equal(error.retryAfterMs, retryAfterMs);
    return true;
  });
}

/** Passes until the limit, as transactions do. */
function fill(guard: RateGuard): RateWindow {
  let window: RateWindow | null = null;
  for (let i = 0; i < guard.rule.limit; i++) window = guard.pass(window).value;
  return window!;
}

Deno.test("a guard is for its rule and subject alone, and tells neither in clear", () => {
  const { limiter } = newLimiter();
  const textOf = (guard: RateGuard | null) => keys.keyText(guard!.key);
  const guard = limiter.guard("lead_email", "asha@example.com");

  const others = [
    limiter.guard("lead_email", "juma@example.com"),
    limiter.guard("lead_post", "asha@example.com"),
    newLimiter(RATE_RULES, 2).limiter.guard("lead_email", "asha@example.com"),
  ];

  equal(textOf(limiter.guard("lead_email", "asha@example.com")), textOf(guard));
  equal(new Set([guard, ...others].map(textOf)).size, 4);
  ok(!textOf(guard).includes("asha") && !textOf(guard).includes("example"));
  equal(guard!.key.length, 3);
  deepEqual(guard!.key.slice(0, 2), ["rate", "lead_email"]);
});

Deno.test("a rule that is not in force guards nothing", () => {
  equal(newLimiter([]).limiter.guard("lead_post", "192.0.2.1"), null);
});

Deno.test("a guard passes as often as its rule says, and keeps the window as long as it counts", () => {
  const { limiter, time } = newLimiter();
  const guard = limiter.guard("lead_post", "192.0.2.1")!;
  const full = fill(guard);
  deepEqual(guard.state, { rule: guard.rule, remaining: 0, resetMs: 60_000 });
  equal(guard.isRefused, false);

  time.now += 59_999;
  assertRefused(() => guard.pass(full), 1);
  equal(guard.isRefused, true);
  time.now += 1;
  const { value, expireIn } = guard.pass(full);

  equal(guard.isRefused, false);
  equal(time.now + expireIn, value.exp);
  ok(expireIn >= 60_000);
});

Deno.test("whoever was refused is refused without a look, until there is room", () => {
  const { limiter, time } = newLimiter();
  const refused = limiter.guard("lead_post", "192.0.2.1")!;
  const full = fill(refused);
  throws(() => refused.pass(full));
  limiter.noteRefusal(refused);
  const again = () => limiter.expectRoom(limiter.guard("lead_post", "192.0.2.1")!);

  assertRefused(again, 60_000);
  time.now -= 5_000;
  assertRefused(again, 65_000);
  time.now += 5_000 + 59_999;
  assertRefused(again, 1);
  limiter.expectRoom(limiter.guard("lead_post", "192.0.2.2")!);
  limiter.expectRoom(limiter.guard("lead_email", "192.0.2.1")!);
  time.now += 1;
  again();
});

Deno.test("takeHere() keeps to the limit in this instance, for each subject", () => {
  const { limiter, time } = newLimiter([{ name: "key_read", limit: 3, windowMs: 1_000 }]);
  const take = (subject: string) => limiter.takeHere(limiter.guard("key_read", subject)!);

  for (let i = 0; i < 3; i++) take("key:1");
  assertRefused(() => take("key:1"), 1_000);
  take("key:2");
  time.now += 1_000;
  take("key:1");
});

const usual = (name: string) => RATE_RULES.find((rule) => rule.name === name)!;

for (
  const [text, changes] of [
    ["lead_post=20/1m", { lead_post: [20, 60_000] }],
    ["lead_post=20/m", { lead_post: [20, 60_000] }],
    [" lead_post=1/1s , key_write=999999/9999d ", {
      lead_post: [1, 1_000],
      key_write: [999_999, 9_999 * 86_400_000],
    }],
    ["key_read=5/30s,catalogue_read=7/2h", {
      key_read: [5, 30_000],
      catalogue_read: [7, 7_200_000],
    }],
    ["lead_post=1/m,lead_post=2/h", { lead_post: [2, 3_600_000] }],
  ] as [string, Record<string, [number, number]>][]
) {
  Deno.test(`parseRules() reads ${text}, and leaves the rest as usual`, () => {
    const rules = parseRules(text)!;

    deepEqual(rules.map(({ name }) => name), RATE_RULES.map(({ name }) => name));
    for (const { name, limit, windowMs } of rules) {
      const [expected, ms] = changes[name] ?? [usual(name).limit, usual(name).windowMs];
      deepEqual([limit, windowMs], [expected, ms], name);
    }
  });
}

for (
  const text of [
    "",
    ",",
    "lead_post",
    "lead_post=",
    "lead_post=10",
    "lead_post=10/",
    "lead_post=10/1",
    "lead_post=0/1m",
    "lead_post=000000/1m",
    "lead_post=-1/1m",
    "lead_post=1.5/1m",
    "lead_post=1e3/1m",
    "lead_post=1000000/1m",
    "lead_post=10/0m",
    "lead_post=10/10000s",
    "lead_post=10/1w",
    "lead_post=10/1ms",
    "lead_post=10/1m,",
    "lead_post=10/1m;key_read=1/1m",
    "LEAD_POST=10/1m",
    "nobody=10/1m",
    "__proto__=10/1m",
    "constructor=10/1m",
  ]
) {
  Deno.test(`parseRules() takes ${JSON.stringify(text)} for no list of rules`, () => {
    equal(parseRules(text), null);
  });
}
