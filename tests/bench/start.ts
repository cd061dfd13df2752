/**
 * How long the program takes from its start to its first answer, beside a bare program
 * of Hono and zod.
 *
 * @module
 */
import { figure, heading, mebibytes, median, timeTable } from "./_figures.ts";
import type { Setting } from "./_options.ts";
import { memoryBytes, type Program, startBareApp, startProgram } from "./_processes.ts";

/** Starts of each kind at least: one takes little time, and they differ. */
const STARTS_MIN = 5;

/** What is started. */
interface Kind {
  name: string;
  start: (setting: Setting, i: number) => Promise<Program>;
  times: number[];
  memory: number[];
}

/** Measures it. @returns The report */
export async function benchStart(setting: Setting): Promise<string> {
  const starts = Math.max(STARTS_MIN, setting.rounds);
  const kinds: Kind[] = [
    { name: "new store", start: startInFolder, times: [], memory: [] },
    { name: "existing store", start: startInFolder, times: [], memory: [] },
    { name: "bare Hono and zod", start: startBareApp, times: [], memory: [] },
  ];
  // Whatever compiles and caches code does so here.
  for (const { start } of kinds) await measured(() => start(setting, 0));
  for (let i = 1; i <= starts; i++) {
    setting.progress(`start ${i} of ${starts}`);
    for (const { start, times, memory } of kinds) {
      const { startMs, idleBytes } = await measured(() => start(setting, i));
      times.push(startMs);
      memory.push(idleBytes ?? NaN);
    }
    await Deno.remove(folderOf(setting, i), { recursive: true });
  }
  const bareMs = median(kinds.at(-1)!.times);
  const memoryOf = ({ memory }: Kind) => figure(mebibytes(median(memory)));
  return [
    heading("START", `to the first answer, medians of ${starts}`),
    timeTable(kinds.map(({ name, times }) => ({ name, ms: median(times), bareMs }))),
    "",
    `  Memory ${memoryOf(kinds[1]!)} MiB after the first answer, bare ${memoryOf(kinds[2]!)} MiB.`,
    "",
  ].join("\n");
}

function folderOf({ folder }: Setting, i: number): string {
  return `${folder}/start${i}`;
}

/** The first start in a folder makes the store. */
async function startInFolder(setting: Setting, i: number): Promise<Program> {
  await Deno.mkdir(folderOf(setting, i), { recursive: true });
  return await startProgram(folderOf(setting, i));
}

async function measured(start: () => Promise<Program>) {
  await using program = await start();
  const idleBytes = memoryBytes(program.pid);
  await program.stop();
  return { startMs: program.startMs, idleBytes };
}
