/**
 * A sweep runs every night and on request, in several short runs, and ends with the
 * same result however it was interrupted.
 */
// Under their short names Deno exports from here what compares with `==`.
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { listIncidents } from "../../../lib/alerts/mod.ts";
import { AppError } from "../../../lib/errors.ts";
import { sweep } from "../../../lib/integrity/mod.ts";
import { callerOf, claimJob } from "../../../lib/jobs/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Deadlines } from "../../../lib/kv/deadlines.ts";
import { Store } from "../../../lib/kv/store.ts";
import type { SweepRecord } from "../../../lib/kv/sweep_records.ts";
import { acceptLead } from "../../../lib/leads/mod.ts";
import type { Services } from "../../../lib/app/mod.ts";
import {
  getSweep,
  isSweepJobDue,
  listSweeps,
  requestSweep,
  runSweep,
  SWEEP_FOUND,
  type SweepDetails,
} from "../../../lib/integrity/job.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../../../lib/time.ts";
import { TEST_START, TESTER } from "../../support/program/app.ts";
import {
  type Books,
  fillBooks,
  leadOf,
  openBooks,
  type Sample,
} from "../../support/program/books.ts";
import { DAMAGE, NOBODY } from "../../support/store/damage.ts";
import { FaultyKv } from "../../support/store/faulty_kv.ts";

const by = TESTER;
const signal = new AbortController().signal;

/** Runs the job, one step per run, until the sweep is done. @returns The number of runs. */
async function runToItsEnd(services: Services): Promise<number> {
  for (let runs = 1;; runs++) {
    const { isMore } = await runSweep(services, { signal, by, budgetMs: 0, sliceMs: 0 });
    if (!isMore) return runs;
  }
}

/** The newest sweep. */
async function newest(services: Services): Promise<SweepDetails> {
  const { data } = await listSweeps(services, { limit: 1, cursor: null });
  return await getSweep(services, data[0]!.id);
}

/** A report without the fields that differ between sweeps. */
function essence(sweep: SweepDetails): unknown {
  const { counts, findings, findingsTotal, criticalTotal, repairsTotal, repairs } = sweep;
  return {
    // Repaired entries are counted twice.
    counts: sweep.isRepairing ? {} : counts,
    ...{ findings, findingsTotal, criticalTotal, repairsTotal },
    repairs: repairs.map(({ check, key, detail, done }) => [check, key, detail, done].join())
      .sort(),
  };
}

/** Damage for every kind of repair, and damage beyond repair. */
async function damageMuch(books: Books, sample: Sample): Promise<void> {
  for (
    const name of [
      "a total that is not subtotal and tax",
      "a sequence that stands below its numbers",
      "no client_by_phone",
      "a client_by_email of another",
      "a lead_by_status that outlived a change",
      "a lead_by_client that names another",
      "a product_by_slug of nothing",
      "a client_by_email of nobody, of bytes that are no value",
      "no invoice_by_status",
      "an entity that was changed without an entry",
    ]
  ) await DAMAGE[name]!(books, sample);
}

Deno.test("isSweepJobDue() is true at first, after every 01:00 UTC, and while a sweep is requested", async () => {
  await using books = await openBooks(); // it is 09:00
  const { services } = books;
  const wanted = [await isSweepJobDue(services)];
  await runSweep(services, { signal, by });
  wanted.push(await isSweepJobDue(services));
  books.advance(16 * HOUR_MS - MINUTE_MS);
  wanted.push(await isSweepJobDue(services));
  books.advance(MINUTE_MS);
  wanted.push(await isSweepJobDue(services));
  await runSweep(services, { signal, by });
  wanted.push(await isSweepJobDue(services));
  await requestSweep(services, { isRepairing: false }, by);
  wanted.push(await isSweepJobDue(services));

  deepEqual(wanted, [true, false, false, true, false, true]);
});

