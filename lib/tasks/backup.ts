/**
 * `deno task backup`: takes a backup now, beside a running server, or looks at
 * those that there are.
 *
 * @module
 */
import { parseArgs } from "node:util";
import {
  type BackupServices,
  drill,
  hasBackups,
  listBackups,
  type Manifest,
  retain,
  shipLog,
  takeBackup,
  verifyBackup,
} from "../backup/mod.ts";
import { backups } from "../kv/keys.ts";
import type { Services } from "../app/services.ts";
import { grouped, openProgressBar, type ProgressBar } from "./_progress.ts";
import { runTask, TaskError } from "./_task.ts";

const HELP = `Take a backup of the store, or look at those that there are.

  deno task backup                 take one, read it back, print its id
  deno task backup list            all backups, newest first
  deno task backup verify [ID]     read one back from the storage; the newest by default
  deno task backup drill [ID]      restore one into memory and sweep it
  deno task backup retain          delete what is not kept any more

A backup that was stopped is gone on with. A server may be running on the store.
The store is that of KV_PATH, the storage that of STORAGE_URL; with
BACKUP_ENCRYPTION_KEY what is stored is encrypted.`;

const MEBIBYTE = 1024 * 1024;
/** What was raised is told before the task ends; a server tells it else. */
const ALERTS_FLUSH_MS = 5_000;

if (import.meta.main) await runTask(backup, { help: HELP });

/** Does what the arguments say. @returns The exit code. */
async function backup(services: Services, args: string[]): Promise<number> {
  const { positionals } = parseArgs({ args, allowPositionals: true, options: {} });
  const [command, id, more] = positionals;
  if (more !== undefined) throw new TaskError(`${JSON.stringify(more)} is one word too many`);
  if (!hasBackups(services)) throw new TaskError("No storage is configured: set STORAGE_URL");
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
        return await tryOut(services, id, bar);
      case "retain":
        return await tidy(services);
      default:
        throw new TaskError(
          `There is no ${JSON.stringify(command)}: list, verify, drill or retain (--help says how)`,
        );
    }
  } finally {
    bar.end();
    await services.alerts.flush(ALERTS_FLUSH_MS);
  }
}

async function take(services: BackupServices, bar: ProgressBar): Promise<number> {
  // As many as the last time, or so.
  const [last] = await services.store.list(backups, { limit: 1, reverse: true });
  const expected = last?.value.entries ?? 0;
  let entries = 0;
  const result = await takeBackup(services, {
    onProgress(progress) {
      entries = Math.max(entries, progress.entries);
      if (progress.toCheck > 0) bar.update("Reading back", progress.checked, progress.toCheck);
      else bar.update(progress.phase === "log" ? "Copying log" : "Copying", entries, expected);
    },
  });
  await shipLog(services);
  bar.end();
  if (result.status !== "taken") return 1; // only with a budget
  console.log(result.manifest.id);
  console.error(`${describe(result.manifest)}, read back`);
  if (result.manifest.unexplained === 0) return 0;
  console.error(`${grouped(result.manifest.unexplained)} entries were written around the log`);
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
    onProgress: (done, of) => bar.update("Reading", done, of),
  });
  bar.end();
  console.log(`${id} is whole: ${describe(manifest)}`);
  return 0;
}

async function tryOut(
  services: Services & BackupServices,
  id: string | undefined,
  bar: ProgressBar,
): Promise<number> {
  const { openScratch } = services;
  const proof = await drill(services, {
    ...(openScratch ? { openScratch } : {}),
    ...(id === undefined ? {} : { backupId: id }),
    onProgress: ({ phase, entries, of }) => bar.update(`Drill, ${phase}`, entries, of),
  });
  bar.end();
  const seconds = (proof.durationMs / 1_000).toFixed(1);
  console.log(
    proof.isProven
      ? `${proof.backupId} can be restored: ${grouped(proof.entries)} entries in ${seconds} s`
      : `${proof.backupId} cannot be relied on: ${proof.problem}`,
  );
  return proof.isProven ? 0 : 1;
}

async function tidy(services: BackupServices): Promise<number> {
  const { kept, deleted, partials, segments } = await retain(services);
  console.log(
    `${kept.length} backups kept, ${deleted.length} deleted, and ${
      grouped(partials + segments)
    } objects that none of them needs`,
  );
  return 0;
}

async function idOf(services: BackupServices, id: string | undefined): Promise<string> {
  if (id !== undefined) return id;
  const [newest] = await listBackups(services);
  if (!newest) throw new TaskError("There is no backup");
  return newest.id;
}

function describe({ entries, bytes, parts, keyId }: Manifest): string {
  const size = (bytes / MEBIBYTE).toFixed(1);
  const key = keyId === null ? "" : `, encrypted with key ${keyId}`;
  return `${grouped(entries)} entries, ${size} MiB in ${parts.length} ${
    parts.length === 1 ? "object" : "objects"
  }${key}`;
}
