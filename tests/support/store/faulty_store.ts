/**
 * Our store on a KV with faults, transactions to run on it, and a replay of the log.
 *
 * @module
 */
import { strictEqual as equal } from "node:assert/strict";
import { newId } from "../../../lib/ids.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Key } from "../../../lib/kv/keys.ts";
import type { Deadlines } from "../../../lib/kv/deadlines.ts";
import { Store } from "../../../lib/kv/store.ts";
import { transact } from "../../../lib/kv/mod.ts";
import type { Found, Operation, Reads, Writes } from "../../../lib/kv/transaction.ts";
import { RECEIPT_MS } from "../../../lib/entities/caller.ts";
import { startApp, TEST_START } from "../program/app.ts";
import { deadlinesUnder } from "./deadlines.ts";
import { FaultyKv } from "./faulty_kv.ts";

/** Slack for a busy machine: a healthy call in memory takes less than a millisecond. */
export const BRISK: Deadlines = { readMs: 150, commitMs: 150, transactionMs: 400, fenceMs: 2_000 };

/** The program on a KV with injected faults, with a product on sale. */
export async function startFaultyApp(deadlines: Deadlines, env: Record<string, string> = {}) {
  let kv: FaultyKv | undefined;
  const app = await startApp({
    deadlines: deadlinesUnder(() => kv?.hasFaults ?? false, deadlines),
    env,
    wrapKv: (opened) => kv = new FaultyKv(opened),
  });
  const product = await app.stockProduct();
  return { ...app, kv: kv!, product };
}

/** A temporary folder. */
export async function temporaryFolder(): Promise<AsyncDisposable & { file: string }> {
  const path = await Deno.makeTempDir();
  return {
    file: `${path}/store.sqlite3`,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** Two stores on one KV; faults can be injected into the first one. */
export async function openStores(
  { deadlines = BRISK, isEmbedded = true }: { deadlines?: Deadlines; isEmbedded?: boolean } = {},
) {
  const opened = await Deno.openKv(":memory:");
  const kv = new FaultyKv(opened);
  const options = {
    clock: () => TEST_START,
    random: Math.random,
    isEmbedded,
    deadlines: deadlinesUnder(() => kv.hasFaults, deadlines),
  };
  const store = new Store(kv, { ...options, checksMax: 100 });
  const other = new Store(opened, { ...options, checksMax: 100 });
  return {
    kv,
    opened,
    store,
    other,
    async [Symbol.asyncDispose]() {
      await kv.settled();
      await other.committer.idle();
      await store.close();
    },
  };
}

/** Runs a transaction under an operation id, or under a new one. */
export function run<K extends Reads, R>(
  store: Store,
  reads: K,
  decide: (found: Found<K>, writes: Writes) => R,
  named: Partial<Operation> = {},
): Promise<R> {
  const operation = {
    id: newId(TEST_START),
    fingerprint: "",
    isNew: named.id === undefined,
    keepMs: RECEIPT_MS,
    ...named,
  };
  return transact({ store }, reads, decide, { operation });
}

export const TOTAL: Key<number> = ["total"];

export function addOne(store: Store, named: Partial<Operation> = {}): Promise<number> {
  return run(store, { total: TOTAL }, ({ total }, writes) => {
    writes.set(TOTAL, (total ?? 0) + 1);
    return (total ?? 0) + 1;
  }, named);
}

/** The log replayed: its commits in order, and the durable keys and values after them. */
export async function replayed(kv: FaultyKv) {
  const parts = new Map<string, Uint8Array[]>();
  for await (const { key, value } of kv.list<Uint8Array>({ prefix: ["log"] })) {
    const [, part, stamp] = key as [string, number, string];
    const ofCommit = parts.get(stamp) ?? [];
    ofCommit[part] = value;
    parts.set(stamp, ofCommit);
  }
  const state = new Map<string, string>();
  const commits: { stamp: string; parts: number; lines: [string, string][] }[] = [];
  for (const stamp of [...parts.keys()].sort()) {
    const bytes = parts.get(stamp)!.flatMap((part) => [...part]);
    const [header, ...rest] = new TextDecoder().decode(new Uint8Array(bytes)).split("\n");
    const lines = rest.filter((line) => line !== "").map((line): [string, string] => {
      const [text, value] = line.split("\t");
      return [text!, value!];
    });
    for (const [text, value] of lines) {
      if (value === "") state.delete(text);
      else state.set(text, value);
    }
    commits.push({ stamp, parts: JSON.parse(header!).parts, lines });
    equal(commits.at(-1)!.parts, parts.get(stamp)!.length);
  }
  return { commits, state: new Map([...state].sort()) };
}

/** All stored values that do not expire, by the text of their keys. */
export async function durableOf(kv: FaultyKv): Promise<Map<string, string>> {
  const state = new Map<string, string>();
  for await (const { key, value } of kv.list<Uint8Array>({ prefix: [] })) {
    const own = key as Key<unknown>;
    if (keys.isDurable(own)) state.set(keys.keyText(own), new TextDecoder().decode(value));
  }
  return new Map([...state].sort());
}