Deno.test("isSweepJobDue() and a run that is not due read once", async () => {
  let kv: FaultyKv | undefined;
  await using books = await openBooks({ wrapKv: (opened) => kv = new FaultyKv(opened) });
  await runSweep(books.services, { signal, by });
  const [reads, commits] = [kv!.reads, kv!.commits.length];

  equal(await isSweepJobDue(books.services), false);
  deepEqual(await runSweep(books.services, { signal, by }), {});

  deepEqual([kv!.reads - reads, kv!.commits.length - commits], [2, 0]);
});

Deno.test("runSweep() stores a report with counts and findings", async () => {
  await using books = await openBooks();
  const { services } = books;
  const sample = await fillBooks(books);
  const before = await books.entries();
  await DAMAGE["no client_by_email"]!(books, sample);

  const outcome = await runSweep(services, { signal, by });

  const report = await newest(services);
  const whole = await sweep(services);
  deepEqual(outcome, { sweepId: report.id, entries: before.length - 1, findings: 1 });
  const at = new Date(TEST_START).toISOString();
  deepEqual({ ...report, durationMs: 0 }, {
    id: report.id,
    status: "done",
    isRepairing: false,
    requestedAt: at,
    by: "cli",
    requestId: "test",
    startedAt: at,
    endedAt: at,
    counts: whole.counts,
    findings: [{
      check: "index.missing",
      severity: "warning",
      key: '["client_by_email","[redacted]"]',
      detail: `${sample.question.client.id} is missing`,
      repair: null,
    }],
    findingsTotal: 1,
    criticalTotal: 0,
    repairsTotal: 0,
    durationMs: 0,
    repairs: [],
  });
  // A sweep without repairs changes no durable entry.
  equal((await books.entries()).length, before.length - 1);
});

Deno.test("runSweep() finds the same in many short runs as in one", async () => {
  await using books = await openBooks();
  const { services } = books;
  const sample = await fillBooks(books);
  await Promise.all(
    Array.from(
      { length: 700 },
      (_, i) => acceptLead(services, leadOf(`person${i}`, { productId: sample.product.id }), by),
    ),
  );
  await damageMuch(books, sample);
  await runSweep(services, { signal, by });
  const whole = await newest(services);
  books.advance(DAY_MS);

  const runs = await runToItsEnd(services);

  const pieced = await newest(services);
  ok(runs > 30, `${runs} runs`);
  ok(whole.findingsTotal > 8, `${whole.findingsTotal} findings`);
  ok(pieced.id !== whole.id);
  deepEqual(essence(pieced), essence(whole));
});

Deno.test("runSweep() ends after the current step when aborted", async () => {
  await using books = await openBooks();
  await fillBooks(books);
  const stopped = AbortSignal.abort();

  const outcome = await runSweep(books.services, { signal: stopped, by, sliceMs: 0 });

  equal(outcome.isMore, true);
  const { status, startedAt, endedAt } = await newest(books.services);
  deepEqual([status, typeof startedAt, endedAt], ["running", "string", null]);
  equal((await runSweep(books.services, { signal, by })).isMore, undefined);
  equal((await newest(books.services)).status, "done");
});

Deno.test("requestSweep() returns the pending or running sweep; the nightly one follows", async () => {
  await using books = await openBooks();
  const { services } = books;
  const sample = await fillBooks(books);
  const first = await requestSweep(services, { isRepairing: true }, by);
  await DAMAGE["no client_by_email"]!(books, sample);

  const second = await requestSweep(services, { isRepairing: false }, by);
  const done = await runSweep(services, { signal, by });
  const night = await runSweep(services, { signal, by });

  deepEqual([first.status, first.startedAt], ["pending", null]);
  deepEqual(second, first);
  deepEqual([done.sweepId, done.findings, done.repairs], [first.id, 0, 1]);
  ok(night.sweepId !== first.id);
  deepEqual([night.findings, night.repairs], [0, undefined]);
  equal(await isSweepJobDue(services), false);
  const { data } = await listSweeps(services, { limit: 10, cursor: null });
  deepEqual(data.map(({ id, isRepairing }) => [id, isRepairing]), [
    [night.sweepId, false],
    [first.id, true],
  ]);
});

