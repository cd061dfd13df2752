/**
 * The log: one line a record, `noun.verb` events with fields, and nothing private.
 *
 * A record is written by hand in one walk over its fields, because what LogTape
 * and its redaction do with them loses records: a getter that throws drops one,
 * and a redacted field vanishes. LogTape carries the record to the sink.
 *
 * Logging never throws, never changes what it is given, and never takes longer
 * than the bounds below allow, whatever it is given.
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

/** What a record tells besides its event, by name. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Where the program tells what happened. No method throws. */
export interface Log {
  /** For whoever looks for a cause; off unless asked for. */
  debug(event: string, fields?: LogFields): void;
  /** What happened, in the course of things. */
  info(event: string, fields?: LogFields): void;
  /** The program coped, and someone should know. */
  warn(event: string, fields?: LogFields): void;
  /** Something did not happen that should have. */
  error(event: string, fields?: LogFields): void;
}

/** Options for {@linkcode openLog}. */
export interface LogOptions {
  /** The least severe record to write. */
  level: "debug" | "info" | "warn" | "error";
  /** `json` for machines, one object a line; `pretty` for people, one line a record. */
  format: "json" | "pretty";
  /** Colours in the pretty format; off by default. */
  color?: boolean;
  /** Takes each line, without its end; by default it goes to standard output. */
  write?: (line: string) => void;
}

/** What a request or a job has asked of the store so far. */
export interface Meter {
  /** Round trips that read. */
  kvReads: number;
  /** Commits tried, conflicts included. */
  kvCommits: number;
  /** Attempts that had to be made again. */
  kvConflicts: number;
  /** Operations that were answered from their receipt, as they had been done before. */
  replays: number;
  /** Milliseconds spent waiting, by what for. */
  spentMs: { kvRead: number; kvCommit: number };
}

/** On whose behalf code runs. */
export interface RequestContext {
  /** The HTTP exchange, as in its `X-Request-Id`. */
  requestId?: string;
  /** The recurring job. */
  job?: string;
  /** Counts what it costs. */
  meter: Meter;
}

/** A meter that has counted nothing. */
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
 * Runs `fn`, and all that it starts, on behalf of `context`: records carry its
 * request id and job, and {@linkcode currentContext} finds it.
 */
export function withContext<T>(context: RequestContext, fn: () => T): T {
  return contexts.run(context, fn);
}

/** On whose behalf the caller runs; `undefined` outside of requests and jobs. */
export function currentContext(): RequestContext | undefined {
  return contexts.getStore();
}

/** The names that LogTape has for ours. */
const LEVELS = { debug: "debug", info: "info", warn: "warning", error: "error" } as const;

/** LogTape's configuration belongs to the process: it is made again with every log opened so far. */
const opened: { sink: Sink; lowestLevel: LogLevel }[] = [];

/** Opens a log, for the life of the process. It holds nothing that has to be closed. */
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
      // It would print, unredacted, what a failing sink was given.
      { category: ["logtape", "meta"], sinks: [], lowestLevel: "fatal" },
    ],
  });
  const logger = getLogger(`log${opened.length - 1}`);
  // In an array, since LogTape reads the fields it can see, and a getter may throw.
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

/** A line that collectors take in one piece (Docker cuts at 16 KiB); a walk ends when it is full. */
const LINE_MAX = 12_000;
/** An event is a name. */
const EVENT_MAX = 128;
/** Names and values, in characters; what is longer is cut. */
const NAME_MAX = 128;
const TEXT_MAX = 2_048;
const STACK_MAX = 4_096;
/** Fields of an object, or items of a list. */
const ITEMS_MAX = 50;
/** Objects within objects, errors within errors. */
const DEPTH_MAX = 6;
/** So that what begins before a cut is recognised whole: the longest e-mail address, and more. */
const CUT_MARGIN = 512;

/** A walk through what a record was given. */
interface Walk {
  /** Characters left. */
  room: number;
  /** The objects that hold the one at hand. */
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
  const walk: Walk = { room: LINE_MAX, path: [] };
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

/** JSON for people: without quotes where none are needed, a stack as a chain of frames. */
function bare(json: string): string {
  const text = /^"([^"\\=\s]+)"$/.exec(json)?.[1];
  return text ?? json.replaceAll(/\\n {4}at /g, " ← ");
}

const UNREADABLE = '"[unreadable]"';
const FULL = '"[cut]"';
const HIDDEN = JSON.stringify(REDACTED);

/** Tells `emit` the fields of `object`, as far as there is room; may throw what `object` throws. */
function walkFields(
  object: object,
  walk: Walk,
  emit: (name: string, json: string) => void,
): void {
  const names = Object.keys(object);
  for (const [i, name] of names.entries()) {
    if (i === ITEMS_MAX || walk.room <= 0) return emit("more", String(names.length - i));
    let json: string | undefined;
    try {
      json = fieldJson(name, Reflect.get(object, name), walk);
    } catch {
      json = UNREADABLE;
    }
    if (json === undefined) continue;
    walk.room -= name.length + 4;
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
  if (walk.room <= 0) return FULL;
  if (typeof value === "object" && value !== null) return objectJson(value, walk);
  const json = primitiveJson(value);
  walk.room -= json.length;
  return json;
}

/** What JSON has no word for is told as text. */
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
    if (i === ITEMS_MAX || walk.room <= 0) {
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

/** An error's own words, its kind if it is ours, where it was made, and what caused it. */
function errorJson(error: Error, walk: Walk): string {
  let json = "";
  const told = ["name", "kind", "code", "message", "stack", "fields", "errors", "cause"];
  for (const name of told) {
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
    // It begins with the name and the message.
    const frames = quote(value.slice(Math.max(value.indexOf("\n    at "), 0)).trim(), STACK_MAX);
    walk.room -= frames.length;
    json += `,"stack":${frames}`;
  }
  return `{${json.slice(1)}}`;
}

function nameJson(name: string): string {
  return /^[a-z_]{1,64}$/i.test(name) ? `"${name}"` : quote(name, NAME_MAX);
}

/** What JSON leaves as it is, and yet ends a line or turns the text around in some viewer. */
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
