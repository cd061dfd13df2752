/**
 * Reads a backup back: are all objects as the manifest says, and does the log
 * replayed over the scan give the same counts and digests?
 *
 * The last change of each key in the log is held in memory while the scan is read.
 * A log with too many keys is divided into shares of keys, and the scan is read
 * once per share, so memory has a bound whatever was written meanwhile.
 *
 * @module
 */
import type { BackupCheck, BackupPart } from "../kv/backup_records.ts";
import { raiseAlarm } from "./alarms.ts";
import { commitsOf } from "./journal.ts";
import { expectKey, readObject } from "./object.ts";
import { type Manifest, manifestName, readManifest } from "./manifest.ts";
import { type BackupServices, damaged, throwIfAborted } from "./needs.ts";
import { differenceOf, digestOf, prefixOf, Tally } from "./tally.ts";

/** Keys of the log in memory, about 300 bytes each. */
const KEYS_MAX = 150_000;

/** The last change of a key in the log. */
interface LastChange {
  stamp: string;
  bytes: number;
  /** Null for a deletion. */
  digest: bigint | null;
}

/** Options for {@linkcode checkParts}. */
export interface CheckOptions {
  /** Called after each part; true pauses. */
  isOver?: () => boolean;
  /** Ends the check. */
  signal?: AbortSignal | undefined;
  /** Called after each part with the number of objects that are done, and of all. */
  onProgress?: ((done: number, of: number) => void) | undefined;
  /** Called after each part with the state to resume from. */
  save?: (check: BackupCheck) => Promise<void>;
}

/** The initial state of a check. */
export function newCheck(parts: BackupPart[]): BackupCheck {
  const logged = parts.reduce((sum, { kind, entries }) => sum + (kind === "log" ? entries : 0), 0);
  const passes = Math.max(1, Math.ceil(logged / KEYS_MAX));
  return { pass: 0, passes, part: 0, prefixes: {}, unexplained: 0 };
}

/**
 * Reads the parts and sums up the state that they hold.
 *
 * @returns The final sums, or the state to resume from.
 * @throws {AppError} `conflict`, naming the object that is not as it was stored.
 */
export async function checkParts(
  services: BackupServices,
  parts: BackupPart[],
  from: BackupCheck,
  { isOver = () => false, signal, onProgress, save }: CheckOptions = {},
): Promise<{ isDone: boolean; check: BackupCheck }> {
  const base = parts.filter(({ kind }) => kind === "base");
  const log = parts.filter(({ kind }) => kind === "log");
  let check = from;
  while (check.pass < check.passes) {
    const isOurs = shareOf(check.pass, check.passes);
    const changes = await lastChanges(services, log, isOurs);
    const tally = new Tally(check.prefixes);
    for (let part = check.part; part < base.length; part++) {
      throwIfAborted(signal);
      const unexplained = await sumPart(services, base[part]!, { log, changes, tally, isOurs });
      check = {
        ...check,
        part: part + 1,
        prefixes: tally.result(),
        unexplained: check.unexplained + unexplained,
      };
      onProgress?.(check.pass * base.length + check.part, check.passes * base.length);
      await save?.(check);
      if (isOver() && check.part < base.length) return { isDone: false, check };
    }
    for (const [keyText, { bytes, digest }] of changes) {
      if (digest !== null) tally.add(prefixOf(keyText), bytes, digest);
    }
    check = { ...check, pass: check.pass + 1, part: 0, prefixes: tally.result() };
    await save?.(check);
    if (isOver() && check.pass < check.passes) return { isDone: false, check };
  }
  return { isDone: true, check };
}

/**
 * Reads a whole backup back and compares it with its manifest.
 *
 * @returns The manifest.
 * @throws {AppError} `not_found`; or `conflict`, naming the object that is missing
 * or not as it was stored.
 */
export async function verifyBackup(
  services: BackupServices,
  id: string,
  options: Pick<CheckOptions, "signal" | "onProgress"> = {},
): Promise<Manifest> {
  const manifest = await readManifest(services, id);
  const name = manifestName(id);
  expectKey(manifest.keyId, services.config.backupEncryptionKey, name);
  const { parts, prefixes } = manifest;
  const { check } = await checkParts(services, parts, newCheck(parts), options);
  const difference = differenceOf(prefixes, check.prefixes);
  if (difference !== undefined) throw damaged(name, `its parts have ${difference}`);
  return manifest;
}

async function sumPart(
  services: BackupServices,
  part: BackupPart,
  { log, changes, tally, isOurs }: {
    log: BackupPart[];
    changes: Map<string, LastChange>;
    tally: Tally;
    isOurs: (keyText: string) => boolean;
  },
): Promise<number> {
  const open = new Map<string, string>();
  let entries = 0;
  for (
    const line of await readObject(services.storage, part, services.config.backupEncryptionKey)
  ) {
    if (line.kind !== "entry") throw damaged(part.name, "it has a commit among its entries");
    entries++;
    if (!isOurs(line.keyText)) continue;
    const change = changes.get(line.keyText);
    // Written during the scan: the log must have this revision.
    if (line.versionstamp !== "" && line.versionstamp !== change?.stamp) {
      open.set(line.keyText, line.versionstamp);
    }
    if (!change) tally.addLine(line);
  }
  if (entries !== part.entries) {
    throw damaged(part.name, `it has ${entries} entries instead of ${part.entries}`);
  }
  return open.size === 0 ? 0 : await countUnexplained(services, log, open);
}

/** Counts the entries of `open`, which the log changed again, whose own revision it lacks. */
async function countUnexplained(
  services: BackupServices,
  log: BackupPart[],
  open: Map<string, string>,
): Promise<number> {
  for await (const { stamp, entries } of loggedCommits(services, log)) {
    for (const { keyText } of entries) if (open.get(keyText) === stamp) open.delete(keyText);
  }
  for (const keyText of open.keys()) {
    await raiseAlarm(services, "backup.unexplained", { prefix: prefixOf(keyText) });
    break; // one example: the manifest has the count
  }
  return open.size;
}

async function lastChanges(
  services: BackupServices,
  log: BackupPart[],
  isOurs: (keyText: string) => boolean,
): Promise<Map<string, LastChange>> {
  const changes = new Map<string, LastChange>();
  for await (const { stamp, entries } of loggedCommits(services, log)) {
    for (const { keyText, content, isDeletion } of entries) {
      if (!isOurs(keyText)) continue;
      const digest = isDeletion ? null : digestOf(content);
      changes.set(keyText, { stamp, bytes: content.length, digest });
    }
  }
  return changes;
}

async function* loggedCommits(services: BackupServices, log: BackupPart[]) {
  const { storage, config } = services;
  for (const part of log) {
    yield* commitsOf(await readObject(storage, part, config.backupEncryptionKey), part.name);
  }
}

/** One share of all keys. */
function shareOf(share: number, shares: number): (keyText: string) => boolean {
  if (shares === 1) return () => true;
  return (keyText) => {
    let sum = 0;
    for (let i = 0; i < keyText.length; i++) {
      sum = (Math.imul(sum, 31) + keyText.charCodeAt(i)) >>> 0;
    }
    return sum % shares === share;
  };
}