Deno.test("requestSweep() with the same Idempotency-Key requests one sweep", async () => {
  await using books = await openBooks();
  const caller = { ...by, idempotencyKey: "tonight" };
  const first = await requestSweep(books.services, { isRepairing: false }, caller);
  await runSweep(books.services, { signal, by });

  const again = await requestSweep(books.services, { isRepairing: false }, caller);

  equal(again.id, first.id);
  equal(again.status, "done");
});

Deno.test("runSweep() keeps the last 60 reports", async () => {
  await using books = await openBooks();
  const { services } = books;
  const ids: unknown[] = [];
  for (let i = 0; i < 63; i++) {
    ids.unshift((await runSweep(services, { signal, by })).sweepId);
    books.advance(DAY_MS);
  }

  const { data } = await listSweeps(services, { limit: 200, cursor: null });

  deepEqual(data.map(({ id }) => id), ids.slice(0, 60));
  await rejects(
    getSweep(services, String(ids[62])),
    (error) => error instanceof AppError && error.kind === "not_found",
  );
});

Deno.test("runSweep() raises an alert for findings left, and resolves it without any", async () => {
  await using books = await openBooks();
  const { services } = books;
  const sample = await fillBooks(books);
  const incident = async () =>
    (await listIncidents(services)).find(({ name }) => name === SWEEP_FOUND);
  const night = async () => {
    await runSweep(services, { signal, by });
    await services.alerts.close();
    books.advance(DAY_MS);
    return await incident();
  };

  const sound = await night();
  await DAMAGE["no client_by_email"]!(books, sample);
  const damaged = await night();
  await runSweep(services, { signal, by, budgetMs: 0, sliceMs: 0 });
  const underWay = await incident();
  await night();
  const { id } = await requestSweep(services, { isRepairing: true }, by);
  const repaired = await night();
  await alterNotes(books, sample);
  const ruined = await night();

  equal(sound, undefined);
  deepEqual([damaged!.severity, damaged!.resolvedAt], ["warning", null]);
  equal(damaged!.title, "Sweep: 1 finding left, 0 critical");
  equal(underWay!.resolvedAt, null);
  equal((await getSweep(services, id)).repairsTotal, 1);
  equal(typeof repaired!.resolvedAt, "string");
  deepEqual([ruined!.severity, ruined!.resolvedAt], ["critical", null]);
  ok(ruined!.detail.startsWith("audit.chain_broken; see /api/v2/system/sweeps/"), ruined!.detail);
});

async function alterNotes(books: Books, { changedClient }: Sample): Promise<void> {
  await books.put(keys.client(changedClient.id), { ...changedClient, notes: "Pays early" });
}

Deno.test("runSweep() stores as many findings as fit, and counts them all", async () => {
  await using books = await openBooks();
  const long = "x".repeat(1_500);
  for (let i = 0; i < 200; i++) await books.put(keys.productBySlug(`${i}${long}`), NOBODY);

  await runToItsEnd(books.services);

  const { findings, findingsTotal, criticalTotal } = await newest(books.services);
  deepEqual([findingsTotal, criticalTotal], [200, 0]);
  ok(findings.length > 90 && findings.length <= 150, `${findings.length} findings`);
  ok(findings.every(({ key }) => key.length < 250));
});

