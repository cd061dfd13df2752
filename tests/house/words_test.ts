/**
 * Everything that people read is plain business English: the texts in the code
 * (messages, logs, mails, pages, help of tasks), the API's document, README.md and
 * the tasks' descriptions hold none of the phrases below.
 */
import { deepStrictEqual as deepEqual } from "node:assert/strict";
import { startApp } from "../support/program/app.ts";

const ROOT = new URL("../../", import.meta.url);

/** Words and phrases, each with what to write instead. Spaces match line breaks. */
const BANNED: Readonly<Record<string, string>> = {
  "told|untold|tells?|telling": "notify, report, answer, distinguish",
  "unwell|well again|(?:all|it|he|she) is well": "unhealthy, degraded; recovered, healthy",
  "mend(?:s|ed|ing|er|able)?": "repair",
  "moot": "skipped",
  "handed on": "dispatched",
  "given up|gave up": "stopped, exhausted, dead-lettered",
  "gave away|given away|gives? away": "send, disclose",
  "overtaken": "superseded",
  "wish(?:es|ed)?|wanted": "request",
  "desk": "operators, admin",
  "walls?": "security",
  "anew": "again",
  "of late": "recently",
  "any ?more": "no longer",
  "gone on|goes on|went on|go on with": "continue, resume",
  "made owed|makes? .{1,40} owed|no longer owed|nothing is owed": "issue, void; no balance is due",
  "no more than": "at most",
  "ha(?:s|d|ve) it": "name the thing",
  "have an? \\w+ (?:not )?(?:tried|sent|used|made|asked|done)": "retry, send, use, cancel",
  "say (?:what|which|who|how)|clear word": "X is required, report",
  "whom": "who, the recipient",
  "(?:is|are) written to": "notified, sent, stored in",
  "over (?:TZS|TSh|\\{\\{total)": "for an amount",
  "invoice \\S+ of|invoice of|enquiry of|news of": "from a sender, for an amount",
  "pa(?:y|ys|id|ying) back|money back|went back": "refund",
  "paid too much|too often": "overpaid; too many attempts",
  "room left|no room|room for": "capacity",
  "one word too many": "unexpected argument",
  "another thing": "name the thing",
  "in one piece": "name the limit",
  "bec[ao]mes? of": "outcome, status",
  "rung|ring (?:us|them)": "call",
  "learnt|heard of|heard from": "received, reported",
  "so long|as long ago": "name the period",
  "that there are|what there is": "available, all",
  "is none": "there is no, is not a",
  "(?:is|are|was|were) not there": "does not exist, is missing",
  "thereof|therein|hereby|hitherto": "plain words",
  "verdict|disbelief|luck": "transition, rejected, chance",
};

const PHRASES: readonly [pattern: RegExp, better: string][] = Object.entries(BANNED).map((
  [phrase, better],
) => [new RegExp(`(?<![\\w-])(?:${phrase.replaceAll(" ", "\\s+")})(?![\\w-])`, "gi"), better]);

/** A text that people read, and where it begins. */
interface Text {
  file: string;
  line: number;
  text: string;
}

/** Each banned phrase in a text, with its place and what to write instead. */
function hitsOf({ file, line, text }: Text): string[] {
  return PHRASES.flatMap(([pattern, better]) =>
    Array.from(text.matchAll(pattern), ({ 0: found, index }) => {
      const at = line + text.slice(0, index).split("\n").length - 1;
      return `${file}:${at}: "${found.replace(/\s+/g, " ")}" (write: ${better})`;
    })
  );
}

/**
 * The string literals, pieces of templates and JSX texts of a file. A literal without
 * a space is a name, a path or an event of the log: nobody reads it as a sentence.
 */
