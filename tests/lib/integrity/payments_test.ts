/**
 * The sweep finds what is wrong with money: each kind of damage is done behind
 * the program's back, and seen under its name. What an invoice has on it is mended
 * where histories prove what that was.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { isChainIntact, listHistory, putChange } from "../../../lib/entities/audit.ts";
import { newId } from "../../../lib/ids.ts";
import { sweep, type SweepOptions, type SweepReport } from "../../../lib/integrity/sweep.ts";
import { createInvoice } from "../../../lib/invoices/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Payment } from "../../../lib/kv/payment_records.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import { acceptLead } from "../../../lib/leads/mod.ts";
import { newPayment, putNewPayment, putPayment } from "../../../lib/payments/records.ts";
import { recordPayment } from "../../../lib/payments/operators.ts";
import { refundPayment } from "../../../lib/payments/refunds.ts";
import { repair } from "../../../lib/integrity/repair.ts";
import { transact } from "../../../lib/kv/transact.ts";
import { operationOf } from "../../../lib/entities/caller.ts";
import { TEST_START, TESTER } from "../../support/program/app.ts";
import { type Books, invoiceOf, leadOf, openBooks } from "../../support/program/books.ts";

const by = TESTER;
const NOBODY = newId(TEST_START);

interface Money {
  /** Has a payment and a refund: at revision 3. */
  invoice: Invoice;
  /** Has one refund: at revision 2. */
  payment: Payment;
  /** Waits for its gateway, at revision 1. */
  open: Payment;
  /** Nothing was paid on it; `open` is its attempt. */
  unpaid: Invoice;
}

async function fill({ services }: Books): Promise<Money> {
  const { client } = await acceptLead(services, leadOf("asha"), by);
  const written = () => createInvoice(services, invoiceOf(client.id), by);
  const [{ id }, unpaid] = [await written(), await written()];
  const cash = { amountMinor: 5_000_00, method: "cash", reference: "R-1", notes: "" } as const;
  const { id: paymentId } = await recordPayment(services, id, cash, by);
  await recordPayment(services, id, { ...cash, amountMinor: 1, reference: "R-2" }, by);
  const refund = { paymentId, amountMinor: 100, reason: "x", reference: "y" };
  const payment = await refundPayment(services, id, refund, by);
  const open = newPayment(
    {
      id: newId(TEST_START),
      invoiceId: unpaid.id,
      channel: "pesapal",
      status: "pending",
      currency: "TZS",
      amountMinor: 5,
      trackingId: "GUID-1",
      nextCheckAt: TEST_START,
    },
    by,
    TEST_START,
  );
  await transact(services, {}, (_, writes) => putNewPayment(writes, open), {
    operation: operationOf(by, "test", null, { now: TEST_START }),
  });
  const invoice = (await services.store.get(keys.invoice(id)))!;
  return { invoice, payment, open, unpaid };
}

async function found({ services }: Books): Promise<string[]> {
  const { findings, isComplete } = await sweep(services);
  equal(isComplete, true);
  return findings.map(({ check, key }) => `${check} ${key}`).sort();
}

function line(check: string, key: keys.Key<unknown>): string {
  return `${check} ${keys.keyText(key)}`;
}

type Damage = (books: Books, money: Money) => Promise<string[]>;

async function alter<T extends object>(books: Books, key: keys.Key<T>, fields: Partial<T>) {
  await books.put(key, { ...await books.get(key) as T, ...fields });
}

/** Damage to the attempt, which has no history that would show it. */
function wrongAttempt(check: string, fields: Partial<Payment>): Damage {
  return async (books, { open }) => {
    await alter(books, keys.payment(open.id), fields);
    return [line(check, keys.payment(open.id))];
  };
}

function missing(pick: (money: Money) => keys.Key<string>): Damage {
  return async (books, money) => {
    await books.remove(pick(money));
    return [line("index.missing", pick(money))];
  };
}

function extra(pick: (money: Money) => [keys.Key<string>, string], check: string): Damage {
  return async (books, money) => {
    const [key, id] = pick(money);
    await books.put(key, id);
    return [line(check, key)];
  };
}

