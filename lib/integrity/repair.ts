/**
 * Repair: derived data is written anew from what it follows from. What it
 * follows from is never touched.
 *
 * A repair is one transaction. It judges what it reads with the same judge that
 * found the fault, so it writes nothing where the fault is gone, and whoever
 * writes meanwhile comes before it or after it. Nothing is remembered between
 * repairs: one that was interrupted is found again and done.
 *
 * @module
 */
import { sha256Hex } from "../digest.ts";
import { newId } from "../ids.ts";
import type { Mend, Mender } from "./indexes.ts";
import { isWhole } from "./shapes.ts";
import { type Answer, type Judge, judgeSnapshot, readEntry, View } from "./view.ts";
import { decode } from "../kv/codec.ts";
import * as keys from "../kv/keys.ts";
import type { RepairRecord } from "../kv/sweep_records.ts";
import { type Operation, type Reads, transact } from "../kv/transact.ts";
import { type Caller, operationOf } from "../entities/caller.ts";
import type { Services } from "../app/services.ts";
import { DAY_MS, isoTime } from "../time.ts";

export type { RepairRecord } from "../kv/sweep_records.ts";

/** What is to be mended. */
export interface Broken {
  /** The invariant, such as `index.missing`. */
  check: string;
  /** Where, as it may be shown. */
  shown: string;
  /** What was wrong when it was last looked at, without personal data. */
  detail: string;
  /** What mends it. */
  mender: Mender;
  /** What finds it wrong; null for an entry that cannot be read. */
  judge: Judge | null;
  /** What the judge asked for; the entry itself if it cannot be read. */
  asked: readonly keys.Key<unknown>[];
}

/** How a repair ended. */
export type RepairOutcome =
  | { status: "repaired"; repair: RepairRecord }
  /** Nothing was wrong any more, and nothing was written. */
  | { status: "gone" }
  /** Only a person can tell what is right, and nothing was written. */
  | { status: "not_repairable" }
  /** It was wrong again, or kept changing while it was looked at. */
  | { status: "still_wrong" };

/** What mending needs of Services. */
export type RepairServices = Pick<Services, "store" | "clock">;

/** For whom something is mended. */
export interface RepairOptions {
  /** The sweep that finds what is broken. */
  sweepId: string;
  /** Who is named as the one who mended it, and what each repair has to pass. */
  by: Caller;
}

/** What was decided on a view: null where nothing is wrong. */
type Choice = { mend: Mend | null } | null;

/** An entry that cannot be read, in one version of it. */
interface Unread {
  key: keys.Key<unknown>;
  versionstamp: string;
  /** Whether a transaction can look at it; else it is overwritten unread, each version of it once. */
  isDecodable: boolean;
  /** A transaction cannot tell it from an entry that is not there. */
  isNull: boolean;
}

/** How often a repair is begun anew because what it is about now refers to something else. */
const MOVES_MAX = 4;
/** An entry that was mended unread is not mended again by who saw it before. */
const UNREAD_KEEP_MS = DAY_MS;

/** Ends a decision with nothing written, not even that its guards were passed. */
class NothingToWrite extends Error {
  override readonly name = "NothingToWrite";
  constructor(readonly status: "gone" | "not_repairable" | "moved") {
    super(status);
  }
}

/**
 * Mends one thing, and looks at it again. Three reads and one commit.
 *
 * @throws {AppError} `unavailable`; what the guards of `by` throw
 */
export async function repair(
  services: RepairServices,
  broken: Broken,
  options: RepairOptions,
): Promise<RepairOutcome> {
  const { store } = services;
  const unread = broken.judge === null ? await readUnread(services, broken.asked[0]!) : null;
  if (broken.judge === null && unread === null) return { status: "gone" };
  let asked = unread === null ? broken.asked : [];
  for (let move = 0; move < MOVES_MAX; move++) {
    const answer = await choose(services, broken, unread, asked);
    if (answer === null) break;
    const ended = endOf(answer);
    if (ended !== null) return { status: ended };
    asked = answer.keys;
    const repair = await write(services, { broken, unread, asked, options });
    if (repair === "moved") continue;
    if (typeof repair === "string") return { status: repair };
    const isWell = broken.judge === null
      ? await readUnread(services, broken.asked[0]!) === null
      : await judgeSnapshot(store, broken.judge, asked) === null;
    return isWell ? { status: "repaired", repair } : { status: "still_wrong" };
  }
  return { status: "still_wrong" };
}

