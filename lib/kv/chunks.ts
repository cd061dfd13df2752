/**
 * Lists of keys, in pieces that Deno KV accepts in one call.
 *
 * @module
 */

/** Keys that Deno KV reads in one call, as one snapshot. */
export const KEYS_PER_READ = 10;

/** The items in order, in arrays of `size`; the last one may be shorter. */
export function chunksOf<T>(items: readonly T[], size: number = KEYS_PER_READ): T[][] {
  const chunks: T[][] = [];
  for (let i = 0; i < items.length; i += size) chunks.push(items.slice(i, i + size));
  return chunks;
}
