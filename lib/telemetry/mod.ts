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
import { NAME_MAX, nameJson, quote, UNREADABLE, type Walk, walkFields } from "./_fields.ts";

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
  return {
    debug: beside((event) => logger.debug(event)),
    info: beside((event) => logger.info(event)),
    warn: beside((event) => logger.warn(event)),
    error: beside((event) => logger.error(event)),
  };
}

/** The fields of the record that is being written. */
let given: unknown;

/**
 * Passes the fields beside the record: LogTape copies those that it sees, which costs as much as the
 * line itself, and a getter among them may throw. Its sinks run before the call returns.
 */
function beside(log: (event: string) => void): Log["info"] {
  return (event, fields) => {
    const outer = given;
    given = fields;
    try {
      log(event);
    } finally {
      given = outer;
    }
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
function entriesOf({ timestamp, level, rawMessage }: LogRecord): Entry[] {
  const entries: Entry[] = [
    ["time", `"${new Date(timestamp).toISOString()}"`],
    ["level", level === "warning" ? '"warn"' : `"${level}"`],
    ["event", quote(String(rawMessage), EVENT_MAX)],
  ];
  const { requestId, job } = contexts.getStore() ?? {};
  if (requestId !== undefined) entries.push(["requestId", quote(requestId, NAME_MAX)]);
  if (job !== undefined) entries.push(["job", quote(job, NAME_MAX)]);
  const reserved = entries.length;

  const fields = given;
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
