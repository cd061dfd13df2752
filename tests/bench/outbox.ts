/**
 * How fast queued messages are sent, and what each costs the store: dispatched from
 * events and sent, refused, and sent from a queue that waited while its destination was
 * down. No HTTP.
 *
 * @module
 */
import { columnTable, count, figure, heading, mebibytes } from "./_figures.ts";
import type { Setting } from "./_options.ts";
import { inAnotherProcess } from "./_processes.ts";
import type { OutboxRun } from "./_outbox_runs.ts";

const MESSAGES = 5_000;

/** Measures it. @returns The report */
export async function benchOutbox({ folder, progress }: Setting): Promise<string> {
  progress(`outbox, ${count(MESSAGES)} messages`);
  const request = { kvPath: `${folder}/outbox.kv`, messages: MESSAGES };
  const runs = await inAnotherProcess<OutboxRun[]>("_outbox_runs.ts", request);
  return [
    heading("OUTBOX", "per second, and calls of the store for each message"),
    columnTable([
      ["", "per s", "reads", "lists", "commits", "MiB"],
      ...runs.map(({ name, seconds, reads, lists, commits, peakBytes }): [string, ...string[]] => [
        name,
        count(MESSAGES / seconds),
        ...[reads, lists, commits].map((calls) => (calls / MESSAGES).toFixed(3)),
        figure(mebibytes(peakBytes)),
      ]),
    ]),
    "",
  ].join("\n");
}
