/**
 * Time limits of the store's calls. They have none of their own: the remote KV client
 * retries for ever, and abandoning a call does not cancel it.
 *
 * @module
 */

/** Time limits, in milliseconds. */
export interface Deadlines {
  /** One read round trip. */
  readMs: number;
  /** One commit. */
  commitMs: number;
  /** A whole transaction, all its attempts included. */
  transactionMs: number;
  /** From giving up to knowing that the write did not and will not happen. */
  fenceMs: number;
}

/** Within what a person or a gateway waits for: under 10 s in all. */
export const DEADLINES: Deadlines = {
  readMs: 1_500,
  commitMs: 2_000,
  transactionMs: 4_000,
  fenceMs: 2_000,
};
