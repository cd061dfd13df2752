/**
 * `deno task backup` and `deno task restore`, run as an operator runs them.
 */
import { deepStrictEqual as deepEqual, match, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../../lib/kv/keys.ts";
import { LEAD, startApp } from "../../support/program/app.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

/** Runs a task's program on a store and a folder of backups. */
async function run(task: string, args: string[], folder: string, kvPath: string) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--allow-env",
      `--allow-read=${folder}`,
      `--allow-write=${folder}`,
      `lib/tasks/${task}.ts`,
      ...args,
    ],
    cwd: ROOT,
    env: { NO_COLOR: "1", KV_PATH: kvPath, STORAGE_URL: `file:${folder}/backups` },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("a backup taken beside a running server is restored into an empty store", async () => {
  const folder = await Deno.makeTempDir();
  const [lost, saved] = [`${folder}/lost.kv`, `${folder}/saved.kv`];
  let leads: unknown;
  {
    await using app = await startApp({ env: { KV_PATH: lost } });
    for (let i = 0; i < 5; i++) await app.post("/api/v2/leads", { ...LEAD, message: `${i}` });

    const taken = await run("backup", [], folder, lost);
    equal(taken.code, 0, taken.stderr);
    const listed = await run("backup", ["list"], folder, lost);
    match(listed.stdout, new RegExp(`^${taken.stdout.trim()} `));
    leads = (await app.get("/api/v2/leads", app.adminKey)).body;
  }

  const restored = await run("restore", ["latest"], folder, saved);
  const again = await run("restore", ["latest"], folder, saved);

  equal(restored.code, 0, restored.stderr);
  match(restored.stdout, /Sweep: +no findings/);
  equal(again.code, 1);
  {
    await using app = await startApp({ env: { KV_PATH: saved } });
    equal(await app.count(keys.leads), 5);
    deepEqual((await app.get("/api/v2/leads", app.adminKey)).body, leads);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("an unknown command and a restore without backups are refused in one line", async () => {
  const folder = await Deno.makeTempDir();
  const kvPath = `${folder}/shop.kv`;

  const unknown = await run("backup", ["lst"], folder, kvPath);
  const nothing = await run("restore", ["latest"], folder, kvPath);

  equal(unknown.code, 1);
  match(unknown.stderr, /Unknown command "lst"/);
  equal(nothing.code, 1);
  equal(nothing.stderr.includes("    at "), false);
  await Deno.remove(folder, { recursive: true });
});
