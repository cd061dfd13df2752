/**
 * The walk over what is to be paid: each invoice is marked, and each buyer
 * reminded, once, whoever walks, however often, and whatever happens meanwhile.
 */
// Under their short names Deno exports from here what compares with `==`.
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { runJob } from "../../../cron/_job.ts";
import { jobsOf } from "../../../cron/mod.ts";
import { HealthMonitor } from "../../../lib/health/mod.ts";
import { sweep } from "../../../lib/integrity/sweep.ts";
import { createInvoice } from "../../../lib/invoices/mod.ts";
import { encode } from "../../../lib/kv/codec.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { OutboxEvent } from "../../../lib/kv/outbox_records.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import {
  isOverdueWanted,
  markOverdue,
  OVERDUE_JOB,
  type OverdueReport,
  overdueSchedule,
} from "../../../lib/invoices/overdue.ts";
import { repair } from "../../../lib/integrity/repair.ts";
import { nextDue } from "../../../lib/jobs/timetable.ts";
import { startApp, TEST_START, type TestApp, TESTER } from "../../support/program/app.ts";
import { FaultyKv, inOrder } from "../../support/store/faulty_kv.ts";
import {
  asAdmin,
  checkedHistoryOf,
  leavesStoreAlone,
  newClient,
  newKvFile,
} from "../../support/program/shop.ts";
import { checkedBooks, startGatewayTill, startTill, TOTAL } from "../../support/program/till.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;
const BUDGET = { budgetMs: 60_000 };
const DUE = "2026-06-20";

/** Where the clock of tests begins, it is noon in Dar es Salaam. */
function walk({ services }: TestApp): Promise<OverdueReport> {
  return markOverdue(services, BUDGET, TESTER);
}

/** Moves the clock to a moment. */
function goTo(app: TestApp, time: string): void {
  app.advance(Date.parse(time) - app.services.clock());
}

/** What is told of due dates, oldest first. */
async function told({ services: { store } }: TestApp): Promise<OutboxEvent[]> {
  const entries = await store.list(keys.outboxEvents, { limit: 10_000 });
  return entries.map(({ value }) => value)
    .filter(({ type }) => type === "invoice.overdue" || type === "invoice.reminder");
}

/** The same in short, such as `reminder 7`. */
async function toldInShort(app: TestApp): Promise<string[]> {
  return (await told(app)).map(({ type, data }) =>
    type === "invoice.overdue" ? "overdue" : `reminder ${data.days}`
  );
}

/** What a sweep finds, as `check key`. */
async function swept({ services }: TestApp): Promise<string[]> {
  const { findings } = await sweep(services);
  return findings.map(({ check, key }) => `${check} ${key}`).sort();
}

async function put<T>({ kv }: { kv: FaultyKv }, key: keys.Key<T>, value: T): Promise<void> {
  await kv.atomic().set(key, encode(value)).commit();
}

Deno.test("markOverdue() marks an invoice once its day is over in the shop's time zone, and once only", async () => {
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
  const [event, ...more] = await told(app);
  deepEqual(more, []);
  equal(event?.type, "invoice.overdue");
  equal(event.subject.invoiceId, invoice.id);
  deepEqual([event.data.dueOn, event.data.revision, event.data.totalMinor], [DUE, 2, TOTAL]);
  deepEqual(await swept(app), []);
});

