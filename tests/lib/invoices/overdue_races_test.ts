/** Marks and reminders stay single with several processes, payments meanwhile, faults and slices. */
import { deepStrictEqual as deepEqual, rejects, strictEqual as equal } from "node:assert/strict";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { markOverdue, type OverdueReport } from "../../../lib/invoices/overdue.ts";
import { startApp, TEST_START, TESTER } from "../../support/program/app.ts";
import { FaultyKv, inOrder } from "../../support/store/faulty_kv.ts";
import { checkedHistoryOf, newKvFile } from "../../support/program/shop.ts";
import { startTill, TOTAL } from "../../support/program/till.ts";
import { billMany, BUDGET, eventNames, goTo, put, storedEvents, swept, walk } from "./_overdue.ts";

const DUE = "2026-06-20";

Deno.test("markOverdue() in several processes at once stores one event per invoice", async () => {
  await using file = await newKvFile();
  const env = { KV_PATH: file.path, REMINDER_DAYS: "1,7" };
  await using one = await startApp({ env });
  await using other = await startApp({ env });
  const bills = await billMany(one, 60);
  for (const app of [one, other]) goTo(app, "2026-06-25T05:00:00Z");

  const reports = await Promise.all([one, other, one, other].map(walk));

  const sum = (of: "marked" | "reminded") => reports.reduce((sum, report) => sum + report[of], 0);
  deepEqual([sum("marked"), sum("reminded")], [60, 60]);
  const events = await storedEvents(one);
  for (const type of ["invoice.overdue", "invoice.reminder"]) {
    const ids = events.filter((event) => event.type === type)
      .map(({ subject }) => subject.invoiceId);
    deepEqual(ids.sort(), bills.map(({ id }) => id).sort());
  }
  deepEqual(await swept(one), []);
});

Deno.test("markOverdue() beside payments and voids leaves no mark on settled invoices", async () => {
  await using app = await startTill({ env: { REMINDER_DAYS: "1" } });
  const bills = await billMany(app, 40);
  goTo(app, "2026-06-25T05:00:00Z");

  await Promise.all([
    walk(app),
    ...bills.slice(0, 20).map((invoice) => app.payByHand(invoice, TOTAL)),
    ...bills.slice(20, 30).map(({ id }) =>
      app.send(`/api/v2/invoices/${id}/void`, { reason: "a mistake" })
    ),
    walk(app),
  ]);

  const after = await Promise.all(bills.map(({ id }) => app.invoice(id)));
  deepEqual(
    after.map(({ status, overdueAt }) => [status, typeof overdueAt === "string"]),
    bills.map((_, i) => i < 20 ? ["paid", false] : i < 30 ? ["void", false] : ["open", true]),
  );
  deepEqual(await swept(app), []);
  for (const { id } of bills) await checkedHistoryOf(app, "invoice", keys.invoice(id));
});

Deno.test("markOverdue() stores one event when a commit is applied and its reply is lost", async () => {
  let kv: FaultyKv | undefined;
  await using app = await startTill({
    env: { REMINDER_DAYS: "1" },
    wrapKv: (opened) => kv = new FaultyKv(opened),
  });
  await app.bill({ dueOn: DUE });
  goTo(app, "2026-06-25T05:00:00Z");
  kv!.commitFault = inOrder("lost-after", "lost-before", "false-conflict");

  await walk(app).catch(() => {});
  kv!.heal();
  await walk(app);

  deepEqual(await eventNames(app), ["overdue", "reminder 1"]);
  deepEqual(await swept(app), []);
});

Deno.test("markOverdue() in slices does the same as one walk, also after a restart", async () => {
  await using file = await newKvFile();
  const env = { KV_PATH: file.path };
  const now = Date.parse("2026-06-25T05:00:00Z");
  {
    await using app = await startTill({ env });
    const bills = await billMany(app, 250);
    await Promise.all(bills.slice(0, 120).map((invoice) => app.payByHand(invoice, 1)));
  }
  const reports: OverdueReport[] = [];
  let resumeFrom: string | null = null;

  do {
    await using app = await startApp({ env });
    app.advance(now - TEST_START);
    const report: OverdueReport = await markOverdue(
      app.services,
      { budgetMs: 0, resumeFrom },
      TESTER,
    );
    reports.push(report);
    resumeFrom = report.resumeFrom;
  } while (resumeFrom !== null);

  // 130 are open, 120 partly paid: two pages each.
  deepEqual(reports.map(({ looked, marked }) => [looked, marked]), [
    [100, 100],
    [30, 30],
    [100, 100],
    [20, 20],
  ]);
  await using app = await startApp({ env });
  equal((await storedEvents(app)).length, 250);
  deepEqual(await swept(app), []);
});

Deno.test("markOverdue() refuses to resume from an invalid position", async () => {
  await using app = await startApp();

  for (const resumeFrom of ["", "paid/", "open/x", "open/../x", "{}"]) {
    await rejects(markOverdue(app.services, { ...BUDGET, resumeFrom }, TESTER), {
      name: "AppError",
      kind: "malformed",
    });
  }
});

Deno.test("markOverdue() continues with the other invoices when one cannot be stored", async () => {
  let kv: FaultyKv | undefined;
  await using app = await startTill({ wrapKv: (opened) => kv = new FaultyKv(opened) });
  const [big, small] = [await app.bill({ dueOn: DUE }), await app.bill({ dueOn: DUE })];
  const stuffed = { ...await app.invoice(big.id), notes: "" };
  const room = 65_536 - encode(stuffed).length;
  await put({ kv: kv! }, keys.invoice(big.id), { ...stuffed, notes: "x".repeat(room) });
  goTo(app, "2026-06-25T05:00:00Z");

  const { marked, failed } = await walk(app);

  deepEqual([marked, failed], [1, 1]);
  equal(typeof (await app.invoice(small.id)).overdueAt, "string");
  equal(app.logLines.filter((line) => line.includes('"invoice.not_marked"')).length, 1);
});
