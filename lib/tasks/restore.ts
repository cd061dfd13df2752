/**
 * `deno task restore`: restores a store from a backup and the log.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { hasBackups } from "../backup/needs.ts";
import { restore } from "../backup/restore.ts";
import type { Services } from "../app/mod.ts";
import { counted, inSeconds } from "./_format.ts";
import { openProgressBar, RESTORE_STEPS } from "./_progress.ts";
import { refuseMore, runTask, TaskError } from "./_task.ts";

const HELP = `Restore the store from a backup and the log shipped since.

Usage:
  deno task restore latest         The newest backup and all log since
  deno task restore ID             That backup (IDs: deno task backup list)
  deno task restore TIME           The state at that time: 2026-11-30T12:00:00Z
  deno task restore VERSIONSTAMP   The state after that commit

Options:
  --overwrite   Empty a store that has entries, after a backup of it

Stop the server first and start it only after the restore has finished. If the
restore is interrupted, run the same command again: it resumes. At the end the
restored store is swept.

Environment:
  KV_PATH       The store
  STORAGE_URL   The storage of backups

Exit code: 0 if the sweep has no findings, 1 on an error or with findings.`;

if (import.meta.main) await runTask(main, { help: HELP });

/** Runs the restore. @returns The exit code. */
async function main(services: Services, args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { overwrite: { type: "boolean" } },
  });
  const [target, ...more] = positionals;
  if (target === undefined) {
    throw new TaskError("Target required: latest, ID, TIME or VERSIONSTAMP (see --help)");
  }
  refuseMore(more);
  if (!hasBackups(services)) throw new TaskError("STORAGE_URL is not set: no storage for backups");
  const bar = openProgressBar();
  try {
    const report = await restore(services, target, {
      overwrite: values.overwrite === true,
      onProgress: ({ phase, entries, of }) => bar.update(RESTORE_STEPS[phase], entries, of),
    });
    bar.end();
    const { backupId, pointInTime, stamp, entries, isExact, findings, durationMs } = report;
    const source = isExact ? "identical to it" : "and the log since";
    console.log(`Restored:   ${counted(entries, "entry", "entries")}`);
    console.log(`State of:   ${pointInTime} (commit ${stamp})`);
    console.log(`From:       backup ${backupId}, ${source}`);
    console.log(`Duration:   ${inSeconds(durationMs)} (measured recovery time)`);
    console.log(
      findings === 0
        ? "Sweep:      no findings"
        : `Sweep:      ${counted(findings, "finding")} (to list: deno task sweep)`,
    );
    return findings === 0 ? 0 : 1;
  } finally {
    bar.end();
  }
}
