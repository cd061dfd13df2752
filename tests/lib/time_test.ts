import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import fc from "fast-check";
import {
  addDays,
  backoffMs,
  businessDate,
  businessYear,
  DAY_MS,
  DeadlineError,
  HOUR_MS,
  isoTime,
  MINUTE_MS,
  orAborted,
  SECOND_MS,
  sleep,
  systemClock,
  withDeadline,
  withTimeLimit,
} from "../../lib/time.ts";

const DAR = "Africa/Dar_es_Salaam";

const moment = fc.integer({ min: 0, max: Date.UTC(9999, 11, 30) });

Deno.test("businessYear() and businessDate() change at midnight in Dar es Salaam, not in London", () => {
  const newYear = Date.parse("2026-12-31T21:00:00.000Z");

  equal(businessYear(newYear - 1, DAR), 2026);
  equal(businessDate(newYear - 1, DAR), "2026-12-31");
  equal(businessYear(newYear, DAR), 2027);
  equal(businessDate(newYear, DAR), "2027-01-01");
  equal(businessYear(newYear, "UTC"), 2026);
  equal(businessDate(newYear, "UTC"), "2026-12-31");
});

Deno.test("businessDate() follows summer time", () => {
  equal(businessDate(Date.parse("2026-07-01T22:30:00Z"), "Europe/London"), "2026-07-01");
  equal(businessDate(Date.parse("2026-07-01T23:30:00Z"), "Europe/London"), "2026-07-02");
  equal(businessDate(Date.parse("2026-01-01T23:30:00Z"), "Europe/London"), "2026-01-01");
});

Deno.test("businessDate() in UTC is the date of isoTime()", () => {
  fc.assert(fc.property(moment, (ms) => {
    equal(businessDate(ms, "UTC"), isoTime(ms).slice(0, 10));
    equal(businessYear(ms, "UTC"), Number(isoTime(ms).slice(0, 4)));
  }));
});

Deno.test("businessDate() in Dar es Salaam is three hours ahead of UTC", () => {
  // Before 1961 the clocks of East Africa stood otherwise; invoices are younger.
  fc.assert(fc.property(moment, (ms) => {
    equal(businessDate(ms, DAR), isoTime(ms + 3 * HOUR_MS).slice(0, 10));
  }));
});

Deno.test("businessDate() refuses a zone that does not exist", () => {
  throws(() => businessDate(0, "Africa/Atlantis"), RangeError);
  throws(() => businessYear(NaN, DAR), RangeError);
});

Deno.test("isoTime() writes UTC with milliseconds and refuses invalid moments", () => {
  equal(isoTime(0), "1970-01-01T00:00:00.000Z");
  equal(isoTime(Date.UTC(2026, 1, 28, 23, 59, 59, 7)), "2026-02-28T23:59:59.007Z");
  throws(() => isoTime(NaN), RangeError);
});

Deno.test("addDays() moves the date by that many days in a zone without summer time", () => {
  const leapEve = Date.parse("2028-02-28T20:59:59Z");

  equal(businessDate(leapEve, DAR), "2028-02-28");
  equal(businessDate(addDays(leapEve, 1), DAR), "2028-02-29");
  equal(businessDate(addDays(leapEve, 2), DAR), "2028-03-01");
  equal(addDays(addDays(leapEve, 14), -14), leapEve);
});

Deno.test("the lengths of time are built from milliseconds", () => {
  equal(SECOND_MS, 1_000);
  equal(MINUTE_MS, 60_000);
  equal(HOUR_MS, 3_600_000);
  equal(DAY_MS, 86_400_000);
});

Deno.test("systemClock() is between two readings of the machine's clock", () => {
  const before = Date.now();
  const now = systemClock();

  ok(before <= now && now <= Date.now());
});

