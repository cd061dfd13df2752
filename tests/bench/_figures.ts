/**
 * Figures for people: medians, percentiles, and tables with bars that fit 80 columns.
 *
 * @module
 */

/** How often something was done, and at what cost. */
export interface Rate {
  perSecond: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** CPU time of the measured process for one, in microseconds; null where unknown. */
  cpuUs: number | null;
}

/** A row of {@linkcode rateTable}. */
export interface RateRow {
  name: string;
  rate: Rate;
  /** The bare rate to compare with; null for a row that is one itself. */
  bare: Rate | null;
}

/** Width of a table. */
const COLUMNS = 78;
const BAR_WIDTH = 16;
const NAME_WIDTH = 20;
/** Widths of per second, p50, p99, CPU and ratio. */
const WIDTHS = { perSecond: 8, p50: 7, p99: 8, cpu: 8, ratio: 7 };
/** With five columns a table still fits. */
const CELL_WIDTH = 11;
const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
/** What stands for a figure that cannot be measured here. */
const NONE = "n/a";

/** The middle one; the mean of the middle two of an even count; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? NaN) + upper) / 2 : upper;
}

/** The smallest value that at least `share` (0 to 1) of all are not above; NaN of none. */
export function percentile(values: ArrayLike<number>, share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)] ?? NaN;
}

/** The median of each figure over rounds. */
export function medianRate(rounds: readonly Rate[]): Rate {
  const of = (figure: "perSecond" | "p50" | "p99") => median(rounds.map((rate) => rate[figure]));
  const cpu = rounds.flatMap(({ cpuUs }) => cpuUs === null ? [] : [cpuUs]);
  return {
    perSecond: of("perSecond"),
    p50: of("p50"),
    p99: of("p99"),
    cpuUs: cpu.length === 0 ? null : median(cpu),
  };
}

/** A figure with thousands separators and at most three decimals, fewer the larger it is. */
export function figure(value: number | null): string {
  if (value === null || Number.isNaN(value)) return NONE;
  const size = Math.abs(value);
  const decimals = size >= 99.95 || Number.isInteger(value)
    ? 0
    : size >= 9.995
    ? 1
    : size >= 0.0995
    ? 2
    : 3;
  return value.toLocaleString("en", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
}

/** A whole number with thousands separators. */
export function count(value: number | null): string {
  return value === null || Number.isNaN(value) ? NONE : Math.round(value).toLocaleString("en");
}

/** A ratio such as `1.25x`. */
export function ratio(value: number, to: number): string {
  const times = value / to;
  return Number.isFinite(times) ? `${figure(times)}x` : NONE;
}

/** Bytes in MiB; null stays unknown. */
export function mebibytes(bytes: number | null): number | null {
  return bytes === null ? null : bytes / 1024 ** 2;
}

/** A bar of at most `width` characters, as long as `value` is to `max`. */
export function bar(value: number, max: number, width: number = BAR_WIDTH): string {
  const eighths = max > 0 && value > 0 ? Math.round(Math.min(1, value / max) * width * 8) : 0;
  return "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? "");
}

/** The heading of a part, with a rule up to the table's width. */
export function heading(title: string, about: string): string {
  const text = `${title}  ${about} `;
  return text + "─".repeat(Math.max(0, COLUMNS - text.length));
}

/** Rates below each other, with bars relative to the highest. */
export function rateTable(rows: readonly RateRow[]): string {
  const max = Math.max(...rows.map(({ rate }) => rate.perSecond));
  const head = " ".repeat(2 + NAME_WIDTH) + "per s".padStart(WIDTHS.perSecond) +
    " ".repeat(2 + BAR_WIDTH) + "p50 ms".padStart(WIDTHS.p50) + "p99 ms".padStart(WIDTHS.p99) +
    "CPU µs".padStart(WIDTHS.cpu) + "/ bare".padStart(WIDTHS.ratio);
  const lines = rows.map(({ name, rate, bare }) =>
    [
      "  ",
      name.padEnd(NAME_WIDTH),
      count(rate.perSecond).padStart(WIDTHS.perSecond),
      "  ",
      bar(rate.perSecond, max).padEnd(BAR_WIDTH),
      figure(rate.p50).padStart(WIDTHS.p50),
      figure(rate.p99).padStart(WIDTHS.p99),
      count(rate.cpuUs).padStart(WIDTHS.cpu),
      (bare === null ? "" : ratio(rate.perSecond, bare.perSecond)).padStart(WIDTHS.ratio),
    ].join("").trimEnd()
  );
  return [head, ...lines].join("\n");
}

/** Durations below each other, with bars relative to the longest. */
export function timeTable(rows: readonly { name: string; ms: number; bareMs: number }[]): string {
  const max = Math.max(...rows.map(({ ms }) => ms));
  return rows.map(({ name, ms, bareMs }) =>
    [
      "  ",
      name.padEnd(NAME_WIDTH),
      `${figure(ms)} ms`.padStart(WIDTHS.perSecond + 3),
      "  ",
      bar(ms, max).padEnd(BAR_WIDTH),
      (ms === bareMs ? "" : ratio(ms, bareMs)).padStart(WIDTHS.ratio),
    ].join("").trimEnd()
  ).join("\n");
}

/** Figures in columns, a row for each name; the first row is the head. */
export function columnTable(rows: readonly [name: string, ...cells: string[]][]): string {
  const nameWidth = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, ...cells]) =>
    `  ${name.padEnd(nameWidth)}${cells.map((cell) => cell.padStart(CELL_WIDTH)).join("")}`
  ).join("\n");
}