const DAMAGE: Record<string, Damage> = {
  "an attempt on an invoice that is not there": async (books, { open, unpaid }) => {
    await alter(books, keys.payment(open.id), { invoiceId: NOBODY });
    await books.remove(keys.paymentByInvoice(unpaid.id, open.id));
    await books.put(keys.paymentByInvoice(NOBODY, open.id), open.id);
    return [line("payment.invoice_missing", keys.payment(open.id))];
  },
  "an attempt in another currency": wrongAttempt("payment.invoice_missing", { currency: "KES" }),
  "an amount of nothing": wrongAttempt("payment.amount_invalid", { amountMinor: 0 }),
  "half a cent": wrongAttempt("payment.amount_invalid", { amountMinor: 0.5 }),
  "money received by what was not completed": wrongAttempt("payment.state_wrong", {
    receivedMinor: 5,
  }),
  "a word for a state that is none": wrongAttempt("value.malformed", {
    status: "settled" as "pending",
  }),
  "a payment that is completed, and counts for nothing": async (books, { open, unpaid }) => {
    const fields = { status: "completed", receivedMinor: 5, completedAt: open.createdAt } as const;
    await alter(books, keys.payment(open.id), fields);
    await books.remove(keys.paymentByStatus("pending", open.id));
    await books.put(keys.paymentByStatus("completed", open.id), open.id);
    return [line("invoice.paid_wrong", keys.invoice(unpaid.id))];
  },
  "a completed payment of another amount than was asked for": async (books, { open, unpaid }) => {
    await alter(books, keys.payment(open.id), { status: "reversed", receivedMinor: 4 });
    await books.remove(keys.paymentByStatus("pending", open.id));
    await books.put(keys.paymentByStatus("reversed", open.id), open.id);
    equal(unpaid.paidMinor, 0);
    return [line("payment.state_wrong", keys.payment(open.id))];
  },
  "an invoice on which more is paid than came in": async (books, { unpaid }) => {
    await alter(books, keys.invoice(unpaid.id), { paidMinor: 7, status: "partially_paid" });
    await books.remove(keys.invoiceByStatus("open", unpaid.id));
    await books.put(keys.invoiceByStatus("partially_paid", unpaid.id), unpaid.id);
    return [line("invoice.paid_wrong", keys.invoice(unpaid.id))];
  },
  "an invoice of which more went back than did": async (books, { unpaid }) => {
    await alter(books, keys.invoice(unpaid.id), { refundedMinor: 7, status: "refunded" });
    await books.remove(keys.invoiceByStatus("open", unpaid.id));
    await books.put(keys.invoiceByStatus("refunded", unpaid.id), unpaid.id);
    return [line("invoice.paid_wrong", keys.invoice(unpaid.id))];
  },
  "an open invoice that is not what its money makes it": async (books, { unpaid }) => {
    await alter(books, keys.invoice(unpaid.id), { refundedMinor: 7 });
    return [line("invoice.status_wrong", keys.invoice(unpaid.id))];
  },
  "a payment whose history was altered": async (books, { payment, invoice }) => {
    await alter(books, keys.payment(payment.id), {
      receivedMinor: 4_999_99,
      amountMinor: 4_999_99,
    });
    return [
      line("audit.chain_broken", keys.payment(payment.id)),
      line("invoice.paid_wrong", keys.invoice(invoice.id)),
    ];
  },
  "a payment that is gone": async (books, { open, unpaid }) => {
    await books.remove(keys.payment(open.id));
    return [
      line("index.dangling", keys.paymentByInvoice(unpaid.id, open.id)),
      line("index.dangling", keys.paymentByStatus("pending", open.id)),
      line("index.dangling", keys.paymentByTracking("pesapal", "guid-1")),
      line("index.dangling", keys.paymentDue(TEST_START, open.id)),
    ];
  },
  "a payment that its invoice does not lead to": missing(({ open, unpaid }) =>
    keys.paymentByInvoice(unpaid.id, open.id)
  ),
  "a payment that is not found by its state": missing(({ open }) =>
    keys.paymentByStatus("pending", open.id)
  ),
  "a payment that is not found by the gateway's name": missing(() =>
    keys.paymentByTracking("pesapal", "guid-1")
  ),
  "a payment that would never be asked about": missing(({ open }) =>
    keys.paymentDue(TEST_START, open.id)
  ),
  "a payment in two states": extra(
    ({ open }) => [keys.paymentByStatus("failed", open.id), open.id],
    "index.wrong_value",
  ),
  "a payment due twice": extra(
    ({ open }) => [keys.paymentDue(TEST_START + 1, open.id), open.id],
    "index.wrong_value",
  ),
  "a gateway's name that leads nowhere": extra(
    () => [keys.paymentByTracking("pesapal", "x"), NOBODY],
    "index.dangling",
  ),
  "a gateway's name that two payments have": async (books, { open, payment }) => {
    await alter(books, keys.payment(open.id), { channel: "manual", trackingId: "r-1" });
    await books.remove(keys.paymentByTracking("pesapal", "guid-1"));
    equal(await books.get(keys.paymentByTracking("manual", "r-1")), payment.id);
    return [line("payment.tracking_shared", keys.payment(open.id))];
  },
};

