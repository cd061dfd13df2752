/**
 * `deno task restore`: brings a store back from a backup and the log.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { hasBackups, restore, type RestoreStep } from "../backup/mod.ts";
import type { Services } from "../app/services.ts";
import { grouped, openProgressBar } from "./_progress.ts";
import { runTask, TaskError } from "./_task.ts";

const HELP = `Restore the store from a backup, and the log that was shipped since.

  deno task restore latest           the newest backup and all log since
  deno task restore ID               exactly that backup (deno task backup list shows them)
  deno task restore 2026-11-30T12:00:00Z
                                     the state at that moment
  deno task restore VERSIONSTAMP     the state after that commit

  --overwrite   empty a store that is not empty, after a backup of it

Stop the server first: nothing may serve the store before this is done. If it is
interrupted, give the same command again, and it goes on. At the end the store is
swept; it ends with 0 if nothing is wrong. The store is that of KV_PATH, the storage
that of STORAGE_URL.`;

const DOING: Readonly<Record<RestoreStep["phase"], string>> = {
  backup: "Backing up what is there",
  wipe: "Emptying",
  base: "Restoring",
  log: "Replaying log",
  check: "Checking",
  sweep: "Sweeping",
};

if (import.meta.main) await runTask(main, { help: HELP });

/** Restores what the arguments say. @returns The exit code. */
async function main(services: Services, args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: { overwrite: { type: "boolean" } },
  });
  const [target, more] = positionals;
  if (target === undefined) throw new TaskError("Say what to restore (--help says how)");
  if (more !== undefined) throw new TaskError(`${JSON.stringify(more)} is one word too many`);
  if (!hasBackups(services)) throw new TaskError("No storage is configured: set STORAGE_URL");
  const bar = openProgressBar();
  try {
    const report = await restore(services, target, {
      overwrite: values.overwrite === true,
      onProgress: ({ phase, entries, of }) => bar.update(DOING[phase], entries, of),
    });
    bar.end();
    const { backupId, pointInTime, stamp, entries, isExact, findings, durationMs } = report;
    console.log(`${grouped(entries)} entries as of ${pointInTime} (commit ${stamp})`);
    console.log(
      `from ${backupId}${isExact ? ", equal to it in every entry" : " and the log since"}`,
    );
    console.log(`in ${(durationMs / 1_000).toFixed(1)} s, the measured recovery time`);
    console.log(
      findings === 0
        ? "The sweep found nothing"
        : `The sweep has ${grouped(findings)} findings: deno task sweep lists them`,
    );
    return findings === 0 ? 0 : 1;
  } finally {
    bar.end();
  }
}
