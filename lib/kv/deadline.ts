/**
 * Deadlines for calls that have none of their own: the remote KV client retries
 * for ever, and abandoning a call does not cancel it.
 *
 * @module
 */

/** A call did not end in time; it may still take effect later. */
export class DeadlineError extends Error {
  /** Tells it apart in logs. */
  override readonly name = "DeadlineError";
}

/**
 * Waits for `call`, at most `ms` milliseconds.
 *
 * @throws {DeadlineError} when time is up; what the call does later is ignored.
 */
export async function withDeadline<T>(call: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeUp = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new DeadlineError(`${what} took over ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([call, timeUp]);
  } finally {
    clearTimeout(timer);
    call.catch(() => {}); // it may fail long after anyone waits for it
  }
}
