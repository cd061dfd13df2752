/**
 * `deno task sweep`: checks every invariant of the store, also beside a running
 * server, and says what is wrong. It changes nothing.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { FINDINGS_MAX, sweep, type SweepProgress, type SweepReport } from "../integrity.ts";
import type { Services } from "../services.ts";
import { runTask, TaskError } from "./_task.ts";

const HELP = `Check every invariant of the store, and change nothing.

  deno task sweep [--json]

  --json   print the report as JSON

It ends with 0 if all is well and with 1 if something is wrong. CRITICAL means that the
books are wrong, WARNING that an index is, which can be rebuilt from them. The first
${FINDINGS_MAX} findings are listed; keys are shown without e-mail addresses and phone numbers.
The store is that of KV_PATH; a server may be running on it.`;

/** Time between two lines of progress. */
const PROGRESS_MS = 1_000;

if (import.meta.main) await runTask(main, { help: HELP });

/** Sweeps to the end. @returns The exit code. */
async function main(services: Services, args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" } },
  });
  if (positionals.length > 0) {
    throw new TaskError(`${JSON.stringify(positionals[0])} is one word too many (--help says how)`);
  }
  const report = await sweep(services, { onProgress: printProgress(performance.now()) });
  console.log(values.json ? JSON.stringify(report, null, 2) : readable(report));
  return report.findingsTotal === 0 ? 0 : 1;
}

/** To standard error, so that the report is alone on standard output. */
function printProgress(startedAt: number): (progress: SweepProgress) => void {
  let printedAt = startedAt;
  return ({ prefix, entries, findings }) => {
    if (performance.now() - printedAt < PROGRESS_MS) return;
    printedAt = performance.now();
    console.error(`${grouped(entries)} entries, now ${prefix}, ${grouped(findings)} findings`);
  };
}

function readable({ counts, findings, findingsTotal, durationMs }: SweepReport): string {
  const names = Object.entries(counts).filter(([, count]) => count > 0);
  const width = Math.max(0, ...names.map(([name]) => name.length));
  const entries = names.reduce((sum, [, count]) => sum + count, 0);
  const lines = names.map(([name, count]) =>
    `${name.padEnd(width)}  ${grouped(count).padStart(12)}`
  );
  for (const { severity, check, key, detail } of findings) {
    lines.push("", `${severity.toUpperCase()} ${check}`, `  ${key}`, `  ${detail}`);
  }
  const unlisted = findingsTotal - findings.length;
  if (unlisted > 0) lines.push("", `and ${grouped(unlisted)} more`);
  const result = findingsTotal === 0 ? "Nothing is wrong" : `${grouped(findingsTotal)} findings`;
  const seconds = (durationMs / 1_000).toFixed(1);
  if (lines.length > 0) lines.push("");
  return [...lines, `${result}: ${grouped(entries)} entries in ${seconds} s`].join("\n");
}

function grouped(count: number): string {
  return count.toLocaleString("en");
}
