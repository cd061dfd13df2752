/**
 * The manifest of a backup. It is written last: if it exists, all other objects
 * exist and were read back. There is no list of backups and no pointer to the
 * newest, which could be wrong: a listing of the manifests finds both.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { sha256Hex } from "../digest.ts";
import type { BackupPart, PrefixTally } from "../kv/backup_records.ts";
import { SCHEMA_VERSION } from "../kv/codec.ts";
import { AppError } from "../errors.ts";
import { isoTime } from "../time.ts";
import { raiseAlarm } from "./alarms.ts";
import { expectFormat, FORMAT, FORMAT_VERSION, readAll } from "./object.ts";
import { type BackupServices, damaged } from "./needs.ts";

/** The description of a backup. */
export interface Manifest {
  /** Identifies the JSON as a manifest. */
  format: typeof FORMAT;
  /** The version of the format; newer ones are refused. */
  version: number;
  /** Sorts by age; also the name of the folder. */
  id: string;
  /** The database of the versionstamps. */
  epoch: string;
  /** The build that took the backup. */
  appVersion: string;
  /** The runtime that took the backup. */
  denoVersion: string;
  /** The schema of the records; newer ones are refused. */
  schemaVersion: number;
  /** The start of the backup. */
  startedAt: string;
  /** The backup holds everything acknowledged before this time. */
  pointInTime: string;
  /** When everything had been read back. */
  verifiedAt: string;
  /** The versionstamp before the scan; the log begins after it. */
  v0: string;
  /** The versionstamp of the state; the log ends there. */
  v1: string;
  /** The id of the encryption key; null for none. */
  keyId: string | null;
  /** All objects in order, the base first. */
  parts: BackupPart[];
  /** The state at `v1`, by the first part of the keys. */
  prefixes: Record<string, PrefixTally>;
  /** Entries of that state. */
  entries: number;
  /** The size of all objects except the manifest. */
  bytes: number;
  /** Of a store that a restore then replaced: restored by its id only. Absent otherwise. */
  isBeforeRestore?: true;
  /** The first backup of a store that was not restored from another. Absent otherwise. */
  isFirst?: true;
  /** Entries that changed during the scan and are not in the log; 0 unless there is a fault. */
  unexplained: number;
  /** SHA-256 of the JSON of all fields above. */
  digest: string;
}

/** The prefix of the backups. */
export const BACKUPS = "backup/";

const MANIFEST = "manifest.json";
const ID = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z-[0-9a-f]{8}$/;
const SUFFIX_BYTES = 4;
/** Manifests fetched concurrently. */
const CONCURRENCY = 8;

/** A new id of a backup that starts now. */
export function newBackupId(now: number): string {
  return `${isoTime(now).replaceAll(/[:.]/g, "-")}-${randomHex()}`;
}

/** Whether `text` is the id of a backup. */
export function isBackupId(text: string): boolean {
  return ID.test(text);
}

/** Eight random hexadecimal digits, which distinguish two attempts. */
export function randomHex(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(SUFFIX_BYTES))).toString("hex");
}

/** The name of a backup's manifest. */
export function manifestName(id: string): string {
  return `${BACKUPS}${id}/${MANIFEST}`;
}

/** The id of the backup that an object belongs to; undefined for none. */
export function backupIdOf(name: string): string | undefined {
  const id = name.slice(BACKUPS.length).split("/", 1)[0]!;
  return name.startsWith(BACKUPS) && isBackupId(id) ? id : undefined;
}

/** Stores a manifest and reads it back. @throws what the storage and {@linkcode readManifest} throw */
export async function writeManifest(
  services: BackupServices,
  fields: Omit<Manifest, "format" | "version" | "denoVersion" | "schemaVersion" | "digest">,
): Promise<Manifest> {
  const undigested = {
    format: FORMAT,
    version: FORMAT_VERSION,
    denoVersion: Deno.version.deno,
    schemaVersion: SCHEMA_VERSION,
    ...fields,
  } as const;
  const manifest = { ...undigested, digest: sha256Hex(JSON.stringify(undigested)) };
  const bytes = new TextEncoder().encode(JSON.stringify(manifest));
  await services.storage.put(manifestName(fields.id), bytes, {
    contentType: "application/json",
    sha256: sha256Hex(bytes),
  });
  return await readManifest(services, fields.id);
}

/**
 * Reads and checks a manifest.
 *
 * @throws {AppError} `not_found`; or `conflict`, naming it, if it was altered or
 * has a newer format or schema.
 */
export async function readManifest(services: BackupServices, id: string): Promise<Manifest> {
  const { storage } = services;
  const name = manifestName(id);
  if (!isBackupId(id) || await storage.head(name) === null) {
    throw new AppError("not_found", `Backup ${id} not found`);
  }
  const text = new TextDecoder().decode(await readAll(storage, name));
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text);
  } catch (error) {
    throw damaged(name, "it is not valid JSON", error);
  }
  expectFormat(manifest, name);
  const { digest, ...undigested } = manifest;
  const isIntact = JSON.stringify(manifest) === text &&
    digest === sha256Hex(JSON.stringify(undigested));
  if (!isIntact) throw damaged(name, "it was altered (SHA-256)");
  if (manifest.id !== id) throw damaged(name, `it belongs to backup ${manifest.id}`);
  if (manifest.schemaVersion > SCHEMA_VERSION) {
    throw damaged(
      name,
      `its records have schema ${manifest.schemaVersion}; this program reads up to ${SCHEMA_VERSION}`,
    );
  }
  return manifest;
}

/** The ids of all backups, newest first, including unreadable ones. */
export async function listBackupIds({ storage }: BackupServices): Promise<string[]> {
  const ids: string[] = [];
  for await (const { key } of storage.list(BACKUPS)) {
    const id = backupIdOf(key);
    if (id !== undefined && key === manifestName(id)) ids.push(id);
  }
  return ids.sort().reverse();
}

/**
 * The manifests of all backups, newest first. An unreadable one is left out and
 * raises an alarm.
 *
 * @throws {StorageError} `missing_bucket`, naming the variable to set, if the
 * storage does not exist; and what else the storage throws
 */
export async function listBackups(services: BackupServices): Promise<Manifest[]> {
  return (await readBackups(services)).backups;
}

/** As {@linkcode listBackups}, with the number of unreadable manifests. */
export async function readBackups(
  services: BackupServices,
): Promise<{ backups: Manifest[]; unreadable: number }> {
  const ids = await listBackupIds(services);
  const found: Manifest[] = [];
  let unreadable = 0;
  const next = async () => {
    for (let id = ids.pop(); id !== undefined; id = ids.pop()) {
      try {
        found.push(await readManifest(services, id));
      } catch (error) {
        if (!(error instanceof AppError) || error.kind === "unavailable") throw error;
        if (error.kind === "not_found") continue; // deleted meanwhile
        await raiseAlarm(services, "backup.unreadable", { backupId: id, error });
        unreadable++;
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, next));
  const backups = found.sort((a, b) => a.pointInTime < b.pointInTime ? 1 : -1);
  return { backups, unreadable };
}
