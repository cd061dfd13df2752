/**
 * Unexpected errors, told to Sentry or whatever speaks its protocol.
 *
 * What is sent is put together here, from what is known to be harmless: the
 * kind of the error, its message, stack and causes after redaction, and a few
 * tags. The SDK only carries it. It gets no say in what a report holds and
 * touches nothing of the process: its integrations cost most of the throughput
 * and send headers and cookies along. It is loaded when there is something to
 * carry, or when the program is listening, whichever comes first.
 *
 * @module
 */
import { errorCopies, type ErrorCopy } from "./error_copy.ts";
import { newId } from "../ids.ts";
import type { Log } from "./log.ts";
import { redactStart } from "./redact.ts";
import { type Clock, MINUTE_MS, SECOND_MS } from "../time.ts";

/** Where an error came up. */
export interface ErrorContext {
  /** The HTTP exchange, as in its `X-Request-Id`. */
  requestId?: string;
  /** Method and pattern, such as `GET /i/:token`; never a path, which may hold a token. */
  route?: string;
  /** The recurring job. */
  job?: string;
}

/** A job as its monitor knows it. */
export interface MonitoredJob {
  /** The monitor's name: letters, digits, hyphens and underscores. */
  name: string;
  /** When it runs: five fields of cron, UTC. */
  schedule: string;
  /** Longer than this it counts as failed, in milliseconds. */
  timeLimitMs: number;
}

/** Something that took time, to be told as a trace. */
export interface Timing {
  /** Such as `GET /api/v2/leads/:id`. */
  name: string;
  /** What kind of thing it is. */
  kind: "request" | "job";
  /** How long it took; it ended now. */
  durationMs: number;
  /** Whether it did what it should. */
  isOk: boolean;
  /** The HTTP exchange. */
  requestId?: string;
}

/** Where unexpected errors are told. No method throws by itself, or waits unless it says so. */
export interface ErrorTracker {
  /** Gets ready; to be called when the program is listening. */
  start(): void;
  /** Tells of an error. At most 60 a minute are told; the log has them all. */
  report(error: unknown, context?: ErrorContext): void;
  /** Tells how long something took, in as many cases as the sample rate says. */
  timed(timing: Timing): void;
  /**
   * Runs a job, and tells that it started, how it ended, and what it threw.
   *
   * @throws what `run` throws
   */
  monitored<T>(job: MonitoredJob, run: () => Promise<T>): Promise<T>;
  /** Waits until everything is told, at most `ms` milliseconds. */
  flush(ms: number): Promise<void>;
}

/** How an {@linkcode ErrorTracker} is opened. */
export interface ErrorTrackerOptions {
  /** Where to tell; `undefined` is nowhere, and then nothing is loaded. */
  dsn: string | undefined;
  /** The share of {@linkcode Timing}s that is told, 0 to 1. */
  sampleRate: number;
  /** Such as `production`. */
  environment: string;
  /** The build that runs. */
  release: string;
  /** Where to tell that nothing can be told. */
  log: Log;
  /** Dates what is told. */
  clock: Clock;
  /** Numbers in [0, 1), for the sample. */
  random: () => number;
}

/** Opens a tracker. Loads and sends nothing yet. */
export function openErrorTracker(options: ErrorTrackerOptions): ErrorTracker {
  const { dsn } = options;
  return dsn === undefined ? NOWHERE : new SentryTracker({ ...options, dsn });
}

const NOWHERE: ErrorTracker = {
  start() {},
  report() {},
  timed() {},
  monitored: (_job, run) => run(),
  flush: () => Promise.resolve(),
};

/** What waits for the SDK; more than this many errors at the start say the same. */
const WAITING_MAX = 100;
/** In a storm of errors the first ones tell the story, and each costs money. */
const REPORTS_PER_MINUTE_MAX = 60;
/** An ingest that hangs holds a report so long, and then loses it. */
const SEND_MS = 5 * SECOND_MS;

type Options = ErrorTrackerOptions & { dsn: string };

/** Carries what this program put together. */
interface Carrier {
  report(copies: ErrorCopy[], tags: Record<string, string>): void;
  timed(timing: Timing, endedAt: number): void;
  checkIn(job: MonitoredJob, checkIn: CheckIn): void;
}

interface CheckIn {
  checkInId: string;
  status: "in_progress" | "ok" | "error";
  /** In seconds; absent while in progress. */
  duration?: number;
}

