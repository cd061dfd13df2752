/**
 * A write happens once or not at all, whatever happens to its commits, and the caller learns which.
 *
 * The faults are below our store, in front of a real KV. Each test reads the answers of callers,
 * lets everything late happen, and only then reads what is stored.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { AppError, type ErrorKind } from "../../../lib/errors.ts";
import { sleep, withDeadline } from "../../../lib/time.ts";
import { DEADLINES, type Deadlines } from "../../../lib/kv/deadlines.ts";
import { Store } from "../../../lib/kv/store.ts";
import {
  bySchedule,
  COMMIT_FAULTS,
  type CommitFault,
  FaultyKv,
  inOrder,
  newSeed,
  type ReadFault,
  seededRandom,
} from "../../support/store/faulty_kv.ts";
import {
  addOne,
  BRISK,
  openStores,
  startFaultyApp,
  TOTAL,
} from "../../support/store/faulty_store.ts";
import {
  ask,
  askAll,
  booksOf,
  countBy,
  NOT_AT_ALL,
  ONCE,
  ONCE_UNBILLED,
} from "../../support/processes/many_leads.ts";

/** So short that one call that hangs fails the request. */
const HASTY: Deadlines = { readMs: 30, commitMs: 30, transactionMs: 25, fenceMs: 5_000 };

/** Timers may be late on a busy machine. */
const SLACK_MS = 400;

const PERSISTENT: Record<(typeof COMMIT_FAULTS)[number], ErrorKind | "stored"> = {
  "lost-before": "unavailable",
  "lost-after": "stored",
  "false-conflict": "stored",
  "hang": "unavailable",
  "hang-after": "stored",
  "late": "unavailable",
  "locked": "unavailable",
};

for (const fault of COMMIT_FAULTS) {
  Deno.test(`a lead is stored once though its first commit is ${fault}, with and without a key`, async () => {
    // The first commit may hang for its whole time, and the others take theirs.
    await using app = await startFaultyApp({ ...BRISK, transactionMs: 5_000 });

    app.kv.commitFault = inOrder(fault);
    const keyed = await ask(app, 0);
    app.kv.commitFault = inOrder(fault);
    const keyless = await ask(app, 1, { idempotencyKey: null });
    await app.kv.release();

    deepEqual([keyed.kind, keyless.kind], ["stored", "stored"]);
    deepEqual(await booksOf(app, 2), [ONCE, ONCE]);
    ok(app.kv.commits.every(({ isFence }) => !isFence), "It was given up first");
    deepEqual(await ask(app, 0), keyed);
    deepEqual(await booksOf(app, 2), [ONCE, ONCE]);
  });

  Deno.test(`a lead is finally ${PERSISTENT[fault]} when all its commits are ${fault}`, async () => {
    await using app = await startFaultyApp(BRISK);
    app.kv.commitFault = ({ isFence }) => isFence ? "ok" : fault;

    const answer = await ask(app, 0);
    app.kv.heal();
    const released = await app.kv.release();

    equal(answer.kind, PERSISTENT[fault]);
    equal(released.applied, 0);
    deepEqual(await booksOf(app, 1), [answer.kind === "stored" ? ONCE : NOT_AT_ALL]);
    const again = await ask(app, 0);
    equal(again.kind, "stored");
    deepEqual(await booksOf(app, 1), [ONCE]);
  });
}

for (const fault of ["error", "hang"] as const) {
  Deno.test(`a lead is stored once though its first read is: ${fault}`, async () => {
    await using app = await startFaultyApp(BRISK);
    app.kv.readFault = inOrder(fault);

    const answer = await ask(app, 0);

    equal(answer.kind, "stored");
    deepEqual(await booksOf(app, 1), [ONCE]);
  });

  Deno.test(`a lead fails as unavailable and commits nothing when all reads are: ${fault}`, async () => {
    await using app = await startFaultyApp(BRISK);
    const before = app.kv.commits.length;
    app.kv.readFault = () => fault;

    const answer = await ask(app, 0);
    app.kv.heal();

    equal(answer.kind, "unavailable");
    equal(app.kv.commits.length, before);
    deepEqual(await booksOf(app, 1), [NOT_AT_ALL]);
  });
}

