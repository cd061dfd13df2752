/**
 * The head of an embedded store: one key that every commit moves. A process that knows the head's
 * revision, reads, and commits with a check of that revision knows that nobody has written in
 * between: this one check stands for a check of every key that the commit relies on, of which an
 * atomic may have 100 only.
 *
 * A remote store commits in parallel; one key that all commits write would serialize it, so there
 * each key is checked.
 *
 * @module
 */
import { encode } from "./codec.ts";
import { head } from "./keys.ts";

/** What the head holds: only its revision counts. */
const VALUE = encode(0);

/** What a process knows of the head. */
export class Head {
  /** Its revision; null before the first commit; undefined when it is not known. */
  stamp: string | null | undefined;

  /** Forgets the revision: somebody else has written, or a commit did not say whether it has. */
  lose(): void {
    this.stamp = undefined;
  }
}

/** Moves the head in an atomic, whatever it was. */
export function moveHead(atomic: Deno.AtomicOperation): Deno.AtomicOperation {
  return atomic.set(head, VALUE);
}
