/**
 * Waiting for something to become so, in place of sleeping and hoping.
 *
 * @module
 */

/** Longer than anything takes on a busy machine; whoever waits in vain is told so. */
const PATIENCE_MS = 30_000;
const LOOK_AGAIN_MS = 2;

/** Looks again and again until `isSo`. @throws when it does not become so */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!await isSo()) {
    if (performance.now() > end) throw new Error(`Waited ${PATIENCE_MS} ms until ${isSo}`);
    await new Promise((done) => setTimeout(done, LOOK_AGAIN_MS));
  }
}
