/**
 * The sweep finds damage to payments. Each kind is done behind the program's back, and reported
 * under its name.
 */
import { deepStrictEqual as deepEqual } from "node:assert/strict";
import { recordPayment } from "../../../lib/payments/operators.ts";
import { refundPayment } from "../../../lib/payments/refunds.ts";
import { TESTER } from "../../support/program/app.ts";
import { openBooks } from "../../support/program/books.ts";
import { DAMAGE, fill, found } from "./_payments.ts";

const by = TESTER;

Deno.test("the sweep finds nothing in correct payments", async () => {
  await using books = await openBooks();
  await fill(books);

  deepEqual(await found(books), []);
});

for (const [what, damage] of Object.entries(DAMAGE)) {
  Deno.test(`the sweep finds ${what}`, async () => {
    await using books = await openBooks();
    const money = await fill(books);

    const expected = await damage(books, money);

    deepEqual(await found(books), expected.sort());
  });
}

Deno.test("the sweep finds nothing while payments and refunds are recorded", async () => {
  await using books = await openBooks();
  const { unpaid } = await fill(books);
  let isOver = false;
  const writing = (async () => {
    for (let i = 0; !isOver; i++) {
      const cash = { amountMinor: 10, method: "cash", reference: `w${i}`, notes: "" } as const;
      const { id } = await recordPayment(books.services, unpaid.id, cash, by);
      const refund = { paymentId: id, amountMinor: 4, reason: "x", reference: "y" };
      await refundPayment(books.services, unpaid.id, refund, by);
    }
  })();

  for (let i = 0; i < 10; i++) deepEqual(await found(books), []);
  isOver = true;
  await writing;

  deepEqual(await found(books), []);
});
