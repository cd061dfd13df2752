/** A store with payments, ways to damage them, and what sweeps and repairs report. */
import { strictEqual as equal } from "node:assert/strict";
import { putChange } from "../../../lib/entities/mod.ts";
import { newId } from "../../../lib/ids.ts";
import { sweep, type SweepOptions, type SweepReport } from "../../../lib/integrity/mod.ts";
import { createInvoice } from "../../../lib/invoices/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { Payment } from "../../../lib/kv/payment_records.ts";
import type { Invoice } from "../../../lib/kv/records.ts";
import { acceptLead } from "../../../lib/leads/mod.ts";
import { newPayment, putNewPayment, putPayment } from "../../../lib/payments/records.ts";
import { recordPayment } from "../../../lib/payments/operators.ts";
import { refundPayment } from "../../../lib/payments/refunds.ts";
import { repair } from "../../../lib/integrity/repair.ts";
import { transact } from "../../../lib/kv/mod.ts";
import { operationOf } from "../../../lib/entities/caller.ts";
import { TEST_START, TESTER } from "../../support/program/app.ts";
import { type Books, invoiceOf, leadOf } from "../../support/program/books.ts";

const by = TESTER;
export const NOBODY = newId(TEST_START);

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

export async function fill({ services }: Books): Promise<Money> {
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

export async function found({ services }: Books): Promise<string[]> {
  const { findings, isComplete } = await sweep(services);
  equal(isComplete, true);
  return findings.map(({ check, key }) => `${check} ${key}`).sort();
}

export function line(check: string, key: keys.Key<unknown>): string {
  return `${check} ${keys.keyText(key)}`;
}

export type Damage = (books: Books, money: Money) => Promise<string[]>;

export async function alter<T extends object>(books: Books, key: keys.Key<T>, fields: Partial<T>) {
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

export const DAMAGE: Record<string, Damage> = {
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

const SWEEP_ID = newId(0);

/** What repairs in the name of one sweep. */
export function repairOf({ services }: Books): NonNullable<SweepOptions["repair"]> {
  return (defect) => repair(services, defect, { sweepId: SWEEP_ID, by });
}

/** What a repairing sweep does, as `outcome check key`. */
export async function sweepAndRepair(books: Books): Promise<string[]> {
  return reportLines(await sweep(books.services, { repair: repairOf(books) }));
}

export function reportLines({ findings, repairs }: SweepReport): string[] {
  return [
    ...findings.map(({ check, key, repair }) => `${repair} ${check} ${key}`),
    ...repairs.map(({ check, key }) => `repaired ${check} ${key}`),
  ].sort();
}

/** All durable entries as text, but for the records of repairs. */
export async function textOf(books: Books): Promise<string> {
  const entries = (await books.entries()).filter(([[name]]) => name !== "repair");
  return entries.map(([key, bytes]) => keys.keyText(key) + new TextDecoder().decode(bytes)).join();
}

/** Gives an invoice other money and another state behind the program's back, its index too. */
export async function spoil(
  { id }: Invoice,
  books: Books,
  fields: Partial<Invoice>,
): Promise<void> {
  const before = (await books.get(keys.invoice(id)))!;
  await alter(books, keys.invoice(id), fields);
  await books.remove(keys.invoiceByStatus(before.status, id));
  await books.put(keys.invoiceByStatus(fields.status ?? before.status, id), id);
}

/** Completes the open payment by the program, so that its history proves it. */
export async function complete({ services }: Books, { open, unpaid }: Money): Promise<void> {
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

/** The program wrote a revision of the invoice that says nothing of what has come in. */
export async function forgetMoney(books: Books, money: Money): Promise<void> {
  const { unpaid } = money;
  await complete(books, money);
  await books.remove(keys.audit("invoice", unpaid.id, 2));
  await spoil(unpaid, books, unpaid);
  await changeNotes(books, unpaid.id);
}

/** Writes a revision of an invoice. */
export async function changeNotes({ services }: Books, id: string): Promise<void> {
  const key = keys.invoice(id);
  await transact(services, { invoice: key }, ({ invoice: before }, writes) => {
    const fields = { notes: "Thank you" };
    putChange(writes, {
      ...{ entity: "invoice", action: "test", key, before: before!, fields, by, now: TEST_START },
    });
  }, { operation: operationOf(by, "test", null, { now: TEST_START }) });
}
