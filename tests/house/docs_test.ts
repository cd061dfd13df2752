/**
 * What the documents say of the program is what the program does.
 */
// Under their short names Deno exports from here what compares with `==`.
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { SCOPES } from "../../lib/access/api_keys.ts";
import { describeVariables } from "../../lib/config/mod.ts";
import { createApp } from "../../routes/mod.ts";
import { startApp, type TestApp } from "../support/program/app.ts";

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
}

/** The variables as README.md has them, a row each. */
function configurationTable(): string {
  return describeVariables()
    .map(({ name, meaning, fallback }) => `| \`${name}\` | ${meaning} | ${fallback} |\n`)
    .join("");
}

/** The variables as .env.example has them: all commented out, with the defaults of development. */
function exampleFile(): string {
  const variables = describeVariables().map(({ name, meaning, fallback }) => {
    const value = /^`([^`]*)`/.exec(fallback)?.[1] ?? "";
    // The default of the port within the default of the address.
    return `\n# ${meaning}\n# Default: ${fallback}.\n#${name}=${value.replace("$PORT", "8000")}\n`;
  });
  return `# Copy this to .env and uncomment what should differ: deno task dev reads it.\n` +
    `# Nothing is needed in development; README.md says what production needs.\n` +
    variables.join("");
}

Deno.test("README.md lists every variable with its meaning and default, and no other", async () => {
  const rows = (await read("README.md")).split("\n")
    .filter((line) => /^\| `[A-Z][A-Z_0-9]*` +\|/.test(line))
    // deno fmt pads the cells.
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()))
    // A table with other columns is about something else.
    .filter((cells) => cells.length === 3)
    .map((cells) => `| ${cells.join(" | ")} |\n`);

  equal(rows.join(""), configurationTable());
});

Deno.test(".env.example lists every variable with its default, and no other", async () => {
  equal(await read(".env.example"), exampleFile());
});

/** The cells of README.md's rows whose first cell matches. */
async function rowsOf(first: RegExp): Promise<string[][]> {
  return (await read("README.md")).split("\n")
    .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()))
    .filter(([cell = ""]) => first.test(cell));
}

/** One operation as `/openapi.json` tells it. */
interface Described {
  description?: string;
  security?: unknown[];
  responses: Record<string, unknown>;
}

/** Every route as README.md should have it: method, path, who, answers; null is not described. */
async function routesOf(app: TestApp): Promise<(string | null)[][]> {
  const { body } = await app.get("/openapi.json");
  const paths: Record<string, Record<string, Described>> = body.paths;
  const routes = new Map<string, (string | null)[]>();
  for (const { method, path } of createApp(app.services, app.monitor).routes) {
    const known = path.replace(/\/$/, "");
    const described = paths[known.replace(/:(\w+)/g, "{$1}")]?.[method.toLowerCase()];
    const scope = /`[a-z:]+`/.exec(described?.description ?? "")?.[0] ?? null;
    if (method === "ALL") continue;
    routes.set(`${method} ${known}`, [
      method,
      known,
      described ? (described.security ? scope : "anyone") : null,
      described ? answersOf(Object.keys(described.responses)) : null,
    ]);
  }
  return [...routes.values()];
}

/** Without those that README.md tells of all routes at once. */
function answersOf(statuses: string[]): string {
  return statuses.filter((status) => !["401", "403", "429", "503"].includes(status)).sort().join(
    ", ",
  );
}

Deno.test("README.md lists every route with who may and what it answers, and no other", async () => {
  await using app = await startApp();

  const routes = await routesOf(app);
  const rows = (await rowsOf(/^(?:GET|POST|PUT|PATCH|DELETE)$/)).map((
    [method, path = "", who, answers = ""],
  ) => {
    const known = path.replace(/^`|\/?`$/g, "");
    const route = routes.find(([m, p]) => m === method && p === known);
    // What the document is silent about, README.md may say as it likes.
    return [
      method,
      known,
      route?.[2] === null ? null : who,
      route?.[3] === null ? null : answersOf(answers.split(", ")),
    ];
  });

  deepEqual(rows.map(String).sort(), routes.map(String).sort());
});

Deno.test("README.md lists every scope, and no other", async () => {
  const scopes = (await rowsOf(/^`(?:admin|\w+:\w+)`$/)).map(([scope = ""]) => scope.slice(1, -1));

  deepEqual(scopes, SCOPES);
});

Deno.test("README.md names no task and no file that is not there", async () => {
  const text = await read("README.md");
  const { tasks } = JSON.parse(await read("deno.json"));
  const named = new Set(Array.from(text.matchAll(/deno task (\w+)/g), ([, task = ""]) => task));
  const files = new Set(
    text.match(/(?<=`)(?:main\.ts|\.ci\/run|(?:tests|lib|routes)\/[\w/.]+)(?=`)/g),
  );
  const missing: string[] = [];
  for (const file of files) {
    await Deno.stat(new URL(`../../${file}`, import.meta.url)).catch(() => missing.push(file));
  }

  deepEqual([...named].filter((task) => !Object.hasOwn(tasks, task)), []);
  deepEqual(missing, []);
});
