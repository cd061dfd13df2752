/**
 * `deno task sweep` reports findings, in text and by its exit code.
 */
// Under their short names Deno exports from here what compares with `==`.
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { LEAD, startApp } from "../../support/program/app.ts";

const ROOT = new URL("../../../", import.meta.url);

/** How a run of the command ended. */
interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the command in a process of its own, as `deno task sweep` does. */
async function run(folder: string, ...args: string[]): Promise<Run> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-net",
      "--allow-env",
      `--allow-read=${folder}`,
      `--allow-write=${folder}`,
      "lib/tasks/sweep.ts",
      ...args,
    ],
    cwd: ROOT,
    env: { APP_ENV: "development", KV_PATH: `${folder}/shop.kv`, NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("deno task sweep exits with 0 on a sound store, beside a server, and with 1 on a damaged one", async () => {
  const folder = await Deno.makeTempDir();
  await using app = await startApp({ env: { KV_PATH: `${folder}/shop.kv` } });
  const { id: productId } = await app.stockProduct();
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId });

  const sound = await run(folder);
  using kv = await Deno.openKv(`${folder}/shop.kv`);
  await kv.set(keys.clientByEmail("gone@example.com"), encode(productId));
  await kv.delete(keys.lead(body.lead.id));
  const damaged = await run(folder);
  const json = await run(folder, "--json");

  equal(sound.code, 0, sound.stderr);
  match(sound.stdout, /^lead +1$/m);
  match(sound.stdout, /^No findings: \d+ entries in \d+\.\d s$/m);
  equal(damaged.code, 1, damaged.stderr);
  match(
    damaged.stdout,
    /^CRITICAL invoice\.lead_mismatch\n {2}\["invoice","[0-9a-f-]{36}"\]\n {2}Lead /m,
  );
  match(damaged.stdout, /^WARNING index\.dangling\n {2}\["client_by_email","\[redacted\]"\]$/m);
  match(damaged.stdout, /^4 findings: \d+ entries/m);
  ok(!/@example/.test(damaged.stdout + damaged.stderr + json.stdout));
  equal(json.code, 1);
  const { isComplete, findingsTotal } = JSON.parse(json.stdout);
  deepEqual({ isComplete, findingsTotal }, { isComplete: true, findingsTotal: 4 });
  await Deno.remove(folder, { recursive: true });
});

Deno.test("deno task sweep --repair repairs what it can, and reports repairs and remaining findings", async () => {
  const folder = await Deno.makeTempDir();
  await using app = await startApp({ env: { KV_PATH: `${folder}/shop.kv` } });
  const { id: productId } = await app.stockProduct();
  const { body } = await app.post("/api/v2/leads", { ...LEAD, productId });
  using kv = await Deno.openKv(`${folder}/shop.kv`);
  await kv.set(keys.clientByEmail("gone@example.com"), encode(productId));
  await kv.delete(keys.invoiceByNumber(body.invoice.number));

  const repaired = await run(folder, "--repair");
  const sound = await run(folder, "--repair");
  await kv.delete(keys.invoiceByNumber(body.invoice.number));
  await kv.delete(keys.client(body.client.id));
  const left = await run(folder, "--repair");
  const json = await run(folder, "--repair", "--json");

  equal(repaired.code, 0, repaired.stderr);
  match(
    repaired.stdout,
    /^REPAIRED index\.missing\n {2}\["invoice_by_number","INV-\d{4}-000001"\]\n {2}[0-9a-f-]{36} is missing\. Set to [0-9a-f-]{36}$/m,
  );
  match(
    repaired.stdout,
    /^REPAIRED index\.dangling\n {2}\["client_by_email","\[redacted\]"\]\n {2}[0-9a-f-]{36} does not exist\. Entry deleted$/m,
  );
  match(repaired.stdout, /^No findings left, 2 repairs: \d+ entries in \d+\.\d s$/m);
  equal(sound.code, 0, sound.stderr);
  match(sound.stdout, /^No findings left, 0 repairs: /m);
  equal(left.code, 1, left.stderr);
  match(left.stdout, /^REPAIRED index\.missing$/m);
  match(left.stdout, /^CRITICAL lead\.client_missing: not repairable$/m);
  match(left.stdout, /^2 findings, 2 repairs: /m);
  equal(json.code, 1);
  const { findingsTotal, repairsTotal, findings } = JSON.parse(json.stdout);
  deepEqual([findingsTotal, repairsTotal, findings[0].repair], [2, 0, "not_repairable"]);
  ok(!/@example/.test(repaired.stdout + left.stdout + json.stdout));
  await Deno.remove(folder, { recursive: true });
});

Deno.test("deno task sweep prints its help and refuses invalid arguments", async () => {
  const folder = await Deno.makeTempDir();

  const help = await run(folder, "--help");
  const word = await run(folder, "everything");
  const option = await run(folder, "--fix");

  equal(help.code, 0);
  match(help.stdout, /^Check every invariant/);
  deepEqual([word.code, word.stdout, option.code, option.stdout], [1, "", 1, ""]);
  match(word.stderr, /Unexpected argument "everything"/);
  match(option.stderr, /Unknown option '--fix'/);
  await Deno.remove(folder, { recursive: true });
});
