/**
 * The tests mirror the tree that they test, and no file of theirs is too long to read.
 */
import { deepStrictEqual as deepEqual } from "node:assert/strict";

const TESTS = new URL("../", import.meta.url);
const LIB = new URL("../../lib/", import.meta.url);
/** A test file is a list of examples, so that it may be longer than a file of the product. */
const LINES_MAX = 500;
/** Pins the packages of the tests. */
const LOCK = "deno.lock";
const FOLDERS = ["bench", "cron", "house", "lib", "routes", "scenarios", "support"];
const SUPPORT_FOLDERS = ["gateways", "processes", "program", "readers", "servers", "store"];

/** Names of the folders or files of a folder, sorted. */
async function namesIn(folder: URL, kind: "folders" | "files"): Promise<string[]> {
  const entries = await Array.fromAsync(Deno.readDir(folder));
  return entries.filter(({ isDirectory }) => isDirectory === (kind === "folders"))
    .map(({ name }) => name).sort();
}

/** Paths of all files below a folder, relative to it. */
async function filesBelow(folder: URL, path = ""): Promise<string[]> {
  const files = (await namesIn(folder, "files")).map((name) => `${path}${name}`);
  for (const name of await namesIn(folder, "folders")) {
    files.push(...await filesBelow(new URL(`${name}/`, folder), `${path}${name}/`));
  }
  return files;
}

Deno.test(`no file under tests/ has more than ${LINES_MAX} lines`, async () => {
  const long: string[] = [];
  for (const file of await filesBelow(TESTS)) {
    if (file === LOCK) continue;
    const lines = (await Deno.readTextFile(new URL(file, TESTS))).split("\n").length - 1;
    if (lines > LINES_MAX) long.push(`${file}: ${lines} lines`);
  }

  deepEqual(long, []);
});

Deno.test("tests/ has exactly the known folders, and no file but deno.lock", async () => {
  deepEqual(await namesIn(TESTS, "folders"), FOLDERS);
  deepEqual((await namesIn(TESTS, "files")).filter((name) => name !== LOCK), []);
  deepEqual(await namesIn(new URL("support/", TESTS), "folders"), SUPPORT_FOLDERS);
  deepEqual(await namesIn(new URL("support/", TESTS), "files"), []);
});

Deno.test("every folder of tests/lib/ is a folder of lib/", async () => {
  const folders = new Set(await namesIn(LIB, "folders"));

  const unknown = (await namesIn(new URL("lib/", TESTS), "folders"))
    .filter((name) => !folders.has(name));

  deepEqual(unknown, []);
});

Deno.test("every file in tests/lib/ itself tests a file in lib/ itself", async () => {
  const files = new Set(await namesIn(LIB, "files"));

  const unknown = (await namesIn(new URL("lib/", TESTS), "files"))
    .filter((name) => !name.endsWith("_test.ts") || !files.has(name.replace("_test.ts", ".ts")));

  deepEqual(unknown, []);
});
