/**
 * The log: one line per record, with a `noun.verb` event, fields, and nothing private.
 *
 * LogTape passes records to the sink; their text is made here in one walk over the
 * fields. LogTape's own formatters and redaction lose data: a getter that throws drops
 * the record, and a redacted field vanishes.
 *
 * Logging never throws, never changes its arguments, and is bounded by the limits below,
 * whatever it is given.
 *
 * @module
 */
import {
  configureSync,
  getLogger,
  type LogLevel,
  type LogRecord,
  type Sink,
} from "@logtape/logtape";
import { AsyncLocalStorage } from "node:async_hooks";
import { isPrivateName, REDACTED, redactText } from "./redact.ts";

/** Fields of a record, by name. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes records. No method throws. */
export interface Log {
  /** Details for finding a cause; off by default. */
  debug(event: string, fields?: LogFields): void;
  /** A normal event. */
  info(event: string, fields?: LogFields): void;
  /** A problem that the program handled, and somebody should know. */
  warn(event: string, fields?: LogFields): void;
  /** A failure. */
  error(event: string, fields?: LogFields): void;
}

/** Options for {@linkcode openLog}. */
export interface LogOptions {
  /** The lowest level to write. */
  level: "debug" | "info" | "warn" | "error";
  /** `json` for machines; `pretty` for people. One line per record in both. */
  format: "json" | "pretty";
  /** Colours in the pretty format; off by default. */
  color?: boolean;
  /** Receives each line, without its end; standard output by default. */
  write?: (line: string) => void;
}

/** The store operations of a request or job so far. */
export interface Meter {
  /** Round trips that read. */
  kvReads: number;
  /** Attempted commits, conflicts included. */
  kvCommits: number;
  /** Attempts that had to be repeated. */
  kvConflicts: number;
  /** Operations that were done before, and answered from their receipt. */
  replays: number;
  /** Milliseconds of waiting, by kind. */
  spentMs: { kvRead: number; kvCommit: number };
}

/** The request or job on whose behalf code runs. */
export interface RequestContext {
  /** The HTTP exchange, as in its `X-Request-Id`. */
  requestId?: string;
  /** The recurring job. */
  job?: string;
  /** Counts its cost. */
  meter: Meter;
}

/** A meter at zero. */
export function newMeter(): Meter {
  return {
    kvReads: 0,
    kvCommits: 0,
    kvConflicts: 0,
    replays: 0,
    spentMs: { kvRead: 0, kvCommit: 0 },
  };
}

const contexts = new AsyncLocalStorage<RequestContext>();

/**
 * Runs `fn`, and everything it starts, on behalf of `context`: records have its request id
 * and job, and {@linkcode currentContext} returns it.
 */
export function withContext<T>(context: RequestContext, fn: () => T): T {
  return contexts.run(context, fn);
}

/** The context of the caller; `undefined` outside of requests and jobs. */
export function currentContext(): RequestContext | undefined {
  return contexts.getStore();
}

/** Our levels in LogTape. */
const LEVELS = { debug: "debug", info: "info", warn: "warning", error: "error" } as const;

/** LogTape has one configuration per process: it is renewed with every log opened so far. */
const opened: { sink: Sink; lowestLevel: LogLevel }[] = [];

/** Opens a log for the life of the process; it need not be closed. */
export function openLog(options: LogOptions): Log {
  const { level, format, color = false, write = toStandardOutput } = options;
  const toLine = format === "json" ? jsonLine : (entries: Entry[]) => prettyLine(entries, color);
  opened.push({
    lowestLevel: LEVELS[level],
    sink: (record) => write(toLine(entriesOf(record))),
  });
  configureSync({
    reset: true,
    sinks: Object.fromEntries(opened.map(({ sink }, i) => [`log${i}`, sink])),
    loggers: [
      ...opened.map(({ lowestLevel }, i) => ({
        category: `log${i}`,
        sinks: [`log${i}`],
        lowestLevel,
      })),
      // It would print the unredacted record of a failing sink.
      { category: ["logtape", "meta"], sinks: [], lowestLevel: "fatal" },
    ],
  });
  const logger = getLogger(`log${opened.length - 1}`);
  // In an array, since LogTape reads visible fields, and a getter may throw.
  return {
    debug: (event, fields) => logger.debug(event, { given: [fields] }),
    info: (event, fields) => logger.info(event, { given: [fields] }),
    warn: (event, fields) => logger.warn(event, { given: [fields] }),
    error: (event, fields) => logger.error(event, { given: [fields] }),
  };
}

