/**
 * One timer for the time limits of all requests: a timer for each would be made and cleared
 * thousands of times a second and never fire.
 *
 * @module
 */

/** A wait with its end, in milliseconds of `performance.now()`. */
interface Waiting {
  endsAt: number;
  end: () => void;
}

/** How much later than its limit a wait may end, as a part of the limit. */
const SLACK = 20;

/** Waits that end after the same time, up to a twentieth later. Without waits no timer runs. */
export class TimeLimit {
  readonly #ms: number;
  readonly #waiting = new Set<Waiting>();
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param ms The limit, in milliseconds. */
  constructor(ms: number) {
    this.#ms = ms;
  }

  /**
   * Waits for `call`, up to the limit. The call is not cancelled; its later outcome is ignored.
   *
   * @throws what `call` throws, or what `late` makes
   */
  async wait<T>(call: Promise<T>, late: () => Error): Promise<T> {
    const { promise: over, reject } = Promise.withResolvers<never>();
    const waiting = { endsAt: performance.now() + this.#ms, end: () => reject(late()) };
    this.#waiting.add(waiting);
    this.#timer ??= setInterval(() => this.#sweep(), this.#ms / SLACK);
    try {
      return await Promise.race([call, over]);
    } finally {
      this.#waiting.delete(waiting);
      if (this.#waiting.size === 0) {
        clearInterval(this.#timer);
        this.#timer = undefined;
      }
      call.catch(() => {}); // it may fail long after anyone waits for it
    }
  }

  /** Ends the waits that are over. Sets keep the order of adding, so the first ones end first. */
  #sweep(): void {
    const now = performance.now();
    for (const waiting of this.#waiting) {
      if (waiting.endsAt > now) return;
      this.#waiting.delete(waiting);
      waiting.end();
    }
  }
}