/** An entry that cannot be read; null if it can, or is not there. */
async function readUnread(
  { store }: RepairServices,
  key: keys.Key<unknown>,
): Promise<Unread | null> {
  const [entry] = await store.getStored([key]);
  const reading = readEntry(entry!);
  if (!("fault" in reading)) return null;
  const { value, versionstamp } = entry!;
  const isDecodable = reading.fault === "malformed";
  const isNull = isDecodable && value instanceof Uint8Array && decode(value) === null;
  return { key, versionstamp: versionstamp!, isDecodable, isNull }; // it is there, or it could be read
}

/** Decides on a snapshot what a repair would need to read; null if it keeps moving. */
async function choose(
  { store }: RepairServices,
  broken: Broken,
  unread: Unread | null,
  asked: readonly keys.Key<unknown>[],
): Promise<Answer<{ mend: Mend | null }> | null> {
  let wanted = asked;
  for (let move = 0; move < MOVES_MAX; move++) {
    const view = new View();
    if (wanted.length > 0) {
      for (const entry of await store.getStored(wanted)) view.add(entry);
    }
    if (unread) view.addValue(unread.key, null);
    const answer = view.ask((get) => choiceOf(broken, get));
    if (answer.isFinal) return answer;
    wanted = answer.keys.filter((key) => !isKeyOf(unread, key));
  }
  return null;
}

function choiceOf({ judge, mender }: Broken, get: Parameters<Judge>[0]): Choice {
  return judge !== null && judge(get) === null ? null : { mend: mender(get) };
}

/** How a repair ends before anything is written; null if there is something to write. */
function endOf(
  { verdict, isReadable }: Answer<{ mend: Mend | null }>,
): "gone" | "not_repairable" | null {
  if (!isReadable) return "not_repairable"; // nothing can be said of what it follows from
  if (verdict === null) return "gone";
  return verdict.mend === null ? "not_repairable" : null;
}

async function write(
  services: RepairServices,
  { broken, unread, asked, options: { sweepId, by } }: {
    broken: Broken;
    unread: Unread | null;
    asked: readonly keys.Key<unknown>[];
    options: RepairOptions;
  },
): Promise<RepairRecord | NothingToWrite["status"]> {
  const now = services.clock();
  const id = newId(now);
  const { check, shown, detail } = broken;
  const others = asked.filter((key) => !isKeyOf(unread, key));
  const wanted = unread?.isDecodable ? [unread.key, ...others] : others;
  const reads: Reads = Object.fromEntries(wanted.map((key, i) => [String(i), key]));
  try {
    return await transact(services, reads, (found, writes) => {
      const view = new View();
      wanted.forEach((key, i) => {
        const value = found[String(i)] ?? null;
        if (!isKeyOf(unread, key)) view.addValue(key, value);
        else if (value === null ? !unread?.isNull : isWhole(value, key)) {
          throw new NothingToWrite("gone");
        }
      });
      if (unread) view.addValue(unread.key, null);
      const answer = view.ask((get) => choiceOf(broken, get));
      if (!answer.isFinal) throw new NothingToWrite("moved");
      const ended = endOf(answer);
      if (ended !== null) throw new NothingToWrite(ended);
      const { done, put } = answer.verdict!.mend!; // or it would have ended
      put(writes, by, now);
      const at = isoTime(now);
      const { actor, requestId } = by;
      const record: RepairRecord = {
        ...{ id, sweepId, check, key: shown, detail, done, at },
        ...{ by: actor, requestId },
      };
      writes.set(keys.repair(sweepId, id), record);
      return record;
    }, { operation: operationFor(unread, by, now) });
  } catch (error) {
    if (error instanceof NothingToWrite) return error.status;
    throw error;
  }
}

function operationFor(unread: Unread | null, by: Caller, now: number): Operation {
  const own = operationOf({ ...by, idempotencyKey: null }, "repair", null, { now });
  if (unread === null || unread.isDecodable) return own;
  // The transaction cannot see whether it is still as it was, so its receipt has to tell.
  const id = sha256Hex(JSON.stringify(["repair", unread.key, unread.versionstamp]));
  return { ...own, id, isNew: false, keepMs: UNREAD_KEEP_MS };
}

function isKeyOf(unread: Unread | null, key: keys.Key<unknown>): boolean {
  return unread !== null && keys.keyText(unread.key) === keys.keyText(key);
}
