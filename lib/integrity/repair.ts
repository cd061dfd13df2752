/**
 * Repair: rewrites derived data from its sources, which it never changes.
 *
 * A repair is one transaction. It runs the judge that found the fault on the
 * values that it reads, so it writes nothing if the fault is gone, and other
 * writers come before or after it. Repairs keep no state: an interrupted one is
 * found again and done.
 *
 * @module
 */
import { sha256Hex } from "../digest.ts";
import { newId } from "../ids.ts";
import type { Repair, RepairRule } from "./indexes.ts";
import { hasValidShape } from "./shapes.ts";
import { type Answer, type Judge, judgeSnapshot, readEntry, View } from "./view.ts";
import { decode } from "../kv/codec.ts";
import * as keys from "../kv/keys.ts";
import type { StoreServices } from "../kv/store.ts";
import type { RepairRecord } from "../kv/sweep_records.ts";
import { transact } from "../kv/mod.ts";
import type { Operation, Reads } from "../kv/transaction.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import { DAY_MS, isoTime } from "../time.ts";

/** A confirmed finding, with its judge and its repair. */
export interface Defect {
  /** The invariant, such as `index.missing`. */
  check: string;
  /** The key, with personal data redacted. */
  displayKey: string;
  /** The fault when it was last judged, without personal data. */
  detail: string;
  /** Chooses the repair. */
  repairRule: RepairRule;
  /** Judges the fault; null for an unreadable entry. */
  judge: Judge | null;
  /** The keys that the judge read; the entry itself if it is unreadable. */
  readKeys: readonly keys.Key<unknown>[];
}

/** The outcome of a repair. */
export type RepairOutcome =
  | { status: "repaired"; repair: RepairRecord }
  /** The fault was gone; nothing was written. */
  | { status: "gone" }
  /** Only a person can decide what is right; nothing was written. */
  | { status: "not_repairable" }
  /** The fault came back, or the entries kept changing. */
  | { status: "still_wrong" };

/** The origin of a repair. */
export interface RepairOptions {
  /** The sweep that found the defect. */
  sweepId: string;
  /** The actor and request on the record; its guards fence each repair. */
  by: Caller;
}

/** A decision on a view: the repair, if there is one; null if there is no fault. */
type Decision = { repair: Repair | null } | null;

/** One version of an unreadable entry. */
interface UnreadableEntry {
  key: keys.Key<unknown>;
  versionstamp: string;
  /** Whether a transaction can read it; if not, each version is overwritten blindly, once. */
  isDecodable: boolean;
  /** Whether it is a stored null, which a transaction cannot tell from a missing entry. */
  isNull: boolean;
}

/** Retries of a repair whose entries began to refer to other keys. */
const MOVES_MAX = 4;
/** How long the receipt of a blind overwrite stops repeats by those who saw the same version. */
const BLIND_KEEP_MS = DAY_MS;

/** Ends a transaction with nothing written, not even the pass of its guards. */
class NothingToWrite extends Error {
  override readonly name = "NothingToWrite";
  constructor(readonly status: "gone" | "not_repairable" | "moved") {
    super(status);
  }
}

/**
 * Repairs one defect and judges it again. Three reads and one commit.
 *
 * @throws {AppError} `unavailable`; what the guards of `by` throw
 */
export async function repair(
  services: StoreServices,
  defect: Defect,
  options: RepairOptions,
): Promise<RepairOutcome> {
  const { store } = services;
  const unreadable = defect.judge === null
    ? await readUnreadable(services, defect.readKeys[0]!)
    : null;
  if (defect.judge === null && unreadable === null) return { status: "gone" };
  let readKeys = unreadable === null ? defect.readKeys : [];
  for (let move = 0; move < MOVES_MAX; move++) {
    const answer = await decideOnSnapshot(services, defect, unreadable, readKeys);
    if (answer === null) break;
    const outcome = outcomeWithoutWrite(answer);
    if (outcome !== null) return { status: outcome };
    readKeys = answer.keys;
    const repair = await write(services, { defect, unreadable, readKeys, options });
    if (repair === "moved") continue;
    if (typeof repair === "string") return { status: repair };
    const isFixed = defect.judge === null
      ? await readUnreadable(services, defect.readKeys[0]!) === null
      : await judgeSnapshot(store, defect.judge, readKeys) === null;
    return isFixed ? { status: "repaired", repair } : { status: "still_wrong" };
  }
  return { status: "still_wrong" };
}

