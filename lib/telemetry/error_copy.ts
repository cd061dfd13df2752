/**
 * Copies of errors that may leave the process: kinds, redacted messages and places in the
 * program, and nothing else.
 *
 * @module
 */
import { AppError } from "../errors.ts";
import { REDACTED, redactStart } from "./redact.ts";

/** A frame of a stack. */
export interface Frame {
  /** A file of the program, a package with its version, or a module of the runtime. */
  filename: string;
  /** As in the stack; `?` if it has no name. */
  function: string;
  /** From 1. */
  lineno: number;
  /** From 1. */
  colno: number;
  /** Whether it is a file of the program. */
  in_app: boolean;
}

/** One error, without its causes. */
export interface ErrorCopy {
  /** The name of its class. */
  name: string;
  /** Redacted, up to 1,000 characters. */
  message: string;
  /** The kind of an `AppError`; undefined for other errors. */
  kind: string | undefined;
  /** The outermost call first; empty without a stack. */
  frames: Frame[];
}

const NAME_MAX = 100;
const MESSAGE_MAX = 1_000;
const FRAMES_MAX = 50;
const STACK_MAX = 20_000;
/** Errors in a chain of causes. */
const CAUSES_MAX = 5;

const ROOT = new URL("../../", import.meta.url).href;

/** Copies an error and its causes, itself first. Never throws. */
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

/** An error in one line for people: its name and its redacted message. */
export function errorLine(error: unknown): string {
  const { name, message } = copyOf(error);
  return `${name}: ${message}`.replaceAll(/\s+/g, " ");
}

function copyOf(error: unknown): ErrorCopy {
  if (!(error instanceof Error)) {
    // An object may contain anything.
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

/** A line of a V8 stack, with or without a function. */
const LINE =
  /^ {4}at (?:(.{1,200}?) \()?((?:file|npm|ext|node|https?):[^\s()]{1,500}):(\d{1,9}):(\d{1,9})\)?$/;

function framesOf(stack: string, message: string): Frame[] {
  // The stack begins with the message, which may contain similar lines.
  const at = message === "" ? -1 : stack.indexOf(message);
  const lines = stack.slice(at < 0 ? 0 : at + message.length).slice(0, STACK_MAX).split("\n");
  const frames: Frame[] = [];
  for (const line of lines) {
    const [, name = "?", file, lineno, colno] = LINE.exec(line) ?? [];
    if (file === undefined || frames.length === FRAMES_MAX) continue;
    frames.unshift({
      filename: filenameOf(file),
      function: redactStart(name, NAME_MAX),
      lineno: Number(lineno),
      colno: Number(colno),
      in_app: file.startsWith(ROOT),
    });
  }
  return frames;
}

/** Removes the folders above the program or the packages, which may have a person's name. */
function filenameOf(file: string): string {
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
    return undefined; // a getter of another program's error may throw
  }
}
