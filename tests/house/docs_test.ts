/**
 * README.md and .env.example agree with the program, and README.md stays readable.
 */
// Under their short names Deno exports from here what compares with `==`.
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { SCOPES } from "../../lib/access/mod.ts";
import { describeVariables, type VariableDescription } from "../../lib/config/mod.ts";
import { parseRules, RATE_RULES } from "../../lib/config/rate_rules.ts";
import { createApp } from "../../routes/mod.ts";
import { startApp } from "../support/program/app.ts";

/** Five minutes of reading. */
const README_BYTES_MAX = 30_000;
/** What an editor, a diff and a phone show without scrolling. */
const LINE_MAX = 120;
/** The width of comments in .env.example. */
const COMMENT_MAX = 100;

const ROOT = new URL("../../", import.meta.url);

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, ROOT));
}

/** A section of README.md from its heading to the next one of the same level. */
async function sectionOf(heading: string): Promise<string> {
  const [, rest = ""] = (await read("README.md")).split(`\n${heading}\n`);
  const level = heading.split(" ")[0];
  return rest.split(`\n${level} `)[0]!;
}

/** The items of the lists in a text that begin with code, each in one line. */
function itemsOf(text: string): string[] {
  const items = text.match(/^- `[^]*?(?=\n(?:- |\n|#)|$(?!\n))/gm) ?? [];
  return items.map((item) => item.replace(/\s+/g, " ").trim());
}

/** The code at the beginning of each item. */
function namesOf(text: string): string[] {
  return itemsOf(text).map((item) => item.split("`")[1]!);
}

/** The text with its line ends moved so that no line is longer than `max`. */
function wrapped(text: string, max: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const longer = `${lines.at(-1) ?? ""} ${word}`.trim();
    if (lines.length > 0 && longer.length <= max) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** A variable as README.md has it. */
function itemOf({ name, meaning, fallback }: VariableDescription): string {
  const ending = fallback === "none" ? "" : ` Default: ${fallback}.`;
  return `- \`${name}\`: ${meaning}${ending}`;
}

/** A variable as .env.example has it: commented out, with its default of development. */
function exampleOf({ name, meaning, fallback }: VariableDescription): string {
  const value = /^`([^`]*)`/.exec(fallback)?.[1] ?? "";
  const about = fallback === "none" ? meaning : `${meaning} Default: ${fallback}.`;
  const comment = wrapped(about, COMMENT_MAX - 2).map((line) => `# ${line}\n`).join("");
  // The default of PUBLIC_URL contains that of PORT.
  return `\n${comment}#${name}=${value.replace("$PORT", "8000")}\n`;
}

/** What .env.example should be. */
function exampleFile(): string {
  let section = "";
  const variables = describeVariables().map((variable) => {
    const heading = variable.section === section ? "" : `\n## ${variable.section}\n`;
    section = variable.section;
    return heading + exampleOf(variable);
  });
  return `# Copy this file to .env and uncomment what should differ. deno task dev reads it.\n` +
    `# Development needs none of it; README.md has what production requires.\n` +
    variables.join("");
}

Deno.test("README.md is short, and no line of it is long", async () => {
  const text = await read("README.md");
  const bytes = new TextEncoder().encode(text).length;

  ok(bytes <= README_BYTES_MAX, `README.md has ${bytes} bytes`);
  deepEqual(text.split("\n").filter((line) => line.length > LINE_MAX), []);
});

