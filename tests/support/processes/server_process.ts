/**
 * The real program, `main.ts`, as a process of its own on a free port: for what
 * can only be seen from outside, such as a kill, a signal or a second writer.
 *
 * It runs with the permissions of the `start` task, and in an environment of
 * nothing but what the test names. The process is Deno itself and no wrapper
 * around it, so a signal reaches the program.
 *
 * @module
 */

/** How the program is started. */
export interface ServerOptions {
  /** A file; its directory must exist. */
  kvPath: string;
  /** Variables, over those that a test needs: a free port of 127.0.0.1, JSON in the log. */
  env?: Record<string, string>;
  /** Flags for Deno, beside those of the `start` task. */
  flags?: string[];
}

/** How a process ended, and all that it wrote. */
export interface Ended {
  /** 128 and the signal's number, if a signal ended it. */
  code: number;
  signal: Deno.Signal | null;
  stdout: string;
  stderr: string;
}

/** A line of the program's log. */
export type LogLine = Record<string, unknown> & { event: string };

/** The program, listening. */
export interface ServerProcess extends AsyncDisposable {
  /** Where it listens, without a slash at the end. */
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Milliseconds from starting the process until it said that it listens. */
  readonly startMs: number;
  /** Resolves when it has ended, with all that it wrote. */
  readonly ended: Promise<Ended>;
  /** Sends a signal; nothing happens when the process has ended. */
  kill(signal: Deno.Signal): void;
  /** What it has written to standard output so far. */
  output(): string;
}

const ROOT = new URL("../../../", import.meta.url).pathname;

/** More than a start takes on a busy machine; a program that hangs must not hang the tests. */
const START_MS = 20_000;

/** What Deno itself needs: the path of its cache. */
const INHERITED = ["HOME", "PATH", "DENO_DIR", "XDG_CACHE_HOME", "DENO_TLS_CA_STORE"];

/** Starts the program and waits until it listens. @throws if it ends, or is silent, before. */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  const startedAt = performance.now();
  const { child, ended, stdout } = spawn(options);
  const kill = (signal: Deno.Signal) => {
    try {
      child.kill(signal);
    } catch (error) {
      // It has ended; Deno 2.5 says so by a TypeError.
      if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
    }
  };
  const end = ended.then(({ code, stderr }) => {
    throw new Error(`The server ended with ${code} before it listened: ${stderr}`);
  });
  end.catch(() => {});
  const timer = setTimeout(() => kill("SIGKILL"), START_MS);
  const port = await Promise.race([stdout.listening, end]).finally(() => clearTimeout(timer));
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    pid: child.pid,
    startMs: performance.now() - startedAt,
    ended,
    kill,
    output: stdout.text,
    async [Symbol.asyncDispose]() {
      kill("SIGKILL");
      await ended;
    },
  };
}

/** Runs the program to its end, for starts that are to fail; a survivor is killed after a while. */
export async function runServer(options: ServerOptions): Promise<Ended> {
  const { child, ended } = spawn(options);
  const timer = setTimeout(() => child.kill("SIGKILL"), START_MS);
  return await ended.finally(() => clearTimeout(timer));
}

/** The records of a log in JSON; other lines are left out. */
export function logLines(output: string): LogLine[] {
  return output.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

function spawn({ kvPath, env = {}, flags = [] }: ServerOptions) {
  const directory = kvPath.slice(0, kvPath.lastIndexOf("/"));
  const inherited = INHERITED.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...flags, ...permissions(directory), "main.ts"],
    cwd: ROOT,
    clearEnv: true,
    env: {
      ...Object.fromEntries(inherited),
      NO_COLOR: "1",
      DENO_NO_UPDATE_CHECK: "1",
      APP_ENV: "development",
      HOST: "127.0.0.1",
      PORT: "0",
      LOG_FORMAT: "json",
      // One machine sends everything; unknown variables are not looked at.
      RATE_LIMITS: "off",
      KV_PATH: kvPath,
      STORAGE_URL: `file:${directory}/backups`,
      ...env,
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stdout = drain(child.stdout);
  const stderr = drain(child.stderr);
  const ended = Promise.all([child.status, stdout.done, stderr.done])
    .then(([{ code, signal }]): Ended => ({
      code,
      signal,
      stdout: stdout.text(),
      stderr: stderr.text(),
    }));
  return { child, ended, stdout };
}

/** Those of the `start` task, and the test's own directory where that has the store's. */
function permissions(directory: string): string[] {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  const command: string = tasks.start.command;
  return command.split(" ")
    .filter((word) => word.startsWith("--"))
    .map((flag) => flag.replace("=.data", `=.data,${directory}`));
}

/** Reads a pipe to its end, so that its writer never waits. */
function drain(pipe: ReadableStream<Uint8Array>) {
  const chunks: Uint8Array[] = [];
  const text = () => {
    const decoder = new TextDecoder();
    return chunks.map((chunk) => decoder.decode(chunk, { stream: true })).join("") +
      decoder.decode();
  };
  const { promise: listening, resolve } = Promise.withResolvers<number>();
  let isListening = false;
  const done = (async () => {
    for await (const chunk of pipe) {
      chunks.push(chunk);
      if (isListening) continue;
      const port = /"event":"server\.started".*"port":(\d+)/.exec(text())?.[1];
      if (port === undefined) continue;
      isListening = true;
      resolve(Number(port));
    }
  })();
  return { text, done, listening };
}
