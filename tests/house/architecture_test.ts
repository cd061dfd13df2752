/**
 * The plan of the house: imports point one way, folders have no circles, files stay short.
 * Type imports count like any other.
 */
import { deepStrictEqual as deepEqual, ok } from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url);

/** What speaks to the outside or to the store: routes and jobs reach them through use cases. */
const BEHIND_USE_CASES = new Set(["kv", "storage", "mailer", "gateways", "outgoing"]);

/** Who may see the whole program at once. */
const SEES_ALL = new Set(["main.ts", "routes", "cron", "lib/app", "lib/tasks"]);

const LINES_MAX = 400;

/** Where the program starts: at the server, or at a task for the command line. */
const ENTRIES = /^(?:main\.ts|lib\/tasks\/(?!_)\w+\.ts)$/;

/**
 * Notes to self, in comments: in code three X are the currency that is none.
 * They are put together here, so that this file has none.
 */
const LEFT_FOR_LATER = new RegExp(
  `(?:/[/*]|^\\s*\\*).*\\b(?:${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`,
);

/** One import: the file that has it, what it says, and the URL that it means. */
interface Import {
  from: string;
  says: string;
  /** A path below the root, or a URL if it is not one of our files. */
  to: string;
}

/** The folder that a file belongs to: `lib/kv`, `lib` for the files at its root, `routes`, `main.ts`. */
function folderOf(path: string): string {
  return /^(?:lib\/\w+(?=\/)|lib|routes|cron|tests)(?=\/)/.exec(path)?.[0] ?? path;
}

/** Why `from` must not import `to`, if it must not. */
function objection({ from, says, to }: Import, aliases: string[]): string | undefined {
  if (/^(?:npm|node):/.test(to)) {
    const isAlias = aliases.some((alias) =>
      alias.endsWith("/") ? says.startsWith(alias) : says === alias
    );
    return to.startsWith("node:") || isAlias
      ? undefined
      : "npm packages have an alias in deno.json";
  }
  if (/^\w+:/.test(to)) return "only npm: and node: come from outside of the project";

  const [source, target] = [folderOf(from), folderOf(to)];
  const folder = /^(.*\/)_\w+\.tsx?$/.exec(to)?.[1];
  if (folder !== undefined && !from.startsWith(folder)) return `it is private to ${folder}`;
  if (ENTRIES.test(to)) return "the program starts there";
  if (target === "tests") return "the product does not need its tests";
  if (target === "routes" && source !== "routes" && from !== "main.ts") {
    return "only main.ts imports routes";
  }
  if (target === "cron" && source !== "cron" && from !== "main.ts") {
    return "only main.ts imports cron";
  }
  if (target === "lib/app" && !SEES_ALL.has(source)) return "a room states what it needs itself";
  if (source === "lib" && target !== "lib") return "the ground stands on nothing";
  if ((source === "routes" || source === "cron") && BEHIND_USE_CASES.has(to.split("/")[1] ?? "")) {
    return "routes and jobs call use cases";
  }
  return undefined;
}

/** A round of imports, if there is one: its stations, the first again at the end. */
function cycleOf(imports: Pick<Import, "from" | "to">[]): string[] | undefined {
  const next = Map.groupBy(imports, ({ from }) => from);
  const done = new Set<string>();
  const walk = (file: string, path: string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const { to } of next.get(file) ?? []) {
      const found = walk(to, [...path, file]);
      if (found) return found;
    }
    done.add(file);
  };
  for (const file of next.keys()) {
    const found = walk(file, []);
    if (found) return found;
  }
}

/** The imports between folders. */
function betweenFolders(imports: Import[]): Pick<Import, "from" | "to">[] {
  return imports
    .filter(({ to }) => !/^\w+:/.test(to))
    .map(({ from, to }) => ({ from: folderOf(from), to: folderOf(to) }))
    .filter(({ from, to }) => from !== to);
}

/** How many floors lie under each folder; there must be no circle. */
function levelsOf(imports: Pick<Import, "from" | "to">[]): Map<string, number> {
  const next = Map.groupBy(imports, ({ from }) => from);
  const levels = new Map<string, number>();
  const level = (folder: string): number => {
    const known = levels.get(folder);
    if (known !== undefined) return known;
    const below = (next.get(folder) ?? []).map(({ to }) => level(to));
    const found = 1 + Math.max(0, ...below);
    levels.set(folder, found);
    return found;
  };
  for (const { from } of imports) level(from);
  return levels;
}

