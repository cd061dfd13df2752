/**
 * Spans for the traces that Deno itself collects (`OTEL_DENO=true`, and always
 * on Deno Deploy): what happens within a request or a job, beside the spans that
 * the runtime makes for what it serves and fetches.
 *
 * Without traces nothing is loaded and {@linkcode traced} is a plain call. Names
 * and attributes are told to others: constants, patterns and counts, never what
 * a person typed.
 *
 * To see them, with any collector that takes OTLP over HTTP at that address:
 *
 * ```sh
 * OTEL_DENO=true OTEL_DENO_CONSOLE=ignore OTEL_SERVICE_NAME=wetech-edge \
 *   OTEL_EXPORTER_OTLP_PROTOCOL=http/json OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 \
 *   deno task start
 * ```
 *
 * The runtime's own spans tell the whole address, path and query, which may hold
 * a token or a name, and what is set over an attribute is sent beside it. So the
 * collector has to delete `url.full`, `url.path` and `url.query`; what it then
 * knows a request by is `http.route`.
 *
 * @module
 */
import { AppError } from "../errors.ts";

/** What a span tells besides its name. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean>>;

/** What this module uses of a span of OpenTelemetry. */
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

/** Where a runtime that collects traces has put its half of the API. */
const RUNTIME_API = Symbol.for("opentelemetry.js.api.1");

/** Whether the runtime collects traces. */
export function isTracing(): boolean {
  return RUNTIME_API in globalThis;
}

/** Loads what spans need, if the runtime collects traces; to be awaited once, before serving. */
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
 * Runs `fn` within a span, such as `kv.commit`. Of what it throws, the span
 * tells the kind and not the message, which may be about a person.
 *
 * @param name One of few: a constant, or with a part that is.
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

/** The same for what a request set off and does not wait for: the span is part of no other. */
export function tracedApart<T>(
  name: string,
  attributes: SpanAttributes,
  fn: () => Promise<T>,
): Promise<T> {
  return inSpan(name, { attributes, root: true }, fn);
}

/** `SpanStatusCode.ERROR` of OpenTelemetry. */
const ERROR = 2;

/** How a request was answered. */
export interface ServedRequest {
  /** `GET`, … */
  method: string;
  /** The pattern of its path, such as `/i/:token`. */
  route: string;
  /** As in its `X-Request-Id`. */
  requestId: string;
}

/**
 * Names the span of the request at hand by method and pattern, where the runtime
 * only knows the method. To be called while the request is being answered.
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
