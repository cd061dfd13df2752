/**
 * Spans for the traces that Deno itself collects (`OTEL_DENO=true`, and always on Deno
 * Deploy): the steps within a request or job, in addition to the runtime's spans for
 * serving and fetching.
 *
 * Without traces nothing is loaded and {@linkcode traced} is a plain call. Names and
 * attributes leave the process: only constants, patterns and counts, never text that a
 * person typed.
 *
 * To collect them, with a collector that accepts OTLP over HTTP at that address:
 *
 * ```sh
 * OTEL_DENO=true OTEL_DENO_CONSOLE=ignore OTEL_SERVICE_NAME=wetech-edge \
 *   OTEL_EXPORTER_OTLP_PROTOCOL=http/json OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 \
 *   deno task start
 * ```
 *
 * The runtime's own spans contain the whole URL, which may have a token or a name, and
 * overwriting an attribute sends both values. So the collector has to delete `url.full`,
 * `url.path` and `url.query`; `http.route` identifies the request.
 *
 * @module
 */
import { AppError } from "../errors.ts";

/** Attributes of a span. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** The part of an OpenTelemetry span in use here. */
interface Span {
  setAttribute(name: string, value: string | number | boolean): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  updateName(name: string): unknown;
  end(): void;
}

interface Tracing {
  startActiveSpan<T>(
    name: string,
    options: { attributes: SpanAttributes; root?: boolean },
    run: (span: Span) => T,
  ): T;
  activeSpan(): Span | undefined;
}

let tracing: Tracing | null = null;

/** Where a runtime that collects traces registers its part of the API. */
const RUNTIME_API = Symbol.for("opentelemetry.js.api.1");

/** Whether the runtime collects traces. */
function isTracing(): boolean {
  return RUNTIME_API in globalThis;
}

/** Loads the API if the runtime collects traces; await it once before serving. */
export async function startTracing(): Promise<void> {
  if (tracing || !isTracing()) return;
  const { trace } = await import("@opentelemetry/api");
  const tracer = trace.getTracer("wetech-edge");
  tracing = {
    startActiveSpan: (name, options, run) => tracer.startActiveSpan(name, options, run),
    activeSpan: () => trace.getActiveSpan(),
  };
}

/**
 * Runs `fn` within a span, such as `kv.commit`. The span has the kind of an error, but
 * not its message, which may be about a person.
 *
 * @param name From a small set: a constant, or built of constants.
 * @throws what `fn` throws
 */
export function traced<T>(
  name: string,
  attributes: SpanAttributes,
  fn: () => Promise<T>,
): Promise<T> {
  return inSpan(name, { attributes }, fn);
}

function inSpan<T>(
  name: string,
  options: { attributes: SpanAttributes; root?: boolean },
  fn: () => Promise<T>,
): Promise<T> {
  if (tracing === null) return fn();
  return tracing.startActiveSpan(name, options, async (span) => {
    try {
      return await fn();
    } catch (error) {
      span.setAttribute("error.type", errorType(error));
      span.setStatus({ code: ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** The same for work that a request starts and does not wait for: the span has no parent. */
export function tracedApart<T>(
  name: string,
  attributes: SpanAttributes,
  fn: () => Promise<T>,
): Promise<T> {
  return inSpan(name, { attributes, root: true }, fn);
}

/** `SpanStatusCode.ERROR` of OpenTelemetry. */
const ERROR = 2;

/** A request, for its span. */
export interface ServedRequest {
  /** `GET`, … */
  method: string;
  /** The pattern of its path, such as `/i/:token`. */
  route: string;
  /** As in its `X-Request-Id`. */
  requestId: string;
}

/**
 * Names the span of the current request by method and pattern; the runtime only knows the
 * method. Call it while the request is being answered.
 */
export function nameServerSpan({ method, route, requestId }: ServedRequest): void {
  const span = tracing?.activeSpan();
  if (!span) return;
  span.updateName(`${method} ${route}`);
  span.setAttribute("http.route", route);
  span.setAttribute("request.id", requestId);
}

function errorType(error: unknown): string {
  if (error instanceof AppError) return error.kind;
  return error instanceof Error ? error.name : typeof error;
}