Deno.test("the sweep finds nothing wrong with money that is right", async () => {
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

Deno.test("the sweep finds nothing wrong while money comes in and goes back", async () => {
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

const SWEEP_ID = newId(0);

/** What repairs in the name of one sweep. */
function mending({ services }: Books): NonNullable<SweepOptions["mend"]> {
  return (broken) => repair(services, broken, { sweepId: SWEEP_ID, by });
}

/** What a sweep that mends does, as `outcome check key`. */
async function mended(books: Books): Promise<string[]> {
  return told(await sweep(books.services, { mend: mending(books) }));
}

function told({ findings, repairs }: SweepReport): string[] {
  return [
    ...findings.map(({ check, key, repair }) => `${repair} ${check} ${key}`),
    ...repairs.map(({ check, key }) => `repaired ${check} ${key}`),
  ].sort();
}

/** All durable entries as text, but for the records of repairs. */
async function textOf(books: Books): Promise<string> {
  const entries = (await books.entries()).filter(([[name]]) => name !== "repair");
  return entries.map(([key, bytes]) => keys.keyText(key) + new TextDecoder().decode(bytes)).join();
}

/** Gives an invoice other money and another state behind the program's back, its index too. */
async function spoil({ id }: Invoice, books: Books, fields: Partial<Invoice>): Promise<void> {
  const before = (await books.get(keys.invoice(id)))!;
  await alter(books, keys.invoice(id), fields);
  await books.remove(keys.invoiceByStatus(before.status, id));
  await books.put(keys.invoiceByStatus(fields.status ?? before.status, id), id);
}

/** Completes the open payment by the program, so that its history proves it. */
async function complete({ services }: Books, { open, unpaid }: Money): Promise<void> {
  const reads = { payment: keys.payment(open.id), invoice: keys.invoice(unpaid.id) };
  const eventIds = [newId(TEST_START), newId(TEST_START)] as const;
  await transact(services, reads, ({ payment, invoice }, writes) => {
    putPayment(writes, {
      ...{ before: payment!, invoice: invoice!, eventIds, by, now: TEST_START },
      fields: { status: "completed", receivedMinor: 5, completedAt: open.createdAt },
      ...{ action: "payment.confirm", event: null },
    });
  }, { operation: operationOf(by, "test", null, { now: TEST_START }) });
}

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
  Deno.test(`repair() gives an invoice ${what} what its payments are worth`, async () => {
    await using books = await openBooks();
    const money = await fill(books);
    const { id } = money[pick];
    const before = (await books.get(keys.invoice(id)))!;
    await spoil(before, books, fields);
    const finding = (await found(books)).find((text) => /^invoice\.(paid|status)_wrong/.test(text));

    const report = await sweep(books.services, { mend: mending(books) });

    // That its history did not lead to it is mended with it.
    deepEqual(told(report), [`repaired ${finding}`]);
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
    deepEqual(await mended(books), []);
  });
}

/** What a repair cannot tell, each with what it finds and leaves. */
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
  Deno.test(`repair() leaves ${what} to a person`, async () => {
    await using books = await openBooks();
    const expected = await damage(books, await fill(books));
    const before = await textOf(books);

    const left = await mended(books);

    deepEqual(left, expected.map((finding) => `not_repairable ${finding}`).sort());
    equal(await textOf(books), before);
  });
}

/** The program wrote a revision of the invoice that says nothing of what has come in. */
async function forgetMoney(books: Books, money: Money): Promise<void> {
  const { unpaid } = money;
  await complete(books, money);
  await books.remove(keys.audit("invoice", unpaid.id, 2));
  await spoil(unpaid, books, unpaid);
  await changeNotes(books, unpaid.id);
}

Deno.test("repair() adds to an invoice what the histories of its payments prove", async () => {
  await using books = await openBooks();
  const money = await fill(books);
  const key = keys.invoice(money.unpaid.id);
  await forgetMoney(books, money);

  const done = await mended(books);

  deepEqual(done, [`repaired ${line("invoice.paid_wrong", key)}`]);
  const { status, paidMinor, revision } = (await books.get(key))!;
  deepEqual([status, paidMinor, revision], ["partially_paid", 5, 3]);
  deepEqual(await found(books), []);
});

Deno.test("repair() adds nothing to an invoice of which a payment is gone", async () => {
  await using books = await openBooks();
  const money = await fill(books);
  const key = keys.invoice(money.unpaid.id);
  await forgetMoney(books, money);
  const dangling = keys.paymentByInvoice(money.unpaid.id, NOBODY);
  await books.put(dangling, NOBODY);
  const before = await books.get(key);

  const done = await mended(books);

  deepEqual(done, [
    `not_repairable ${line("invoice.paid_wrong", key)}`,
    `repaired ${line("index.dangling", dangling)}`,
  ]);
  deepEqual(await books.get(key), before);
});

/** Writes a revision of an invoice. */
async function changeNotes({ services }: Books, id: string): Promise<void> {
  const key = keys.invoice(id);
  await transact(services, { invoice: key }, ({ invoice: before }, writes) => {
    const fields = { notes: "Thank you" };
    putChange(writes, {
      ...{ entity: "invoice", action: "test", key, before: before!, fields, by, now: TEST_START },
    });
  }, { operation: operationOf(by, "test", null, { now: TEST_START }) });
}

Deno.test("the sweep finds a payment that its invoice does not lead to once, and mends the way to it first", async () => {
  await using books = await openBooks();
  const { invoice, payment } = await fill(books);
  const key = keys.paymentByInvoice(invoice.id, payment.id);
  const before = await textOf(books);
  await books.remove(key);

  const seen = await found(books);
  const done = await mended(books);

  deepEqual(seen, [line("index.missing", key)]);
  deepEqual(done, [`repaired ${line("index.missing", key)}`]);
  equal(await textOf(books), before);
  deepEqual(await found(books), []);
});

Deno.test("repair() takes no money off an invoice that does not lead to a payment, even where nobody mends that", async () => {
  await using books = await openBooks();
  const { invoice, payment } = await fill(books);
  await books.remove(keys.paymentByInvoice(invoice.id, payment.id));
  const before = await textOf(books);
  const { resumeFrom } = await sweep(books.services, { budgetMs: 0 });
  const atPayments = { ...JSON.parse(resumeFrom!), stage: "invoice_payments", after: null };

  const report = await sweep(books.services, {
    resumeFrom: JSON.stringify(atPayments),
    mend: mending(books),
  });

  deepEqual(told(report), [
    `not_repairable ${line("invoice.paid_wrong", keys.invoice(invoice.id))}`,
  ]);
  equal(await textOf(books), before);
});

const MANY: [count: number, areRefunded: boolean][] = [[4, true], [8, false], [12, false]];

for (const [count, areRefunded] of MANY) {
  const what = `${count} payments${areRefunded ? " that were refunded in part" : ""}`;
  Deno.test(`repair() leaves an invoice with ${what}, more than a transaction reads`, async () => {
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

    const left = await mended(books);

    deepEqual(left, [
      `not_repairable ${line("audit.chain_broken", keys.invoice(id))}`,
      `not_repairable ${line("invoice.paid_wrong", keys.invoice(id))}`,
    ]);
    equal(await textOf(books), before);
  });
}

Deno.test("repair() of what is paid writes nothing where that is right by now", async () => {
  await using books = await openBooks();
  const { invoice } = await fill(books);
  await spoil(invoice, books, { paidMinor: 1 });
  const report = await sweep(books.services, {
    mend: async (broken) => {
      await spoil(invoice, books, invoice);
      return await mending(books)(broken);
    },
  });

  deepEqual(told(report), []);
  deepEqual(await books.get(keys.invoice(invoice.id)), invoice);
});

Deno.test("repair() of what is paid stands back when money comes in between", async () => {
  await using books = await openBooks();
  const { unpaid } = await fill(books);
  await spoil(unpaid, books, { paidMinor: 1, status: "partially_paid" });
  const cash = { amountMinor: 10, method: "cash", reference: "w", notes: "" } as const;
  const report = await sweep(books.services, {
    mend: async (broken) => {
      await recordPayment(books.services, unpaid.id, cash, by);
      return await mending(books)(broken);
    },
  });

  deepEqual(told(report), []);
  equal((await books.get(keys.invoice(unpaid.id)))?.paidMinor, 11);
});

Deno.test("repairs of what is paid at once do it once", async () => {
  await using books = await openBooks();
  const { invoice } = await fill(books);
  await spoil(invoice, books, { paidMinor: 1 });

  const reports = await Promise.all(
    [1, 2, 3].map(() => sweep(books.services, { mend: mending(books) })),
  );

  equal(reports.flatMap(({ repairs }) => repairs).length, 1);
  deepEqual(reports.flatMap(({ findings }) => findings), []);
  equal((await books.get(keys.invoice(invoice.id)))?.revision, invoice.revision + 1);
  deepEqual(await found(books), []);
});

Deno.test("repair() makes an invoice what it was or leaves it as it is, whatever its money was made", async () => {
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

      await mended(books);

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
