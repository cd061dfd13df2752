/**
 * A backup's manifest: written last, so that its presence means that everything
 * else is there and was read back. There is no list of backups and no pointer to
 * the newest: both are found by listing manifests, so neither can be wrong.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { sha256Hex } from "../digest.ts";
import type { BackupPart, PrefixTally } from "../kv/backup_records.ts";
import { SCHEMA_VERSION } from "../kv/codec.ts";
import { AppError } from "../errors.ts";
import { isoTime } from "../time.ts";
import { alarm } from "./alarms.ts";
import { expectFormat, FORMAT, FORMAT_VERSION, readAll } from "./object.ts";
import { type BackupServices, damaged } from "./needs.ts";

/** What a backup says of itself. */
export interface Manifest {
  /** Tells it from any other JSON. */
  format: typeof FORMAT;
  /** Of the format; a newer one is refused. */
  version: number;
  /** Sorts by age; the folder it is in. */
  id: string;
  /** The database whose versionstamps are in it. */
  epoch: string;
  /** The build that took it. */
  appVersion: string;
  /** The runtime that took it. */
  denoVersion: string;
  /** Of the records in it; a newer one is refused. */
  schemaVersion: number;
  /** When it was begun. */
  startedAt: string;
  /** Everything acknowledged before is in it. */
  pointInTime: string;
  /** When all of it had been read back. */
  verifiedAt: string;
  /** The versionstamp before the scan; its log begins after it. */
  v0: string;
  /** The versionstamp of the state that it holds; its log ends there. */
  v1: string;
  /** Names the key that it is encrypted with; null for none. */
  keyId: string | null;
  /** All objects, base first, in their order. */
  parts: BackupPart[];
  /** The state at `v1`, by the first part of the keys. */
  prefixes: Record<string, PrefixTally>;
  /** Entries of that state. */
  entries: number;
  /** Bytes of all objects but this one. */
  bytes: number;
  /** It is of a store that a restore then replaced: to be had by its id only. Absent for all others. */
  isBeforeRestore?: true;
  /** It is the first of a store that was not restored from another. Absent for all others. */
  isFirst?: true;
  /** Entries that changed during the scan without the log's knowledge; 0 unless something is wrong. */
  unexplained: number;
  /** SHA-256 of the JSON of all that is above. */
  digest: string;
}

/** Where backups are. */
export const BACKUPS = "backup/";

const MANIFEST = "manifest.json";
const ID = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z-[0-9a-f]{8}$/;
const SUFFIX_BYTES = 4;
/** Manifests fetched at once. */
const CONCURRENCY = 8;

/** An id for a backup that begins now. */
export function newBackupId(now: number): string {
  return `${isoTime(now).replaceAll(/[:.]/g, "-")}-${randomHex()}`;
}

/** Whether `text` is the id of a backup. */
export function isBackupId(text: string): boolean {
  return ID.test(text);
}

/** A few random digits, to tell two attempts apart. */
export function randomHex(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(SUFFIX_BYTES))).toString("hex");
}

/** Where a backup's manifest is. */
export function manifestName(id: string): string {
  return `${BACKUPS}${id}/${MANIFEST}`;
}

/** The id of the backup that an object belongs to; undefined if it is of none. */
export function backupIdOf(name: string): string | undefined {
  const id = name.slice(BACKUPS.length).split("/", 1)[0]!;
  return name.startsWith(BACKUPS) && isBackupId(id) ? id : undefined;
}

/** Stores a manifest and reads it back. @throws what the storage throws, and {@linkcode readManifest} */
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
 * @throws {AppError} `not_found`; or `conflict`, naming it, if it was altered, or
 * is of a newer format or schema.
 */
export async function readManifest(services: BackupServices, id: string): Promise<Manifest> {
  const { storage } = services;
  const name = manifestName(id);
  if (!isBackupId(id) || await storage.head(name) === null) {
    throw new AppError("not_found", `There is no backup ${id}`);
  }
  const text = new TextDecoder().decode(await readAll(storage, name));
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text);
  } catch (error) {
    throw damaged(name, "it is no JSON", error);
  }
  expectFormat(manifest, name);
  const { digest, ...undigested } = manifest;
  const isIntact = JSON.stringify(manifest) === text &&
    digest === sha256Hex(JSON.stringify(undigested));
  if (!isIntact) throw damaged(name, "it is not as it was written (SHA-256)");
  if (manifest.id !== id) throw damaged(name, `it is of the backup ${manifest.id}`);
  if (manifest.schemaVersion > SCHEMA_VERSION) {
    throw damaged(
      name,
      `its records are of schema ${manifest.schemaVersion}, and this program knows up to ${SCHEMA_VERSION}`,
    );
  }
  return manifest;
}

/** The ids of all backups, newest first, whether or not they can be read. */
export async function listBackupIds({ storage }: BackupServices): Promise<string[]> {
  const ids: string[] = [];
  for await (const { key } of storage.list(BACKUPS)) {
    const id = backupIdOf(key);
    if (id !== undefined && key === manifestName(id)) ids.push(id);
  }
  return ids.sort().reverse();
}

/**
 * All backups, newest first, by their manifests. One that cannot be read is not
 * among them, and is an alarm.
 *
 * @throws {StorageError} `missing_bucket`, saying what to set, if the storage is
 * not there; and what else it throws
 */
export async function listBackups(services: BackupServices): Promise<Manifest[]> {
  return (await readBackups(services)).backups;
}

/** The same, and how many could not be read. */
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
        await alarm(services, "backup.unreadable", { backupId: id, error });
        unreadable++;
      }
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, next));
  const backups = found.sort((a, b) => a.pointInTime < b.pointInTime ? 1 : -1);
  return { backups, unreadable };
}
