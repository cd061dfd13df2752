/**
 * What the programs that an operator starts have in common: services made from
 * the environment, one line for what goes wrong, and an exit code.
 *
 * Standard output is for the answer alone, so that scripts can take it; what is
 * said beside it, the log included, goes to standard error.
 *
 * @module
 */
import { ConfigError, environment, readConfig } from "../config/mod.ts";
import { AppError } from "../errors.ts";
import { openLog } from "../telemetry/log.ts";
import { openServices } from "../app/open.ts";
import type { Services } from "../app/services.ts";
import { systemClock } from "../time.ts";

/** The arguments, or what they ask for, cannot be accepted; the message says why in one line. */
export class TaskError extends Error {
  /** What the class is called in logs. */
  override readonly name = "TaskError";
}

/** Options for {@linkcode runTask}. */
export interface TaskOptions {
  /** What `--help` prints; it needs neither configuration nor store. */
  help?: string;
}

/**
 * Opens the services, runs `main` with the command's arguments, closes them and
 * ends the process with the exit code that it returned, or 1 if it threw.
 *
 * @returns Never.
 */
export async function runTask(
  main: (services: Services, args: string[]) => Promise<number>,
  { help }: TaskOptions = {},
): Promise<never> {
  if (help !== undefined && (Deno.args.includes("--help") || Deno.args.includes("-h"))) {
    console.log(help);
    Deno.exit(0);
  }
  Deno.exit(
    await run(main).catch((error) => {
      console.error(explain(error));
      return 1;
    }),
  );
}

async function run(main: (services: Services, args: string[]) => Promise<number>): Promise<number> {
  const config = readConfig(environment());
  const log = openLog({
    level: "warn",
    format: config.logFormat,
    write: (line) => console.error(line),
  });
  const services = await openServices(config, { log, clock: systemClock, random: Math.random });
  try {
    return await main(services, [...Deno.args]);
  } finally {
    await services.store.close();
  }
}

/** A line for what the operator can mend; the whole story for a defect of ours. */
function explain(error: unknown): string {
  if (error instanceof AppError && error.kind !== "internal") {
    const fields = error.fields.map(({ path, message }) => `; ${path}: ${message}`);
    return error.message + fields.join("");
  }
  if (error instanceof TaskError || error instanceof ConfigError) return error.message;
  if (!(error instanceof Error)) return String(error);
  if (isAboutArguments(error)) return error.message.split(/\. |\n/, 1)[0]!;
  const isAboutSystem = Object.values(Deno.errors).some((kind) => error instanceof kind);
  return isAboutSystem ? `${error.name}: ${error.message}` : error.stack ?? error.message;
}

/** Whether `node:util` refused the arguments. */
function isAboutArguments(error: Error): boolean {
  return "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}
