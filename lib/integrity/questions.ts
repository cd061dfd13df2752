/**
 * Questions about the entries of a page, and which of them make a suspect.
 *
 * @module
 */
import type { Check, Mender, Room } from "./indexes.ts";
import { type Fault, type Judge, View } from "./view.ts";
import { type Key, keyText } from "../kv/keys.ts";
import type { Severity } from "../kv/records.ts";
import type { Store } from "../kv/store.ts";
import { REDACTED } from "../telemetry/redact.ts";

/** One check of one entry. */
export interface Question {
  /** What a finding would be called. */
  check: string;
  /** How much it would matter. */
  severity: Severity;
  /** Where it would be. */
  key: Key<unknown>;
  /** Says whether it is so. */
  judge: Judge;
  /** What mends it; null where only a person can. */
  mender: () => Mender | null | Promise<Mender | null>;
  /** Which entry of the page it is about. */
  place: number;
  /** It is about something that belongs to the entry, and is looked at again in a room of its own. */
  isClaim?: boolean;
  /** What belongs to the entry and may be unreadable, and what mends that. */
  claimed?: { key: Key<unknown>; severity: Severity; mender: Mender };
}

/** What looks wrong in the scan. */
export interface Suspect extends Omit<Question, "judge" | "claimed"> {
  /** Says whether it is so; the finding itself where an entry cannot be read. */
  judge: Judge | string;
  /** What the judge asked for. */
  asked: readonly Key<unknown>[];
}

/** Keys that end in an e-mail address or phone number. */
const PERSONAL = new Set(["client_by_email", "client_by_phone"]);
/** Longer ones are not ours, and a report has to fit a value of the store. */
const SHOWN_MAX = 200;

/** A key as it may be told. */
export function shown(key: Key<unknown>): string {
  const text = keyText(PERSONAL.has(String(key[0])) ? [key[0]!, REDACTED] : key);
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text;
}

/** All that is asked about one entry; more of it if what is found is to be mended. */
export function questionsOf(
  checks: readonly Check[],
  key: Key<unknown>,
  value: unknown,
  { place, isMending }: { place: number; isMending: boolean },
): Question[] {
  const ask = (check: Check, isClaim: boolean): Question => {
    return {
      check: check.name,
      severity: check.severity,
      key: check.at(value, key),
      place,
      isClaim,
      judge(get) {
        const found = get(key);
        return found === null ? null : check.judge(found, key, get);
      },
      mender: () => (get) => {
        const found = get(key);
        return found === null ? null : check.mend(found, key, get);
      },
    };
  };
  return checks.flatMap((check): Question[] => {
    const { claim } = check;
    const own = ask(check, false);
    const at = claim?.at(value) ?? null;
    if (!isMending || !claim || at === null) return [own];
    const mender: Mender = (get) => {
      const found = get(key);
      const isStill = found !== null && keyText(claim.at(found) ?? []) === keyText(at);
      return isStill ? claim.mend(found) : null;
    };
    own.claimed = { key: at, severity: "warning", mender };
    return [own, ...claim.checks.map((one) => ask(one, true))];
  });
}

/** Those of the questions that are answered with something wrong; reads what they are about into the view. */
export async function suspectsOf(
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
      else if (verdict !== null) suspects.push({ ...question, asked: keys });
    }
    await view.fill(store);
    open = again;
  }
  return suspects;
}

/** What belongs to the entries of the page and cannot be read, as far as the view has it. */
export function claimsOn(questions: readonly Question[], view: View): Suspect[] {
  return questions.flatMap(({ claimed, place }): Suspect[] => {
    const fault = claimed ? view.faultAt(claimed.key) : null;
    if (!claimed || !fault) return [];
    const { key, severity, mender } = claimed;
    return [{ ...faulty(key, fault), severity, mender: () => mender, place, isClaim: true }];
  });
}

/** An entry of a room that cannot be read: by itself it is a snapshot. */
export function unreadable(
  { severity, mendUnreadable }: Room,
  key: Key<unknown>,
  { fault, place }: { fault: Fault; place: number },
  store: Store,
): Suspect {
  return {
    ...faulty(key, fault),
    severity,
    place,
    mender: () => mendUnreadable?.(key, store) ?? null,
  };
}

function faulty(
  key: Key<unknown>,
  fault: Fault,
): Pick<Suspect, "check" | "key" | "judge" | "asked"> {
  const judge = fault === "undecodable"
    ? "What is stored is no value that this program can read"
    : "What is stored is not what belongs under its key";
  return { check: `value.${fault}`, key, judge, asked: [key] };
}
