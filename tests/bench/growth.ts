/**
 * What the size of a store costs: a lead, a read, lists, a sweep, a backup and a restore
 * in stores of different sizes, filled through `acceptLead()`. No HTTP.
 *
 * @module
 */
import { columnTable, count, figure, heading, mebibytes, ratio } from "./_figures.ts";
import type { Filled, FillRequest, Measured } from "./_growth_store.ts";
import type { Setting } from "./_options.ts";
import { inAnotherProcess } from "./_processes.ts";

/** What is printed of each store. */
const ROWS: readonly [name: string, of: (filled: Filled, measured: Measured) => number | null][] = [
  ["filling, leads/s", ({ leads, seconds }) => Math.round(leads / seconds)],
  ["a lead, p50 ms", (_, { lead }) => lead.p50],
  ["a lead, p99 ms", (_, { lead }) => lead.p99],
  ["an invoice, p50 ms", (_, { invoice }) => invoice.p50],
  ["newest 50, p50 ms", (_, { list }) => list.p50],
  ["middle 50, p50 ms", (_, { middle }) => middle.p50],
  ["overdue 50, p50 ms", (_, { overdue }) => overdue.p50],
  ["sweep, s", (_, { sweepSeconds }) => sweepSeconds],
  ["backup, s", (_, { backupSeconds }) => backupSeconds],
  ["restore and sweep, s", (_, { restoreSeconds }) => restoreSeconds],
  ["store, bytes per lead", ({ leads, bytes }) => Math.round(bytes / leads)],
  ["memory at most, MiB", (_, { peakBytes }) => mebibytes(peakBytes)],
];

/** Measures it. @returns The report */
export async function benchGrowth({ folder, growth, progress }: Setting): Promise<string> {
  const stores: [Filled, Measured][] = [];
  for (const leads of growth) {
    const own = `${folder}/growth${leads}`;
    await Deno.mkdir(`${own}/backups`, { recursive: true });
    progress(`growth, ${count(leads)} leads`);
    const request: FillRequest = { folder: own, leads };
    const filled = await inAnotherProcess<Filled>("_growth_store.ts", { ...request, step: "fill" });
    // Another process, so that its memory is that of one which has just opened the store.
    const rest = { folder: own, leads: filled.leads, step: "measure" };
    stores.push([filled, await inAnotherProcess<Measured>("_growth_store.ts", rest)]);
    await Deno.remove(own, { recursive: true });
  }
  const isGrowing = stores.length > 1;
  const table = columnTable([
    ["", ...stores.map(([{ leads }]) => count(leads)), ...(isGrowing ? ["change"] : [])],
    ...ROWS.map(([name, of]): [string, ...string[]] => {
      const values = stores.map(([filled, measured]) => of(filled, measured));
      const [first, last] = [values[0] ?? NaN, values.at(-1) ?? NaN];
      return [name, ...values.map(figure), ...(isGrowing ? [ratio(last, first)] : [])];
    }),
  ]);
  const stopped = stores.flatMap(([{ leads, seconds }], i) =>
    leads === growth[i]
      ? []
      : `  Filling to ${count(growth[i]!)} stopped at ${count(leads)} after ${count(seconds)} s.`
  );
  return [
    heading("GROWTH", "in a process that has the store to itself, by leads stored"),
    table,
    ...stopped,
    "",
  ].join("\n");
}
