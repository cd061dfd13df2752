/**
 * The processes of a measurement: the program, bare programs beside it and generators
 * of load. All listen on 127.0.0.1 only, and none outlives the measurement.
 *
 * @module
 */

/** A program that listens. */
export interface Program extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
  /** From starting the process to its first answer with 200. */
  readonly startMs: number;
  /** Lets it finish what is in progress and waits for its end. */
  stop(): Promise<void>;
}

/** A key that may do everything. */
export const API_KEY = "bench-bootstrap-api-key-0";
/** Under which name the program is asked, as behind a proxy. */
export const HOST = "shop.example.com";

const ROOT = new URL("../../", import.meta.url).pathname;
const SECRET_KEY = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));
/** More than a start takes on a busy machine. */
const START_MS = 30_000;
/** The first answer is looked for this often. */
const RETRY_MS = 2;
/** CPU time in `/proc` is in hundredths of a second. */
const TICK_MS = 10;
/** What Deno itself needs: where its cache is. */
const INHERITED = ["HOME", "PATH", "DENO_DIR", "XDG_CACHE_HOME", "DENO_TLS_CA_STORE"];

const running = new Set<Deno.ChildProcess>();
let isEnding = false;

/** Starts the real program as in production, behind a proxy, with its store in `folder`. */
export async function startProgram(folder: string): Promise<Program> {
  await Deno.mkdir(`${folder}/backups`, { recursive: true });
  const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  const flags = String(tasks.start.command).split(" ")
    .filter((word) => word.startsWith("--"))
    .map((flag) => flag.replace("=.data", `=${folder}`));
  const env = {
    APP_ENV: "production",
    PUBLIC_URL: `https://${HOST}`,
    SECRET_KEY,
    BOOTSTRAP_API_KEY: API_KEY,
    HOST: "127.0.0.1",
    PORT: "0",
    ALLOWED_HOSTS: "127.0.0.1",
    LOG_FORMAT: "json",
    KV_PATH: kvPathOf(folder),
    STORAGE_URL: `file:${folder}/backups`,
    // The proxy reports each visitor's address, so that the limit of leads stays as it
    // is. One key and a few addresses read everything.
    TRUSTED_PROXY_HOPS: "1",
    RATE_LIMITS: "key_read=999999/1s,catalogue_read=999999/1s",
  };
  return await start([...flags, "main.ts"], env, "/health/live");
}

/** Where the program has its store. */
export function kvPathOf(folder: string): string {
  return `${folder}/store.kv`;
}

/** Starts a bare Hono program with one zod schema. */
export function startBareApp(): Promise<Program> {
  return start(
    ["--quiet", "--lock=tests/deno.lock", "--allow-net", "tests/bench/_bare_app.ts"],
    {},
    "/",
  );
}

/** Runs a module of this folder in a process of its own. @returns The JSON that it prints. */
export async function inAnotherProcess<T>(module: string, input: unknown): Promise<T> {
  const flags = ["--quiet", "--lock=tests/deno.lock", "--allow-all"];
  const args = [...flags, `tests/bench/${module}`, JSON.stringify(input)];
  const child = spawn(args, {}, "inherit");
  const [text, { code }] = await Promise.all([new Response(child.stdout).text(), child.status]);
  if (code !== 0) throw new Error(`${module} ended with ${code}`);
  return JSON.parse(text);
}

/** Ends all that still runs, at once; nothing can be started afterwards. */
export async function endAll(): Promise<void> {
  isEnding = true;
  const children = [...running];
  for (const child of children) kill(child, "SIGKILL");
  await Promise.all(children.map(({ status }) => status));
}

/** CPU time that a process has used so far, in milliseconds; null where the system has no `/proc`. */
export function cpuMs(pid: number): number | null {
  const text = readProc(pid, "stat");
  // The name, in parentheses, may have spaces; user and system time are fields 14 and 15.
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  return fields ? (Number(fields[11]) + Number(fields[12])) * TICK_MS : null;
}

