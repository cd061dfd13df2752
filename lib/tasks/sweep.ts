/**
 * `deno task sweep`: checks every invariant of the store, also beside a running
 * server, says what is wrong, and mends what can be mended if told to.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { newId } from "../ids.ts";
import { FINDINGS_MAX, sweep, type SweepProgress, type SweepReport } from "../integrity/sweep.ts";
import { repair } from "../integrity/repair.ts";
import type { Services } from "../app/services.ts";
import { runTask, TaskError } from "./_task.ts";

const HELP = `Check every invariant of the store, and change nothing unless told to.

  deno task sweep [--repair] [--json]

  --repair  mend what follows from something that is sound: indexes, the numbering's
            counter, totals of invoices. The rest is only reported
  --json    print the report as JSON

It ends with 0 if all is well and with 1 if something is wrong, or is left so. CRITICAL
means that the books are wrong, WARNING that an index is, which can be rebuilt from them.
The first ${FINDINGS_MAX} findings are listed, and as many repairs; keys are shown without e-mail
addresses and phone numbers. Each repair is recorded in the store, with what was wrong.
The store is that of KV_PATH; a server may be running on it.`;

/** Time between two lines of progress. */
const PROGRESS_MS = 1_000;

if (import.meta.main) await runTask(main, { help: HELP });

/** Sweeps to the end. @returns The exit code. */
async function main(services: Services, args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" }, repair: { type: "boolean" } },
  });
  if (positionals.length > 0) {
    throw new TaskError(`${JSON.stringify(positionals[0])} is one word too many (--help says how)`);
  }
  const isRepairing = values.repair ?? false;
  const report = await sweep(services, {
    onProgress: printProgress(performance.now()),
    ...(isRepairing ? { mend: mendAs(services, newId(services.clock())) } : {}),
  });
  console.log(values.json ? JSON.stringify(report, null, 2) : readable(report, isRepairing));
  return report.findingsTotal === 0 ? 0 : 1;
}

/** @param id Names the exchange, and the sweep that the repairs are recorded under. */
function mendAs(
  services: Services,
  id: string,
): (broken: Parameters<typeof repair>[1]) => ReturnType<typeof repair> {
  const by = { actor: "cli", requestId: id, idempotencyKey: null } as const;
  return (broken) => repair(services, broken, { sweepId: id, by });
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

function readable(report: SweepReport, isRepairing: boolean): string {
  const { counts, findings, findingsTotal, repairs, repairsTotal, durationMs } = report;
  const names = Object.entries(counts).filter(([, count]) => count > 0);
  const width = Math.max(0, ...names.map(([name]) => name.length));
  const entries = names.reduce((sum, [, count]) => sum + count, 0);
  const lines = names.map(([name, count]) =>
    `${name.padEnd(width)}  ${grouped(count).padStart(12)}`
  );
  for (const { check, key, detail, done } of repairs) {
    lines.push("", `REPAIRED ${check}`, `  ${key}`, `  ${detail}. ${done}`);
  }
  lines.push(...unlisted(repairsTotal - repairs.length, "repairs"));
  for (const { severity, check, key, detail, repair } of findings) {
    const left = repair === null ? "" : `: ${repair.replaceAll("_", " ")}`;
    lines.push("", `${severity.toUpperCase()} ${check}${left}`, `  ${key}`, `  ${detail}`);
  }
  lines.push(...unlisted(findingsTotal - findings.length, "findings"));
  const nothing = isRepairing ? "Nothing is left wrong" : "Nothing is wrong";
  const found = findingsTotal === 0 ? nothing : `${grouped(findingsTotal)} findings`;
  const mended = isRepairing ? `, ${grouped(repairsTotal)} repairs` : "";
  const seconds = (durationMs / 1_000).toFixed(1);
  if (lines.length > 0) lines.push("");
  return [...lines, `${found}${mended}: ${grouped(entries)} entries in ${seconds} s`].join("\n");
}

function unlisted(count: number, what: string): string[] {
  return count > 0 ? ["", `and ${grouped(count)} more ${what}`] : [];
}

function grouped(count: number): string {
  return count.toLocaleString("en");
}
