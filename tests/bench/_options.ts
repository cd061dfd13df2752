/**
 * What is measured and for how long, as the command line has it.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { VISITORS_MAX } from "./_visitors.ts";

/** Every part, in order. */
export const PARTS = ["leads", "reads", "start", "growth", "outbox"] as const;
/** A part. */
export type Part = typeof PARTS[number];

/** The request of an operator. */
export interface Options {
  parts: readonly Part[];
  /** How long each load is measured. */
  seconds: number;
  /** How often each load is measured; the median counts. */
  rounds: number;
  /** Sizes of stores, in leads. */
  growth: readonly number[];
}

/** What a part measures with. */
export interface Setting extends Options {
  /** An empty folder, removed at the end. */
  folder: string;
  /** Reports what is under way. */
  progress(text: string): void;
}

/** How to use it. */
export const HELP = `Measures the program's speed, beside bare programs on the same machine.

Usage: deno task bench [options]

  --only <list>     parts: ${PARTS.join(", ")} (default: all)
  --seconds <n>     length of each load, 1 to 600 (default 3)
  --rounds <n>      rounds, 1 to 99; the figures are medians (default 3)
  --growth <list>   up to four sizes of stores in leads, 100 to 9000000
                    (default 10000,100000; a million takes about half an hour)
  --help            this text

All parts take about six minutes. Everything is on 127.0.0.1 and in a temporary
folder, which is removed at the end. CPU and memory are measured on Linux only.
`;

/** Reads the arguments. @returns null for help. @throws {TypeError} naming the invalid option */
export function readOptions(args: readonly string[]): Options | null {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: "string", default: PARTS.join(",") },
      seconds: { type: "string", default: "3" },
      rounds: { type: "string", default: "3" },
      growth: { type: "string", default: "10000,100000" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return null;
  const names = values.only.split(",");
  const unknown = names.find((name) => !PARTS.some((part) => part === name));
  if (unknown !== undefined) {
    throw new TypeError(`Unknown part ${unknown}: use ${PARTS.join(", ")}`);
  }
  const sizes = values.growth.split(",");
  if (sizes.length > SIZES_MAX) throw new TypeError(`--growth takes at most ${SIZES_MAX} sizes`);
  return {
    parts: PARTS.filter((part) => names.includes(part)),
    seconds: numberOf("--seconds", values.seconds, 1, 600),
    rounds: numberOf("--rounds", values.rounds, 1, 99),
    growth: sizes.map((size) => numberOf("--growth", size, 100, GROWTH_MAX)),
  };
}

/** Leaves some visitors for the measurements. */
const GROWTH_MAX = VISITORS_MAX - 1_000_000;
/** So many columns fit a terminal. */
const SIZES_MAX = 4;

function numberOf(option: string, text: string, min: number, max: number): number {
  const number = Number(text);
  if (Number.isInteger(number) && number >= min && number <= max) return number;
  throw new TypeError(`${option} takes whole numbers from ${min} to ${max}, not ${text}`);
}
