/** repair() restores what an invoice has received where payment histories prove it. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { isChainIntact, listHistory } from "../../../lib/entities/mod.ts";
import { sweep } from "../../../lib/integrity/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import { recordPayment } from "../../../lib/payments/operators.ts";
import { TESTER } from "../../support/program/app.ts";
import { openBooks } from "../../support/program/books.ts";
import {
  fill,
  forgetMoney,
  found,
  line,
  repairOf,
  reportLines,
  spoil,
  sweepAndRepair,
  textOf,
} from "./_payments.ts";

const by = TESTER;

/** What is done to an invoice with money on it, and to one without. */
const SPOILT: Record<string, [pick: "invoice" | "unpaid", fields: Partial<Invoice>]> = {
  "on which more is paid than came in": ["invoice", { paidMinor: 5_000_01 }],
  "on which less is paid than came in": ["invoice", { paidMinor: 1 }],
  "that is paid by nothing": ["invoice", { paidMinor: 16_000_00, status: "paid" }],
  "on which nothing is paid any more": [
    "invoice",
    { paidMinor: 0, refundedMinor: 0, status: "open" },
  ],
  "of which more went back than did": ["invoice", { refundedMinor: 101 }],
  "whose state alone is another": ["invoice", { status: "paid" }],
  "whose money alone is another": ["invoice", { paidMinor: 0 }],
  "that is new, and paid": ["unpaid", { paidMinor: 16_000_00, status: "paid" }],
  "that is new, and refunded": ["unpaid", { refundedMinor: 3, status: "refunded" }],
  "that is new, and says that it is paid": ["unpaid", { status: "paid" }],
};

for (const [what, [pick, fields]] of Object.entries(SPOILT)) {
  Deno.test(`repair() sets an invoice ${what} to the sum of its payments`, async () => {
    await using books = await openBooks();
    const money = await fill(books);
    const { id } = money[pick];
    const before = (await books.get(keys.invoice(id)))!;
    await spoil(before, books, fields);
    const finding = (await found(books)).find((text) => /^invoice\.(paid|status)_wrong/.test(text));

    const report = await sweep(books.services, { repair: repairOf(books) });

    // The broken link from its history is repaired with it.
    deepEqual(reportLines(report), [`repaired ${finding}`]);
    const after = (await books.get(keys.invoice(id)))!;
    const { revision } = before;
    const { updatedAt, chain } = after;
    deepEqual(after, { ...before, revision: revision + 1, updatedAt, chain });
    const { data } = await listHistory(books.services, { entity: "invoice", id }, {
      limit: 10,
      after: 1,
    });
    ok(isChainIntact(after, data));
    deepEqual([data.at(-1)!.action, data.at(-1)!.by], ["repair.paid", "cli"]);
    equal(await books.get(keys.invoiceByStatus(before.status, id)), id);
    deepEqual(await found(books), []);
    deepEqual(await sweepAndRepair(books), []);
  });
}

Deno.test("repair() adds to an invoice what the histories of its payments prove", async () => {
  await using books = await openBooks();
  const money = await fill(books);
  const key = keys.invoice(money.unpaid.id);
  await forgetMoney(books, money);

  const done = await sweepAndRepair(books);

  deepEqual(done, [`repaired ${line("invoice.paid_wrong", key)}`]);
  const { status, paidMinor, revision } = (await books.get(key))!;
  deepEqual([status, paidMinor, revision], ["partially_paid", 5, 3]);
  deepEqual(await found(books), []);
});

Deno.test("the sweep finds a missing payment index once, and repairs it before the invoice", async () => {
  await using books = await openBooks();
  const { invoice, payment } = await fill(books);
  const key = keys.paymentByInvoice(invoice.id, payment.id);
  const before = await textOf(books);
  await books.remove(key);

  const seen = await found(books);
  const done = await sweepAndRepair(books);

  deepEqual(seen, [line("index.missing", key)]);
  deepEqual(done, [`repaired ${line("index.missing", key)}`]);
  equal(await textOf(books), before);
  deepEqual(await found(books), []);
});

Deno.test("repair() writes nothing when the amounts are correct again", async () => {
  await using books = await openBooks();
  const { invoice } = await fill(books);
  await spoil(invoice, books, { paidMinor: 1 });
  const report = await sweep(books.services, {
    repair: async (defect) => {
      await spoil(invoice, books, invoice);
      return await repairOf(books)(defect);
    },
  });

  deepEqual(reportLines(report), []);
  deepEqual(await books.get(keys.invoice(invoice.id)), invoice);
});

Deno.test("repair() writes nothing when a payment arrives in between", async () => {
  await using books = await openBooks();
  const { unpaid } = await fill(books);
  await spoil(unpaid, books, { paidMinor: 1, status: "partially_paid" });
  const cash = { amountMinor: 10, method: "cash", reference: "w", notes: "" } as const;
  const report = await sweep(books.services, {
    repair: async (defect) => {
      await recordPayment(books.services, unpaid.id, cash, by);
      return await repairOf(books)(defect);
    },
  });

  deepEqual(reportLines(report), []);
  equal((await books.get(keys.invoice(unpaid.id)))?.paidMinor, 11);
});

Deno.test("simultaneous repairs of one invoice repair it once", async () => {
  await using books = await openBooks();
  const { invoice } = await fill(books);
  await spoil(invoice, books, { paidMinor: 1 });

  const reports = await Promise.all(
    [1, 2, 3].map(() => sweep(books.services, { repair: repairOf(books) })),
  );

  equal(reports.flatMap(({ repairs }) => repairs).length, 1);
  deepEqual(reports.flatMap(({ findings }) => findings), []);
  equal((await books.get(keys.invoice(invoice.id)))?.revision, invoice.revision + 1);
  deepEqual(await found(books), []);
});

Deno.test("repair() either restores an invoice or leaves it unchanged, whatever its amounts were set to", async () => {
  await using books = await openBooks();
  const { invoice, unpaid } = await fill(books);
  const whole = await books.entries();
  const money = fc.record({
    paidMinor: fc.constantFrom(0, 1, 100, 4_999_01, 5_000_00, 16_000_00, 16_000_01),
    refundedMinor: fc.constantFrom(0, 1, 100, 5_000_00),
    status: fc.constantFrom(
      ...["open", "partially_paid", "paid", "refunded", "uncollectible"] as const,
    ),
  }, { requiredKeys: [] });

  await fc.assert(
    fc.asyncProperty(fc.constantFrom(invoice, unpaid), money, async (victim, fields) => {
      for (const [key] of await books.entries()) await books.remove(key);
      for (const [key, bytes] of whole) await books.putRaw(key, bytes);
      await spoil(victim, books, fields);
      const spoilt = await books.get(keys.invoice(victim.id));

      await sweepAndRepair(books);

      const after = (await books.get(keys.invoice(victim.id)))!;
      if (after.revision === victim.revision) {
        deepEqual(after, spoilt);
        return;
      }
      const { revision, updatedAt, chain } = after;
      deepEqual(after, { ...victim, revision, updatedAt, chain });
      deepEqual(await found(books), []);
    }),
    { numRuns: 60 },
  );
});
