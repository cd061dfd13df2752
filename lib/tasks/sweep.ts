/**
 * `deno task sweep`: checks every invariant of the store, reports the findings, and
 * repairs derived data on request. A server may run on the store.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { newId } from "../ids.ts";
import { FINDINGS_MAX, sweep, type SweepReport } from "../integrity/mod.ts";
import { repair } from "../integrity/repair.ts";
import type { Services } from "../app/mod.ts";
import { counted, grouped, inSeconds } from "./_format.ts";
import { openProgressBar } from "./_progress.ts";
import { refuseMore, runTask } from "./_task.ts";

const HELP = `Check every invariant of the store. Changes nothing without --repair.

Usage:
  deno task sweep [--repair] [--json]

Options:
  --repair   Repair derived data: indexes, the counter of invoice numbers and
             totals of invoices. Other findings are only reported
  --json     Print the report as JSON

Findings:
  CRITICAL   The books are wrong
  WARNING    An index is wrong; it can be rebuilt from the books

Up to ${FINDINGS_MAX} findings and as many repairs are listed, with e-mail addresses and
phone numbers redacted. Each repair is recorded in the store with its finding.

Environment:
  KV_PATH   The store; a server may run on it

Exit code: 0 if no finding is left, 1 on an error or with findings.`;

if (import.meta.main) await runTask(main, { help: HELP });

/** Sweeps to the end. @returns The exit code. */
async function main(services: Services, args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { json: { type: "boolean" }, repair: { type: "boolean" } },
  });
  refuseMore(positionals);
  const isRepairing = values.repair ?? false;
  const bar = openProgressBar();
  const report = await sweep(services, {
    onProgress: ({ prefix, entries, findings }) =>
      bar.update("Checked", entries, 0, `${counted(findings, "finding")}, at ${prefix}`),
    ...(isRepairing ? { repair: repairAs(services, newId(services.clock())) } : {}),
  }).finally(() => bar.end());
  console.log(values.json ? JSON.stringify(report, null, 2) : readable(report, isRepairing));
  return report.findingsTotal === 0 ? 0 : 1;
}

/** @param id The request id, and the id of the sweep under which repairs are recorded. */
function repairAs(
  services: Services,
  id: string,
): (defect: Parameters<typeof repair>[1]) => ReturnType<typeof repair> {
  const by = { actor: "cli", requestId: id, idempotencyKey: null } as const;
  return (defect) => repair(services, defect, { sweepId: id, by });
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
  lines.push(...unlisted(repairsTotal - repairs.length, "repair"));
  for (const { severity, check, key, detail, repair } of findings) {
    const left = repair === null ? "" : `: ${repair.replaceAll("_", " ")}`;
    lines.push("", `${severity.toUpperCase()} ${check}${left}`, `  ${key}`, `  ${detail}`);
  }
  lines.push(...unlisted(findingsTotal - findings.length, "finding"));
  const none = isRepairing ? "No findings left" : "No findings";
  const result = [
    findingsTotal === 0 ? none : counted(findingsTotal, "finding"),
    ...(isRepairing ? [counted(repairsTotal, "repair")] : []),
  ].join(", ");
  if (lines.length > 0) lines.push("");
  const total = counted(entries, "entry", "entries");
  return [...lines, `${result}: ${total} in ${inSeconds(durationMs)}`].join("\n");
}

function unlisted(count: number, noun: string): string[] {
  return count > 0 ? ["", `and ${counted(count, `more ${noun}`)}`] : [];
}
