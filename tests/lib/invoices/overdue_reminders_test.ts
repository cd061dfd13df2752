/** Buyers are reminded once for each of the configured days. */
import { deepStrictEqual as deepEqual } from "node:assert/strict";
import * as keys from "../../../lib/kv/keys.ts";
import { FaultyKv } from "../../support/store/faulty_kv.ts";
import { asAdmin, checkedHistoryOf } from "../../support/program/shop.ts";
import { startTill, TOTAL } from "../../support/program/till.ts";
import { eventNames, goTo, put, swept, walk } from "./_overdue.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;

const DUE = "2026-06-20";

Deno.test("markOverdue() reminds buyers once on each configured day, although it runs every six hours", async () => {
  await using app = await startTill({ env: { REMINDER_DAYS: "-3,1,7,14" } });
  const invoice = await app.bill({ dueOn: DUE });
  const seen: [string, string[]][] = [];
  let known = 0;

  for (let hour = 0; hour < 24 * 24; hour += 6) {
    await walk(app);
    const all = await eventNames(app);
    if (all.length > known) {
      seen.push([new Date(app.services.clock()).toISOString().slice(0, 16), all.slice(known)]);
    }
    known = all.length;
    app.advance(6 * 60 * 60 * 1_000);
  }

  // The first walks after midnight in Dar es Salaam, which is at 21:00 in UTC.
  deepEqual(seen, [
    ["2026-06-16T21:00", ["reminder -3"]],
    ["2026-06-20T21:00", ["overdue", "reminder 1"]],
    ["2026-06-26T21:00", ["reminder 7"]],
    ["2026-07-03T21:00", ["reminder 14"]],
  ]);
  const history = await checkedHistoryOf(app, "invoice", keys.invoice(invoice.id));
  deepEqual(history.map(({ action }) => action), [
    "invoice.remind",
    "invoice.overdue",
    "invoice.remind",
    "invoice.remind",
  ]);
  deepEqual(await swept(app), []);
});

Deno.test("markOverdue() sends only the newest reminder after days without a run", async () => {
  await using app = await startTill({ env: { REMINDER_DAYS: "-3,1,7,14" } });
  await app.bill({ dueOn: DUE });

  goTo(app, "2026-06-30T05:00:00Z");
  await walk(app);
  const after = await eventNames(app);
  goTo(app, "2026-07-20T05:00:00Z");
  await walk(app);
  await walk(app);

  deepEqual(after, ["overdue", "reminder 7"]);
  deepEqual(await eventNames(app), ["overdue", "reminder 7", "reminder 14"]);
});

Deno.test("a reminder goes to the buyer by mail, unless the invoice is paid before it is sent", async () => {
  const env = { REMINDER_DAYS: "7", MAIL_URL: "log:", MAIL_FROM: "shop@example.com" };
  await using app = await startTill({ env });
  const { id } = await app.bill({ dueOn: DUE });
  const paid = await app.bill({ dueOn: DUE });
  goTo(app, "2026-06-27T05:00:00Z");
  await app.services.outbox.run(); // what was before

  await walk(app);
  await app.payByHand(paid, TOTAL);
  await app.services.outbox.run();

  const done = await app.services.store.list(keys.messagesDone, { limit: 100 });
  const reminders = done.map(({ value }) => value).filter(({ type }) =>
    type === "invoice.reminder"
  );
  deepEqual(
    reminders.map(({ subject, to, status }) => [subject.invoiceId, to, status]).sort(),
    [[id, "client", "sent"], [paid.id, "client", "cancelled"]].sort(),
  );
});

Deno.test("markOverdue() sends no reminder for paid, void, uncollectible and draft invoices, or without configured days", async () => {
  let kv: FaultyKv | undefined;
  await using app = await startTill({
    env: { REMINDER_DAYS: "1" },
    wrapKv: (opened) => kv = new FaultyKv(opened),
  });
  const [paid, voided, { id }] = [await app.bill(), await app.bill(), await app.bill()];
  await app.bill({ draft: true });
  await app.payByHand(paid, TOTAL);
  await app.send(`/api/v2/invoices/${voided.id}/void`, { reason: "a mistake" });
  // There is no door for it yet.
  await put({ kv: kv! }, keys.invoice(id), { ...await app.invoice(id), status: "uncollectible" });
  await using quiet = await startTill();
  await quiet.bill();

  for (const one of [app, quiet]) one.advance(60 * DAY_MS);
  const reports = [await walk(app), await walk(quiet)];

  deepEqual(reports.map(({ marked, reminded }) => [marked, reminded]), [[0, 0], [1, 0]]);
  deepEqual(await eventNames(app), []);
  deepEqual(await eventNames(quiet), ["overdue"]);
});

Deno.test("reminders follow a changed due date, and skip days that have passed", async () => {
  await using app = await startTill({ env: { REMINDER_DAYS: "-3,1,7" } });
  const invoice = await app.bill({ dueOn: DUE });
  goTo(app, "2026-06-27T05:00:00Z");
  await walk(app);

  await asAdmin(app, "PATCH", `/api/v2/invoices/${invoice.id}`, { body: { dueOn: "2026-06-29" } });
  for (let day = 0; day < 20; day++) {
    await walk(app);
    app.advance(DAY_MS);
  }

  deepEqual(await eventNames(app), [
    "overdue",
    "reminder 7",
    "overdue",
    "reminder 1",
    "reminder 7",
  ]);
});
