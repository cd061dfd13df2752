// Under their short names Deno exports from here what compares with `==`.
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { LEAD, startApp } from "../../support/program/app.ts";

const ROOT = new URL("../../../", import.meta.url);

/** How a run of the command ended. */
interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

/** The command on a store of its own. */
interface Cli extends AsyncDisposable {
  /** Where the store is. */
  kvPath: string;
  /** Runs it in a process of its own, as `deno task keys` does. */
  run(...args: string[]): Promise<Run>;
}

async function newCli(env: Record<string, string> = {}): Promise<Cli> {
  const folder = await Deno.makeTempDir();
  const kvPath = `${folder}/shop.kv`;
  return {
    kvPath,
    async run(...args) {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "--allow-net",
          "--allow-env",
          `--allow-read=${folder}`,
          `--allow-write=${folder}`,
          "lib/tasks/keys.ts",
          ...args,
        ],
        cwd: ROOT,
        env: { APP_ENV: "development", KV_PATH: kvPath, NO_COLOR: "1", ...env },
        stdin: "null",
      }).output();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      return { code, stdout: text(stdout), stderr: text(stderr) };
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

/** The cells of what `list` printed, without the head. */
function rowsOf({ stdout }: Run): string[][] {
  return stdout.trimEnd().split("\n").slice(1).map((line) => line.split(/ {2,}/));
}

Deno.test("deno task keys creates a key that a running server accepts, and revokes it at once", async () => {
  await using cli = await newCli();
  await using app = await startApp({ env: { KV_PATH: cli.kvPath }, useRealClock: true });

  const made = await cli.run("create", "--name", "Website", "--scope", "leads:read,leads:write");
  const key = made.stdout.trim();
  const allowed = await app.get("/api/v2/leads", key);
  const forbidden = await app.get("/api/v2/invoices", key);
  const listed = await cli.run("list");
  const [id = ""] = rowsOf(listed)[0] ?? [];
  const revoked = await cli.run("revoke", id);
  const refused = await app.get("/api/v2/leads", key);
  const listedAfter = await cli.run("list");

  equal(made.code, 0, made.stderr);
  match(made.stdout, /^wtk_[0-9a-f]{32}_[\w-]{43}\n$/);
  equal(allowed.status, 200);
  equal(forbidden.status, 403);
  deepEqual(rowsOf(listed).map((row) => row.toSpliced(2, 1)), [
    [id, "valid", "never", "Website", "leads:read,leads:write"],
  ]);
  equal(revoked.code, 0, revoked.stderr);
  equal(refused.status, 401);
  deepEqual(rowsOf(listedAfter).map((row) => row.slice(0, 2)), [[id, "revoked"]]);
  for (const { stdout, stderr } of [listed, revoked, listedAfter]) {
    // Neither the key nor its digest is seen again.
    ok(!/wtk_|[0-9a-f]{64}/.test(stdout + stderr));
  }
});

Deno.test("deno task keys create --quiet prints the key and nothing else", async () => {
  await using cli = await newCli();

  const { code, stdout, stderr } = await cli.run(
    "create",
    "--quiet",
    "--name=x",
    "--scope=admin",
  );

  equal(code, 0);
  match(stdout, /^wtk_\S+\n$/);
  equal(stderr, "");
});

Deno.test("deno task keys create --expires creates a key that is refused from that day on", async () => {
  await using cli = await newCli();
  await using app = await startApp({ env: { KV_PATH: cli.kvPath } });

  // The test's clock stands in 2026, before anything that the command makes.
  const { stdout } = await cli.run(
    "create",
    "--name=x",
    "--scope=leads:read",
    "--expires=2999-01-01",
  );
  const key = stdout.trim();
  app.advance(Date.UTC(2999, 0, 1) - app.services.clock() - 1);
  const before = await app.get("/api/v2/leads", key);
  app.advance(1);
  const after = await app.get("/api/v2/leads", key);
  const listed = await cli.run("list");

  equal(before.status, 200);
  equal(after.status, 401);
  deepEqual(rowsOf(listed).map((row) => [row[1], row[3]]), [["valid", "2999-01-01"]]);
});

