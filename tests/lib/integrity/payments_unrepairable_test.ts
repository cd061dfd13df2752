/** repair() leaves an invoice unchanged where histories do not prove what it has received. */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { sweep } from "../../../lib/integrity/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { recordPayment } from "../../../lib/payments/operators.ts";
import { refundPayment } from "../../../lib/payments/refunds.ts";
import { TESTER } from "../../support/program/app.ts";
import { openBooks } from "../../support/program/books.ts";
import {
  alter,
  changeNotes,
  complete,
  DAMAGE,
  type Damage,
  fill,
  forgetMoney,
  line,
  NOBODY,
  repairOf,
  reportLines,
  spoil,
  sweepAndRepair,
  textOf,
} from "./_payments.ts";

const by = TESTER;

/** Damage that a repair cannot resolve, each with what the sweep finds and leaves. */
const LEFT: Record<string, Damage> = {
  "an invoice that another field was altered in": async (books, { invoice }) => {
    await spoil(invoice, books, { paidMinor: 1, notes: "Paid in cash" });
    const key = keys.invoice(invoice.id);
    return [line("audit.chain_broken", key), line("invoice.paid_wrong", key)];
  },
  "an invoice whose payment has another history": async (books, { invoice, payment }) => {
    await alter(books, keys.payment(payment.id), { amountMinor: 1, receivedMinor: 101 });
    return [
      line("audit.chain_broken", keys.payment(payment.id)),
      line("invoice.paid_wrong", keys.invoice(invoice.id)),
      line("payment.state_wrong", keys.payment(payment.id)),
    ];
  },
  "an invoice with a payment that has no history, and counts for nothing": async (
    books,
    money,
  ) => {
    await DAMAGE["a payment that is completed, and counts for nothing"]!(books, money);
    return [line("invoice.paid_wrong", keys.invoice(money.unpaid.id))];
  },
  "an invoice that says what the program wrote, with a payment that lost its worth": async (
    books,
    { invoice },
  ) => {
    const [second] = (await books.services.store.list(keys.payments, { limit: 10 }))
      .map(({ value }) => value).filter(({ amountMinor }) => amountMinor === 1);
    await alter(books, keys.payment(second!.id), { amountMinor: 1_00, receivedMinor: 1_00 });
    return [line("invoice.paid_wrong", keys.invoice(invoice.id))];
  },
  "an invoice that says what the program wrote, with a payment that is gone without a trace":
    async (books, { invoice }) => {
      const [second] = (await books.services.store.list(keys.payments, { limit: 10 }))
        .map(({ value }) => value).filter(({ amountMinor }) => amountMinor === 1);
      await books.remove(
        keys.payment(second!.id),
        keys.paymentByInvoice(invoice.id, second!.id),
        keys.paymentByStatus("completed", second!.id),
        keys.paymentByTracking("manual", "r-2"),
      );
      return [line("invoice.paid_wrong", keys.invoice(invoice.id))];
    },
  "an invoice that was put back to what it was, so that its history goes on": async (
    books,
    { invoice, unpaid },
  ) => {
    const { paidMinor, refundedMinor, status } = unpaid;
    await spoil(invoice, books, { revision: 1, chain: null, paidMinor, refundedMinor, status });
    return [
      line("audit.entity_missing", keys.audit("invoice", invoice.id, 2)),
      line("audit.entity_missing", keys.audit("invoice", invoice.id, 3)),
      line("audit.entity_missing", keys.audit("invoice", invoice.id, 4)),
      line("invoice.paid_wrong", keys.invoice(invoice.id)),
    ];
  },
  "an invoice that was put back behind what came in, so that its history goes on": async (
    books,
    money,
  ) => {
    const { id } = money.unpaid;
    await changeNotes(books, id);
    const noted = (await books.get(keys.invoice(id)))!;
    await complete(books, money);
    await spoil(noted, books, noted);
    return [
      line("audit.entity_missing", keys.audit("invoice", id, 3)),
      line("invoice.paid_wrong", keys.invoice(id)),
    ];
  },
  "an invoice whose only payment says that more came in than its history does": async (
    books,
    money,
  ) => {
    await complete(books, money);
    const { open, unpaid } = money;
    await alter(books, keys.payment(open.id), { amountMinor: 9, receivedMinor: 9 });
    return [
      line("audit.chain_broken", keys.payment(open.id)),
      line("invoice.paid_wrong", keys.invoice(unpaid.id)),
    ];
  },
  "an invoice whose payment cannot be read": async (books, { payment, invoice }) => {
    await books.putRaw(keys.payment(payment.id), new Uint8Array([0xff]));
    await spoil(invoice, books, { status: "paid" });
    return [
      line("audit.chain_broken", keys.invoice(invoice.id)),
      line("invoice.status_wrong", keys.invoice(invoice.id)),
      line("value.undecodable", keys.payment(payment.id)),
    ];
  },
};

