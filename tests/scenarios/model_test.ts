/**
 * Whatever people do to the shop at the same moment, the store matches the answers that they got.
 *
 * The model is what was acknowledged: entities by id, each as in the answer with the highest
 * revision. Random commands run several at once over a real KV. After each run every invariant
 * holds, everything acknowledged is stored as it was answered, and nothing else is stored.
 */
import { ok } from "node:assert/strict";
import fc from "fast-check";
import { openBooks } from "../support/program/books.ts";
import { deadlinesUnder } from "../support/store/deadlines.ts";
import { bySchedule, COMMIT_FAULTS, FaultyKv, seededRandom } from "../support/store/faulty_kv.ts";
import { moments } from "./_model_commands.ts";
import { Run } from "./_model_run.ts";
import { REFUSALS } from "./_model.ts";

Deno.test("the store matches the answers to simultaneous commands", async () => {
  const ended = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(moments({ least: 4, most: 16 }), async (story) => {
      await using books = await openBooks();
      const run = new Run(books);
      await run.live({
        days: 0,
        commands: [{ does: "stock", slug: 0 }, { does: "stock", slug: 1 }],
      });
      for (const moment of story) await run.live(moment);

      await run.check();

      for (const { ended: { kind }, command: { does } } of run.model.exchanges) {
        ok(kind === "done" || REFUSALS.has(kind), `${does}: ${kind}`);
        ended.set(`${does} ${kind}`, (ended.get(`${does} ${kind}`) ?? 0) + 1);
      }
    }),
    { numRuns: 150, interruptAfterTimeLimit: 60_000 },
  );

  // It is about something: every command was carried out, and keys came again.
  for (const does of ["accept", "move", "write", "edit", "issue", "void", "update", "erase"]) {
    ok(ended.has(`${does} done`), does);
  }
  for (const does of ["stock", "reprice", "rename", "toggle"]) ok(ended.has(`${does} done`), does);
  ok(ended.has("accept idempotency_key_reused"));
});

/** Of a store with faults. */
const IMPATIENT = { readMs: 40, commitMs: 40, transactionMs: 120, fenceMs: 80 };

Deno.test("the store matches the answers to simultaneous commands under store faults", async () => {
  const ended = new Map<string, number>();
  await fc.assert(
    fc.asyncProperty(moments({ least: 3, most: 8 }), fc.nat(), async (story, seed) => {
      const random = seededRandom(seed);
      let faulty: FaultyKv | undefined;
      await using books = await openBooks({
        wrapKv: (kv) => faulty = new FaultyKv(kv),
        deadlines: deadlinesUnder(() => faulty?.hasFaults ?? false, IMPATIENT),
      });
      const run = new Run(books, { hasOwnKeys: true });
      await run.live({
        days: 0,
        commands: [{ does: "stock", slug: 0 }, { does: "stock", slug: 1 }],
      });
      faulty!.commitFault = bySchedule(COMMIT_FAULTS, { share: 0.5, random });
      faulty!.readFault = bySchedule(["error", "hang"], { share: 0.03, random });
      for (const moment of story) await run.live(moment);

      faulty!.heal();
      await faulty!.release();
      await faulty!.settled();
      const { exchanges } = run.model;
      const open = exchanges.filter(({ ended: { kind } }) =>
        kind === "unavailable" || kind === "outcome_unknown"
      );
      for (const exchange of open) {
        const { command: { does }, by, ended: { kind } } = exchange;
        if (by.idempotencyKey === null && does !== "erase") {
          // Its sender cannot ask again: it may trust that it was not done, or knows nothing.
          fc.pre(kind !== "outcome_unknown");
          continue;
        }
        const again = await exchange.again();
        ok(again.ended.kind === "done" || REFUSALS.has(again.ended.kind), again.ended.kind);
        exchanges.push(again);
        run.model.learn(again);
      }

      await run.check();

      for (const { ended: { kind } } of exchanges) ended.set(kind, (ended.get(kind) ?? 0) + 1);
    }),
    { numRuns: 30, endOnFailure: true },
  );

  ok(ended.has("unavailable"), JSON.stringify([...ended]));
});
