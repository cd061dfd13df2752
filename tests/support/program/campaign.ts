/**
 * Sizes of the fault campaigns: a share in the everyday tests, all of it in
 * `deno task soak`, and any number by an environment variable.
 *
 * @module
 */

/** What `deno task soak` sets. */
const SOAK = "SOAK";

/**
 * The number of runs of a campaign.
 *
 * @throws {RangeError} when the variable is not a positive integer
 */
export function campaignSize(variable: string, sizes: { everyday: number; soak: number }): number {
  const requested = Deno.env.get(variable);
  if (requested === undefined) return Deno.env.has(SOAK) ? sizes.soak : sizes.everyday;
  const size = Number(requested);
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new RangeError(`${variable}=${requested} is not a positive integer`);
  }
  return size;
}