/** Memory of a process in bytes, now or the most so far; null where the system has no `/proc`. */
export function memoryBytes(pid: number, which: "now" | "peak" = "now"): number | null {
  const name = which === "now" ? "VmRSS" : "VmHWM";
  const kibibytes = new RegExp(`${name}:\\s+(\\d+) kB`).exec(readProc(pid, "status") ?? "")?.[1];
  return kibibytes === undefined ? null : Number(kibibytes) * 1_024;
}

/** CPU time for one of `count`, in microseconds. */
export function cpuEach(before: number | null, after: number | null, count: number): number | null {
  return before === null || after === null ? null : (after - before) * 1_000 / count;
}

/** Bytes of a store's files: the database and what SQLite keeps beside it. */
export async function storeBytes(kvPath: string): Promise<number> {
  let bytes = 0;
  for (const suffix of ["", "-wal", "-shm"]) {
    bytes += await Deno.stat(kvPath + suffix).then(({ size }) => size, () => 0);
  }
  return bytes;
}

function readProc(pid: number, file: string): string | null {
  if (Deno.build.os !== "linux") return null;
  try {
    return Deno.readTextFileSync(`/proc/${pid}/${file}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Starts a program that prints the port on which it listens, as `"port":<n>`. */
async function start(args: string[], env: Record<string, string>, path: string): Promise<Program> {
  const startedAt = performance.now();
  const child = spawn(args, env, "piped");
  const stdout = drain(child.stdout);
  const stderr = new Response(child.stderr).text();
  const timer = setTimeout(() => kill(child, "SIGKILL"), START_MS);
  try {
    const port = await Promise.race([
      stdout.port,
      child.status.then(async ({ code }) => {
        throw new Error(`A program ended with ${code} before it listened: ${await stderr}`);
      }),
    ]);
    while (!await answers(port, path)) await new Promise((done) => setTimeout(done, RETRY_MS));
    const ended = Promise.all([child.status, stdout.done, stderr]);
    return {
      port,
      pid: child.pid,
      startMs: performance.now() - startedAt,
      async stop() {
        kill(child, "SIGTERM");
        await ended;
      },
      async [Symbol.asyncDispose]() {
        kill(child, "SIGKILL");
        await ended;
      },
    };
  } finally {
    clearTimeout(timer);
  }
}

async function answers(port: number, path: string): Promise<boolean> {
  const headers = { "x-forwarded-proto": "https" };
  const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers });
  await response.body?.cancel();
  return response.status === 200;
}

function spawn(
  args: string[],
  env: Record<string, string>,
  stderr: "piped" | "inherit",
): Deno.ChildProcess {
  if (isEnding) throw new Error("The measurement has ended");
  const inherited = INHERITED.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...args],
    cwd: ROOT,
    clearEnv: true,
    env: { ...Object.fromEntries(inherited), NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
    stdin: "null",
    stdout: "piped",
    stderr,
  }).spawn();
  running.add(child);
  child.status.finally(() => running.delete(child));
  return child;
}

function kill(child: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    child.kill(signal);
  } catch (error) {
    // It has ended; Deno 2.5 says so by a TypeError.
    if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
  }
}

/** Reads a pipe to its end, so that its writer never waits, and keeps nothing of it but the port. */
function drain(pipe: ReadableStream<Uint8Array>) {
  const { promise: port, resolve } = Promise.withResolvers<number>();
  const done = (async () => {
    const decoder = new TextDecoder();
    let text: string | null = "";
    for await (const chunk of pipe) {
      if (text === null) continue;
      text += decoder.decode(chunk, { stream: true });
      const found = /"port":(\d+)/.exec(text)?.[1];
      if (found === undefined) continue;
      text = null;
      resolve(Number(found));
    }
  })();
  return { port, done };
}