class SentryTracker implements ErrorTracker {
  readonly #options: Options;
  readonly #sending = new Set<Promise<unknown>>();
  #waiting: ((carrier: Carrier) => void)[] = [];
  #carrier: Carrier | null | undefined;
  #loading: Promise<void> | undefined;
  #minute = -1;
  #reports = 0;
  #isFailing = false;

  constructor(options: Options) {
    this.#options = options;
  }

  start(): void {
    this.#loading ??= this.#load();
  }

  report(error: unknown, { requestId, route, job }: ErrorContext = {}): void {
    if (this.#isStorm()) return;
    // Copied now: what is thrown may change, or hold on to a whole request.
    const copies = errorCopies(error);
    const kind = copies[0]?.kind;
    const tags = {
      ...(requestId === undefined ? {} : { request_id: requestId }),
      ...(route === undefined ? {} : { route: redactStart(route, 200) }),
      ...(job === undefined ? {} : { job: redactStart(job, 200) }),
      ...(kind === undefined ? {} : { error_kind: kind }),
    };
    this.#tell((carrier) => carrier.report(copies, tags));
  }

  timed(timing: Timing): void {
    const { sampleRate, random, clock } = this.#options;
    if (random() >= sampleRate) return;
    const endedAt = clock();
    this.#tell((carrier) => carrier.timed(timing, endedAt));
  }

  async monitored<T>(job: MonitoredJob, run: () => Promise<T>): Promise<T> {
    const checkInId = newHexId(this.#options.clock());
    const startedAt = performance.now();
    const end = (status: "ok" | "error") => {
      const durationMs = performance.now() - startedAt;
      const duration = durationMs / SECOND_MS;
      this.#tell((carrier) => carrier.checkIn(job, { checkInId, status, duration }));
      this.timed({ name: job.name, kind: "job", durationMs, isOk: status === "ok" });
    };
    this.#tell((carrier) => carrier.checkIn(job, { checkInId, status: "in_progress" }));
    try {
      const result = await run();
      end("ok");
      return result;
    } catch (error) {
      this.report(error, { job: job.name });
      end("error");
      throw error;
    }
  }

  async flush(ms: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const timeUp = new Promise<void>((done) => timer = setTimeout(done, ms));
    const allTold = async () => {
      await this.#loading;
      while (this.#sending.size > 0) await Promise.all(this.#sending);
    };
    await Promise.race([allTold(), timeUp]);
    clearTimeout(timer);
  }

  #isStorm(): boolean {
    const minute = Math.floor(performance.now() / MINUTE_MS);
    if (minute !== this.#minute) this.#reports = 0;
    this.#minute = minute;
    return ++this.#reports > REPORTS_PER_MINUTE_MAX;
  }

  /** Now if it can be, else when the SDK is there; what fails is lost. */
  #tell(what: (carrier: Carrier) => void): void {
    if (this.#carrier) return this.#attempt(() => what(this.#carrier!));
    if (this.#carrier === null || this.#waiting.length >= WAITING_MAX) return;
    this.#waiting.push(what);
    this.start();
  }

  #attempt(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  async #load(): Promise<void> {
    try {
      const carrier = await loadSentry(this.#options, (request) => this.#track(request));
      this.#carrier = carrier;
      for (const what of this.#waiting) this.#attempt(() => what(carrier));
    } catch (error) {
      this.#carrier = null;
      this.#noteFailure(error);
    }
    this.#waiting = [];
  }

  #track<T>(request: Promise<T>): Promise<T> {
    const tracked = request.then(
      () => {
        this.#isFailing = false;
      },
      (error) => this.#noteFailure(error),
    ).finally(() => this.#sending.delete(tracked));
    this.#sending.add(tracked);
    return request;
  }

  /** Once until it works again. The message may hold the DSN, and is not told. */
  #noteFailure(error: unknown): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    const reason = error instanceof Error ? error.name : typeof error;
    this.#options.log.warn("error_tracking.failed", { reason });
  }
}

/** Loads the SDK, and only now. */
async function loadSentry(
  { dsn, environment, release }: Options,
  track: <T>(request: Promise<T>) => Promise<T>,
): Promise<Carrier> {
  const { createTransport, DenoClient, Scope } = await import("@sentry/deno");
  const client = new DenoClient({
    dsn,
    environment,
    release,
    integrations: [],
    stackParser: () => [],
    transport: (transport) =>
      createTransport(
        transport,
        ({ body }) => track(send(transport.url, transport.headers ?? {}, body)),
      ),
    // The SDK adds what it finds; this is what we put into it.
    beforeSend: (event) => ({ ...essence(event), type: undefined }),
    beforeSendTransaction: (event) => ({ ...essence(event), type: "transaction" }),
  });
  client.init();
  const scope = new Scope();
  scope.setClient(client);
  return {
    report: (copies, tags) =>
      void client.captureEvent({ level: "error", tags, exception: exceptionOf(copies) }, {}, scope),
    timed: (timing, endedAt) => void client.captureEvent(transactionOf(timing, endedAt), {}, scope),
    checkIn: ({ name, schedule, timeLimitMs }, checkIn) =>
      void client.captureCheckIn(
        // What is in progress has no duration, and what has one is not.
        { ...checkIn, monitorSlug: name } as Parameters<typeof client.captureCheckIn>[0],
        {
          schedule: { type: "crontab", value: schedule },
          checkinMargin: 2,
          maxRuntime: Math.ceil(timeLimitMs / MINUTE_MS) + 1,
          timezone: "Etc/UTC",
        },
        scope,
      ),
  };
}

/** The fields of an event that may leave the process. */
interface Essence {
  event_id?: string;
  timestamp?: number;
  start_timestamp?: number;
  platform?: string;
  level?: "fatal" | "error" | "warning" | "log" | "info" | "debug";
  transaction?: string;
  environment?: string;
  release?: string;
  tags?: Record<string, unknown>;
  exception?: object;
  contexts?: { trace?: object };
  sdk?: object;
}

function essence<E extends Essence>(event: E) {
  const { event_id, timestamp, start_timestamp, platform, level, transaction } = event;
  const { environment, release, tags, exception, contexts, sdk } = event;
  const kept = {
    ...{ event_id, timestamp, start_timestamp, platform, level, transaction },
    ...{ environment, release, tags, exception, sdk },
    contexts: {
      ...(contexts?.trace ? { trace: contexts.trace } : {}),
      runtime: { name: "deno", version: Deno.version.deno },
    },
  };
  return Object.fromEntries(
    Object.entries(kept).filter(([, value]) => value !== undefined),
  ) as Pick<E, keyof E & keyof Essence>; // a selection of what it had
}

/** From the first cause to what was thrown in the end. */
function exceptionOf(copies: ErrorCopy[]) {
  const values = copies.map(({ name, message, frames }, i) => ({
    type: name,
    value: message,
    stacktrace: { frames },
    mechanism: {
      type: i === 0 ? "generic" : "chained",
      handled: true,
      exception_id: i,
      ...(i === 0 ? {} : { parent_id: i - 1, source: "cause" }),
    },
  }));
  return { values: values.reverse() };
}

function transactionOf({ name, kind, durationMs, isOk, requestId }: Timing, endedAt: number) {
  return {
    type: "transaction" as const,
    transaction: redactStart(name, 200),
    transaction_info: { source: kind === "request" ? "route" as const : "task" as const },
    timestamp: endedAt / SECOND_MS,
    start_timestamp: (endedAt - durationMs) / SECOND_MS,
    tags: requestId === undefined ? {} : { request_id: requestId },
    spans: [],
    contexts: {
      trace: {
        trace_id: newHexId(endedAt),
        // The random half.
        span_id: newHexId(endedAt).slice(16),
        op: kind === "request" ? "http.server" : "job",
        status: isOk ? "ok" : "internal_error",
        data: {},
      },
    },
  };
}

function newHexId(now: number): string {
  return newId(now).replaceAll("-", "");
}

/** One request to the ingest. @throws when it does not answer in time */
async function send(
  url: string,
  headers: Record<string, string>,
  body: string | Uint8Array,
): Promise<
  { statusCode: number; headers: Record<"x-sentry-rate-limits" | "retry-after", string | null> }
> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), SEND_MS);
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers,
      body: body as BodyInit,
      redirect: "error",
      signal: abort.signal,
    });
    await answer.body?.cancel();
    return {
      statusCode: answer.status,
      headers: {
        "x-sentry-rate-limits": answer.headers.get("x-sentry-rate-limits"),
        "retry-after": answer.headers.get("retry-after"),
      },
    };
  } finally {
    clearTimeout(timer);
  }
}
