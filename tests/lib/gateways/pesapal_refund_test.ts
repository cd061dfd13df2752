/** Refunds and cancellations at Pesapal happen once, or their outcome is unknown. */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import type { Money } from "../../../lib/money.ts";
import { begun, failureOf, PRICE, start } from "./_pesapal.ts";

Deno.test("refund() requests a refund once, and the status shows when it is done", async () => {
  await using world = await start();
  const { order, payment } = await begun(world);
  await order.complete({ method: "Visa" });
  const { confirmationCode } = order;
  const half = { currency: "TZS", minor: 75_000 } as const;
  const refund = (amount: Money) =>
    world.pesapal.refund({ confirmationCode, amount, by: "op_1", reason: "Broken" });

  const taken = await refund(half);
  const { outcome, code, message } = await failureOf(refund(half));

  deepEqual(taken, { message: "Refund request successfully" });
  equal(order.refundAsked, 750);
  deepEqual([outcome, code], ["refused", "refund_refused"]);
  match(message, /Refund rejected/);
  equal((await world.pesapal.queryStatus(payment))?.state, "completed");
  await order.reverse();
  equal((await world.pesapal.queryStatus(payment))?.state, "reversed");
});

Deno.test("refund() reports an unknown outcome when the answer is lost, and never repeats the request", async () => {
  await using world = await start();
  const { order } = await begun(world);
  await order.complete();
  const { confirmationCode } = order;
  const request = { confirmationCode, amount: PRICE, by: "op_1", reason: "Broken" };
  for (const fault of ["drop", { status: 200, body: { message: "Hm" } }] as const) {
    world.simulator.faults.refund.push(fault);

    equal((await failureOf(world.pesapal.refund(request))).outcome, "unknown");
  }
  equal(world.simulator.calls.refund, 2);
});

Deno.test("cancel() ends an unpaid order once, and no paid one", async () => {
  await using world = await start();
  const open = await begun(world);
  const paid = await begun(world);
  await paid.order.complete();
  const cancel = (trackingId: string) => world.pesapal.cancel({ trackingId });

  deepEqual(
    [
      await cancel(open.order.trackingId),
      await cancel(open.order.trackingId),
      await cancel(paid.order.trackingId),
    ],
    [true, false, false],
  );
  ok(open.order.isCancelled);
});