/** Reads an entry; null unless it is there and unreadable. */
async function readUnreadable(
  { store }: StoreServices,
  key: keys.Key<unknown>,
): Promise<UnreadableEntry | null> {
  const [entry] = await store.getStored([key]);
  const reading = readEntry(entry!);
  if (!("fault" in reading)) return null;
  const { value, versionstamp } = entry!;
  const isDecodable = reading.fault === "malformed";
  const isNull = isDecodable && value instanceof Uint8Array && decode(value) === null;
  return { key, versionstamp: versionstamp!, isDecodable, isNull }; // a missing entry has no fault
}

/** Decides on a snapshot, to learn which keys a repair reads; null if these keep changing. */
async function decideOnSnapshot(
  { store }: StoreServices,
  defect: Defect,
  unreadable: UnreadableEntry | null,
  readKeys: readonly keys.Key<unknown>[],
): Promise<Answer<{ repair: Repair | null }> | null> {
  let toRead = readKeys;
  for (let move = 0; move < MOVES_MAX; move++) {
    const view = new View();
    if (toRead.length > 0) {
      for (const entry of await store.getStored(toRead)) view.add(entry);
    }
    if (unreadable) view.addValue(unreadable.key, null);
    const answer = view.ask((get) => decide(defect, get));
    if (answer.isFinal) return answer;
    toRead = answer.keys.filter((key) => !isUnreadableKey(unreadable, key));
  }
  return null;
}

function decide({ judge, repairRule }: Defect, get: Parameters<Judge>[0]): Decision {
  return judge !== null && judge(get) === null ? null : { repair: repairRule(get) };
}

/** The outcome of a decision without a repair; null if there is something to write. */
function outcomeWithoutWrite(
  { verdict, isReadable }: Answer<{ repair: Repair | null }>,
): "gone" | "not_repairable" | null {
  if (!isReadable) return "not_repairable"; // its sources are unreadable
  if (verdict === null) return "gone";
  return verdict.repair === null ? "not_repairable" : null;
}

async function write(
  services: StoreServices,
  { defect, unreadable, readKeys, options: { sweepId, by } }: {
    defect: Defect;
    unreadable: UnreadableEntry | null;
    readKeys: readonly keys.Key<unknown>[];
    options: RepairOptions;
  },
): Promise<RepairRecord | NothingToWrite["status"]> {
  const now = services.clock();
  const id = newId(now);
  const { check, displayKey, detail } = defect;
  const others = readKeys.filter((key) => !isUnreadableKey(unreadable, key));
  const toRead = unreadable?.isDecodable ? [unreadable.key, ...others] : others;
  const reads: Reads = Object.fromEntries(toRead.map((key, i) => [String(i), key]));
  try {
    return await transact(services, reads, (found, writes) => {
      const view = new View();
      toRead.forEach((key, i) => {
        const value = found[String(i)] ?? null;
        if (!isUnreadableKey(unreadable, key)) view.addValue(key, value);
        else if (value === null ? !unreadable?.isNull : hasValidShape(value, key)) {
          throw new NothingToWrite("gone");
        }
      });
      if (unreadable) view.addValue(unreadable.key, null);
      const answer = view.ask((get) => decide(defect, get));
      if (!answer.isFinal) throw new NothingToWrite("moved");
      const outcome = outcomeWithoutWrite(answer);
      if (outcome !== null) throw new NothingToWrite(outcome);
      const { done, put } = answer.verdict!.repair!; // checked by outcomeWithoutWrite()
      put(writes, by, now);
      const record: RepairRecord = {
        id,
        sweepId,
        check,
        key: displayKey,
        detail,
        done,
        at: isoTime(now),
        by: by.actor,
        requestId: by.requestId,
      };
      writes.set(keys.repair(sweepId, id), record);
      return record;
    }, { operation: repairOperation(unreadable, by, now) });
  } catch (error) {
    if (error instanceof NothingToWrite) return error.status;
    throw error;
  }
}

function repairOperation(unreadable: UnreadableEntry | null, by: Caller, now: number): Operation {
  const own = operationOf({ ...by, idempotencyKey: null }, "repair", null, { now });
  if (unreadable === null || unreadable.isDecodable) return own;
  // The transaction cannot read this version, so a receipt per version prevents a second overwrite.
  const id = sha256Hex(JSON.stringify(["repair", unreadable.key, unreadable.versionstamp]));
  return { ...own, id, isNew: false, keepMs: BLIND_KEEP_MS };
}

function isUnreadableKey(unreadable: UnreadableEntry | null, key: keys.Key<unknown>): boolean {
  return unreadable !== null && keys.keyText(unreadable.key) === keys.keyText(key);
}
