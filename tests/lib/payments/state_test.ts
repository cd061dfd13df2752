/**
 * What becomes of a payment does not hang on the order in which things are
 * learnt, nor on how often; and an invoice's state follows from its money.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import type { Confirmation } from "../../../lib/gateways/mod.ts";
import { newId } from "../../../lib/ids.ts";
import { creditMinor, owedMinor, statusWith, TRANSITIONS } from "../../../lib/invoices/status.ts";
import type { Invoice, InvoiceStatus } from "../../../lib/kv/records.ts";
import type { Payment, Refund } from "../../../lib/kv/payment_records.ts";
import { newPayment } from "../../../lib/payments/records.ts";
import { afterCheck, firstCheckAt, UNASKABLE_MS } from "../../../lib/payments/schedule.ts";
import {
  type Evidence,
  PROBLEMS,
  refundedOf,
  transitionOf,
  worthOf,
} from "../../../lib/payments/state.ts";
import { DAY_MS, HOUR_MS, isoTime, MINUTE_MS } from "../../../lib/time.ts";
import { TEST_START, TESTER } from "../../support/program/app.ts";

const ID = newId(TEST_START);
const OTHER_ID = newId(TEST_START);
const TRACKING = "a5e2f1c0-0000-4000-8000-000000000001";

function payment(fields: Partial<Payment> = {}): Payment {
  return newPayment(
    {
      id: ID,
      invoiceId: newId(TEST_START),
      channel: "pesapal",
      status: "pending",
      currency: "TZS",
      amountMinor: 10_000,
      trackingId: TRACKING,
      nextCheckAt: firstCheckAt(TEST_START),
      ...fields,
    },
    TESTER,
    TEST_START,
  );
}

function said(fields: Partial<Confirmation> = {}): Confirmation {
  return {
    state: "completed",
    reference: ID,
    trackingIds: [TRACKING],
    amount: { currency: "TZS", minor: 10_000 },
    confirmationCode: "QK12",
    method: "Visa",
    reason: null,
    ...fields,
  };
}

function told(
  fields: Partial<Confirmation> = {},
  { askedId = TRACKING, takenIds = new Set<string>() }: {
    askedId?: string | null;
    takenIds?: ReadonlySet<string>;
  } = {},
): Evidence {
  return { kind: "answer", confirmation: said(fields), askedId, takenIds };
}

function after(before: Payment, finding: Evidence, now = TEST_START + MINUTE_MS): Payment {
  return { ...before, ...transitionOf(before, finding, now).fields };
}

Deno.test("transitionOf() completes what the gateway says was paid, as it was asked for", () => {
  const { fields, event, rejected } = transitionOf(payment(), told(), TEST_START + MINUTE_MS);

  deepEqual(fields, {
    trackingId: TRACKING,
    status: "completed",
    problem: null,
    receivedMinor: 10_000,
    completedAt: isoTime(TEST_START + MINUTE_MS),
    confirmationCode: "QK12",
    method: "Visa",
    checks: 0,
    nextCheckAt: TEST_START + MINUTE_MS + DAY_MS,
  });
  equal(event, "payment.completed");
  equal(rejected, null);
});

const MISFITS: [what: string, Evidence, problem: string][] = [
  ["another reference", told({ reference: OTHER_ID }), PROBLEMS.reference],
  ["no reference", told({ reference: null }), PROBLEMS.reference],
  ["another tracking id", told({ trackingIds: [OTHER_ID] }), PROBLEMS.tracking],
  ["no tracking id", told({ trackingIds: [] }), PROBLEMS.tracking],
  ["less", told({ amount: { currency: "TZS", minor: 9_999 } }), PROBLEMS.amount],
  ["more", told({ amount: { currency: "TZS", minor: 10_001 } }), PROBLEMS.amount],
  ["no amount", told({ amount: null }), PROBLEMS.amount],
  ["another currency", told({ amount: { currency: "KES", minor: 10_000 } }), PROBLEMS.currency],
  [
    "a tracking id of another payment",
    told({}, { takenIds: new Set([TRACKING]) }),
    PROBLEMS.taken,
  ],
];

for (const [what, finding, problem] of MISFITS) {
  Deno.test(`transitionOf() leaves a payment of ${what} to a person`, () => {
    const { fields, event, rejected } = transitionOf(payment(), finding, TEST_START);

    equal(fields.status, "needs_review");
    equal(fields.problem, problem);
    equal(fields.receivedMinor, undefined);
    equal(event, "payment.needs_review");
    equal(rejected, problem);
  });

  Deno.test(`transitionOf() takes nothing back from a completed payment for ${what}`, () => {
    const completed = after(payment(), told());

    const { fields, event, rejected } = transitionOf(completed, finding, TEST_START);

    equal(fields.status, undefined);
    equal(event, null);
    equal(rejected, problem);
  });
}

Deno.test("transitionOf() takes a GUID and a reference in capitals for the same", () => {
  const finding = told({ reference: ID.toUpperCase(), trackingIds: [TRACKING.toUpperCase()] });

  equal(after(payment(), finding).status, "completed");
});

Deno.test("transitionOf() learns the tracking id only from an answer that fits", () => {
  const nameless = payment({ status: "created", trackingId: null });

  const adopted = after(nameless, told());
  const pending = after(nameless, told({ state: "pending" }));
  const misfit = after(nameless, told({ amount: { currency: "TZS", minor: 1 } }));
  const taken = after(nameless, told({}, { takenIds: new Set([TRACKING]) }));
  const signed = after(nameless, told({ trackingIds: ["x", "y"] }, { askedId: null }));

  deepEqual([adopted.status, adopted.trackingId], ["completed", TRACKING]);
  deepEqual([pending.status, pending.trackingId], ["pending", TRACKING]);
  deepEqual([misfit.status, misfit.trackingId], ["needs_review", null]);
  deepEqual([taken.status, taken.trackingId], ["needs_review", null]);
  deepEqual([signed.status, signed.trackingId], ["completed", "x"]);
});

Deno.test("transitionOf() needs one of a signed call's names to be the stored one", () => {
  const stored = payment({ channel: "azampay", trackingId: "AZ-1" });
  const names = (...trackingIds: string[]) => told({ trackingIds }, { askedId: null });

  equal(after(stored, names("x", "AZ-1", "y")).status, "completed");
  equal(after(stored, names("x", "y")).problem, PROBLEMS.tracking);
});

Deno.test("transitionOf() lets no unsigned call stand in the way of a signed one", () => {
  const open = payment({ channel: "azampay" });
  const doubted = after(open, { kind: "unsigned" });

  equal(doubted.status, "needs_review");
  equal(after(doubted, told({}, { askedId: null })).status, "completed");
  equal(after(doubted, told({ state: "failed" }, { askedId: null })).status, "failed");
  for (const settled of [after(open, told()), after(open, told({ state: "failed" }))]) {
    deepEqual(transitionOf(settled, { kind: "unsigned" }, TEST_START).fields, {});
  }
});

Deno.test("transitionOf() lets an answer end what an earlier version put up for review", () => {
  for (
    const problem of [
      PROBLEMS.unsigned,
      PROBLEMS.unanswered,
      "Somebody called in the gateway's name without a signature",
      "The gateway did not say what became of it, and cannot be asked",
    ]
  ) {
    const doubted = payment({ status: "needs_review", problem });

    equal(after(doubted, told({ state: "failed", reason: "Declined" })).status, "failed", problem);
  }
  const doubted = payment({ status: "needs_review", problem: PROBLEMS.amount });
  equal(after(doubted, told({ state: "failed" })).status, "needs_review");
});

Deno.test("transitionOf() makes nothing of a signed call that comes again", () => {
  const signed = told({}, { askedId: null });
  const completed = after(payment(), signed);

  deepEqual(after(completed, signed), completed);
  equal(transitionOf(completed, signed, TEST_START).event, null);
});

Deno.test("transitionOf() reverses what was completed, for good, and counts none of it", () => {
  const completed = after(payment(), told());

  const reversed = after(completed, told({ state: "reversed" }));
  const again = after(reversed, told());

  equal(reversed.status, "reversed");
  equal(reversed.receivedMinor, 10_000);
  deepEqual(worthOf(reversed), { paidMinor: 0, refundedMinor: 0 });
  equal(again.status, "reversed");
  equal(after(payment(), told({ state: "reversed" })).status, "reversed");
});

Deno.test("transitionOf() does not reverse for another payment's sake", () => {
  const completed = after(payment(), told());

  equal(
    after(completed, told({ state: "reversed", reference: OTHER_ID })).status,
    "completed",
  );
  equal(
    after(completed, told({ state: "reversed", trackingIds: [OTHER_ID] })).status,
    "completed",
  );
});

function refund(fields: Partial<Refund> = {}): Refund {
  return {
    id: newId(TEST_START),
    amountMinor: 10_000,
    reason: "Not wanted",
    reference: "",
    through: "gateway",
    status: "requested",
    at: isoTime(TEST_START),
    by: "cli",
    ...fields,
  };
}

Deno.test("transitionOf() sees in a reversal the refund that was asked for", () => {
  const completed = after(payment(), told());
  const asked = { ...completed, refunds: [refund()] };

  const made = after(asked, told({ state: "reversed" }));
  const again = transitionOf(made, told({ state: "reversed" }), TEST_START);

  equal(made.status, "completed");
  equal(made.refunds[0]?.status, "completed");
  equal(made.problem, null);
  deepEqual(worthOf(made), { paidMinor: 0, refundedMinor: 10_000 });
  equal(again.event, null);
  equal(again.fields.refunds, undefined);
});

Deno.test("transitionOf() has a person look at a reversal beyond the refund that was asked for", () => {
  const completed = after(payment(), told());
  const asked = { ...completed, refunds: [refund({ amountMinor: 4_000 })] };
  const reversed = told({ state: "reversed" });

  const { fields, event } = transitionOf(asked, reversed, TEST_START);
  const once = after(asked, reversed);

  equal(fields.status, undefined);
  equal(fields.problem, PROBLEMS.partlyReversed);
  equal(event, "payment.needs_review");
  equal(transitionOf(once, reversed, TEST_START).event, null);
  const part = told({ state: "reversed", amount: { currency: "TZS", minor: 4_000 } });
  equal(after(asked, part).problem, null);
  equal(after(completed, part).problem, PROBLEMS.partlyReversed);
});

Deno.test("transitionOf() keeps to what a person decided, unless the gateway proves the payment", () => {
  const resolution = {
    outcome: "failed",
    reference: "portal 1",
    reason: "Nothing there",
    at: isoTime(TEST_START),
    by: "cli",
  } as const;
  const misfit = told({ amount: { currency: "TZS", minor: 1 } });
  const doubted = after(payment(), misfit);

  const closed = after(doubted, { kind: "resolved", resolution, amountMinor: 10_000 });

  deepEqual([closed.status, closed.problem], ["failed", PROBLEMS.closed]);
  equal(after(closed, misfit).status, "failed");
  equal(after(closed, told()).status, "completed");
  const opened = after(doubted, {
    kind: "resolved",
    resolution: { ...resolution, outcome: "completed" },
    amountMinor: 9_000,
  });
  deepEqual([opened.status, opened.receivedMinor], ["completed", 9_000]);
});

const state = fc.constantFrom("pending", "completed", "failed", "reversed", "unknown" as const);
const anyFinding: fc.Arbitrary<Evidence> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ state }).map((fields) => told(fields)) },
  { weight: 2, arbitrary: fc.record({ state }).map((f) => told(f, { askedId: null })) },
  { weight: 2, arbitrary: fc.constantFrom(...MISFITS.map(([, finding]) => finding)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<Evidence>(
      { kind: "silent" },
      { kind: "unaskable" },
      { kind: "unsigned" },
      { kind: "refused", reason: "No" },
    ),
  },
);

Deno.test("transitionOf() ends at the same books whatever the order and however often", () => {
  fc.assert(
    fc.property(
      fc.array(anyFinding, { maxLength: 8 }).chain((findings) =>
        fc.tuple(
          fc.constant(findings),
          fc.shuffledSubarray(findings, { minLength: findings.length }),
          fc.array(fc.nat(), { maxLength: 8 }),
        )
      ),
      ([findings, shuffled, repeats]) => {
        const learn = (all: Evidence[]) => all.reduce((now, next) => after(now, next), payment());
        const repeated = [
          ...shuffled,
          ...repeats.flatMap((i) => findings[i % Math.max(1, findings.length)] ?? []),
        ];

        const one = learn(findings);
        const other = learn(repeated);

        equal(other.status, one.status);
        // A reversal that comes first leaves open what was received; it counts for nothing either way.
        deepEqual(worthOf(other), worthOf(one));
      },
    ),
    { numRuns: 2_000 },
  );
});

Deno.test("afterCheck() asks ever more rarely, and gives up after a week", () => {
  let now = TEST_START;
  let open = payment();
  const waits: number[] = [];
  for (now = open.nextCheckAt!;; now = open.nextCheckAt) {
    const next = afterCheck(open, now);
    open = { ...open, ...next };
    if (open.nextCheckAt === null) break;
    waits.push(open.nextCheckAt - now);
  }

  deepEqual(waits, waits.toSorted((a, b) => a - b));
  ok(waits.length >= 15 && waits.length <= 20, String(waits.length));
  ok(now - TEST_START >= 7 * DAY_MS && now - TEST_START < 9 * DAY_MS);
  equal(after(payment({ checks: 20 }), told({ state: "pending" }), now).status, "failed");
  equal(after(payment({ checks: 20 }), { kind: "silent" }, now).status, "pending");
  const silent = after(payment(), { kind: "silent" }, TEST_START + 31 * DAY_MS);
  equal(silent.problem, PROBLEMS.unanswered);
});

Deno.test("transitionOf() closes what the gateway never gave a name, since nobody was sent to pay it", () => {
  const nameless = payment({ status: "created", trackingId: null });

  equal(after(nameless, { kind: "silent" }).status, "created");
  equal(after(nameless, { kind: "silent" }, TEST_START + HOUR_MS).status, "failed");
});

Deno.test("transitionOf() gives a person what cannot be asked about, after half an hour", () => {
  const pushed = payment({ channel: "azampay" });

  const early = after(pushed, { kind: "unaskable" });
  const late = after(pushed, { kind: "unaskable" }, TEST_START + UNASKABLE_MS);

  equal(early.status, "pending");
  equal(early.nextCheckAt, TEST_START + UNASKABLE_MS);
  deepEqual([late.status, late.problem], ["needs_review", PROBLEMS.unanswered]);
  equal(late.nextCheckAt, null);
});

const money = fc.record({
  totalMinor: fc.integer({ min: 1, max: 1_000 }),
  paidMinor: fc.integer({ min: 0, max: 2_000 }),
  refundedMinor: fc.integer({ min: 0, max: 2_000 }),
});
const statuses = Object.keys(TRANSITIONS) as InvoiceStatus[]; // a literal has no other keys

Deno.test("statusWith() follows from the money alone, and by allowed steps", () => {
  fc.assert(
    fc.property(fc.constantFrom(...statuses), money, money, (status, one, two) => {
      const first = statusWith(status, one);
      const { totalMinor } = one;
      const second = statusWith(first, { ...two, totalMinor });

      for (const [from, to] of [[first, second]] as const) {
        ok(from === to || TRANSITIONS[from].includes(to), `${from} -> ${to}`);
      }
      if (status === "draft" || status === "void") return equal(second, status);
      const isPaid = two.paidMinor >= totalMinor;
      equal(second === "paid", isPaid);
      equal(second === "partially_paid", !isPaid && two.paidMinor > 0);
      equal(second === "refunded", two.paidMinor === 0 && two.refundedMinor > 0);
      const invoice = { ...two, totalMinor, status: second } as Invoice; // all that is looked at
      const [owed, credit] = [owedMinor(invoice), creditMinor(invoice)];
      ok(owed === 0 || credit === 0);
      if (second !== "refunded") equal(totalMinor, two.paidMinor + owed - credit);
    }),
  );
});

/** What can happen to two payments of one invoice. */
const happening = fc.oneof(
  fc.record({ what: fc.constant("learn" as const), which: fc.nat(1), finding: anyFinding }),
  fc.record({
    what: fc.constant("refund" as const),
    which: fc.nat(1),
    amountMinor: fc.integer({ min: 1, max: 10_000 }),
    through: fc.constantFrom("gateway" as const, "hand" as const),
  }),
  fc.record({ what: fc.constant("refuse" as const), which: fc.nat(1) }),
);

Deno.test("worthOf() never counts twice, and never below nothing", () => {
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 20 }), (happenings) => {
      const payments = [payment(), payment()];
      for (const next of happenings) {
        const before = payments[next.which]!;
        switch (next.what) {
          case "learn":
            payments[next.which] = after(before, next.finding);
            break;
          case "refund": {
            const left = before.status === "completed"
              ? before.receivedMinor - refundedOf(before)
              : 0;
            if (next.amountMinor > left) break;
            const { amountMinor, through } = next;
            const status = through === "hand" ? "completed" : "requested";
            const refunds = [...before.refunds, refund({ amountMinor, through, status })];
            payments[next.which] = { ...before, refunds };
            break;
          }
          case "refuse": {
            const refunds = before.refunds.map((one): Refund =>
              one.status === "requested" ? { ...one, status: "refused" } : one
            );
            payments[next.which] = { ...before, refunds };
            break;
          }
        }
        for (const one of payments) {
          const { paidMinor, refundedMinor } = worthOf(one);
          ok(paidMinor >= 0 && refundedMinor >= 0);
          equal(paidMinor + refundedMinor, one.status === "completed" ? 10_000 : 0);
        }
      }
    }),
  );
});