Deno.test("sleep() resolves not before its time, and within a second after it", async () => {
  const before = performance.now();

  await sleep(20, new AbortController().signal);

  const tookMs = performance.now() - before;
  ok(tookMs >= 19 && tookMs < 1_020, `took ${tookMs} ms`);
});

Deno.test("sleep() ends with the signal's reason, and leaves no timer for the sanitizer to find", async () => {
  const reason = new Error("shutting down");
  const stop = new AbortController();

  const asleep = sleep(HOUR_MS, stop.signal);
  stop.abort(reason);

  await rejects(asleep, reason);
  await rejects(sleep(HOUR_MS, stop.signal), reason);
});

Deno.test("sleep() leaves no listener on its signal", async () => {
  const { signal } = new AbortController();
  const listeners = new Set<unknown>();
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (type: string, listener: EventListener) => {
    listeners.add(listener);
    addEventListener.call(signal, type, listener);
  };
  signal.removeEventListener = (type: string, listener: EventListener) => {
    listeners.delete(listener);
    removeEventListener.call(signal, type, listener);
  };

  const asleep = sleep(1, signal);

  equal(listeners.size, 1);
  await asleep;
  equal(listeners.size, 0);
});

Deno.test("sleep() refuses more than the longest timer", async () => {
  await rejects(sleep(2 ** 31), RangeError);
  await rejects(sleep(NaN), RangeError);
});

Deno.test("withDeadline() returns or throws what the call does in time", async () => {
  equal(await withDeadline(Promise.resolve(1), 1_000, "A call"), 1);
  await rejects(withDeadline(Promise.reject(new TypeError("x")), 1_000, "A call"), TypeError);
});

Deno.test("withDeadline() stops waiting for a call that takes too long, and ignores its later failure", async () => {
  const { promise: call, reject } = Promise.withResolvers<string>();

  await rejects(withDeadline(call, 5, "A call"), new DeadlineError("A call took over 5 ms"));
  equal(await withDeadline(call, 5, () => "instead"), "instead");
  await rejects(
    withDeadline(call, 5, () => {
      throw new RangeError("late");
    }),
    new RangeError("late"),
  );
  reject(new Error("nobody waits for this"));
});

Deno.test("withTimeLimit() aborts the signal of work that takes too long, or with the outer one", async () => {
  const outer = new AbortController();
  const work = (signal: AbortSignal) => sleep(60_000, signal);

  equal(await withTimeLimit(1_000, () => Promise.resolve(1)), 1);
  await rejects(withTimeLimit(5, work), DeadlineError);
  const ended = withTimeLimit(60_000, work, outer.signal);
  outer.abort(new TypeError("stopped"));
  await rejects(ended, TypeError);
});

Deno.test("orAborted() waits until its signal is aborted, and ignores what comes later", async () => {
  const stop = new AbortController();
  const { promise: work, reject } = Promise.withResolvers<void>();

  equal(await orAborted(Promise.resolve(1)), 1);
  equal(await orAborted(Promise.resolve(1), stop.signal), 1);
  const waiting = orAborted(work, stop.signal);
  stop.abort(new TypeError("stopped"));
  await rejects(waiting, TypeError);
  await rejects(orAborted(work, stop.signal), TypeError);
  reject(new Error("nobody waits for this"));
});

Deno.test("backoffMs() doubles up to its maximum, and with jitter stays below", () => {
  const attempts = [1, 2, 3, 4, 5];

  const waits = attempts.map((attempt) => backoffMs(attempt, { firstMs: 100, maxMs: 500 }));
  const half = attempts.map((attempt) =>
    backoffMs(attempt, { firstMs: 100, maxMs: 500, random: () => 0.5 })
  );

  deepEqual(waits, [100, 200, 400, 500, 500]);
  deepEqual(half, [50, 100, 200, 250, 250]);
  equal(backoffMs(11, { firstMs: 1 }), 1_024);
  equal(backoffMs(1, { firstMs: 100, random: () => 0.5, shareMin: 0.5 }), 75);
});