/** Every file of TypeScript below `folder`, as paths from the root. */
async function filesBelow(folder: string): Promise<string[]> {
  const files: string[] = [];
  try {
    for await (const { name, isDirectory } of Deno.readDir(new URL(folder, ROOT))) {
      if (isDirectory) files.push(...await filesBelow(`${folder}${name}/`));
      else if (/\.tsx?$/.test(name)) files.push(folder + name);
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return files.sort();
}

async function productFiles(): Promise<string[]> {
  const rooms = await Promise.all(["lib/", "routes/", "cron/"].map(filesBelow));
  return ["main.ts", ...rooms.flat()];
}

interface Graph {
  modules: {
    specifier: string;
    error?: string;
    dependencies?: {
      specifier: string;
      code?: { specifier?: string; error?: string };
      type?: { specifier?: string; error?: string };
    }[];
  }[];
}

/** Every import of every product file, whether or not main.ts reaches it yet. */
async function productImports(): Promise<Import[]> {
  const entry = await Deno.makeTempFile({ suffix: ".ts" });
  const files = await productFiles();
  await Deno.writeTextFile(
    entry,
    files.map((file) => `import ${JSON.stringify(new URL(file, ROOT).href)};\n`).join(""),
  );
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--config", new URL("deno.json", ROOT).pathname, entry],
    cwd: ROOT.pathname,
  }).output();
  await Deno.remove(entry);
  ok(code === 0, new TextDecoder().decode(stderr));

  const { modules }: Graph = JSON.parse(new TextDecoder().decode(stdout));
  const path = (url: string) => url.startsWith(ROOT.href) ? url.slice(ROOT.href.length) : url;
  return modules.filter(({ specifier }) => specifier.startsWith(ROOT.href)).flatMap((module) => {
    ok(!module.error, module.error);
    return (module.dependencies ?? []).flatMap(({ specifier: says, code, type }) =>
      [code, type].filter((means) => means !== undefined).map((means) => ({
        from: path(module.specifier),
        says,
        to: means.specifier ? path(means.specifier) : `unresolved: ${means.error}`,
      }))
    );
  });
}

async function aliases(): Promise<string[]> {
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  return Object.keys(imports);
}

Deno.test("every import of the product points the right way", async () => {
  const known = await aliases();

  const wrong = (await productImports()).flatMap((found) => {
    const why = objection(found, known);
    return why === undefined ? [] : [`${found.from} -> ${found.to}: ${why}`];
  });

  deepEqual(wrong, []);
});

Deno.test("no folder reaches itself through another, and the plan is printed", async () => {
  const imports = betweenFolders(await productImports());

  deepEqual(cycleOf(imports), undefined);
  const levels = levelsOf(imports);
  const floors = Map.groupBy(levels.keys(), (folder) => levels.get(folder)!);
  const ground = (await filesBelow("lib/")).filter((file) => folderOf(file) === "lib");
  console.log(
    `${levels.size} folders on ${floors.size} levels, no circles; ${ground.length} files at the root of lib/`,
  );
  for (const [level, folders] of [...floors].sort(([a], [b]) => a - b)) {
    console.log(`${String(level).padStart(3)}  ${folders.sort().join("  ")}`);
  }
});

Deno.test("no file reaches itself through others of its folder", async () => {
  const inside = (await productImports()).filter(({ from, to }) => folderOf(from) === folderOf(to));

  deepEqual(cycleOf(inside), undefined);
});

Deno.test("every folder of lib/ has a door", async () => {
  const files = await filesBelow("lib/");
  const folders = new Set(files.map(folderOf).filter((folder) => folder !== "lib"));
  // Each file of tasks is a program.
  folders.delete("lib/tasks");

  deepEqual([...folders].filter((folder) => !files.includes(`${folder}/mod.ts`)), []);
});

