/**
 * Moments, days and years; time limits and waits. A moment is a number of
 * milliseconds since 1970 in UTC; only a business year and date have a time zone.
 *
 * @module
 */

/** Returns the present moment, in milliseconds UTC; tests have their own. */
export type Clock = () => number;

/** The machine's clock. It may stand still or go back. */
export function systemClock(): number {
  return Date.now();
}

/** A second in milliseconds. */
export const SECOND_MS = 1_000;
/** A minute in milliseconds. */
export const MINUTE_MS = 60 * SECOND_MS;
/** An hour in milliseconds. */
export const HOUR_MS = 60 * MINUTE_MS;
/** A day of 24 hours in milliseconds. */
export const DAY_MS = 24 * HOUR_MS;

/** The longest timer; a longer one fires at once. */
const TIMER_MAX_MS = 2 ** 31 - 1;

/**
 * ISO 8601 in UTC with milliseconds, such as `2026-12-31T21:00:00.000Z`.
 *
 * @throws {RangeError} If `ms` is not a moment.
 */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

/**
 * The moment `days` times 24 hours after `ms`: another time of day where clocks
 * change for summer, which they do not in East Africa.
 */
export function addDays(ms: number, days: number): number {
  return ms + days * DAY_MS;
}

/**
 * The calendar year at `ms` in an IANA time zone, such as `Africa/Dar_es_Salaam`.
 *
 * @throws {RangeError} If there is no such zone, or `ms` is not a moment.
 */
export function businessYear(ms: number, timeZone: string): number {
  return Number(dateParts(ms, timeZone).year);
}

/**
 * The calendar date at `ms` in an IANA time zone, as `YYYY-MM-DD`.
 *
 * @throws {RangeError} If there is no such zone, or `ms` is not a moment.
 */
export function businessDate(ms: number, timeZone: string): string {
  const { year, month, day } = dateParts(ms, timeZone);
  return `${year.padStart(4, "0")}-${month}-${day}`;
}

/**
 * Resolves after `ms` milliseconds, at most about 24.8 days. Rejects with the
 * signal's reason as soon as `signal` is aborted. Leaves no timer behind.
 *
 * @throws {RangeError} If `ms` is over the limit, or not a number.
 */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (!(ms <= TIMER_MAX_MS)) {
      throw new RangeError(`Cannot sleep for ${ms} ms: the limit is ${TIMER_MAX_MS} ms`);
    }
    signal?.throwIfAborted();
    const wake = () => {
      signal?.removeEventListener("abort", stop);
      resolve();
    };
    const timer = setTimeout(wake, ms);
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** A call did not end in time; it may still take effect later. */
export class DeadlineError extends Error {
  /** Identifies it in logs. */
  override readonly name = "DeadlineError";
}

/**
 * Waits for `call`, at most `ms` milliseconds. The call is not cancelled; its
 * later outcome is ignored. See {@linkcode withTimeLimit} for calls that take a signal.
 *
 * @param late What the call is, for the error; or a function that returns the
 * result in its place, or throws.
 * @throws {DeadlineError} when time is up.
 */
export async function withDeadline<T>(
  call: Promise<T>,
  ms: number,
  late: string | (() => T),
): Promise<T> {
  const { promise: timeUp, resolve, reject } = Promise.withResolvers<T>();
  const timer = setTimeout(() => {
    if (typeof late === "string") return reject(new DeadlineError(`${late} took over ${ms} ms`));
    try {
      resolve(late());
    } catch (error) {
      reject(error);
    }
  }, ms);
  try {
    return await Promise.race([call, timeUp]);
  } finally {
    clearTimeout(timer);
    call.catch(() => {}); // it may fail long after anyone waits for it
  }
}

/**
 * Runs `work` with a signal that is aborted after `ms` milliseconds, and with
 * `outer` if given. `AbortSignal.timeout()` would keep its timer after the work.
 *
 * @throws what `work` throws.
 */
export async function withTimeLimit<T>(
  ms: number,
  work: (signal: AbortSignal) => Promise<T>,
  outer?: AbortSignal,
): Promise<T> {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new DeadlineError(`It took over ${ms} ms`)), ms);
  try {
    return await work(outer ? AbortSignal.any([outer, limit.signal]) : limit.signal);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Waits for `work` until `signal` is aborted. The work is not cancelled; its
 * later outcome is ignored.
 *
 * @throws the signal's reason, or what `work` throws.
 */
export async function orAborted<T>(work: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return await work;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  work.catch(() => {}); // it may fail long after anyone waits for it
  try {
    signal.throwIfAborted();
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** How long to wait between attempts. */
export interface Backoff {
  /** After the first failure, in milliseconds; doubled after each further one. */
  firstMs: number;
  /** The longest wait; unlimited when absent. */
  maxMs?: number;
  /**
   * Numbers in [0, 1) for jitter, so that those who failed together do not retry
   * together. No jitter when absent.
   */
  random?: () => number;
  /** The least share of the computed wait that jitter leaves, from 0 to 1; 0 (full jitter) when absent. */
  shareMin?: number;
}

/** The wait after failed attempt `attempt`, counted from 1, in milliseconds. */
export function backoffMs(
  attempt: number,
  { firstMs, maxMs = Infinity, random, shareMin = 0 }: Backoff,
): number {
  const ms = Math.min(firstMs * 2 ** (attempt - 1), maxMs);
  return random ? ms * (shareMin + (1 - shareMin) * random()) : ms;
}

interface DateParts {
  year: string;
  month: string;
  day: string;
}

/** One per time zone of the configuration: making one costs 100 times its use. */
const dateFormats = new Map<string, Intl.DateTimeFormat>();

/** Within a quarter of an hour no zone's date changes: since 1973 all are whole quarters from UTC. */
const QUARTER_MS = 15 * MINUTE_MS;
const QUARTERS_SINCE = 1973;
/** The last date of each time zone: requests of the same quarter ask again and again. */
const lastDates = new Map<string, { quarter: number; parts: DateParts }>();

function dateParts(ms: number, timeZone: string): DateParts {
  const quarter = Math.floor(ms / QUARTER_MS);
  const last = lastDates.get(timeZone);
  if (last?.quarter === quarter) return last.parts;
  const parts = formattedParts(ms, timeZone);
  if (Number(parts.year) >= QUARTERS_SINCE && ms > 0) lastDates.set(timeZone, { quarter, parts });
  return parts;
}

function formattedParts(ms: number, timeZone: string): DateParts {
  let format = dateFormats.get(timeZone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-u-ca-iso8601-nu-latn", {
      timeZone,
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
    });
    dateFormats.set(timeZone, format);
  }
  const parts = { year: "", month: "", day: "" };
  for (const { type, value } of format.formatToParts(ms)) {
    if (type === "year" || type === "month" || type === "day") parts[type] = value;
  }
  return parts;
}
