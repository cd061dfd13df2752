/**
 * Reports unexpected errors to Sentry, or a service with its protocol.
 *
 * A report is put together here from harmless parts: the kind of the error, its
 * message, stack and causes after redaction, and a few tags. The SDK only sends it; its
 * integrations are off, since they cost most of the throughput and send headers and
 * cookies along. The SDK takes 90 ms to import; it is loaded with the first
 * report, or once the program listens.
 *
 * @module
 */
import type { Event } from "@sentry/deno";
import { newId } from "../ids.ts";
import { type Clock, MINUTE_MS, SECOND_MS, withDeadline } from "../time.ts";
import { IngestError, sendToIngest } from "./_ingest.ts";
import { errorCopies, type ErrorCopy } from "./error_copy.ts";
import type { Log } from "./mod.ts";
import { redactStart } from "./redact.ts";

/** Where an error occurred. */
export interface ErrorContext {
  /** The HTTP exchange, as in its `X-Request-Id`. */
  requestId?: string;
  /** Method and pattern, such as `GET /i/:token`; never a path, which may hold a token. */
  route?: string;
  /** The recurring job. */
  job?: string;
}

/** A job, for its monitor at Sentry. */
export interface MonitoredJob {
  /** The monitor's name: letters, digits, hyphens and underscores. */
  name: string;
  /** When it runs: five fields of cron, UTC. */
  schedule: string;
  /** A longer run counts as failed; in milliseconds. */
  timeLimitMs: number;
}

/** A measured duration, to be reported as a trace. */
export interface Timing {
  /** Such as `GET /api/v2/leads/:id`. */
  name: string;
  /** What was measured. */
  kind: "request" | "job";
  /** How long it took, until now. */
  durationMs: number;
  /** Whether it succeeded. */
  isOk: boolean;
  /** The HTTP exchange. */
  requestId?: string;
}

/** Reports unexpected errors. No method throws an error of its own, or waits unless it says so. */
export interface ErrorTracker {
  /** Loads the SDK; call it once the program listens. */
  start(): void;
  /** Reports an error. At most 60 a minute are reported; the log has them all. */
  report(error: unknown, context?: ErrorContext): void;
  /** Reports a duration, for the share of cases that the sample rate sets. */
  timed(timing: Timing): void;
  /**
   * Runs a job, and reports its start, its outcome, and what it threw.
   *
   * @throws what `run` throws
   */
  monitored<T>(job: MonitoredJob, run: () => Promise<T>): Promise<T>;
  /** Waits until everything is sent, at most `ms` milliseconds. */
  flush(ms: number): Promise<void>;
}

/** Options for {@linkcode openErrorTracker}. */
export interface ErrorTrackerOptions {
  /** The Sentry DSN; `undefined` turns reporting off, and the SDK is not loaded. */
  dsn: string | undefined;
  /** The share of {@linkcode Timing}s that is reported, 0 to 1. */
  sampleRate: number;
  /** Such as `production`. */
  environment: string;
  /** The version of this build. */
  release: string;
  /** Records that reports cannot be sent. */
  log: Log;
  /** Dates the reports. */
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

/** Reports that wait for the SDK; further ones at the start are dropped. */
const WAITING_MAX = 100;
/** In a storm of errors the first ones are enough, and each costs money. */
const REPORTS_PER_MINUTE_MAX = 60;

type Options = ErrorTrackerOptions & { dsn: string };

/** Sends what this module has put together. */
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
    // Copied now: the error may change, or keep a whole request in memory.
    const copies = errorCopies(error);
    const kind = copies[0]?.kind;
    const tags = {
      ...(requestId === undefined ? {} : { request_id: requestId }),
      ...(route === undefined ? {} : { route: redactStart(route, 200) }),
      ...(job === undefined ? {} : { job: redactStart(job, 200) }),
      ...(kind === undefined ? {} : { error_kind: kind }),
    };
    this.#send((carrier) => carrier.report(copies, tags));
  }

  timed(timing: Timing): void {
    const { sampleRate, random, clock } = this.#options;
    if (random() >= sampleRate) return;
    const endedAt = clock();
    this.#send((carrier) => carrier.timed(timing, endedAt));
  }

  async monitored<T>(job: MonitoredJob, run: () => Promise<T>): Promise<T> {
    const checkInId = newHexId(this.#options.clock());
    const startedAt = performance.now();
    const end = (status: "ok" | "error") => {
      const durationMs = performance.now() - startedAt;
      const duration = durationMs / SECOND_MS;
      this.#send((carrier) => carrier.checkIn(job, { checkInId, status, duration }));
      this.timed({ name: job.name, kind: "job", durationMs, isOk: status === "ok" });
    };
    this.#send((carrier) => carrier.checkIn(job, { checkInId, status: "in_progress" }));
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
    const allSent = async () => {
      await this.#loading;
      while (this.#sending.size > 0) await Promise.all(this.#sending);
    };
    await withDeadline(allSent(), ms, () => {});
  }

  #isStorm(): boolean {
    const minute = Math.floor(performance.now() / MINUTE_MS);
    if (minute !== this.#minute) this.#reports = 0;
    this.#minute = minute;
    return ++this.#reports > REPORTS_PER_MINUTE_MAX;
  }

  /** Sends now, or when the SDK is loaded; a report that fails is lost. */
  #send(action: (carrier: Carrier) => void): void {
    if (this.#carrier) return this.#attempt(() => action(this.#carrier!));
    if (this.#carrier === null || this.#waiting.length >= WAITING_MAX) return;
    this.#waiting.push(action);
    this.start();
  }

  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  async #load(): Promise<void> {
    try {
      const carrier = await loadSentry(this.#options, (request) => this.#track(request));
      this.#carrier = carrier;
      for (const action of this.#waiting) this.#attempt(() => action(carrier));
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

  /** Logs the first failure after a success. Other errors' messages may contain the DSN. */
  #noteFailure(error: unknown): void {
    if (this.#isFailing) return;
    this.#isFailing = true;
    const name = error instanceof Error ? error.name : typeof error;
    const reason = error instanceof IngestError ? error.message : name;
    this.#options.log.warn("error_tracking.failed", { reason });
  }
}

/** Loads the SDK. */
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
        ({ body }) => track(sendToIngest(transport.url, transport.headers ?? {}, body)),
      ),
    // The SDK adds what it finds; only our own fields pass.
    beforeSend: (event) => ({ ...allowedFieldsOf(event), type: undefined }),
    beforeSendTransaction: (event) => ({ ...allowedFieldsOf(event), type: "transaction" }),
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
        // A check-in has a duration only when it has ended.
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

/** The fields of an event that may leave the process; of `contexts` only `trace`. */
const ALLOWED = [
  "event_id",
  "timestamp",
  "start_timestamp",
  "platform",
  "level",
  "transaction",
  "environment",
  "release",
  "tags",
  "exception",
  "sdk",
] as const;

/** An event with its allowed fields only, and the version of Deno. */
function allowedFieldsOf(event: Event): Event {
  const allowed = ALLOWED.filter((name) => event[name] !== undefined);
  const trace = event.contexts?.trace;
  return {
    ...Object.fromEntries(allowed.map((name) => [name, event[name]])),
    contexts: {
      ...(trace ? { trace } : {}),
      runtime: { name: "deno", version: Deno.version.deno },
    },
  };
}

/** The error as an exception with its causes, the first cause first. */
function exceptionOf(copies: ErrorCopy[]): NonNullable<Event["exception"]> {
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