Deno.test("a lead that only met a locked database fails without a fence", async () => {
  await using app = await startFaultyApp(BRISK);
  app.kv.commitFault = () => "locked";

  const answer = await ask(app, 0);

  equal(answer.kind, "unavailable");
  ok(app.kv.commits.every(({ isFence }) => !isFence));
});

for (
  const { isEmbedded, lateMs } of [
    { isEmbedded: true, lateMs: null },
    { isEmbedded: true, lateMs: 50 },
    { isEmbedded: false, lateMs: null },
    { isEmbedded: false, lateMs: 50 },
  ]
) {
  const where = isEmbedded ? "an embedded" : "a remote";
  const when = lateMs === null ? "at the end" : `after ${lateMs} ms`;
  Deno.test(`hundreds of leads on ${where} store are each stored once or never under faults, with late commits landing ${when}`, async () => {
    const random = seededRandom(newSeed("hundreds of leads"));
    await using patient = await startFaultyApp(DEADLINES);
    const { kv, services: { clock } } = patient;
    const store = new Store(kv, { clock, random, isEmbedded, checksMax: 10, deadlines: HASTY });
    const hasty = { ...patient, services: { ...patient.services, store } };
    // Half of them are without a product: with no number to check, only the fence stops a late
    // commit.
    const isSale = (i: number) => i % 2 === 0;
    const once = (i: number) => isSale(i) ? ONCE : ONCE_UNBILLED;
    kv.lateMs = lateMs;
    kv.commitFault = bySchedule(COMMIT_FAULTS, { share: 0.25, random });
    kv.readFault = bySchedule(["error", "hang"], { share: 0.05, random });

    const answers = await askAll(400, (i) => ask(hasty, i, { isSale: isSale(i) }));
    kv.heal();
    await kv.release();

    const books = await booksOf(patient, answers.length);
    answers.forEach(({ kind }, i) =>
      equal(books[i], kind === "stored" ? once(i) : NOT_AT_ALL, `request ${i} was answered ${kind}`)
    );
    const kinds = countBy(answers, ({ kind }) => kind);
    ok((kinds["unavailable"] ?? 0) > 0, "Nothing failed: these faults test nothing");
    deepEqual(Object.keys(kinds).sort(), ["stored", "unavailable"]);
    const again = await askAll(answers.length, (i) => ask(patient, i, { isSale: isSale(i) }));
    deepEqual(countBy(again, ({ kind }) => kind), { stored: answers.length });
    again.forEach((answer, i) => {
      if (answers[i]!.kind === "stored") deepEqual(answer, answers[i]);
    });
    deepEqual(await booksOf(patient, answers.length), answers.map((_, i) => once(i)));
  });
}

Deno.test("the usual read, check, commit and retry fails under these faults", async () => {
  const random = seededRandom(newSeed("naive control"));
  const kv = new FaultyKv(await Deno.openKv(":memory:"));
  using _ = { [Symbol.dispose]: () => kv.close() };
  kv.commitFault = bySchedule(COMMIT_FAULTS, { share: 0.25, random });
  kv.readFault = bySchedule(["error", "hang"], { share: 0.05, random });

  const answers = await askAll(400, (i) => storeNaively(kv, i));
  kv.heal();
  await kv.release();

  const stored = countBy(await invoicesOf(kv), String);
  const twice = answers.filter((_, i) => (stored[i] ?? 0) > 1).length;
  const afterAll = answers.filter((answer, i) => answer === "failed" && stored[i]).length;
  console.log(`${twice} were stored twice, ${afterAll} failed and were stored all the same`);
  ok(twice > 0, "Nothing was stored twice: these faults test nothing");
  ok(afterAll > 0, "Nothing failed and was stored: these faults test nothing");
});

