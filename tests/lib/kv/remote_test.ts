/**
 * The runtime's own KV client under our store, over HTTP to a server with faults:
 * the client repeats calls that are answered with 500 with the same bytes, waits for
 * ever, and keeps abandoned calls.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { withDeadline } from "../../../lib/time.ts";
import type { Deadlines } from "../../../lib/kv/deadlines.ts";
import { Store } from "../../../lib/kv/store.ts";
import { startApp } from "../../support/program/app.ts";
import { PATIENT } from "../../support/store/deadlines.ts";
import { bySchedule, FaultyKv, newSeed, seededRandom } from "../../support/store/faulty_kv.ts";
import {
  type KvConnectServer,
  type KvFault,
  startKvConnectServer,
} from "../../support/store/kv_connect_server.ts";
import {
  ask,
  askAll,
  booksOf,
  countBy,
  NOT_AT_ALL,
  ONCE,
  ONCE_UNBILLED,
} from "../../support/processes/many_leads.ts";

/** Just longer than the client's pause before it repeats a call, 0.2 to 0.3 s. */
const HASTY: Deadlines = { readMs: 400, commitMs: 400, transactionMs: 700, fenceMs: 8_000 };

/** Short deadlines for commits and a long one for transactions, so that faults cost little time. */
const REPEATING: Deadlines = {
  readMs: 10_000,
  commitMs: 500,
  transactionMs: 30_000,
  fenceMs: 30_000,
};

const FAULTS: KvFault[] = ["fail-before", "fail-after", "reset", "garbage", "hang-after", "late"];

/** The program on a KV Connect server, with a product on sale. */
async function startRemoteApp(server: KvConnectServer, deadlines: Deadlines = PATIENT) {
  let kv: FaultyKv | undefined; // healthy: it only knows which calls are not answered yet
  const app = await startApp({
    env: { KV_PATH: server.url, DENO_KV_ACCESS_TOKEN: server.token },
    wrapKv: (opened) => kv = new FaultyKv(opened),
    deadlines,
  });
  const product = await app.stockProduct();
  return { ...app, product, kv: kv! };
}

/** Ends all faults, and lets everything happen that still can. */
async function letGo(server: KvConnectServer, kv: FaultyKv): Promise<void> {
  server.fault = () => "ok";
  server.release();
  await kv.settled();
}

Deno.test("leads through the runtime's remote client under faults are stored once or never", async () => {
  const random = seededRandom(newSeed("remote leads"));
  await using server = await startKvConnectServer({ lateMs: 450 });
  await using patient = await startRemoteApp(server);
  const { kv, services: { clock } } = patient;
  const store = new Store(kv, {
    clock,
    random,
    isEmbedded: false,
    checksMax: 10,
    deadlines: HASTY,
  });
  const hasty = { ...patient, services: { ...patient.services, store } };
  const isSale = (i: number) => i % 2 === 0;
  const once = (i: number) => isSale(i) ? ONCE : ONCE_UNBILLED;
  server.fault = bySchedule(FAULTS, { share: 0.25, random });

  const answers = await askAll(140, (i) => ask(hasty, i, { isSale: isSale(i) }), 20);
  await letGo(server, kv);

  const books = await booksOf(patient, answers.length);
  answers.forEach(({ kind }, i) => {
    const expected = kind === "stored" ? [once(i)] : [NOT_AT_ALL];
    // Its fence found no answer either, which is rare.
    if (kind === "outcome_unknown") expected.push(once(i));
    ok(expected.includes(books[i]!), `request ${i} was answered ${kind} and has ${books[i]}`);
  });
  const kinds = countBy(answers, ({ kind }) => kind);
  ok((kinds["unavailable"] ?? 0) > 0, "Nothing failed: these faults test nothing");
  const again = await askAll(answers.length, (i) => ask(patient, i, { isSale: isSale(i) }), 20);
  deepEqual(countBy(again, ({ kind }) => kind), { stored: answers.length });
  again.forEach((answer, i) => {
    if (answers[i]!.kind === "stored") deepEqual(answer, answers[i]);
  });
  deepEqual(await booksOf(patient, answers.length), answers.map((_, i) => once(i)));
});

for (const fault of FAULTS) {
  Deno.test(`a lead through the remote client is stored once though its first commit is: ${fault}`, async () => {
    await using server = await startKvConnectServer({ lateMs: 550 });
    await using app = await startRemoteApp(server, REPEATING);
    let isFirst = true;
    server.fault = ({ operation }) => {
      if (operation === "read" || !isFirst) return "ok";
      isFirst = false;
      return fault;
    };

    const answer = await ask(app, 0);
    await letGo(server, app.kv);

    equal(answer.kind, "stored");
    equal(isFirst, false);
    deepEqual(await booksOf(app, 1), [ONCE]);
    deepEqual(await ask(app, 0), answer);
  });
}

Deno.test("the usual read, check, commit and retry fails through the remote client", async () => {
  const random = seededRandom(newSeed("naive remote control"));
  await using server = await startKvConnectServer({ lateMs: 450 });
  const kv = new FaultyKv(await Deno.openKv(server.url));
  using _ = { [Symbol.dispose]: () => kv.close() };
  server.fault = bySchedule(FAULTS, { share: 0.25, random });

  const answers = await askAll(140, (i) => storeNaively(kv, i), 20);
  await letGo(server, kv);

  const entries = await Array.fromAsync(kv.list({ prefix: ["lead"] }));
  const stored = countBy(entries, ({ key }) => String(key[1]));
  const twice = answers.filter((_, i) => (stored[i] ?? 0) > 1).length;
  const afterAll = answers.filter((answer, i) => answer === "failed" && stored[i]).length;
  console.log(`${twice} were stored twice, ${afterAll} failed and were stored all the same`);
  ok(twice > 0, "Nothing was stored twice: these faults test nothing");
});

/** What one would write without receipts and fences: a lead under a new id, and its client. */
async function storeNaively(kv: FaultyKv, request: number): Promise<"stored" | "failed"> {
  const deadline = performance.now() + HASTY.transactionMs;
  const { readMs, commitMs } = HASTY;
  while (performance.now() < deadline) {
    try {
      const reading = kv.getMany<[number]>([["client", request]]);
      const [client] = await withDeadline(reading, readMs, "A read");
      const commit = kv.atomic().check(client).set(["client", request], (client.value ?? 0) + 1)
        .set(["lead", request, crypto.randomUUID()], request).commit();
      if ((await withDeadline(commit, commitMs, "A commit")).ok) return "stored";
    } catch {
      // Try again, as one does.
    }
  }
  return "failed";
}