Deno.test("runSweep() repairs nothing for a run that has lost its lease", async () => {
  await using books = await openBooks();
  const { services } = books;
  await damageMuch(books, await fillBooks(books));
  await requestSweep(services, { isRepairing: true }, by);
  const claim = await claimJob(services, "sweep", {
    runId: "slow",
    timeLimitMs: MINUTE_MS,
    isByHand: false,
  });
  const before = await books.entries();
  books.advance(HOUR_MS);
  await claimJob(services, "sweep", { runId: "next", timeLimitMs: MINUTE_MS, isByHand: false });

  await rejects(
    runSweep(services, { signal, by: callerOf("sweep", "slow", claim) }),
    (error) => error instanceof AppError && error.kind === "conflict",
  );

  deepEqual(await books.entries(), before);
  equal((await newest(services)).status, "pending");
});

Deno.test("only one of two runs continues a sweep", async () => {
  await using books = await openBooks();
  const { services } = books;
  await damageMuch(books, await fillBooks(books));
  await requestSweep(services, { isRepairing: true }, by);
  const runs = Array.from(
    { length: 3 },
    () => runSweep(services, { signal, by, sliceMs: 0 }),
  );

  const ended = await Promise.allSettled(runs);
  await runToItsEnd(services);

  const errors = ended.flatMap((run) => run.status === "rejected" ? [run.reason] : []);
  deepEqual(errors.map(({ kind }) => kind), ["conflict", "conflict"]);
  const { data } = await listSweeps(services, { limit: 10, cursor: null });
  const asked: SweepRecord = data.at(-1)!;
  deepEqual([asked.status, asked.findingsTotal, asked.repairsTotal], ["done", 1, 9]);
});

const ID = /[0-9a-f]{8}-[0-9a-f-]{27}/g;

/** Short, so that a run whose commits fail ends at once. */
const HASTY: Deadlines = { readMs: 1_000, commitMs: 1_000, transactionMs: 10, fenceMs: 10 };

/**
 * The result of a repairing sweep whose instance dies after a commit, without the
 * reply, and which another instance continues.
 */
async function sweptThoughKilled(
  at: number,
): Promise<{ changed: string[]; report: unknown; commits: number }> {
  await using books = await openBooks();
  const { services } = books;
  const sample = await fillBooks(books);
  const before = new Map((await books.entries()).map(([key, bytes]) => [`${key}`, `${bytes}`]));
  await damageMuch(books, sample);
  await requestSweep(services, { isRepairing: true }, by);
  const kv = new FaultyKv(books.kv);
  kv.commitFault = ({ count }) => count < at ? "ok" : count === at ? "lost-after" : "lost-before";
  const options = { clock: services.clock, random: Math.random, checksMax: 100, isEmbedded: true };
  const store = new Store(kv, { ...options, deadlines: HASTY });

  await runSweep({ ...services, store }, { signal, by, sliceMs: 0 }).catch((error) => {
    if (!(error instanceof AppError) || error.kind === "internal") throw error;
  });
  await store.committer.idle();
  await kv.settled();
  await services.alerts.close();
  await runToItsEnd(services);

  const { data } = await listSweeps(services, { limit: 10, cursor: null });
  const report = essence(await getSweep(services, data.at(-1)!.id));
  const after = (await books.entries()).filter(([[name]]) => name !== "repair");
  equal(after.length, before.size + 1);
  const changed = after.filter(([key, bytes]) => before.get(`${key}`) !== `${bytes}`);
  return {
    changed: changed.map(([key]) => key.join(" ").replaceAll(ID, "id")).sort(),
    report: JSON.parse(JSON.stringify(report).replaceAll(ID, "id")),
    commits: kv.commits.length,
  };
}

Deno.test("runSweep() ends with the same result after whichever commit its instance died", async () => {
  const whole = await sweptThoughKilled(Infinity);

  for (let at = 1; at <= whole.commits; at++) {
    const { changed, report } = await sweptThoughKilled(at);

    deepEqual(report, whole.report, `killed at commit ${at}`);
    deepEqual(changed, whole.changed, `killed at commit ${at}`);
  }

  // The repaired total, and the damage beyond repair.
  deepEqual(whole.changed, ["audit invoice id 2", "client id", "invoice id"]);
  ok(whole.commits > 30, `${whole.commits} commits`);
});