/** What one would write without receipts and fences: an invoice under the next number. */
async function storeNaively(kv: FaultyKv, request: number): Promise<"stored" | "failed"> {
  const deadline = performance.now() + HASTY.transactionMs;
  while (performance.now() < deadline) {
    try {
      const [last] = await withDeadline(kv.getMany<[number]>([["last"]]), HASTY.readMs, "A read");
      const number = (last.value ?? 0) + 1;
      const commit = kv.atomic().check(last).set(["last"], number)
        .set(["invoice", number], request).commit();
      if ((await withDeadline(commit, HASTY.commitMs, "A commit")).ok) return "stored";
    } catch {
      // Try again, as one does.
    }
  }
  return "failed";
}

/** Which request each invoice is of. */
async function invoicesOf(kv: FaultyKv): Promise<number[]> {
  const entries = await Array.fromAsync(kv.list<number>({ prefix: ["invoice"] }));
  return entries.map(({ value }) => value);
}

for (
  const [what, faults] of Object.entries<
    { commits: CommitFault; fences: CommitFault; reads: ReadFault; kind: ErrorKind }
  >({
    "reads hang": { commits: "ok", fences: "ok", reads: "hang", kind: "unavailable" },
    "commits hang": { commits: "hang", fences: "ok", reads: "ok", kind: "unavailable" },
    "every commit hangs": { commits: "hang", fences: "hang", reads: "ok", kind: "outcome_unknown" },
  })
) {
  Deno.test(`every request in a long queue is answered within the deadlines when ${what}`, async () => {
    const deadlines = { readMs: 100, commitMs: 100, transactionMs: 300, fenceMs: 300 };
    await using stores = await openStores({ deadlines });
    const { kv, store } = stores;
    kv.readFault = () => faults.reads;
    kv.commitFault = ({ isFence }) => isFence ? faults.fences : faults.commits;

    const answers = await Promise.all(Array.from({ length: 300 }, () => timed(addOne(store))));

    const slowest = Math.max(...answers.map(({ ms }) => ms));
    const bound = Object.values(deadlines).reduce((sum, ms) => sum + ms, 0);
    ok(slowest < bound + SLACK_MS, `${slowest} ms, ${bound} ms allowed`);
    ok(answers.some(({ kind }) => kind === faults.kind));
    ok(answers.every(({ kind }) => kind === faults.kind || kind === "unavailable"));
    equal(await stores.other.get(TOTAL), null);
  });
}

/** How a call that fails failed, and after how long. */
async function timed(call: Promise<unknown>): Promise<{ kind: string; ms: number }> {
  const startedAt = performance.now();
  const kind = await call.then(() => "stored", (error: AppError) => error.kind);
  return { kind, ms: performance.now() - startedAt };
}

Deno.test("a fence that is read slowly and then hangs is abandoned at its deadline", async () => {
  const deadlines = { readMs: 400, commitMs: 1_000, transactionMs: 100, fenceMs: 500 };
  await using stores = await openStores({ deadlines });
  const { kv, store } = stores;
  let isGivenUp = false;
  const delays: Promise<void>[] = [];
  kv.commitFault = () => {
    isGivenUp = true;
    return "hang";
  };
  kv.readFault = async (): Promise<ReadFault> => {
    if (isGivenUp) {
      delays.push(sleep(350));
      await delays.at(-1);
    }
    return "ok";
  };

  const { kind, ms } = await timed(addOne(store));
  await Promise.all(delays);

  equal(kind, "outcome_unknown");
  // One commit that hangs, then the fence's time.
  const bound = deadlines.commitMs + deadlines.fenceMs;
  ok(ms < bound + SLACK_MS / 2, `${ms} ms, ${bound} ms allowed`);
});
