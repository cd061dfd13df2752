/**
 * `deno task backup`: takes a backup, and lists, verifies, drills and prunes backups.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { verifyBackup } from "../backup/check.ts";
import { drill } from "../backup/drill.ts";
import { listBackups, type Manifest } from "../backup/manifest.ts";
import { type BackupServices, hasBackups } from "../backup/needs.ts";
import { retain } from "../backup/retain.ts";
import { shipLog } from "../backup/ship.ts";
import { takeBackup } from "../backup/take.ts";
import { backups } from "../kv/keys.ts";
import type { Services } from "../app/mod.ts";
import { counted, inMebibytes, inSeconds } from "./_format.ts";
import { openProgressBar, type ProgressBar, RESTORE_STEPS } from "./_progress.ts";
import { refuseMore, runTask, TaskError } from "./_task.ts";

const HELP = `Take a backup of the store, and manage backups.

Usage:
  deno task backup                Take a backup, verify it and print its ID
  deno task backup list           List all backups, newest first
  deno task backup verify [ID]    Verify a stored backup (default: newest)
  deno task backup drill [ID]     Restore a backup into memory and sweep it
  deno task backup retain         Delete backups that are past their retention

An interrupted backup is resumed. A server may run on the store.

Environment:
  KV_PATH                 The store
  STORAGE_URL             The storage of backups
  BACKUP_ENCRYPTION_KEY   Encrypts backups if set

Exit code: 0 on success, 1 on an error or a failed verification or drill.`;

/** Time to deliver raised alerts before the task ends. */
const ALERTS_FLUSH_MS = 5_000;

if (import.meta.main) await runTask(backup, { help: HELP });

/** Runs the command. @returns The exit code. */
async function backup(services: Services, args: string[]): Promise<number> {
  const { positionals } = parseArgs({ args, allowPositionals: true, options: {} });
  const [command, id, ...more] = positionals;
  refuseMore(more);
  if (!hasBackups(services)) throw new TaskError("STORAGE_URL is not set: no storage for backups");
  const bar = openProgressBar();
  try {
    switch (command) {
      case undefined:
        return await take(services, bar);
      case "list":
        return await list(services);
      case "verify":
        return await verify(services, await idOf(services, id), bar);
      case "drill":
        return await runDrill(services, id, bar);
      case "retain":
        return await prune(services);
      default:
        throw new TaskError(
          `Unknown command ${
            JSON.stringify(command)
          }: use list, verify, drill or retain (see --help)`,
        );
    }
  } finally {
    bar.end();
    await services.alerts.flush(ALERTS_FLUSH_MS);
  }
}

async function take(services: BackupServices, bar: ProgressBar): Promise<number> {
  // About as many entries as the last backup.
  const [last] = await services.store.list(backups, { limit: 1, reverse: true });
  const expected = last?.value.entries ?? 0;
  let entries = 0;
  const result = await takeBackup(services, {
    onProgress(progress) {
      entries = Math.max(entries, progress.entries);
      if (progress.toCheck > 0) bar.update("Verifying", progress.checked, progress.toCheck);
      else bar.update(progress.phase === "log" ? "Copying log" : "Copying", entries, expected);
    },
  });
  await shipLog(services);
  bar.end();
  if (result.status !== "taken") return 1; // cannot happen without a budget
  console.log(result.manifest.id);
  console.error(`Backup taken and verified: ${describe(result.manifest)}`);
  if (result.manifest.unexplained === 0) return 0;
  const unexplained = counted(result.manifest.unexplained, "entry", "entries");
  console.error(`WARNING: ${unexplained} without a record in the log`);
  return 1;
}

async function list(services: BackupServices): Promise<number> {
  for (const manifest of await listBackups(services)) {
    console.log(`${manifest.id}  ${manifest.pointInTime}  ${describe(manifest)}`);
  }
  return 0;
}

async function verify(services: BackupServices, id: string, bar: ProgressBar): Promise<number> {
  const manifest = await verifyBackup(services, id, {
    onProgress: (done, of) => bar.update("Verifying", done, of),
  });
  bar.end();
  console.log(`Backup ${id} verified: ${describe(manifest)}`);
  return 0;
}

async function runDrill(
  services: Services & BackupServices,
  id: string | undefined,
  bar: ProgressBar,
): Promise<number> {
  const { openScratch } = services;
  const proof = await drill(services, {
    ...(openScratch ? { openScratch } : {}),
    ...(id === undefined ? {} : { backupId: id }),
    onProgress: ({ phase, entries, of }) => bar.update(RESTORE_STEPS[phase], entries, of),
  });
  bar.end();
  const entries = counted(proof.entries, "entry", "entries");
  console.log(
    proof.isProven
      ? `Backup ${proof.backupId} can be restored: ${entries} in ${inSeconds(proof.durationMs)}`
      : `Backup ${proof.backupId} cannot be restored: ${proof.problem}`,
  );
  return proof.isProven ? 0 : 1;
}

async function prune(services: BackupServices): Promise<number> {
  const { kept, deleted, partials, segments } = await retain(services);
  const objects = counted(partials + segments, "unused object");
  const backups = counted(kept.length, "backup");
  console.log(`${backups} kept, ${deleted.length} deleted, and ${objects} deleted`);
  return 0;
}

async function idOf(services: BackupServices, id: string | undefined): Promise<string> {
  if (id !== undefined) return id;
  const [newest] = await listBackups(services);
  if (!newest) throw new TaskError("There is no backup yet: run deno task backup");
  return newest.id;
}

function describe({ entries, bytes, parts, keyId }: Manifest): string {
  const key = keyId === null ? "" : `, encrypted with key ${keyId}`;
  const objects = counted(parts.length, "object");
  return `${counted(entries, "entry", "entries")}, ${inMebibytes(bytes)} in ${objects}${key}`;
}
