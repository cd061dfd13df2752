/**
 * Sweeps a restored store in slices, and retries a slice when the store does not
 * answer: a restore of hours must not fail for one read.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { sweep } from "../integrity/mod.ts";
import type { Store } from "../kv/store.ts";
import { backoffMs, SECOND_MS, sleep } from "../time.ts";
import { throwIfAborted } from "./needs.ts";

const SLICE_MS = 2 * SECOND_MS;
/** Attempts of a slice before the sweep fails. */
const ATTEMPTS_MAX = 6;
const BACKOFF_MS = 400;

/** Counts the findings of a store. @throws {AppError} `unavailable` if all attempts of a slice fail */
export async function countFindings(
  { store }: { readonly store: Store },
  signal?: AbortSignal,
): Promise<number> {
  let findings = 0;
  let resumeFrom: string | null = null;
  for (let attempt = 1;;) {
    throwIfAborted(signal);
    try {
      const slice = await sweep({ store }, { budgetMs: SLICE_MS, resumeFrom });
      findings += slice.findingsTotal;
      if (slice.isComplete) return findings;
      resumeFrom = slice.resumeFrom;
      attempt = 1;
    } catch (error) {
      const isTransient = error instanceof AppError && error.kind === "unavailable";
      if (!isTransient || attempt === ATTEMPTS_MAX) throw error;
      await sleep(backoffMs(attempt++, { firstMs: BACKOFF_MS }));
    }
  }
}

/** The problem of a restored store with findings, for its proof; null for none. */
export function findingsProblem(findings: number): string | null {
  if (findings === 0) return null;
  return `The sweep reports ${findings} ${findings === 1 ? "finding" : "findings"}`;
}
