/**
 * Backups: taken beside a working store, read back before they count, restored
 * to any moment since the oldest, and proven by restoring them.
 *
 * In the storage there are
 *
 * ```text
 * backup/<id>/base-<n>-<random>.gz   entries as they were scanned, in key order
 * backup/<id>/log-<n>-<random>.gz    the commits of the meantime
 * backup/<id>/manifest.json          written last: with it, it is a backup
 * log/<epoch>/<from>-<to>-<random>   the commits after `from` up to `to`
 * ```
 *
 * `take.ts` says why that is a consistent state, `object.ts` and `lines.ts` how
 * an object is read, `journal.ts` how segments of the log make one log.
 *
 * @module
 */
export type {
  BackupPart,
  BackupRecord,
  BackupRun,
  PrefixTally,
  RestoreProof,
} from "../kv/backup_records.ts";
export { type CheckOptions, verifyBackup } from "./check.ts";
export { drill, type DrillOptions } from "./drill.ts";
export { listBackups, type Manifest, readManifest } from "./manifest.ts";
export { BACKUP_RETENTION as RETENTION, type Retention } from "../config/mod.ts";
export { isRestoring, restore, type RestoreOptions, type RestoreReport } from "./restore.ts";
export type { RestoreStep } from "./restore.ts";
export { retain, type RetainReport } from "./retain.ts";
export { type BackupConfig, type BackupServices, fencedBy, hasBackups } from "./needs.ts";
export { shipLog, type ShipReport } from "./ship.ts";
export {
  type BackupProgress,
  isBackupUnderWay,
  takeBackup,
  type TakeOptions,
  type TakeResult,
} from "./take.ts";
