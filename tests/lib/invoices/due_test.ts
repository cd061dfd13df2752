/**
 * What time makes of an invoice, decided without a store: in any time zone, and
 * whenever somebody looks.
 */
// Under their short names Deno exports from here what compares with `==`.
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { dueStep, isOverdue, markFault, markIn, movedTo } from "../../../lib/invoices/due.ts";
import type { Invoice } from "../../../lib/invoices/mod.ts";
import { isoTime } from "../../../lib/time.ts";
import { DRAFT, sampleInvoice } from "../../support/program/invoices.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;
const ZONE = "Africa/Dar_es_Salaam";

/** Zones with half hours, far from UTC, and with clocks that change, some of them at midnight. */
const ZONES = [
  ZONE,
  "UTC",
  "Africa/Cairo",
  "America/New_York",
  "America/Santiago",
  "America/St_Johns",
  "Asia/Kathmandu",
  "Australia/Lord_Howe",
  "Europe/Berlin",
  "Pacific/Kiritimati",
  "Pacific/Pago_Pago",
] as const;

/** The date somewhere, by the ICU's Swedish and not by our own words. */
function dateIn(timeZone: string, moment: number): string {
  return new Intl.DateTimeFormat("sv-SE", { timeZone }).format(moment);
}

/** The first moment of a date somewhere, found by looking at every minute. */
function beginningOf(date: string, timeZone: string): number {
  let moment = Date.parse(date) - DAY_MS;
  while (dateIn(timeZone, moment) < date) moment += 60_000;
  return moment;
}

for (
  const [dueOn, nextDay, timeZone] of [
    ["2026-06-16", "2026-06-17", ZONE],
    // Days of 23 and of 25 hours, and one that begins at one o'clock.
    ["2026-03-08", "2026-03-09", "America/New_York"],
    ["2026-11-01", "2026-11-02", "America/New_York"],
    ["2026-03-28", "2026-03-29", "Europe/Berlin"],
    ["2026-10-25", "2026-10-26", "Europe/Berlin"],
    ["2026-09-05", "2026-09-06", "America/Santiago"],
    ["2026-04-23", "2026-04-24", "Africa/Cairo"],
    ["2026-12-31", "2027-01-01", "Pacific/Kiritimati"],
    ["2028-02-28", "2028-02-29", "Pacific/Pago_Pago"],
  ] as const
) {
  Deno.test(`dueStep() finds what was due on ${dueOn} overdue when that day is over in ${timeZone}`, () => {
    const invoice = sampleInvoice({ dueOn, issuedAt: "2026-01-01T00:00:00.000Z" });
    const rules = { timeZone, reminderDays: [1] };
    const over = beginningOf(nextDay, timeZone);

    equal(dueStep(invoice, { ...rules, now: over - 1 }), null);
    deepEqual(dueStep(invoice, { ...rules, now: over }), {
      fields: { overdueAt: isoTime(over), remindedDays: 1 },
      isNews: true,
      reminder: 1,
    });
  });
}

Deno.test("dueStep() is for what is open or partly paid only", () => {
  const now = Date.parse("2026-08-01T09:00:00Z");
  const stepOf = (fields: Partial<Invoice>) =>
    dueStep(sampleInvoice(fields), { now, timeZone: ZONE, reminderDays: [-3, 7] });

  for (const status of ["open", "partially_paid"] as const) {
    deepEqual(stepOf({ status })?.reminder, 7);
  }
  for (const status of ["paid", "void", "uncollectible", "refunded"] as const) {
    equal(stepOf({ status }), null, status);
  }
  equal(stepOf(DRAFT), null);
});

Deno.test("dueStep() sends no reminder of a day that was over when the invoice was issued", () => {
  const issuedAt = "2026-06-15T20:59:00.000Z"; // a minute before midnight in Dar es Salaam
  const reminderOn = (dueOn: string, now: string) =>
    dueStep(sampleInvoice({ issuedAt, dueOn }), {
      now: Date.parse(now),
      timeZone: ZONE,
      reminderDays: [-3, 1],
    })?.reminder ?? null;

  // The day of the reminder was yesterday, is the day of issue, or comes.
  equal(reminderOn("2026-06-17", "2026-06-16T06:00:00Z"), null);
  equal(reminderOn("2026-06-18", "2026-06-16T06:00:00Z"), null);
  equal(reminderOn("2026-06-19", "2026-06-16T06:00:00Z"), -3);
  equal(reminderOn("2026-06-17", "2026-06-18T06:00:00Z"), 1);
});

