/**
 * Waits for a condition, instead of a fixed time.
 *
 * @module
 */

/** Longer than anything takes on a busy machine; after this the wait fails. */
const PATIENCE_MS = 30_000;
const LOOK_AGAIN_MS = 2;

/** Polls until `isSo()` is true. @throws after {@linkcode PATIENCE_MS} */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!await isSo()) {
    if (performance.now() > end) throw new Error(`Waited ${PATIENCE_MS} ms until ${isSo}`);
    await new Promise((done) => setTimeout(done, LOOK_AGAIN_MS));
  }
}