function textsOf(file: string, source: string): Text[] {
  const ranges: Deno.lint.Range[] = [];
  const rule: Deno.lint.Rule = {
    create: () => ({
      Literal({ value, range }) {
        if (typeof value === "string" && value.includes(" ")) ranges.push(range);
      },
      TemplateElement: ({ range }) => void ranges.push(range),
      JSXText: ({ range }) => void ranges.push(range),
    }),
  };
  const plugin = { name: "words", rules: { texts: rule } };
  Deno.lint.runPlugin(plugin, new URL(file, ROOT).pathname, source);
  return ranges.map(([start, end]) => ({
    file,
    line: source.slice(0, start).split("\n").length,
    // A written line end becomes as many spaces, so that places stay.
    text: source.slice(start, end).replaceAll("\\n", "  "),
  }));
}

/** Markdown without what is code in it; places stay. */
function withoutCode(markdown: string): string {
  return markdown.replace(/```[^]*?```|`[^`\n]*`/g, (code) => code.replace(/[^\n]/g, "`"));
}

/** The summaries, descriptions and titles of an OpenAPI document, with their places in it. */
function describedIn(value: unknown, place = "/openapi.json"): Text[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const file = `${place}/${name.replaceAll("/", "~1")}`;
    const isText = /^(?:summary|description|title)$/.test(name) && typeof inner === "string";
    return isText ? [{ file, line: 1, text: inner }] : describedIn(inner, file);
  });
}

/** Every file of the product in TypeScript, as paths from the root. */
async function productFiles(folders = ["lib/", "routes/", "cron/"]): Promise<string[]> {
  const files = await Promise.all(folders.map(async (folder) => {
    const entries = await Array.fromAsync(Deno.readDir(new URL(folder, ROOT)));
    const below = entries.filter(({ isDirectory }) => isDirectory);
    return [
      ...entries.filter(({ name }) => /\.tsx?$/.test(name)).map(({ name }) => folder + name),
      ...await productFiles(below.map(({ name }) => `${folder}${name}/`)),
    ];
  }));
  return files.flat().sort();
}

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, ROOT));
}

Deno.test("the texts in the product's code hold no banned phrase", async () => {
  const hits: string[] = [];
  for (const file of ["main.ts", ...await productFiles()]) {
    hits.push(...textsOf(file, await read(file)).flatMap(hitsOf));
  }

  deepEqual(hits, []);
});

Deno.test("the API's document holds no banned phrase", async () => {
  await using app = await startApp();

  const { body } = await app.get("/openapi.json");
  const texts = describedIn(body);

  deepEqual(texts.length > 100, true);
  deepEqual(texts.flatMap(hitsOf), []);
});

Deno.test("README.md, .env.example and the tasks hold no banned phrase", async () => {
  const { tasks }: { tasks: Record<string, { description: string }> } = JSON.parse(
    await read("deno.json"),
  );
  const texts: Text[] = [
    { file: "README.md", line: 1, text: withoutCode(await read("README.md")) },
    { file: ".env.example", line: 1, text: await read(".env.example") },
    ...Object.entries(tasks).map(([name, { description }]) => ({
      file: `deno.json task ${name}`,
      line: 1,
      text: description,
    })),
  ];

  deepEqual(texts.flatMap(hitsOf), []);
});

Deno.test("a hit names file, line and phrase, wherever in a text it is", () => {
  const source = [
    'import x from "./untold.ts";',
    "const told = 1;",
    'const a = f("alert.untold", `Nobody was',
    "told ${told} of it`);",
    'const b = <p title="No more than 5">All well',
    "again</p>;",
    'const c = "wishlist, retold, mending";',
  ].join("\n");

  const hits = textsOf("routes/example.tsx", source).flatMap(hitsOf);

  deepEqual(hits.map((hit) => hit.replace(/ \(write: .*$/, "")), [
    'routes/example.tsx:4: "told"',
    'routes/example.tsx:5: "No more than"',
    'routes/example.tsx:5: "well again"',
    'routes/example.tsx:7: "mending"',
  ]);
});

Deno.test("code within README.md is not searched, and does not move the lines", () => {
  const text = withoutCode("`told`\n```sh\ntold\n```\ntold");

  deepEqual(
    hitsOf({ file: "README.md", line: 1, text }).map((hit) => hit.split(" (")[0]),
    ['README.md:5: "told"'],
  );
});
