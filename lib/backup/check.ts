/**
 * Reading a backup back: are all objects what the manifest says, and does the
 * log replayed over the scan give as many entries with the same digests?
 *
 * The log's last word about each key is held in memory while the scan is read
 * past it. When it speaks of more keys than that allows, the keys are divided
 * into shares, and the scan is read once for each: memory stays flat, whatever
 * was written meanwhile.
 *
 * @module
 */
import type { BackupCheck, BackupPart } from "../kv/backup_records.ts";
import { alarm } from "./alarms.ts";
import { commitsOf } from "./journal.ts";
import { expectKey, readObject } from "./object.ts";
import { type Manifest, manifestName, readManifest } from "./manifest.ts";
import { type BackupServices, damaged, throwIfAborted } from "./needs.ts";
import { differenceOf, digestOf, prefixOf, Tally } from "./tally.ts";

/** Keys of the log held at once, each about 300 bytes. */
const KEYS_MAX = 150_000;

/** The log's last word about a key. */
interface LastChange {
  stamp: string;
  bytes: number;
  /** Null where it was deleted. */
  digest: bigint | null;
}

/** How a check goes on and when it pauses. */
export interface CheckOptions {
  /** Asked after each part; true pauses. */
  isOver?: () => boolean;
  /** Ends it. */
  signal?: AbortSignal | undefined;
  /** Is told after each part: how many objects were read, of how many. */
  onProgress?: ((done: number, of: number) => void) | undefined;
  /** Is told how far it is after each part, to go on from there. */
  save?: (check: BackupCheck) => Promise<void>;
}

/** Where a check of these parts begins. */
export function newCheck(parts: BackupPart[]): BackupCheck {
  const logged = parts.reduce((sum, { kind, entries }) => sum + (kind === "log" ? entries : 0), 0);
  const passes = Math.max(1, Math.ceil(logged / KEYS_MAX));
  return { pass: 0, passes, part: 0, prefixes: {}, unexplained: 0 };
}

/**
 * Reads the parts and sums up the state that they are of.
 *
 * @returns The sums once all is read, else how far it is.
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
 * Reads a backup back whole and compares it with its manifest.
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
    if (line.kind !== "entry") throw damaged(part.name, "there is a commit among its entries");
    entries++;
    if (!isOurs(line.keyText)) continue;
    const change = changes.get(line.keyText);
    // Written while the scan went on: the log must say so.
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

/** Of the scanned entries whose last change is a later one, those whose own is not in the log. */
async function countUnexplained(
  services: BackupServices,
  log: BackupPart[],
  open: Map<string, string>,
): Promise<number> {
  for await (const { stamp, entries } of loggedCommits(services, log)) {
    for (const { keyText } of entries) if (open.get(keyText) === stamp) open.delete(keyText);
  }
  for (const keyText of open.keys()) {
    await alarm(services, "backup.unexplained", { prefix: prefixOf(keyText) });
    break; // one example; the sum is in the manifest
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
