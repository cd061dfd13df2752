/**
 * The questions that checks ask about a page of entries, and the suspects that
 * they find.
 *
 * @module
 */
import type { Check, RepairRule, Table } from "./indexes.ts";
import { type Fault, type Judge, View } from "./view.ts";
import { type Key, keyText } from "../kv/keys.ts";
import type { Severity } from "../kv/records.ts";
import type { Store } from "../kv/store.ts";
import { REDACTED } from "../telemetry/redact.ts";

/** One check of one entry. */
export interface Question {
  /** The name of the finding. */
  check: string;
  /** The severity of the finding. */
  severity: Severity;
  /** The key of the finding. */
  key: Key<unknown>;
  /** Decides whether the entry is wrong. */
  judge: Judge;
  /** Resolves to the repair; null where only a person can repair. */
  repairRule: () => RepairRule | null | Promise<RepairRule | null>;
  /** The entry's index in the page. */
  pageIndex: number;
  /** The question is about a claim of the entry, which its own table checks again. */
  isClaim?: boolean;
  /** The claim of the entry, which may be unreadable, and its repair. */
  claimed?: { key: Key<unknown>; severity: Severity; repairRule: RepairRule };
}

/** An entry that looks wrong in the scan. */
export interface Suspect extends Omit<Question, "judge" | "claimed"> {
  /** Decides whether the entry is wrong; the text of the finding for an unreadable entry. */
  judge: Judge | string;
  /** The keys that the judge read. */
  readKeys: readonly Key<unknown>[];
}

/** Keys that end in an e-mail address or phone number. */
const PERSONAL = new Set(["client_by_email", "client_by_phone"]);
/** Characters. Keys of the program are shorter, and a report must fit a value of the store. */
const DISPLAY_MAX = 200;

/** A key for reports and logs: JSON of up to 200 characters, personal data redacted. */
export function displayKey(key: Key<unknown>): string {
  const text = keyText(PERSONAL.has(String(key[0])) ? [key[0]!, REDACTED] : key);
  return text.length > DISPLAY_MAX ? `${text.slice(0, DISPLAY_MAX)}…` : text;
}

/** All questions about one entry; a repairing sweep also asks about the claims of the entry. */
export function questionsAbout(
  checks: readonly Check[],
  key: Key<unknown>,
  value: unknown,
  { pageIndex, isRepairing }: { pageIndex: number; isRepairing: boolean },
): Question[] {
  const ask = (check: Check, isClaim: boolean): Question => {
    return {
      check: check.name,
      severity: check.severity,
      key: check.at(value, key),
      pageIndex,
      isClaim,
      judge(get) {
        const found = get(key);
        return found === null ? null : check.judge(found, key, get);
      },
      repairRule: () => (get) => {
        const found = get(key);
        return found === null ? null : check.repair(found, key, get);
      },
    };
  };
  return checks.flatMap((check): Question[] => {
    const { claim } = check;
    const own = ask(check, false);
    const at = claim?.at(value) ?? null;
    if (!isRepairing || !claim || at === null) return [own];
    const repairRule: RepairRule = (get) => {
      const found = get(key);
      const isUnchanged = found !== null && keyText(claim.at(found) ?? []) === keyText(at);
      return isUnchanged ? claim.repair(found) : null;
    };
    own.claimed = { key: at, severity: "warning", repairRule };
    return [own, ...claim.checks.map((one) => ask(one, true))];
  });
}

/** The questions whose judge found a fault. Reads the keys that they ask for into the view. */
export async function findSuspects(
  questions: readonly Question[],
  view: View,
  store: Store,
): Promise<Suspect[]> {
  const suspects: Suspect[] = [];
  for (let open = questions; open.length > 0;) {
    const again: Question[] = [];
    for (const question of open) {
      const { verdict, isFinal, keys } = view.ask(question.judge);
      if (!isFinal) again.push(question);
      else if (verdict !== null) suspects.push({ ...question, readKeys: keys });
    }
    await view.fill(store);
    open = again;
  }
  return suspects;
}

/** The unreadable claims of the entries of the page, as far as the view has read them. */
export function unreadableClaims(questions: readonly Question[], view: View): Suspect[] {
  return questions.flatMap(({ claimed, pageIndex }): Suspect[] => {
    const fault = claimed ? view.faultAt(claimed.key) : null;
    if (!claimed || !fault) return [];
    const { key, severity, repairRule } = claimed;
    return [{
      ...readingFault(key, fault),
      severity,
      pageIndex,
      repairRule: () => repairRule,
      isClaim: true,
    }];
  });
}

/** An unreadable entry of a table. It refers to nothing, so one read is a snapshot. */
export function unreadable(
  { severity, repairUnreadable }: Table,
  key: Key<unknown>,
  { fault, pageIndex }: { fault: Fault; pageIndex: number },
  store: Store,
): Suspect {
  return {
    ...readingFault(key, fault),
    severity,
    pageIndex,
    repairRule: () => repairUnreadable?.(key, store) ?? null,
  };
}

function readingFault(
  key: Key<unknown>,
  fault: Fault,
): Pick<Suspect, "check" | "key" | "judge" | "readKeys"> {
  const judge = fault === "undecodable"
    ? "The stored bytes cannot be decoded"
    : "The stored value does not have the shape that its key requires";
  return { check: `value.${fault}`, key, judge, readKeys: [key] };
}
