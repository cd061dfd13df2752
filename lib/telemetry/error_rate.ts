/**
 * The number of recent unexpected errors of this instance.
 *
 * @module
 */
import { type Clock, MINUTE_MS, SECOND_MS } from "../time.ts";

const WINDOW_MS = 5 * MINUTE_MS;
const SLICE_MS = 10 * SECOND_MS;

/** Counts the unexpected errors of this instance in the last 5 minutes, to 10 seconds. */
export class ErrorRate {
  readonly #clock: Clock;
  /** By the number of the slice since 1970. */
  readonly #slices = new Map<number, number>();

  /** Starts at 0. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts an error. */
  add(): void {
    const slice = Math.floor(this.#clock() / SLICE_MS);
    this.#slices.set(slice, (this.#slices.get(slice) ?? 0) + 1);
    this.#forget(slice);
  }

  /** The errors in the window. */
  count(): number {
    this.#forget(Math.floor(this.#clock() / SLICE_MS));
    return this.#slices.values().reduce((sum, count) => sum + count, 0);
  }

  #forget(current: number): void {
    for (const slice of this.#slices.keys()) {
      // A clock may go back.
      if (slice <= current - WINDOW_MS / SLICE_MS || slice > current) this.#slices.delete(slice);
    }
  }
}
