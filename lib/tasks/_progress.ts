/**
 * Progress of a long task: a bar in a terminal, else a line now and then. Printed to
 * standard error, so that standard output has only the result.
 *
 * @module
 */
import type { RestoreStep } from "../backup/restore.ts";
import { grouped } from "./_format.ts";

/** Shows progress. */
export interface ProgressBar {
  /**
   * Shows how much of a step is done.
   *
   * @param total 0 when unknown.
   * @param detail What may be of interest beside the step, in a few words.
   */
  update(step: string, done: number, total: number, detail?: string): void;
  /** Removes the bar. */
  end(): void;
}

/** The steps of a restore and of a drill, as people read them. */
export const RESTORE_STEPS: Readonly<Record<RestoreStep["phase"], string>> = {
  backup: "Backing up current data",
  wipe: "Emptying",
  base: "Restoring",
  log: "Replaying log",
  check: "Verifying",
  sweep: "Sweeping",
};

const BAR_CELLS = 24;
/** Between two updates of the bar, and between two lines without a terminal. */
const DRAW_MS = 100;
const LINE_MS = 2_000;

/** Opens a progress bar on standard error. */
export function openProgressBar(): ProgressBar {
  const isTerminal = Deno.stderr.isTerminal();
  const startedAt = performance.now();
  let shownAt = -Infinity;
  let shownStep = "";
  return {
    update(step, done, total, detail) {
      const now = performance.now();
      // Without a total there is little to show of a step that ends at once.
      if (total === 0 && now - startedAt < LINE_MS) return;
      if (step === shownStep && now - shownAt < (isTerminal ? DRAW_MS : LINE_MS)) return;
      shownAt = now;
      shownStep = step;
      const seconds = Math.round((now - startedAt) / 1_000);
      const of = total > 0 ? ` of ${grouped(Math.max(total, done))}` : "";
      const text = [`${step}: ${grouped(done)}${of}`, `${seconds} s`, ...(detail ? [detail] : [])]
        .join(", ");
      if (!isTerminal) console.error(text);
      else write(`\r\x1b[2K${total > 0 ? `${barOf(done / total)} ` : ""}${text}`);
    },
    end() {
      if (isTerminal && shownStep !== "") write("\r\x1b[2K");
    },
  };
}

function barOf(share: number): string {
  const cells = Math.round(Math.min(share, 1) * BAR_CELLS);
  return `[${"#".repeat(cells)}${".".repeat(BAR_CELLS - cells)}]`;
}

function write(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}