Deno.test("dueStep() reminds of each day once, in order, and never of more than the newest", () => {
  const days = fc.integer({ min: -40, max: 60 });
  fc.assert(
    fc.property(
      fc.constantFrom(...ZONES),
      fc.uniqueArray(days, { maxLength: 6 }),
      fc.array(fc.integer({ min: 0, max: 90 * 24 * 60 }), { maxLength: 40 }),
      (timeZone, offsets, minutes) => {
        const issued = Date.parse("2026-02-20T12:00:00Z");
        const dueOn = "2026-03-29";
        let invoice = sampleInvoice({ dueOn, issuedAt: isoTime(issued) });
        const reminderDays = offsets.toSorted((a, b) => a - b);
        const sent: number[] = [];
        let marks = 0;
        for (const minute of minutes.toSorted((a, b) => a - b)) {
          const now = issued + minute * 60_000;
          const today = dateIn(timeZone, now);
          const dayOf = (days: number) => isoTime(Date.parse(dueOn) + days * DAY_MS).slice(0, 10);
          const passed = reminderDays.filter((days) =>
            dayOf(days) <= today && dayOf(days) > dateIn(timeZone, issued)
          );
          const expected = passed.at(-1) ?? null;

          const step = dueStep(invoice, { now, timeZone, reminderDays });

          const isKnown = expected === null || sent.includes(expected);
          equal(step?.reminder ?? null, isKnown ? null : expected);
          if (step?.reminder != null) sent.push(step.reminder);
          if (step?.isNews) marks++;
          invoice = { ...invoice, ...step?.fields };
          equal(typeof invoice.overdueAt === "string", today > dueOn);
          equal(markFault(invoice), null);
          // What is noted is not news.
          equal(dueStep(invoice, { now, timeZone, reminderDays }), null);
        }
        deepEqual(sent, sent.toSorted((a, b) => a - b));
        ok(marks <= 1);
      },
    ),
  );
});

Deno.test("dueStep() survives the end of the calendar", () => {
  const invoice = sampleInvoice({ dueOn: "9999-12-31" });
  const now = Date.parse("2026-08-01T09:00:00Z");

  equal(dueStep(invoice, { now, timeZone: ZONE, reminderDays: [-3, 14] }), null);
});

Deno.test("isOverdue() begins when the due date is over", () => {
  const { status, dueOn } = sampleInvoice({ dueOn: "2026-06-29" });

  equal(isOverdue({ status, dueOn }, "2026-06-29"), false);
  equal(isOverdue({ status, dueOn }, "2026-06-30"), true);
  equal(isOverdue({ status: "paid", dueOn }, "2026-06-30"), false);
});

Deno.test("movedTo() keeps the mark where it is still true, and leaves out reminders that lie behind", () => {
  const now = Date.parse("2026-07-10T09:00:00Z");
  const overdueAt = "2026-06-30T05:00:00.000Z";
  const marked = sampleInvoice({ dueOn: "2026-06-29", overdueAt, remindedDays: 7 });
  const moved = (dueOn: string, invoice = marked) =>
    movedTo(dueOn, invoice, { now, timeZone: ZONE });

  deepEqual(moved("2026-06-29"), {});
  deepEqual(moved("2026-06-25"), { dueOn: "2026-06-25", remindedDays: 15 });
  deepEqual(moved("2026-06-30"), { dueOn: "2026-06-30", overdueAt: null, remindedDays: 10 });
  deepEqual(moved("2026-07-20"), { dueOn: "2026-07-20", overdueAt: null, remindedDays: -10 });
  deepEqual(moved("2026-07-20", sampleInvoice()), { dueOn: "2026-07-20", remindedDays: -10 });
  // Nobody was told of a draft.
  deepEqual(moved("2026-07-20", sampleInvoice(DRAFT)), { dueOn: "2026-07-20" });
});

Deno.test("markIn() takes the mark away in every state in which nobody waits", () => {
  const overdueAt = "2026-06-30T05:00:00.000Z";
  const marked = sampleInvoice({ overdueAt });

  for (const status of ["paid", "void", "uncollectible", "refunded"] as const) {
    deepEqual(markIn(status, marked), { overdueAt: null }, status);
    deepEqual(markIn(status, sampleInvoice()), {}, status);
  }
  for (const status of ["open", "partially_paid"] as const) deepEqual(markIn(status, marked), {});
});

Deno.test("markFault() sees a mark on what nobody waits for, and one that came too early", () => {
  const overdueAt = "2026-06-29T11:00:00.000Z"; // the 30th on Kiritimati
  const fault = (fields: Partial<Invoice>) => markFault(sampleInvoice({ overdueAt, ...fields }));

  equal(fault({ dueOn: "2026-06-29" }), null);
  equal(
    fault({ dueOn: "2026-06-30" }),
    "The invoice was marked as overdue before its due date was over",
  );
  equal(fault({ status: "paid" }), "The invoice is paid and marked as overdue");
  equal(fault({ status: "paid", overdueAt: null }), null);
});
