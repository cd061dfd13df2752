/**
 * The frame of command-line tasks: opens the services from the environment, prints
 * errors as one line, and sets the exit code.
 *
 * Standard output has only the result, for scripts; everything else, the log
 * included, goes to standard error.
 *
 * @module
 */
import { ConfigError, environment, readConfig } from "../config/mod.ts";
import { AppError } from "../errors.ts";
import { openLog } from "../telemetry/mod.ts";
import { openServices } from "../app/open.ts";
import type { Services } from "../app/mod.ts";
import { systemClock } from "../time.ts";

/** The arguments cannot be accepted; the message is one line with the reason. */
export class TaskError extends Error {
  /** The class name in logs. */
  override readonly name = "TaskError";
}

/** Options for {@linkcode runTask}. */
export interface TaskOptions {
  /** The text of `--help`, which needs neither configuration nor store. */
  help?: string;
}

/**
 * Opens the services, runs `main` with the command's arguments, closes the services
 * and exits with the code that `main` returned, or 1 if it threw.
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

/** Refuses an argument beyond those that a command takes. @throws {TaskError} */
export function refuseMore([unexpected]: readonly string[]): void {
  if (unexpected === undefined) return;
  throw new TaskError(`Unexpected argument ${JSON.stringify(unexpected)} (see --help)`);
}

/** One line for what the operator can correct; the stack for a defect of the program. */
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

/** Whether `parseArgs()` of `node:util` refused the arguments. */
function isAboutArguments(error: Error): boolean {
  return "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}
