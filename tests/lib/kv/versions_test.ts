/**
 * What one line of Deno stores, another reads: the platform runs an older one
 * than most laptops, and Deno's own format for values differs between them.
 *
 * This file is also the program that each runtime runs as a child, as
 * `versions_test.ts write|read <store>`.
 */
import { deepStrictEqual as deepEqual, ok } from "node:assert/strict";
import { decode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Key } from "../../../lib/kv/keys.ts";
import { transact } from "../../../lib/kv/mod.ts";
import { startApp, TEST_START } from "../../support/program/app.ts";
import { ask } from "../../support/processes/many_leads.ts";

const SAMPLES: Key<unknown> = ["samples"];
const LEADS = 5;

/** One of everything that can be stored. */
function samples(): Record<string, unknown> {
  return {
    text: "Habari, dunia — ✓",
    amounts: [0, -0, NaN, Infinity, 2 ** 53 - 1, 0.1],
    big: 2n ** 100n,
    nothing: [null, undefined],
    when: new Date(TEST_START),
    bytes: new Uint8Array([0, 127, 255]),
    map: new Map<unknown, unknown>([["a", 1n], [{ b: 1 }, new Set(["c"])]]),
    counter: new Deno.KvU64(2n ** 64n - 1n),
    tagged: { $: "date", v: 0 },
  };
}

/** Writes products, leads and samples through the use cases, and prints what they answered. */
async function write(path: string): Promise<unknown> {
  await using app = await startApp({ env: { KV_PATH: path } });
  const product = await app.stockProduct();
  const accepted = [];
  for (let i = 0; i < LEADS; i++) {
    accepted.push(await ask({ ...app, product }, i, { isSale: i % 2 === 0 }));
  }
  const operation = { id: "samples", fingerprint: "", isNew: true, keepMs: 1_000 };
  await transact(app.services, {}, (_, writes) => writes.set(SAMPLES, samples()), { operation });
  return { product, accepted };
}

/** Reads all of it back, lists included, and prints it; replays a lead, too. */
async function read(path: string): Promise<unknown> {
  await using app = await startApp({ env: { KV_PATH: path } });
  const { store } = app.services;
  const [product] = await store.list(keys.products, { limit: 10 });
  const accepted = [];
  // Under their keys, so nothing is written: the receipts are read.
  for (let i = 0; i < LEADS; i++) {
    accepted.push(await ask({ ...app, product: product!.value }, i, { isSale: i % 2 === 0 }));
  }
  deepEqual(await store.get(SAMPLES), samples());
  const leads = await store.list(keys.leads, { limit: 100 });
  const clients = await store.list(keys.clients, { limit: 100 });
  deepEqual([leads.length, clients.length], [LEADS, LEADS]);
  return { product: product!.value, accepted };
}

if (import.meta.main && Deno.args.length === 2) {
  const [does, path] = Deno.args as [string, string];
  const answer = await (does === "write" ? write(path) : read(path));
  console.log(JSON.stringify({ version: Deno.version.deno, answer }));
}

interface ChildAnswer {
  version: string;
  answer: unknown;
}

async function runChild(deno: string, does: "write" | "read", path: string): Promise<ChildAnswer> {
  const { success, stdout, stderr } = await new Deno.Command(deno, {
    args: [
      "run",
      "--quiet",
      "--no-lock",
      "--allow-net",
      "--allow-env",
      "--allow-read",
      "--allow-write",
      "--allow-sys",
      new URL(import.meta.url).pathname,
      does,
      path,
    ],
    cwd: new URL("../../../", import.meta.url).pathname,
  }).output();
  ok(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout).trim().split("\n").at(-1)!);
}

const other = Deno.env.get("DENO_OTHER");
const hint = other ? "" : " (npm install deno@2.5, then DENO_OTHER=node_modules/.bin/deno)";

for (const isOtherFirst of [true, false]) {
  const how = isOtherFirst
    ? "another Deno writes, this one reads"
    : "this Deno writes, another reads";
  Deno.test({
    name: `what ${how}${hint}`,
    ignore: !other,
    async fn() {
      const folder = await Deno.makeTempDir();
      const path = `${folder}/store.sqlite3`;
      const [writer, reader] = isOtherFirst ? [other!, Deno.execPath()] : [Deno.execPath(), other!];

      const written = await runChild(writer, "write", path);
      const found = await runChild(reader, "read", path);

      await Deno.remove(folder, { recursive: true });
      ok(written.version !== found.version, `Both are Deno ${found.version}`);
      deepEqual(found.answer, written.answer);
    },
  });
}

Deno.test("every stored value is bytes in our own encoding", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/store.sqlite3`;
  await write(path);

  using kv = await Deno.openKv(path);
  const entries = await Array.fromAsync(kv.list({ prefix: [] }));

  await Deno.remove(folder, { recursive: true });
  ok(entries.length > LEADS);
  for (const { key, value } of entries) {
    ok(value instanceof Uint8Array, `${JSON.stringify(key)} is no bytes`);
    if (key[0] !== "log") ok(decode(value) !== undefined);
  }
});