Deno.test("deno task keys create succeeds on a store that a server is writing to", async () => {
  await using cli = await newCli();
  await using app = await startApp({ env: { KV_PATH: cli.kvPath }, useRealClock: true });
  let isDone = false;
  async function sendLeads(): Promise<number> {
    let accepted = 0;
    while (!isDone) if ((await app.post("/api/v2/leads", LEAD)).status === 201) accepted++;
    return accepted;
  }

  const leads = Promise.all([sendLeads(), sendLeads(), sendLeads()]);
  const runs: Run[] = [];
  for (let i = 0; i < 3; i++) runs.push(await cli.run("create", "--name=x", "--scope=leads:read"));
  isDone = true;
  const accepted = (await leads).reduce((sum, count) => sum + count, 0);
  const answers = await Promise.all(
    runs.map(({ stdout }) => app.get("/api/v2/leads?limit=1", stdout.trim())),
  );

  deepEqual(runs.map(({ code, stderr }) => code === 0 ? "" : stderr), ["", "", ""]);
  deepEqual(answers.map(({ status }) => status), [200, 200, 200]);
  equal(await app.count(["lead"]), accepted);
});

const SCOPES_SHOWN = /leads:read, leads:write, .*system:read, system:write$/;
const REFUSALS: [args: string[], says: RegExp][] = [
  [[], /^Command required: create, list or revoke/],
  [["mint"], /^Unknown command "mint"/],
  [["list", "extra"], /^Unexpected argument "extra" \(see --help\)$/],
  [["list", "--quiet"], /^Options are only valid for create/],
  [["create", "--nome=x"], /^Unknown option '--nome'$/],
  [["create", "--scope=admin"], /^--name is required: who uses the key$/],
  [["create", "--scope=admin", "--name", "a\x1b[31m"], /^--name must be one line/],
  [["create", "--scope=admin", "--name", "x".repeat(121)], /^--name must be one line/],
  [["create", "--name=x"], SCOPES_SHOWN],
  [["create", "--name=x", "--scope=,"], SCOPES_SHOWN],
  [["create", "--name=x", "--scope=leads:raed"], SCOPES_SHOWN],
  [["create", "--name=x", "--scope=admin", "--expires=soon"], /^--expires must be a date such as/],
  [
    ["create", "--name=x", "--scope=admin", "--expires=2999-02-30"],
    /^--expires must be a date such as/,
  ],
  [
    ["create", "--name=x", "--scope=admin", "--expires=2020-01-01"],
    /^--expires must be in the future/,
  ],
  [["revoke"], /^Key ID required/],
  [["revoke", "Website"], /^Invalid key ID/],
  [["revoke", "01938d6e-3c00-7000-8000-000000000001"], /^No such API key$/],
];

Deno.test("deno task keys refuses invalid arguments in one line, and creates nothing", async () => {
  await using cli = await newCli();

  const runs = await Promise.all(REFUSALS.map(([args]) => cli.run(...args)));
  const listed = await cli.run("list");

  for (const [i, [args, says]] of REFUSALS.entries()) {
    const { code, stdout, stderr } = runs[i]!;
    equal(code, 1, args.join(" "));
    equal(stdout, "", args.join(" "));
    match(stderr.trimEnd(), says);
    equal(stderr.split("\n").length, 2, stderr);
  }
  deepEqual(rowsOf(listed), []);
});

Deno.test("deno task keys --help needs neither configuration nor store", async () => {
  await using cli = await newCli({ APP_ENV: "production", KV_PATH: "" });

  const help = await cli.run("create", "--help");
  const list = await cli.run("list");

  equal(help.code, 0);
  match(help.stdout, /deno task keys create --name NAME --scope SCOPE/);
  equal(list.code, 1);
  match(list.stderr, /^The configuration has \d+ problems:\n(?: {2}- .*\n)+$/);
});