for (const [what, damage] of Object.entries(LEFT)) {
  Deno.test(`repair() leaves ${what} to an operator`, async () => {
    await using books = await openBooks();
    const expected = await damage(books, await fill(books));
    const before = await textOf(books);

    const left = await sweepAndRepair(books);

    deepEqual(left, expected.map((finding) => `not_repairable ${finding}`).sort());
    equal(await textOf(books), before);
  });
}

Deno.test("repair() adds nothing to an invoice with a missing payment", async () => {
  await using books = await openBooks();
  const money = await fill(books);
  const key = keys.invoice(money.unpaid.id);
  await forgetMoney(books, money);
  const dangling = keys.paymentByInvoice(money.unpaid.id, NOBODY);
  await books.put(dangling, NOBODY);
  const before = await books.get(key);

  const done = await sweepAndRepair(books);

  deepEqual(done, [
    `not_repairable ${line("invoice.paid_wrong", key)}`,
    `repaired ${line("index.dangling", dangling)}`,
  ]);
  deepEqual(await books.get(key), before);
});

Deno.test("repair() does not reduce the amount paid on an invoice whose payment index is missing and not repaired", async () => {
  await using books = await openBooks();
  const { invoice, payment } = await fill(books);
  await books.remove(keys.paymentByInvoice(invoice.id, payment.id));
  const before = await textOf(books);
  const { resumeFrom } = await sweep(books.services, { budgetMs: 0 });
  const atPayments = { ...JSON.parse(resumeFrom!), stage: "invoice_payments", after: null };

  const report = await sweep(books.services, {
    resumeFrom: JSON.stringify(atPayments),
    repair: repairOf(books),
  });

  deepEqual(reportLines(report), [
    `not_repairable ${line("invoice.paid_wrong", keys.invoice(invoice.id))}`,
  ]);
  equal(await textOf(books), before);
});

const MANY: [count: number, areRefunded: boolean][] = [[4, true], [8, false], [12, false]];

for (const [count, areRefunded] of MANY) {
  const what = `${count} payments${areRefunded ? " that were refunded in part" : ""}`;
  Deno.test(`repair() leaves an invoice with ${what}, which exceed one transaction`, async () => {
    await using books = await openBooks();
    const { unpaid: { id } } = await fill(books);
    for (let i = 0; i < count; i++) {
      const cash = { amountMinor: 10, method: "cash", reference: `w${i}`, notes: "" } as const;
      const { id: paymentId } = await recordPayment(books.services, id, cash, by);
      const refund = { paymentId, amountMinor: 1, reason: "x", reference: "y" };
      if (areRefunded) await refundPayment(books.services, id, refund, by);
    }
    await alter(books, keys.invoice(id), { paidMinor: 1 });
    const before = await textOf(books);

    const left = await sweepAndRepair(books);

    deepEqual(left, [
      `not_repairable ${line("audit.chain_broken", keys.invoice(id))}`,
      `not_repairable ${line("invoice.paid_wrong", keys.invoice(id))}`,
    ]);
    equal(await textOf(books), before);
  });
}
