/**
 * Moments, days and years. A moment is a number of milliseconds since 1970 in
 * UTC; only the year and the date of a business depend on where it is.
 *
 * @module
 */

/** Tells the present moment, in milliseconds UTC; a test has its own. */
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

/** What a timer counts to; it fires at once when asked for more. */
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
 * The moment `days` times 24 hours after `ms`. Where clocks change for summer
 * that may be another time of day; in East Africa they do not.
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
 * signal's reason as soon as `signal` is aborted, and leaves no timer behind.
 *
 * @throws {RangeError} If `ms` is more than a timer counts to, or no number.
 */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (!(ms <= TIMER_MAX_MS)) {
      throw new RangeError(`Cannot sleep: ${ms} ms is more than ${TIMER_MAX_MS} ms`);
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

interface DateParts {
  year: string;
  month: string;
  day: string;
}

/** One per zone of the configuration: making one costs 100 times what using it does. */
const dateFormats = new Map<string, Intl.DateTimeFormat>();

function dateParts(ms: number, timeZone: string): DateParts {
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
