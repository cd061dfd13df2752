/**
 * Random transactions under random faults against a model: whatever happened
 * must be some serial order of the answers to the callers.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { AppError, type ErrorKind } from "../../../lib/errors.ts";
import type { Key } from "../../../lib/kv/keys.ts";
import { Store } from "../../../lib/kv/store.ts";
import { TEST_START } from "../../support/program/app.ts";
import {
  COMMIT_FAULTS,
  type CommitFault,
  FaultyKv,
  newSeed,
  type ReadFault,
} from "../../support/store/faulty_kv.ts";
import { durableOf, replayed, run } from "../../support/store/faulty_store.ts";

/** One call of the model: what it does to which counters, through which store, under which id. */
interface Step {
  does: "add" | "delete" | "refuse-large";
  counters: number[];
  store: number;
  id: number;
}

const STEP: fc.Arbitrary<Step> = fc.record({
  does: fc.constantFrom("add", "add", "delete", "refuse-large"),
  counters: fc.uniqueArray(fc.nat(3), { minLength: 1, maxLength: 3 }),
  store: fc.nat(1),
  id: fc.nat(30), // so few that some come again, now and then with another request
});

/** What it does, to the store and to the model alike. */
function perform({ does, counters }: Step, found: Map<number, number>): Map<number, number | null> {
  const isLarge = counters.some((counter) => (found.get(counter) ?? 0) > 2);
  if (does === "refuse-large" && isLarge) throw new AppError("conflict", "Too large");
  return new Map(
    counters.map((counter) => [
      counter,
      does === "delete" ? null : (found.get(counter) ?? 0) + 1,
    ]),
  );
}

const FAILURES = new Set<ErrorKind>(["unavailable", "conflict", "idempotency_key_reused"]);

const counterKey = (counter: number): Key<number> => ["counter", counter];
const doneKey = (id: number): Key<number> => ["done", id];

/** Performs a step. @returns What each counter was before. */
function runStep(store: Store, step: Step, call: number): Promise<[number, number | null][]> {
  const reads = Object.fromEntries(step.counters.map((n) => [n, counterKey(n)]));
  return run(store, reads, (found, writes) => {
    const before = step.counters.map((n): [number, number | null] => [n, found[n] ?? null]);
    const known = before.filter((pair): pair is [number, number] => pair[1] !== null);
    for (const [n, value] of perform(step, new Map(known))) {
      if (value === null) writes.delete(counterKey(n));
      else writes.set(counterKey(n), value);
    }
    writes.set(doneKey(step.id), call);
    return before;
  }, { id: `id ${step.id}`, fingerprint: JSON.stringify([step.does, step.counters]) });
}

Deno.test("any interleaving of transactions under faults gives the answers of the serial order in the log", async () => {
  const faults = fc.array(
    fc.oneof(
      { weight: 7, arbitrary: fc.constant<CommitFault>("ok") },
      { weight: 3, arbitrary: fc.constantFrom(...COMMIT_FAULTS) },
    ),
    { minLength: 30, maxLength: 60 },
  );
  const readFaults = fc.array(
    fc.oneof(
      { weight: 19, arbitrary: fc.constant<ReadFault>("ok") },
      { weight: 1, arbitrary: fc.constantFrom<ReadFault>("error", "hang") },
    ),
    { minLength: 30, maxLength: 60 },
  );
  const scenario = fc.record({
    waves: fc.array(fc.array(STEP, { minLength: 1, maxLength: 8 }), {
      minLength: 1,
      maxLength: 4,
    }),
    isEmbedded: fc.boolean(),
    lateMs: fc.constantFrom(null, 5, 25, 60),
    faults,
    readFaults,
  });

  await fc.assert(
    fc.asyncProperty(scenario, async ({ waves, isEmbedded, lateMs, faults, readFaults }) => {
      using opened = await Deno.openKv(":memory:");
      const deadlines = { readMs: 20, commitMs: 20, transactionMs: 60, fenceMs: 3_000 };
      const kvs = [new FaultyKv(opened), new FaultyKv(opened)];
      let [commits, reads] = [0, 0];
      for (const kv of kvs) {
        kv.lateMs = lateMs;
        kv.commitFault = () => faults[commits++ % faults.length]!;
        kv.readFault = () => readFaults[reads++ % readFaults.length]!;
      }
      const stores = kvs.map((kv) =>
        new Store(kv, {
          clock: () => TEST_START,
          random: Math.random,
          checksMax: 100,
          isEmbedded,
          deadlines,
        })
      );
      const calls: { step: Step; answer: PromiseSettledResult<[number, number | null][]> }[] = [];

      for (const wave of waves) {
        const first = calls.length;
        const answers = await Promise.allSettled(
          wave.map((step, i) => runStep(stores[step.store]!, step, first + i)),
        );
        calls.push(...wave.map((step, i) => ({ step, answer: answers[i]! })));
      }
      for (const kv of kvs) {
        kv.heal();
        await kv.release();
        await kv.settled();
      }

      const { commits: log, state } = await replayed(kvs[0]!);
      deepEqual(state, await durableOf(kvs[0]!));
      const done = log.flatMap(({ lines }) => lines).map(([text, value]) => ({
        key: JSON.parse(text),
        call: Number(value.split(" ")[1]),
      })).filter(({ key }) => key[0] === "done");
      equal(new Set(done.map(({ key }) => key[1])).size, done.length, "Done twice");
      const model = new Map<number, number>();
      const results = new Map<number, [number, number | null][]>();
      for (const { call } of done) {
        const { step } = calls[call]!;
        results.set(step.id, step.counters.map((n) => [n, model.get(n) ?? null]));
        for (const [n, value] of perform(step, model)) {
          if (value === null) model.delete(n);
          else model.set(n, value);
        }
      }
      const applied = new Set(done.map(({ call }) => call));
      calls.forEach(({ step, answer }, call) => {
        if (answer.status === "fulfilled") return deepEqual(answer.value, results.get(step.id));
        ok(FAILURES.has(answer.reason.kind), `Answered ${answer.reason}`);
        ok(!applied.has(call), `Answered ${answer.reason}, and done`);
      });
      const counters = [...state].map(([text, value]) => [JSON.parse(text), value] as const)
        .filter(([[name]]) => name === "counter")
        .map(([[, n], value]): [number, number] => [n, Number(value.split(" ")[1])]);
      deepEqual(new Map(counters.sort()), new Map([...model].sort()));
    }),
    { seed: newSeed("model") | 0, numRuns: 100 },
  );
});
