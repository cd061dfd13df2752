/** Each overdue invoice is marked once, and the mark goes when the invoice is no longer overdue. */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { sweep } from "../../../lib/integrity/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import { repair } from "../../../lib/integrity/repair.ts";
import { TESTER } from "../../support/program/app.ts";
import { FaultyKv } from "../../support/store/faulty_kv.ts";
import { asAdmin, checkedHistoryOf, leavesStoreAlone } from "../../support/program/shop.ts";
import { checkedBooks, startGatewayTill, startTill, TOTAL } from "../../support/program/till.ts";
import { eventNames, goTo, put, storedEvents, swept, walk } from "./_overdue.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;

const DUE = "2026-06-20";

Deno.test("markOverdue() marks an invoice once, after its due date ends in the shop's time zone", async () => {
  await using app = await startTill();
  const invoice = await app.bill({ dueOn: DUE });
  await app.bill({ dueOn: "2026-06-21" });
  await app.bill({ dueOn: DUE, draft: true });

  goTo(app, "2026-06-20T20:59:59.999Z");
  const early = await leavesStoreAlone(app, () => walk(app));
  app.advance(1);
  const first = await walk(app);
  const again = await leavesStoreAlone(app, () => walk(app));

  const nothing = { marked: 0, reminded: 0, failed: 0, resumeFrom: null };
  deepEqual(early, { ...nothing, looked: 2 });
  deepEqual(first, { ...nothing, looked: 2, marked: 1 });
  deepEqual(again, { ...nothing, looked: 2 });
  const marked = await app.invoice(invoice.id);
  deepEqual([marked.status, marked.overdueAt, marked.revision], [
    "open",
    "2026-06-20T21:00:00.000Z",
    2,
  ]);
  const [entry] = await checkedHistoryOf(app, "invoice", keys.invoice(invoice.id));
  deepEqual([entry?.action, entry?.by, entry?.fields], ["invoice.overdue", "cli", ["overdueAt"]]);
  const [event, ...more] = await storedEvents(app);
  deepEqual(more, []);
  equal(event?.type, "invoice.overdue");
  equal(event.subject.invoiceId, invoice.id);
  deepEqual([event.data.dueOn, event.data.revision, event.data.totalMinor], [DUE, 2, TOTAL]);
  deepEqual(await swept(app), []);
});

Deno.test("an invoice that is paid, voided or extended is not marked", async () => {
  await using app = await startTill();
  const bills = await Promise.all(
    ["paid", "part", "void", "moved", "same"].map((notes) => app.bill({ dueOn: DUE, notes })),
  );
  const [paid, part, voided, moved, same] = bills.map(({ id }) => ({ id }));
  goTo(app, "2026-06-25T05:00:00Z");
  equal((await walk(app)).marked, 5);

  await app.payByHand(paid!, TOTAL);
  await app.payByHand(part!, 1);
  await app.send(`/api/v2/invoices/${voided!.id}/void`, { reason: "a mistake" });
  const change = (id: string, dueOn: string) =>
    asAdmin(app, "PATCH", `/api/v2/invoices/${id}`, { body: { dueOn } });
  const answer = await change(moved!.id, "2026-06-25");
  await change(same!.id, DUE);

  const after = await Promise.all(bills.map(({ id }) => app.invoice(id)));
  const at = "2026-06-25T05:00:00.000Z";
  deepEqual(after.map(({ overdueAt }) => overdueAt), [null, at, null, null, at]);
  deepEqual([answer.body.isOverdue, answer.body.overdueAt], [false, null]);
  for (const { id } of bills) await checkedHistoryOf(app, "invoice", keys.invoice(id));
  deepEqual(await swept(app), []);
  // What was given more time is overdue again when that is over.
  equal((await walk(app)).marked, 0);
  app.advance(DAY_MS);
  equal((await walk(app)).marked, 1);
});

Deno.test("an invoice whose payment was refunded is overdue again", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill({ dueOn: DUE });
  goTo(app, "2026-06-25T05:00:00Z");
  await walk(app);
  const payment = await app.payAtPesapal(invoice);
  await app.pesapal.order(payment.id).complete();
  const paid = await app.invoice(invoice.id);

  await app.pesapal.order(payment.id).reverse();
  const report = await walk(app);

  deepEqual([paid.status, paid.overdueAt], ["paid", null]);
  const reopened = await app.invoice(invoice.id);
  deepEqual([reopened.status, reopened.overdueAt], ["open", "2026-06-25T05:00:00.000Z"]);
  equal(report.marked, 1);
  deepEqual(await eventNames(app), ["overdue", "overdue"]);
  await checkedBooks(app, invoice.id);
});

