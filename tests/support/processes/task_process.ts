/**
 * The tasks for operators as processes of their own, run as `deno task` runs
 * them, and killed in the middle of their work.
 *
 * A process has the permissions of its task and an environment of nothing but
 * what the test names; a developer's `.env` is not read.
 *
 * @module
 */

/** The store and the backups that a task works on. */
export interface TaskSetting {
  /** A file; its folder must exist, and is all that the task may read and write. */
  kvPath: string;
  /** Variables, over those that a test needs: a folder of backups beside the store. */
  env?: Record<string, string>;
}

/** The exit of a task, and all its output. */
export interface TaskEnd {
  /** 128 and the signal's number, if a signal ended it. */
  code: number;
  stdout: string;
  stderr: string;
}

/** The exit of a task that was to be killed. */
export interface TaskKill extends TaskEnd {
  /** Whether it was killed before its end. */
  isKilled: boolean;
}

/** How long a task works, measured on its complete runs; the first one is always complete. */
export class Pace {
  #workMs: number | null = null;

  /** A moment of the work, in milliseconds after its start; null while nothing is known. */
  moment(random: () => number): number | null {
    return this.#workMs === null ? null : random() * this.#workMs;
  }

  /** Adds a measurement; `workMs` is null when the end was not observed. */
  learn(workMs: number | null): void {
    const known = this.#workMs ?? workMs;
    if (known === null) return;
    // Up again, so that the last moments are not left out; down slowly, as what was
    // begun by a run before is soon done.
    this.#workMs = workMs === null ? known * 1.1 : Math.max(known * 0.8, Math.min(known, workMs));
  }
}

const ROOT = new URL("../../../", import.meta.url).pathname;

/** What Deno itself needs: the path of its cache. */
const INHERITED = ["HOME", "PATH", "DENO_DIR", "XDG_CACHE_HOME", "DENO_TLS_CA_STORE"];

/** Runs a task to its end. */
export async function runTask(
  task: string,
  args: string[],
  setting: TaskSetting,
): Promise<TaskEnd> {
  return await endOf(spawn(task, args, setting));
}

/**
 * Runs a task and kills it with SIGKILL at a random moment after it has opened
 * the store, which must not be open anywhere else. The first run of a pace is let
 * go to its end.
 */
export async function killTask(
  task: string,
  args: string[],
  { pace, random, ...setting }: TaskSetting & { pace: Pace; random: () => number },
): Promise<TaskKill> {
  const opened = firstEvent(folderOf(setting.kvPath));
  const child = spawn(task, args, setting);
  const ending = endOf(child);
  await Promise.race([opened.seen, ending]);
  opened.close();
  await opened.seen;
  const startedAt = performance.now();
  const moment = pace.moment(random);
  const timer = moment === null ? undefined : setTimeout(() => kill(child), moment);
  const { signal } = await child.status;
  clearTimeout(timer);
  const isKilled = signal === "SIGKILL";
  pace.learn(isKilled ? null : performance.now() - startedAt);
  return { isKilled, ...await ending };
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    // It has just ended.
    if (!(error instanceof Deno.errors.NotFound || error instanceof TypeError)) throw error;
  }
}

/** The first thing that happens in a folder. */
function firstEvent(folder: string) {
  const watcher = Deno.watchFs(folder, { recursive: false });
  const seen = (async () => {
    // Leaving the loop closes it.
    for await (const _ of watcher) break;
  })();
  let isSeen = false;
  seen.then(() => isSeen = true);
  return {
    seen,
    close() {
      if (!isSeen) watcher.close();
    },
  };
}

function spawn(task: string, args: string[], { kvPath, env = {} }: TaskSetting) {
  const folder = folderOf(kvPath);
  const inherited = INHERITED.flatMap((name) => {
    const value = Deno.env.get(name);
    return value === undefined ? [] : [[name, value]];
  });
  return new Deno.Command(Deno.execPath(), {
    args: [...commandOf(task, folder), ...args],
    cwd: ROOT,
    clearEnv: true,
    env: {
      ...Object.fromEntries(inherited),
      NO_COLOR: "1",
      DENO_NO_UPDATE_CHECK: "1",
      KV_PATH: kvPath,
      STORAGE_URL: `file:${folder}/backups`,
      ...env,
    },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** The task's own command, with the test's folder in place of the usual one. */
function commandOf(task: string, folder: string): string[] {
  const { tasks } = JSON.parse(Deno.readTextFileSync(`${ROOT}deno.json`));
  const command: string = tasks[task].command;
  const [, ...words] = command.split(" ");
  return words
    .filter((word) => !word.startsWith("--env-file"))
    .map((word) => word.replace("=.data", `=${folder}`));
}

async function endOf(child: Deno.ChildProcess): Promise<TaskEnd> {
  const [stdout, stderr, { code }] = await Promise.all([
    new Response(child.stdout as BodyInit).text(),
    new Response(child.stderr as BodyInit).text(),
    child.status,
  ]);
  return { code, stdout, stderr };
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
