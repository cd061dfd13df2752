/**
 * Deadlines of the store in tests that are not about deadlines.
 *
 * @module
 */
import type { Deadlines } from "../../../lib/kv/deadlines.ts";

/** No store in good health is this slow, however busy the machine is. */
export const PATIENT: Deadlines = {
  readMs: 60_000,
  commitMs: 60_000,
  transactionMs: 120_000,
  fenceMs: 60_000,
};