function toStandardOutput(line: string): void {
  console.log(line);
}

/** A field's name, and its value in JSON without line breaks. */
type Entry = [name: string, json: string];

/** Collectors accept this in one piece (Docker cuts at 16 KiB); the walk then ends. */
const LINE_MAX = 12_000;
/** Characters of an event. */
const EVENT_MAX = 128;
/** Characters of names and values; longer ones are cut. */
const NAME_MAX = 128;
const TEXT_MAX = 2_048;
const STACK_MAX = 4_096;
/** Fields of an object, or items of a list. */
const ITEMS_MAX = 50;
/** Levels of nested objects or causes. */
const DEPTH_MAX = 6;
/** Characters read beyond a cut, so that a secret across it is recognised: more than the longest e-mail address. */
const CUT_MARGIN = 512;

/** The state of the walk over a record's fields. */
interface Walk {
  /** Characters left. */
  remaining: number;
  /** The objects that contain the current one. */
  readonly path: object[];
}

function entriesOf({ timestamp, level, rawMessage, properties }: LogRecord): Entry[] {
  const entries: Entry[] = [
    ["time", `"${new Date(timestamp).toISOString()}"`],
    ["level", level === "warning" ? '"warn"' : `"${level}"`],
    ["event", quote(String(rawMessage), EVENT_MAX)],
  ];
  const { requestId, job } = contexts.getStore() ?? {};
  if (requestId !== undefined) entries.push(["requestId", quote(requestId, NAME_MAX)]);
  if (job !== undefined) entries.push(["job", quote(job, NAME_MAX)]);
  const reserved = entries.length;

  const fields: unknown = Array.isArray(properties.given) ? properties.given[0] : undefined;
  if (typeof fields !== "object" || fields === null) return entries;
  const walk: Walk = { remaining: LINE_MAX, path: [] };
  try {
    walkFields(fields instanceof Error ? { error: fields } : fields, walk, (name, json) => {
      const isTaken = entries.some(([other], i) => i < reserved && other === name);
      entries.push([isTaken ? `_${name}` : name, json]);
    });
  } catch {
    entries.push(["fields", UNREADABLE]);
  }
  return entries;
}

function jsonLine(entries: Entry[]): string {
  let line = "";
  for (const [name, json] of entries) line += `,${nameJson(name)}:${json}`;
  return `{${line.slice(1)}}`;
}

const COLORS: Readonly<Record<string, string>> = {
  debug: "\x1b[90m",
  info: "\x1b[36m",
  warn: "\x1b[33m",
  error: "\x1b[31m",
};

function prettyLine(entries: Entry[], color: boolean): string {
  const [time = "", level = "", event = "", ...fields] = entries.map(([, json]) => bare(json));
  const paint = (code: string, text: string) => color ? `${code}${text}\x1b[0m` : text;
  const names = entries.slice(3).map(([name]) => bare(nameJson(name)));
  return [
    paint("\x1b[90m", time.slice(11, 23)),
    paint(COLORS[level] ?? "", level.toUpperCase().padEnd(5)),
    paint("\x1b[1m", event),
    ...fields.map((field, i) => paint("\x1b[90m", `${names[i]}=`) + field),
  ].join(" ");
}

/** JSON for people: without unnecessary quotes, and a stack as a chain of frames. */
function bare(json: string): string {
  const text = /^"([^"\\=\s]+)"$/.exec(json)?.[1];
  return text ?? json.replaceAll(/\\n {4}at /g, " ← ");
}

const UNREADABLE = '"[unreadable]"';
const FULL = '"[cut]"';
const HIDDEN = JSON.stringify(REDACTED);

/** Emits the fields of `object` up to the limits; may throw what `object` throws. */
function walkFields(
  object: object,
  walk: Walk,
  emit: (name: string, json: string) => void,
): void {
  const names = Object.keys(object);
  for (const [i, name] of names.entries()) {
    if (i === ITEMS_MAX || walk.remaining <= 0) return emit("more", String(names.length - i));
    let json: string | undefined;
    try {
      json = fieldJson(name, Reflect.get(object, name), walk);
    } catch {
      json = UNREADABLE;
    }
    if (json === undefined) continue;
    walk.remaining -= name.length + 4;
    emit(name, json);
  }
}