Deno.test("an invoice that is paid, voided or given more time is not marked any more", async () => {
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

Deno.test("an invoice that was paid and whose money went back is overdue again", async () => {
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
  deepEqual(await toldInShort(app), ["overdue", "overdue"]);
  await checkedBooks(app, invoice.id);
});

Deno.test("markOverdue() has buyers reminded on each of the days, though it is called every six hours", async () => {
  await using app = await startTill({ env: { REMINDER_DAYS: "-3,1,7,14" } });
  const invoice = await app.bill({ dueOn: DUE });
  const seen: [string, string[]][] = [];
  let known = 0;

  for (let hour = 0; hour < 24 * 24; hour += 6) {
    await walk(app);
    const all = await toldInShort(app);
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

Deno.test("markOverdue() sends only the newest reminder after days in which nothing ran", async () => {
  await using app = await startTill({ env: { REMINDER_DAYS: "-3,1,7,14" } });
  await app.bill({ dueOn: DUE });

  goTo(app, "2026-06-30T05:00:00Z");
  await walk(app);
  const after = await toldInShort(app);
  goTo(app, "2026-07-20T05:00:00Z");
  await walk(app);
  await walk(app);

  deepEqual(after, ["overdue", "reminder 7"]);
  deepEqual(await toldInShort(app), ["overdue", "reminder 7", "reminder 14"]);
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

Deno.test("markOverdue() reminds nobody of what is paid, void, given up or a draft, nor without days", async () => {
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
  deepEqual(await toldInShort(app), []);
  deepEqual(await toldInShort(quiet), ["overdue"]);
});

Deno.test("reminders follow a due date that is moved, and what then lies behind is not told", async () => {
  await using app = await startTill({ env: { REMINDER_DAYS: "-3,1,7" } });
  const invoice = await app.bill({ dueOn: DUE });
  goTo(app, "2026-06-27T05:00:00Z");
  await walk(app);

  await asAdmin(app, "PATCH", `/api/v2/invoices/${invoice.id}`, { body: { dueOn: "2026-06-29" } });
  for (let day = 0; day < 20; day++) {
    await walk(app);
    app.advance(DAY_MS);
  }

  deepEqual(await toldInShort(app), [
    "overdue",
    "reminder 7",
    "overdue",
    "reminder 1",
    "reminder 7",
  ]);
});

/** Bills many at once, all due on one day. */
async function billMany(app: TestApp, count: number, dueOn = DUE): Promise<Invoice[]> {
  const clientId = await newClient(app);
  const lines = [{ description: "Work", quantity: 1, unitMinor: TOTAL }];
  const input = {
    clientId,
    lines,
    currency: "TZS",
    taxMinor: 0,
    dueOn,
    notes: "",
    draft: false,
  } as const;
  return await Promise.all(
    Array.from(
      { length: count },
      () => createInvoice(app.services, { ...input, lines: [...lines] }, TESTER),
    ),
  );
}

Deno.test("markOverdue() by several processes at once tells of each invoice once", async () => {
  await using file = await newKvFile();
  const env = { KV_PATH: file.path, REMINDER_DAYS: "1,7" };
  await using one = await startApp({ env });
  await using other = await startApp({ env });
  const bills = await billMany(one, 60);
  for (const app of [one, other]) goTo(app, "2026-06-25T05:00:00Z");

  const reports = await Promise.all([one, other, one, other].map(walk));

  const sum = (of: "marked" | "reminded") => reports.reduce((sum, report) => sum + report[of], 0);
  deepEqual([sum("marked"), sum("reminded")], [60, 60]);
  const events = await told(one);
  for (const type of ["invoice.overdue", "invoice.reminder"]) {
    const ids = events.filter((event) => event.type === type)
      .map(({ subject }) => subject.invoiceId);
    deepEqual(ids.sort(), bills.map(({ id }) => id).sort());
  }
  deepEqual(await swept(one), []);
});

Deno.test("markOverdue() beside whoever pays and voids leaves no mark on what is settled", async () => {
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

Deno.test("markOverdue() tells once when a commit is applied and its reply is lost", async () => {
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

  deepEqual(await toldInShort(app), ["overdue", "reminder 1"]);
  deepEqual(await swept(app), []);
});

Deno.test("markOverdue() in slices does what one walk does, also after a restart", async () => {
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
  equal((await told(app)).length, 250);
  deepEqual(await swept(app), []);
});

Deno.test("markOverdue() refuses to go on from where no walk ended", async () => {
  await using app = await startApp();

  for (const resumeFrom of ["", "paid/", "open/x", "open/../x", "{}"]) {
    await rejects(markOverdue(app.services, { ...BUDGET, resumeFrom }, TESTER), {
      name: "AppError",
      kind: "malformed",
    });
  }
});

Deno.test("markOverdue() goes on with the others where one cannot be stored", async () => {
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

/** The real job. */
function jobOf({ services }: TestApp) {
  const job = jobsOf(services, new HealthMonitor(services)).find(({ name }) =>
    name === OVERDUE_JOB
  );
  if (!job) throw new Error("There is no such job");
  return job;
}

Deno.test("the job overdue walks once a day, at eight in the shop's winter", async () => {
  await using app = await startTill({ env: { REMINDER_DAYS: "1" } });
  await app.bill({ dueOn: "2026-06-15" });
  const runs: string[] = [];

  for (let minutes = 0; minutes < 3 * 24 * 60; minutes += 30) {
    const status = await runJob(app.services, jobOf(app));
    if (status !== "skipped") {
      runs.push(`${new Date(app.services.clock()).toISOString().slice(0, 16)} ${status}`);
    }
    app.advance(30 * 60_000);
  }

  deepEqual(runs, [
    "2026-06-15T09:00 ok", // it was never done
    "2026-06-16T05:00 ok",
    "2026-06-17T05:00 ok",
    "2026-06-18T05:00 ok",
  ]);
  deepEqual(await toldInShort(app), ["overdue", "reminder 1"]);
});

Deno.test("the job overdue is due until it has come to its end, and goes on where it ended", async () => {
  await using app = await startApp();
  await billMany(app, 150);
  goTo(app, "2026-06-25T05:00:00Z");
  const stopped = new AbortController();
  const job = jobOf(app);
  const outcomes: unknown[] = [];
  // Its time is over after the first page.
  const slow = {
    ...job,
    run: (...[services, , by]: Parameters<typeof job.run>) => {
      const over = new AbortController();
      over.abort();
      return job.run(services, over.signal, by);
    },
  };

  for (let i = 0; i < 5 && await isOverdueWanted(app.services); i++) {
    equal(await runJob(app.services, slow, { signal: stopped.signal }), "ok");
    outcomes.push((await app.services.store.get(keys.jobRun(OVERDUE_JOB)))?.outcome);
    app.advance(5 * 60_000);
  }

  const bills = await app.services.store.list(keys.invoices, { limit: 200 });
  const counts = { marked: 0, reminded: 0, failed: 0 };
  const day = "2026-06-25";
  deepEqual(outcomes, [
    {
      ...{ ...counts, day, looked: 100, marked: 100, isMore: true },
      resumeFrom: `open/${bills[99]!.value.id}`,
    },
    { ...counts, day, looked: 50, marked: 50, resumeFrom: "partially_paid/", isMore: true },
    { ...counts, day, looked: 0 },
  ]);
  equal((await told(app)).length, 150);
});

Deno.test("the job overdue begins anew on another day", async () => {
  await using app = await startApp();
  await billMany(app, 120, "2026-06-25");
  goTo(app, "2026-06-25T05:00:00Z");
  const job = jobOf(app);
  const over = new AbortController();
  over.abort();
  await runJob(app.services, { ...job, run: (s, _, by) => job.run(s, over.signal, by) });
  equal(await isOverdueWanted(app.services), true);

  app.advance(DAY_MS);
  await runJob(app.services, job);

  equal((await told(app)).length, 120);
  equal(await isOverdueWanted(app.services), false);
});

Deno.test("the job overdue stores nothing after another run has taken over", async () => {
  await using app = await startApp();
  await billMany(app, 20);
  goTo(app, "2026-06-25T05:00:00Z");
  const job = jobOf(app);
  let status: string | undefined;
  const overtaken = {
    ...job,
    timeLimitMs: 1_000,
    async run(...[services, signal, by]: Parameters<typeof job.run>) {
      // The clock says that its lease is over, and another instance begins.
      app.advance(60_000);
      status = await runJob(services, job);
      app.advance(-60_000);
      const later = await app.services.store.get(keys.invoice((await first(app)).id));
      equal(typeof later?.overdueAt, "string");
      await put({ kv: new FaultyKv(app.services.kv) }, keys.invoice(later!.id), {
        ...later!,
        overdueAt: null,
      });
      return await job.run(services, signal, by);
    },
  };

  const late = await runJob(app.services, overtaken);

  deepEqual([late, status], ["lost", "ok"]);
  equal((await told(app)).length, 20);
  equal((await first(app)).overdueAt, null);
});

async function first({ services: { store } }: TestApp): Promise<Invoice> {
  const [entry] = await store.list(keys.invoices, { limit: 1 });
  return entry!.value;
}

Deno.test("overdueSchedule() is eight o'clock where it is winter, once a day", () => {
  for (
    const [timeZone, schedule] of [
      ["Africa/Dar_es_Salaam", "0 5 * * *"],
      ["UTC", "0 8 * * *"],
      ["America/New_York", "0 13 * * *"],
      ["America/St_Johns", "30 11 * * *"],
      ["Asia/Kathmandu", "15 2 * * *"],
      ["Asia/Tokyo", "0 23 * * *"],
      ["Pacific/Kiritimati", "0 18 * * *"],
      ["Pacific/Pago_Pago", "0 19 * * *"],
    ] as const
  ) {
    equal(overdueSchedule(timeZone), schedule, timeZone);
  }
  for (const timeZone of Intl.supportedValuesOf("timeZone")) {
    const schedule = overdueSchedule(timeZone);
    const at = nextDue(schedule, TEST_START);
    equal(nextDue(schedule, at) - at, DAY_MS, timeZone);
    // Nowhere so close to midnight that summer would make another day of it.
    const hour = new Intl.DateTimeFormat("en", { timeZone, hour: "numeric", hourCycle: "h23" });
    ok(Math.abs(Number(hour.format(at)) - 8) <= 2, timeZone);
  }
});

Deno.test("GET /api/v2/invoices?overdue=true lists what is overdue, in pages", async () => {
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

Deno.test("GET /api/v2/invoices/:id tells that an invoice is overdue, and when that was noted", async () => {
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

Deno.test("sweep() finds a mark on what is not overdue, and repair() takes it away", async () => {
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
    mend: (broken) => repair(app.services, broken, { sweepId: early.id, by: TESTER }),
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
  const mended = await app.invoice(early.id);
  deepEqual([mended.overdueAt, mended.revision], [null, 2]);
  await checkedHistoryOf(app, "invoice", keys.invoice(early.id));
});
