/**
 * Read, decide, commit: the only way the program writes to the store.
 *
 * `transact()` hides what a key-value store far away does to a write: a commit
 * may be applied and yet throw, come back as a conflict, or land seconds after
 * it was abandoned. Each transaction therefore carries an operation id and
 * writes a receipt under it in the same atomic, which also checks that there is
 * none yet; every retry looks there first. Before failure is reported, a fence
 * is written to that key, after which the abandoned commit can never apply.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { currentContext, newMeter } from "../telemetry/mod.ts";
import { keyText, receipt } from "./keys.ts";
import type { Store } from "./store.ts";
import type { Found, Operation, Reads, Writes } from "./transaction.ts";

/** Options for {@linkcode transact}. */
export interface TransactOptions {
  /** What the receipt is filed under. */
  operation: Operation;
  /**
   * Names a key that everyone writes, such as a number sequence. On a remote
   * store, transactions of this process under one name are grouped; the
   * embedded store groups all that wait anyway.
   */
  hotKey?: string;
}

const READS_MAX = 9;

/**
 * Reads `reads`, lets `decide` choose the writes, and commits them together
 * with the receipt and a log entry if nothing that was read has changed;
 * otherwise starts again. One read round trip and one commit when undisturbed;
 * what waits at the same time in this process may share them.
 *
 * @param decide Pure and synchronous: the same values give the same writes.
 * What it throws is rethrown, with nothing written. It may run several times.
 * @returns What `decide` returned for the values that were committed on, or
 * what an earlier call with the same operation id was told.
 * @throws {AppError} `idempotency_key_reused`; `unavailable` when nothing was
 * and nothing will be stored; `outcome_unknown` when that could not be made sure.
 */
export async function transact<K extends Reads, R>(
  { store }: { readonly store: Store },
  reads: K,
  decide: (found: Found<K>, writes: Writes) => R,
  { operation, hotKey }: TransactOptions,
): Promise<R> {
  const names = Object.keys(reads);
  const guards = operation.guards ?? [];
  const keys = [...Object.values(reads), ...guards.map(({ key }) => key)];
  if (keys.length > READS_MAX) {
    throw new AppError("internal", `A transaction reads at most ${READS_MAX} keys`);
  }
  const operationKey = receipt(operation.id);
  const result = await store.committer.submit({
    operation,
    receipt: { key: operationKey, text: keyText(operationKey) },
    reads: keys.map((key) => ({ key, text: keyText(key) })),
    decide: (values, writes) => {
      guards.forEach((guard, i) => {
        const { value, expireIn } = guard.pass(values[names.length + i]);
        writes.set(guard.key, value, { expireIn });
      });
      const found = Object.fromEntries(names.map((name, i) => [name, values[i]]));
      return decide(found as Found<K>, writes);
    },
    meter: currentContext()?.meter ?? newMeter(),
    hotKey,
  });
  return result as R; // what this `decide` returned, now or under the same id before
}