/** A value under its name; `undefined` if there is none. */
function fieldJson(name: string, value: unknown, walk: Walk): string | undefined {
  if (value === undefined) return undefined;
  const isHidden = value !== null && typeof value !== "boolean" && isPrivateName(name);
  return isHidden ? HIDDEN : toJson(value, walk);
}

function toJson(value: unknown, walk: Walk): string {
  if (walk.remaining <= 0) return FULL;
  if (typeof value === "object" && value !== null) return objectJson(value, walk);
  const json = primitiveJson(value);
  walk.remaining -= json.length;
  return json;
}

/** Values that JSON does not support become text. */
function primitiveJson(value: unknown): string {
  switch (typeof value) {
    case "string":
      return quote(value, TEXT_MAX);
    case "number":
      return Number.isFinite(value) ? String(value) : `"${value}"`;
    case "bigint":
      // Printing digits takes more than linear time.
      return BigInt.asIntN(256, value) === value ? quote(String(value), NAME_MAX) : '"[bigint]"';
    case "symbol":
      return quote(String(value), NAME_MAX);
    case "function":
      return '"[function]"';
    default:
      return String(value ?? null);
  }
}

function objectJson(value: object, walk: Walk): string {
  if (walk.path.includes(value)) return '"[circular]"';
  if (walk.path.length === DEPTH_MAX) return '"[deep]"';
  walk.path.push(value);
  try {
    if (Array.isArray(value)) return listJson(value, value.length, walk);
    if (value instanceof Error) return errorJson(value, walk);
    if (value instanceof Date) return quote(String(value.toJSON()), NAME_MAX);
    if (value instanceof URL) return quote(value.href, TEXT_MAX);
    if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) {
      return `"[${Number(value.byteLength)} bytes]"`;
    }
    if (value instanceof Set) return listJson(value, value.size, walk);
    if (value instanceof Map) return mapJson(value, walk);
    let json = "";
    walkFields(value, walk, (name, field) => json += `,${nameJson(name)}:${field}`);
    return `{${json.slice(1)}}`;
  } catch {
    return UNREADABLE;
  } finally {
    walk.path.pop();
  }
}

function listJson(items: Iterable<unknown>, count: number, walk: Walk): string {
  let json = "";
  let i = 0;
  for (const item of items) {
    if (i === ITEMS_MAX || walk.remaining <= 0) {
      json += `,"${Number(count) - i} more"`;
      break;
    }
    json += `,${toJson(item ?? null, walk)}`;
    i++;
  }
  return `[${json.slice(1)}]`;
}

function mapJson(map: Map<unknown, unknown>, walk: Walk): string {
  const fields: [string, unknown][] = [];
  for (const [key, value] of map) {
    if (fields.length > ITEMS_MAX) break;
    fields.push([typeof key === "object" ? "[object]" : String(key), value]);
  }
  let json = "";
  walkFields(
    Object.fromEntries(fields),
    walk,
    (name, field) => json += `,${nameJson(name)}:${field}`,
  );
  return `{${json.slice(1)}}`;
}

/** An error with its kind, message, stack and causes. */
function errorJson(error: Error, walk: Walk): string {
  let json = "";
  const names = ["name", "kind", "code", "message", "stack", "fields", "errors", "cause"];
  for (const name of names) {
    let value: unknown;
    try {
      value = Reflect.get(error, name);
    } catch {
      value = "[unreadable]";
    }
    if (value === undefined) continue;
    if (name !== "stack" || typeof value !== "string") {
      json += `,"${name}":${toJson(value, walk)}`;
      continue;
    }
    // The stack begins with the name and the message.
    const frames = quote(value.slice(Math.max(value.indexOf("\n    at "), 0)).trim(), STACK_MAX);
    walk.remaining -= frames.length;
    json += `,"stack":${frames}`;
  }
  return `{${json.slice(1)}}`;
}

function nameJson(name: string): string {
  return /^[a-z_]{1,64}$/i.test(name) ? `"${name}"` : quote(name, NAME_MAX);
}

/** Characters that JSON does not escape, but that end a line or reverse the text in some viewers. */
const UNSAFE = /[\u007f-\u009f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** `text` in JSON, redacted, then cut at `max` characters. */
function quote(text: string, max: number): string {
  const clean = text.length <= max
    ? redactText(text)
    : `${redactText(text.slice(0, max + CUT_MARGIN)).slice(0, max)}… of ${text.length}`;
  return JSON.stringify(clean).replace(
    UNSAFE,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
