/**
 * A copy of what was thrown that may leave the process: kinds, redacted
 * messages, and places in the program; nothing else of it.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { REDACTED, redactStart } from "./redact.ts";

/** A line of a stack. */
export interface Frame {
  /** Below the program's folder, a package with its version, or a module of the runtime. */
  filename: string;
  /** As the stack names it; `?` for none. */
  function: string;
  /** From 1. */
  lineno: number;
  /** From 1. */
  colno: number;
  /** Whether the place is the program's own. */
  in_app: boolean;
}

/** One error, without those that caused it. */
export interface ErrorCopy {
  /** The name of its class. */
  name: string;
  /** Redacted, and up to 1,000 characters. */
  message: string;
  /** The vocabulary of `errors.ts`, if it is ours. */
  kind: string | undefined;
  /** The outermost call first; empty if there is no stack. */
  frames: Frame[];
}

const NAME_MAX = 100;
const MESSAGE_MAX = 1_000;
const FRAMES_MAX = 50;
const STACK_MAX = 20_000;
/** Errors within errors. */
const CAUSES_MAX = 5;

const ROOT = new URL("../../", import.meta.url).href;

/** Copies an error and what caused it, itself first. Never throws. */
export function errorCopies(error: unknown): ErrorCopy[] {
  const copies: ErrorCopy[] = [];
  let current = error;
  for (let i = 0; i < CAUSES_MAX; i++) {
    copies.push(copyOf(current));
    const cause = causeOf(current);
    if (cause === undefined || cause === null) break;
    current = cause;
  }
  return copies;
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? attempt(() => error.cause) : undefined;
}

/** What an error says, in one line for people: its name and its redacted message. */
export function errorLine(error: unknown): string {
  const { name, message } = copyOf(error);
  return `${name}: ${message}`.replaceAll(/\s+/g, " ");
}

function copyOf(error: unknown): ErrorCopy {
  if (!(error instanceof Error)) {
    // What an object holds is anybody's guess.
    const message = typeof error === "string" ? error : `Thrown: a value of type ${typeof error}`;
    return {
      name: "Thrown",
      message: redactStart(message, MESSAGE_MAX),
      kind: undefined,
      frames: [],
    };
  }
  const message = attempt(() => String(error.message)) ?? "";
  return {
    name: redactStart(attempt(() => String(error.name)) ?? "Error", NAME_MAX),
    message: redactStart(message, MESSAGE_MAX),
    kind: error instanceof AppError ? error.kind : undefined,
    frames: attempt(() => framesOf(String(error.stack), message)) ?? [],
  };
}

/** A line of V8, with or without a function before the place. */
const LINE =
  /^ {4}at (?:(.{1,200}?) \()?((?:file|npm|ext|node|https?):[^\s()]{1,500}):(\d{1,9}):(\d{1,9})\)?$/;

function framesOf(stack: string, message: string): Frame[] {
  // It begins with the message, which may have lines that look like these.
  const at = message === "" ? -1 : stack.indexOf(message);
  const lines = stack.slice(at < 0 ? 0 : at + message.length).slice(0, STACK_MAX).split("\n");
  const frames: Frame[] = [];
  for (const line of lines) {
    const [, name = "?", file, lineno, colno] = LINE.exec(line) ?? [];
    if (file === undefined || frames.length === FRAMES_MAX) continue;
    frames.unshift({
      filename: placeOf(file),
      function: redactStart(name, NAME_MAX),
      lineno: Number(lineno),
      colno: Number(colno),
      in_app: file.startsWith(ROOT),
    });
  }
  return frames;
}

/** Without the folders above the program or the packages, which may be named after a person. */
function placeOf(file: string): string {
  const path = file.replace(/[?#].*$/, "");
  if (path.startsWith(ROOT)) return `app:///${path.slice(ROOT.length)}`;
  if (!path.startsWith("file:")) return redactStart(path, NAME_MAX * 3);
  const inPackage = /\/(?:npm\/[^/]+|node_modules)\/(.{1,300})$/.exec(path)?.[1];
  return inPackage === undefined ? REDACTED : `npm:/${inPackage}`;
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined; // a getter of a foreign error
  }
}
