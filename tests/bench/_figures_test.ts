/** Figures of measurements: how they are summed up and printed. */
import { deepStrictEqual as deepEqual, ok } from "node:assert/strict";
import {
  bar,
  columnTable,
  count,
  figure,
  heading,
  median,
  medianRate,
  percentile,
  type Rate,
  rateTable,
  ratio,
  timeTable,
} from "./_figures.ts";

const RATE: Rate = { perSecond: 1_234_567, p50: 0.517, p99: 1_234.5, cpuUs: 98_765.4 };

Deno.test("the median is the middle value, or the mean of the middle two", () => {
  deepEqual(median([3, 1, 2]), 2);
  deepEqual(median([4, 1, 3, 2]), 2.5);
  deepEqual(median([7]), 7);
  deepEqual(median([]), NaN);
});

Deno.test("a percentile is a value that was measured, by numeric order", () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);

  deepEqual(percentile(values, 0.5), 50);
  deepEqual(percentile(values, 0.99), 99);
  deepEqual(percentile(values, 1), 100);
  deepEqual(percentile(values, 0), 1);
  deepEqual(percentile([100, 9], 0.5), 9);
  deepEqual(percentile([], 0.5), NaN);
});

Deno.test("rates of rounds are summed up figure by figure, without unknown CPU times", () => {
  const rounds = [
    { perSecond: 10, p50: 3, p99: 9, cpuUs: null },
    { perSecond: 30, p50: 1, p99: 7, cpuUs: 50 },
    { perSecond: 20, p50: 2, p99: 8, cpuUs: 70 },
  ];

  deepEqual(medianRate(rounds), { perSecond: 20, p50: 2, p99: 8, cpuUs: 60 });
  deepEqual(medianRate(rounds.slice(0, 1)).cpuUs, null);
});

Deno.test("figures have thousands separators and few decimals, or n/a", () => {
  deepEqual([0.0523, 0.517, 9.994, 12.34, 99.96, 1_234.5, 7, 0].map(figure), [
    "0.052",
    "0.52",
    "9.99",
    "12.3",
    "100",
    "1,235",
    "7",
    "0",
  ]);
  deepEqual([figure(null), figure(NaN), count(null)], ["n/a", "n/a", "n/a"]);
  deepEqual(count(12_345.6), "12,346");
});

Deno.test("a ratio to nothing is n/a", () => {
  deepEqual([ratio(5, 4), ratio(1, 0), ratio(NaN, 1)], ["1.25x", "n/a", "n/a"]);
});

Deno.test("a bar is as long as its value, to an eighth of a character", () => {
  deepEqual([bar(4, 4, 4), bar(2, 4, 4), bar(0, 4, 4)], ["████", "██", ""]);
  deepEqual([bar(1, 32, 4), bar(9, 32, 4)], ["▏", "█▏"]);
  deepEqual([bar(9, 4, 4), bar(1, 0, 4), bar(NaN, 4, 4)], ["████", "", ""]);
});

Deno.test("tables fit 80 columns with large figures", () => {
  const rates = rateTable([
    { name: "64 connections", rate: RATE, bare: { ...RATE, perSecond: 9_876_543 } },
    { name: "bare KV, 64 at once", rate: RATE, bare: null },
  ]);
  const times = timeTable([
    { name: "new store", ms: 12_345, bareMs: 100 },
    { name: "bare Hono and zod", ms: 100, bareMs: 100 },
  ]);
  const columns = columnTable([
    ["", "1,000", "10,000", "100,000", "1,000,000", "change"],
    ["store, bytes per lead", "12,345", "12,345", "12,345", "12,345", "1.00x"],
  ]);
  const title = heading("LEADS", "POST /api/v2/leads");

  for (const line of [rates, times, columns, title].join("\n").split("\n")) {
    ok(line.length <= 80, `${line.length} columns: ${line}`);
  }
  deepEqual(
    rates.split("\n")[1]?.trim().split(/ +/),
    [
      "64",
      "connections",
      "1,234,567",
      "█".repeat(16),
      "0.52",
      "1,235",
      "98,765",
      "0.12x",
    ].filter((cell) => cell !== ""),
  );
});