Deno.test("README.md's contents link to every section, and to nothing else", async () => {
  const text = await read("README.md");
  const headings = Array.from(text.matchAll(/^## (.+)$/gm), ([, heading = ""]) => heading);

  const links = (await sectionOf("## Contents")).trim();

  const expected = headings.filter((heading) => heading !== "Contents").map((heading) =>
    `- [${heading}](#${heading.toLowerCase().replaceAll(" ", "-")})`
  );
  equal(links, expected.join("\n"));
});

Deno.test("README.md lists every variable with its meaning and default, and no other", async () => {
  const items = itemsOf(await sectionOf("## Configuration"));

  deepEqual(items, describeVariables().map(itemOf));
});

Deno.test("README.md groups the variables as the program does", async () => {
  const text = await sectionOf("## Configuration");
  const groups = text.split("\n### ").slice(1).map((group) => {
    const heading = group.split("\n")[0]!;
    return namesOf(group).map((name) => ({ section: heading, name }));
  });

  deepEqual(groups.flat(), describeVariables().map(({ section, name }) => ({ section, name })));
});

Deno.test(".env.example lists every variable with its default, and no other", async () => {
  equal(await read(".env.example"), exampleFile());
});

Deno.test("README.md's map names every folder of lib/, and no other", async () => {
  const folders: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL("lib/", ROOT))) {
    if (isDirectory) folders.push(`lib/${name}/`);
  }

  const named = namesOf(await sectionOf("## Where things are"));

  deepEqual(named.filter((name) => /^lib\/\w+\/$/.test(name)), folders.sort());
});

Deno.test("README.md lists every scope, and no other", async () => {
  deepEqual(namesOf(await sectionOf("### API keys")), SCOPES);
});

Deno.test("README.md lists every rate limit with its default, and no other", async () => {
  const listed = namesOf(await sectionOf("### Rate limits"));

  deepEqual(listed.map((item) => item.split("=")[0]), RATE_RULES.map(({ name }) => name));
  deepEqual(parseRules(listed.join(",")), RATE_RULES);
});

/** Methods and paths of the routes in development, where there are most, without trailing slashes. */
async function readRoutes(): Promise<{ routes: string[]; inContract: string[] }> {
  await using app = await startApp({
    env: { APP_ENV: "development", MAIL_URL: "log:", PUBLIC_URL: "http://127.0.0.1" },
  });
  const routes = createApp(app.services, app.monitor).routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path.replace(/\{.*?\}/g, "").replace(/(.)\/$/, "$1")}`);
  const { body } = await app.get("/openapi.json");
  const inContract = Object.entries<Record<string, unknown>>(body.paths).flatMap(
    ([path, operations]) =>
      Object.keys(operations).map((method) =>
        `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1").replace(/(.)\/$/, "$1")}`
      ),
  );
  return { routes: [...new Set(routes)], inContract };
}

Deno.test("README.md names no path that the program does not serve", async () => {
  const { routes } = await readRoutes();
  const text = await read("README.md");

  const named = Array.from(
    text.matchAll(/`(?:([A-Z]+) )?(\/[^`\s?]*?)\/?(?:\?[^`]*)?`/g),
    ([, method, path = ""]) => ({ method, path: path || "/" }),
  ).filter(({ path }) => !path.startsWith("/problems/"));

  const unknown = named.filter(({ method, path }) =>
    !(method ? [method] : ["GET", "POST"]).some((method) => routes.includes(`${method} ${path}`))
  );
  ok(named.length > 20);
  deepEqual(unknown, []);
});

Deno.test("every route is in /openapi.json, or in README.md's list of pages and callbacks", async () => {
  const { routes, inContract } = await readRoutes();
  const [, list = ""] = (await sectionOf("## HTTP")).split("\nNot in the contract are ");
  const named = Array.from(
    list.split("\n### ")[0]!.matchAll(/`(\/[^`\s]*)`/g),
    ([, path]) => path!,
  );
  const isNamed = (path: string) =>
    named.some((name) => path === name || name !== "/" && path.startsWith(`${name}/`));

  const unnamed = routes.filter((route) =>
    !inContract.includes(route) && !isNamed(route.split(" ")[1]!)
  );

  deepEqual(unnamed, []);
});

Deno.test("README.md names no task and no file that does not exist", async () => {
  const text = await read("README.md");
  const { tasks } = JSON.parse(await read("deno.json"));
  const named = new Set(Array.from(text.matchAll(/deno task (\w+)/g), ([, task = ""]) => task));
  const files = new Set(
    text.match(/(?<=`)(?:main\.ts|\.ci\/run|(?:tests|lib|routes|cron)\/[\w/.]*)(?=`)/g),
  );
  const missing: string[] = [];
  for (const file of files) {
    await Deno.stat(new URL(file, ROOT)).catch(() => missing.push(file));
  }

  deepEqual([...named].filter((task) => !Object.hasOwn(tasks, task)), []);
  deepEqual(missing, []);
});
