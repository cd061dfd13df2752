/** What the command line of the measurements takes. */
import { deepStrictEqual as deepEqual, throws } from "node:assert/strict";
import { HELP, PARTS, readOptions } from "./_options.ts";

Deno.test("without options, everything is measured with the defaults of the help", () => {
  deepEqual(readOptions([]), {
    parts: PARTS,
    seconds: 3,
    rounds: 3,
    growth: [10_000, 100_000],
  });
});

Deno.test("options choose parts, always in the same order, and how much is measured", () => {
  const args = [
    "--only",
    "reads,leads",
    "--seconds=4",
    "--rounds",
    "1",
    "--growth",
    "1000,1000000",
  ];

  deepEqual(readOptions(args), {
    parts: ["leads", "reads"],
    seconds: 4,
    rounds: 1,
    growth: [1_000, 1_000_000],
  });
});

Deno.test("the help names every part and fits 80 columns", () => {
  deepEqual(readOptions(["--help"]), null);
  deepEqual(PARTS.filter((part) => !HELP.includes(part)), []);
  deepEqual(HELP.split("\n").filter((line) => line.length > 80), []);
});

Deno.test("an invalid option is named with the values that it takes", () => {
  for (
    const [args, message] of [
      [["--only", "write"], /^Unknown part write: use leads, reads, start, growth, outbox$/],
      [["--seconds", "0.5"], /^--seconds takes whole numbers from 1 to 600, not 0\.5$/],
      [["--rounds", "100"], /^--rounds takes whole numbers from 1 to 99, not 100$/],
      [["--growth", "10000,"], /^--growth takes whole numbers from 100 to 9000000, not $/],
      [["--growth", "100,200,300,400,500"], /^--growth takes at most 4 sizes$/],
      [["--port", "1"], /--port/],
    ] as const
  ) {
    throws(() => readOptions(args), { name: "TypeError", message });
  }
});