Deno.test("GET /api/v2/invoices?overdue=true lists overdue invoices, in pages", async () => {
  await using app = await startTill();
  const bills: Invoice[] = [];
  for (const dueOn of ["2026-06-16", "2026-06-17", "2026-06-18", "2026-06-30"]) {
    bills.push(await app.bill({ dueOn }));
  }
  await app.payByHand(bills[1]!, TOTAL);
  await app.payByHand(bills[2]!, 1);
  const list = async (query: string) => {
    const { body } = await app.get(`/api/v2/invoices?${query}`, app.adminKey);
    return {
      ...body,
      data: body.data.map(({ id }: Invoice) => bills.findIndex((b) => b.id === id)),
    };
  };

  const none = await list("overdue=true");
  goTo(app, "2026-06-25T05:00:00Z");
  // It is so before the walk has noted it.
  const all = await list("overdue=true");
  const first = await list("overdue=true&limit=1");
  const second = await list(`overdue=true&limit=1&cursor=${first.nextCursor}`);

  deepEqual([none.data, all.data], [[], [2, 0]]);
  deepEqual([first.data, second.data], [[2], [0]]);
  deepEqual((await list("overdue=false")).data, [3, 1]);
  deepEqual((await list("overdue=true&status=open")).data, [0]);
  deepEqual((await list(`overdue=true&clientId=${bills[0]!.clientId}`)).data, [2, 0]);
  deepEqual((await list(`overdue=true&number=${bills[3]!.number}`)).data, []);
  const bad = await app.get("/api/v2/invoices?overdue=yes", app.adminKey);
  equal(bad.status, 422);
  const foreign = await app.get(
    `/api/v2/invoices?overdue=false&cursor=${first.nextCursor}`,
    app.adminKey,
  );
  equal(foreign.status, 400);
});

Deno.test("GET /api/v2/invoices/:id shows that an invoice is overdue, and when it was marked", async () => {
  await using app = await startTill();
  const { id } = await app.bill({ dueOn: DUE });
  const shown = async () => {
    const { body } = await app.get(`/api/v2/invoices/${id}`, app.adminKey);
    equal("remindedDays" in body, false);
    return [body.isOverdue, body.overdueAt];
  };

  const before = await shown();
  goTo(app, "2026-06-20T21:00:00Z");
  const between = await shown();
  await walk(app);

  deepEqual([before, between, await shown()], [
    [false, null],
    [true, null],
    [true, "2026-06-20T21:00:00.000Z"],
  ]);
});

Deno.test("sweep() finds an overdue mark that is wrong, and repair() removes it", async () => {
  let kv: FaultyKv | undefined;
  await using app = await startTill({ wrapKv: (opened) => kv = new FaultyKv(opened) });
  const { id } = await app.bill({ dueOn: DUE });
  const early = await app.invoice(id);
  const settled = await app.bill({ dueOn: DUE });
  await app.payByHand(settled, TOTAL);
  const overdueAt = "2026-06-10T05:00:00.000Z";
  await put({ kv: kv! }, keys.invoice(early.id), { ...early, overdueAt });
  const paid = await app.invoice(settled.id);
  await put({ kv: kv! }, keys.invoice(paid.id), { ...paid, overdueAt });

  const line = (check: string, { id }: Invoice) => `${check} ["invoice","${id}"]`;
  const found = await swept(app);
  const { findings, repairs } = await sweep(app.services, {
    repair: (broken) => repair(app.services, broken, { sweepId: early.id, by: TESTER }),
  });

  deepEqual(
    found,
    [
      // Whose history says that it was paid, and nothing of a mark.
      line("audit.chain_broken", paid),
      line("invoice.overdue_wrong", early),
      line("invoice.overdue_wrong", paid),
    ].sort(),
  );
  deepEqual(repairs.map(({ check, key }) => `${check} ${key}`), [
    line("invoice.overdue_wrong", early),
  ]);
  equal(findings.length, 2);
  const repaired = await app.invoice(early.id);
  deepEqual([repaired.overdueAt, repaired.revision], [null, 2]);
  await checkedHistoryOf(app, "invoice", keys.invoice(early.id));
});
