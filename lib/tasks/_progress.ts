/**
 * How far a long command has come: a bar where a person watches, else a line now
 * and then. Always on standard error, so that standard output is the answer's.
 *
 * @module
 */

/** Shows progress. */
export interface ProgressBar {
  /** Says what is being done, and how much of it is done. */
  update(what: string, done: number, of: number): void;
  /** Takes the bar away. */
  end(): void;
}

const BAR_CELLS = 24;
/** Between two drawings, and between two lines where there is no terminal. */
const DRAW_MS = 100;
const LINE_MS = 2_000;

/** Opens a bar; what it is drawn on is standard error. */
export function openProgressBar(): ProgressBar {
  const isTerminal = Deno.stderr.isTerminal();
  const startedAt = performance.now();
  let shownAt = -Infinity;
  let shownWhat = "";
  return {
    update(what, done, of) {
      const now = performance.now();
      if (what === shownWhat && now - shownAt < (isTerminal ? DRAW_MS : LINE_MS)) return;
      shownAt = now;
      shownWhat = what;
      const seconds = Math.round((now - startedAt) / 1_000);
      const text = textOf(what, done, of, seconds);
      if (isTerminal) write(`\r\x1b[2K${barOf(done, of)} ${text}`);
      else console.error(text);
    },
    end() {
      if (isTerminal && shownWhat !== "") write("\r\x1b[2K");
    },
  };
}

function barOf(done: number, of: number): string {
  const share = of > 0 ? Math.min(done / of, 1) : 0;
  const cells = Math.round(share * BAR_CELLS);
  return `[${"#".repeat(cells)}${".".repeat(BAR_CELLS - cells)}]`;
}

function textOf(what: string, done: number, of: number, seconds: number): string {
  const share = of > 0 ? ` of ${grouped(Math.max(of, done))}` : "";
  return `${what}: ${grouped(done)}${share}, ${seconds} s`;
}

/** A number for people. */
export function grouped(count: number): string {
  return count.toLocaleString("en");
}

function write(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}
