/**
 * Each house rule holds everywhere but in its room, and says where the room is.
 */
import { deepStrictEqual as deepEqual, match, strictEqual as equal } from "node:assert/strict";
import plugin from "./lint_plugin.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** The ids of the rules that `source` breaks in the file at `path`. */
function broken(path: string, source: string): string[] {
  return Deno.lint.runPlugin(plugin, ROOT + path, source).map(({ id }) => id);
}

/** What breaks each rule, and where it is at home. */
const CASES: { rule: string; room: string; breaks: string[]; keeps: string[] }[] = [
  {
    rule: "house/kv-write",
    room: "lib/kv/committer.ts",
    breaks: [
      "kv.set(key, 1)",
      "kv?.set(key, 1)",
      "services.kv.delete(key)",
      "services.kv!.delete(key)",
      "services?.kv.delete(key)",
      "(kv as Deno.Kv).set(key, 1)",
      "this.kv['set'](key, 1)",
      "kv.atomic()",
      "store.atomic().check(entry)",
      "anything.enqueue(1)",
    ],
    keeps: ["kv.get(key)", "map.set(key, 1)", "kv.values.delete(key)", "set(kv)", "atomic()"],
  },
  {
    rule: "house/clock",
    room: "lib/time.ts",
    breaks: ["Date.now()", "f(Date.now)", "globalThis.Date.now()", "new Date()", "Date()"],
    keeps: ["new Date(0)", "Date.UTC(2026)", "clock.now()", "Date.parse(text)"],
  },
  {
    rule: "house/randomness",
    room: "lib/ids.ts",
    breaks: ["Math.random()", "f(Math.random)", "Math['random']()"],
    keeps: ["random()", "Math.max(1)", "crypto.getRandomValues(bytes)"],
  },
  {
    rule: "house/printing",
    room: "lib/telemetry/mod.ts",
    breaks: ["console.log(1)", "console['error'](1)", "globalThis.console.log(1)", "f(console)"],
    keeps: [
      "import x from './console/mod.ts'",
      "routes.console",
      "f({ console: 1 })",
      "log.info(1)",
    ],
  },
  {
    rule: "house/environment",
    room: "lib/config/mod.ts",
    breaks: ["Deno.env.get('A')", "f(Deno.env)", "process.env.A", "Deno['env']"],
    keeps: ["c.env", "Deno.build.os", "env.get('A')"],
  },
  {
    rule: "house/open-kv",
    room: "lib/app/open.ts",
    breaks: ["await Deno.openKv()", "f(Deno.openKv)"],
    keeps: ["openServices(config)", "const kv: Deno.Kv = services.kv"],
  },
];

for (const { rule, room, breaks, keeps } of CASES) {
  Deno.test(`${rule} is broken by what it bans, in any product file`, () => {
    for (
      const path of ["lib/leads/mod.ts", "routes/v2/leads.ts", "cron/mod.ts", "routes/page.tsx"]
    ) {
      for (const source of breaks) deepEqual(broken(path, source), [rule], `${path}: ${source}`);
    }
  });

  Deno.test(`${rule} leaves alone what only looks like it`, () => {
    for (const source of keeps) deepEqual(broken("lib/leads/mod.ts", source), [], source);
  });

  Deno.test(`${rule} does not hold in ${room}, nor in tests`, () => {
    for (const path of [room, "tests/lib/leads_test.ts", "tests/support/program/app.ts"]) {
      for (const source of breaks) deepEqual(broken(path, source), [], `${path}: ${source}`);
    }
  });

  Deno.test(`${rule} says where the thing belongs`, () => {
    const [{ message } = { message: "" }] = Deno.lint.runPlugin(
      plugin,
      `${ROOT}lib/leads/mod.ts`,
      breaks[0]!,
    );

    match(message, /(?:lib\/\w+(?:\/\w+)?\.ts|Services)/);
  });
}

Deno.test("the composition roots may touch everything but the store", () => {
  for (const { rule, breaks } of CASES) {
    const expected = rule === "house/kv-write" ? [rule] : [];
    for (const path of ["main.ts", "lib/tasks/keys.ts"]) {
      for (const source of breaks) deepEqual(broken(path, source), expected, `${path}: ${source}`);
    }
  }
});

Deno.test("every rule of the plugin is tested here", () => {
  deepEqual(CASES.map(({ rule }) => rule), Object.keys(plugin.rules).map((id) => `house/${id}`));
});

Deno.test("deno lint loads the plugin from the configuration", async () => {
  const config = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));

  equal(config.lint.plugins?.includes("./tests/house/lint_plugin.ts"), true);
});
