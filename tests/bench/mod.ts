/**
 * How fast the program is on this machine, beside bare programs in the same minutes.
 * Absolute figures are the machine's; the ratios are the program's.
 *
 *   deno task bench --help
 *
 * @module
 */
import { benchGrowth } from "./growth.ts";
import { benchLeads } from "./leads.ts";
import { HELP, type Options, type Part, readOptions, type Setting } from "./_options.ts";
import { benchOutbox } from "./outbox.ts";
import { endAll } from "./_processes.ts";
import { benchReads } from "./reads.ts";
import { benchStart } from "./start.ts";

const MEASURE: Readonly<Record<Part, (setting: Setting) => Promise<string>>> = {
  leads: benchLeads,
  reads: benchReads,
  start: benchStart,
  growth: benchGrowth,
  outbox: benchOutbox,
};

/** 128 and the number of SIGINT. */
const INTERRUPTED = 130;

function optionsOrExit(): Options {
  try {
    const options = readOptions(Deno.args);
    if (options) return options;
    console.log(HELP);
    Deno.exit(0);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.error(`${error.message}\n\n${HELP}`);
    Deno.exit(2);
  }
}

const encoder = new TextEncoder();

/** Shows what is under way: on a terminal in one line, elsewhere not at all. */
function progress(text: string): void {
  if (!Deno.stderr.isTerminal()) return;
  Deno.stderr.writeSync(encoder.encode(`\r\x1b[K${text.slice(0, 79)}`));
}

async function bench(options: Options): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "wetech-bench-" });
  const cleanUp = async () => {
    await endAll();
    await Deno.remove(folder, { recursive: true }).catch(() => {});
  };
  let isInterrupted = false;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    Deno.addSignalListener(signal, async () => {
      isInterrupted = true;
      progress("");
      await cleanUp();
      Deno.exit(INTERRUPTED);
    });
  }
  const { rounds, seconds, parts } = options;
  console.log(
    `WeTech Edge on Deno ${Deno.version.deno}, ${Deno.build.os} ${Deno.build.arch}, ` +
      `${navigator.hardwareConcurrency} cores\n` +
      `${rounds === 1 ? "1 round" : `Medians of ${rounds} rounds`}, ${seconds} s each load; ` +
      "/ bare: times the speed of the bare one\n",
  );
  try {
    for (const part of parts) {
      const report = await MEASURE[part]({ ...options, folder, progress });
      progress("");
      console.log(report);
    }
  } catch (error) {
    // The processes that it measures were ended; the listener exits.
    if (isInterrupted) await new Promise(() => {});
    throw error;
  } finally {
    progress("");
    await cleanUp();
  }
}

await bench(optionsOrExit());
Deno.exit(0);
