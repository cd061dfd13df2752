/**
 * Deadlines of the store that are long enough for a busy machine.
 *
 * @module
 */
import type { Deadlines } from "../../../lib/kv/deadlines.ts";

/** No healthy store is this slow, however busy the machine is. */
export const PATIENT: Deadlines = {
  readMs: 60_000,
  commitMs: 60_000,
  transactionMs: 120_000,
  fenceMs: 60_000,
};

/** `impatient` while faults are injected, which block some calls; otherwise {@linkcode PATIENT}. */
export function deadlinesUnder(hasFaults: () => boolean, impatient: Deadlines): Deadlines {
  const now = () => hasFaults() ? impatient : PATIENT;
  return {
    get readMs() {
      return now().readMs;
    },
    get commitMs() {
      return now().commitMs;
    },
    get transactionMs() {
      return now().transactionMs;
    },
    get fenceMs() {
      return now().fenceMs;
    },
  };
}