Deno.test("every file of the product is reached from where it starts", async () => {
  const imports = await productImports();
  const files = await productFiles();
  const reached = new Set(files.filter((file) => ENTRIES.test(file)));
  for (const file of reached) {
    for (const { from, to } of imports) if (from === file) reached.add(to);
  }

  deepEqual(files.filter((file) => !reached.has(file)), []);
});

Deno.test(`no file of the product has more than ${LINES_MAX} lines`, async () => {
  const long: string[] = [];
  for (const file of await productFiles()) {
    const lines = (await Deno.readTextFile(new URL(file, ROOT))).split("\n").length - 1;
    if (lines > LINES_MAX) long.push(`${file}: ${lines} lines`);
  }

  deepEqual(long, []);
});

Deno.test("nothing is left for later in the product or its tests", async () => {
  const left: string[] = [];
  for (const file of [...await productFiles(), ...await filesBelow("tests/")]) {
    const lines = (await Deno.readTextFile(new URL(file, ROOT))).split("\n");
    for (const [i, line] of lines.entries()) {
      if (LEFT_FOR_LATER.test(line)) left.push(`${file}:${i + 1}: ${line.trim()}`);
    }
  }

  deepEqual(left, []);
});

Deno.test("objection() refuses each import that would point the wrong way", () => {
  const wrong = [
    "routes/v2/leads.ts -> lib/kv/keys.ts",
    "cron/mod.ts -> lib/kv/mod.ts",
    "routes/callbacks.ts -> lib/gateways/pesapal.ts",
    "cron/mod.ts -> lib/storage/s3.ts",
    "routes/mod.ts -> cron/mod.ts",
    "cron/mod.ts -> routes/mod.ts",
    "lib/leads/mod.ts -> routes/_http.ts",
    "lib/leads/mod.ts -> cron/mod.ts",
    "lib/leads/mod.ts -> main.ts",
    "lib/leads/mod.ts -> lib/tasks/keys.ts",
    "lib/leads/mod.ts -> lib/app/mod.ts",
    "lib/health/mod.ts -> lib/app/open.ts",
    "lib/leads/mod.ts -> tests/support/program/app.ts",
    "lib/money.ts -> lib/invoices/mod.ts",
    "lib/text.ts -> lib/telemetry/mod.ts",
    "lib/leads/mod.ts -> lib/mail/_parts.ts",
    "main.ts -> routes/_problem.ts",
    "main.ts -> file:///elsewhere/x.ts",
    "main.ts -> https://deno.land/x/mod.ts",
    "main.ts -> jsr:@std/assert",
    "main.ts -> npm:hono@4",
  ];
  const right = [
    "main.ts -> routes/mod.ts",
    "main.ts -> cron/mod.ts",
    "main.ts -> lib/app/open.ts",
    "main.ts -> lib/kv/store.ts",
    "lib/tasks/keys.ts -> lib/kv/keys.ts",
    "lib/tasks/keys.ts -> lib/tasks/_task.ts",
    "lib/tasks/keys.ts -> lib/app/mod.ts",
    "routes/v2/leads.ts -> routes/_http.ts",
    "routes/v2/leads.ts -> lib/leads/mod.ts",
    "routes/v2/leads.ts -> lib/app/mod.ts",
    "cron/mod.ts -> lib/outbox/admin.ts",
    "lib/leads/mod.ts -> lib/invoices/mod.ts",
    "lib/leads/mod.ts -> lib/kv/keys.ts",
    "lib/kv/records.ts -> lib/money.ts",
    "lib/money.ts -> lib/errors.ts",
    "lib/telemetry/mod.ts -> node:async_hooks",
  ];
  const refused = (arrow: string) => {
    const [from = "", to = ""] = arrow.split(" -> ");
    return objection({ from, says: to, to }, ["hono"]) !== undefined;
  };

  deepEqual(wrong.filter((arrow) => !refused(arrow)), []);
  deepEqual(right.filter(refused), []);
});

Deno.test("cycleOf() names the stations of a cycle", () => {
  const imports = ["ab", "bc", "cd", "cb"].map(([from = "", to = ""]) => ({ from, says: to, to }));

  deepEqual(cycleOf(imports), ["b", "c", "b"]);
  deepEqual(cycleOf(imports.slice(0, 3)), undefined);
});
