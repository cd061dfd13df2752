/**
 * How the old shop was robbed, and every other way that we could think of: none
 * marks an invoice as paid, each leaves a trace, and no trace says who the payer is.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { invoiceToken } from "../../lib/invoices/links.ts";
import * as keys from "../../lib/kv/keys.ts";
import type { Invoice } from "../../lib/kv/records.ts";
import type { Payment } from "../../lib/payments/checkout.ts";
import { DAY_MS, MINUTE_MS } from "../../lib/time.ts";
import { assertProblem } from "../support/program/answers.ts";
import { bookedMinor, trueMinor } from "../support/gateways/money_truth.ts";
import { historyOf, leavesStoreAlone } from "../support/program/shop.ts";
import {
  checkedBooks,
  type GatewayTill,
  startGatewayTill,
  TOTAL,
} from "../support/program/till.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const UNKNOWN_GUID = "a5e2f1c0-0000-4000-8000-000000000001";
/** What a log may never say of those who pay. */
const PERSONAL = ["712345678", "asha@example.com", "Asha", "Mushi", "/i/", "476173"];
const ROBBER = "198.51.100.7";

interface Scene {
  app: GatewayTill;
  invoice: Invoice;
  /** Under way, and not paid. */
  payment: Payment;
}

/** What is called in Pesapal's name. */
function pesapalCall(
  { id, trackingId }: { id: string; trackingId: string | null },
  kind = "IPNCHANGE",
): Record<string, string> {
  return {
    OrderNotificationType: kind,
    OrderTrackingId: trackingId ?? "",
    OrderMerchantReference: id,
  };
}

function postForm(app: GatewayTill, path: string, fields: Record<string, string>) {
  return app.request("POST", path, {
    headers: { "content-type": "application/x-www-form-urlencoded", origin: app.url },
    body: String(new URLSearchParams(fields)),
  });
}

/** What nobody but the gateway's ledger decides: that the books have no more money than it. */
async function assertNothingGained({ app, invoice }: Scene): Promise<Payment[]> {
  const { payments } = await checkedBooks(app, invoice.id);
  for (const payment of payments) {
    if (payment.channel === "manual") continue;
    ok(bookedMinor(payment) <= trueMinor(app, payment.id), `${payment.status} ${payment.problem}`);
  }
  return payments;
}

/** The log and the counters tell of it, and of nobody. */
function assertTraced({ app }: Scene): void {
  const log = app.logLines.join("\n");
  for (const personal of PERSONAL) ok(!log.includes(personal), `The log has ${personal}`);
  ok(app.services.metrics.notifications.lines().length > 0, "Nothing was counted");
  ok(log.includes("request.answered"));
}

/** Events of the log about a payment, and the actions in its history. */
async function tracesOf({ app, payment }: Scene): Promise<string[]> {
  const events = app.logLines.map((line) => JSON.parse(line))
    .filter(({ level, paymentId }) => level !== "debug" && paymentId === payment.id)
    .map(({ event }) => event);
  const actions = await historyOf(app, "payment", payment.id);
  return [...events, ...actions.map(({ action, by }) => `${action} by ${by}`)];
}

/** Ways to say that an order at Pesapal is paid, when it is not. */
const PESAPAL_FORGERIES: Record<string, (scene: Scene) => Promise<{ status: number }>> = {
  "a GET": ({ app, payment }) =>
    app.get(`/payments/pesapal/ipn?${new URLSearchParams(pesapalCall(payment))}`),
  "JSON": ({ app, payment }) => app.post("/payments/pesapal/ipn", pesapalCall(payment)),
  "a form": ({ app, payment }) => postForm(app, "/payments/pesapal/ipn", pesapalCall(payment)),
  "JSON that says a status": ({ app, payment }) =>
    app.post("/payments/pesapal/ipn", {
      ...pesapalCall(payment),
      ...{ status_code: 1, payment_status_description: "Completed", amount: TOTAL / 100 },
      ...{ merchant_reference: payment.id, currency: "TZS", confirmation_code: "FORGED" },
    }),
  "the browser's way back": ({ app, payment }) =>
    app.get(
      `/payments/pesapal/callback?${new URLSearchParams({
        ...pesapalCall(payment, "CALLBACKURL"),
        status: "COMPLETED",
      })}`,
    ),
  "a charge that recurs": ({ app, payment }) =>
    app.post("/payments/pesapal/ipn", pesapalCall(payment, "RECURRING")),
  "names given twice": ({ app, payment }) =>
    app.get(
      `/payments/pesapal/ipn?${new URLSearchParams(pesapalCall(payment))}&${new URLSearchParams(
        pesapalCall({ id: UNKNOWN_ID, trackingId: UNKNOWN_GUID }),
      )}`,
    ),
  "a tracking id that is more of an address": ({ app, payment }) =>
    app.post(
      "/payments/pesapal/ipn",
      pesapalCall({ id: payment.id, trackingId: `${payment.trackingId}&x=1#` }),
    ),
};

for (const [what, forge] of Object.entries(PESAPAL_FORGERIES)) {
  Deno.test(`${what} in Pesapal's name pays nothing`, async () => {
    await using app = await startGatewayTill();
    const invoice = await app.bill();
    const scene = { app, invoice, payment: await app.payAtPesapal(invoice) };
    app.advance(MINUTE_MS * 10);

    const { status } = await forge(scene);

    ok([200, 303, 400].includes(status), String(status));
    const [payment] = await assertNothingGained(scene);
    equal(payment?.status, "pending");
    equal((await app.invoice(invoice.id)).status, "open");
    assertTraced(scene);
    // And the true payer is not kept from paying.
    await app.pesapal.order(scene.payment.id).complete();
    equal((await app.invoice(invoice.id)).status, "paid");
  });
}

/** Ways to say that a telephone has paid, when it has not. */
const AZAMPAY_FORGERIES: Record<string, (scene: Scene) => Promise<unknown>> = {
  "unsigned": ({ app, payment }) =>
    app.azampay.push(payment.id).callback("success", { signing: "unsigned" }),
  "signed by a robber's key": ({ app, payment }) =>
    app.azampay.push(payment.id).callback("success", { signing: "forged" }),
  "signed over two fields": ({ app, payment }) =>
    app.azampay.push(payment.id).callback("success", { signing: "two_fields" }),
  "a signed failure made a success": ({ app, payment }) =>
    app.azampay.push(payment.id).callback("failure", { altered: { transactionstatus: "success" } }),
  "a signed failure in capitals": ({ app, payment }) =>
    app.azampay.push(payment.id).callback("failure", { altered: { transactionstatus: "SUCCESS" } }),
  "a signature of much text": async ({ app, payment }) => ({
    ...await app.azampay.push(payment.id).callback("success"),
    signature: "A".repeat(2_000),
  }),
  "an empty signature": async ({ app, payment }) => ({
    ...await app.azampay.push(payment.id).callback("success"),
    signature: "",
  }),
  "a signature that is an object": async ({ app, payment }) => ({
    ...await app.azampay.push(payment.id).callback("success"),
    signature: { toString: "x" },
  }),
  "fields shifted to the left": async ({ app, payment }) => {
    const body = await app.azampay.push(payment.id).callback("failure");
    const { externalreference } = body;
    // "…failure" + "success": the status takes over what belongs to its neighbours.
    return {
      ...body,
      externalreference: `${externalreference}failure`,
      transactionstatus: "success",
    };
  },
};

for (const [what, forge] of Object.entries(AZAMPAY_FORGERIES)) {
  Deno.test(`a callback of AzamPay that is ${what} pays nothing`, async () => {
    await using app = await startGatewayTill();
    const invoice = await app.bill();
    const scene = { app, invoice, payment: await app.payByPhone(invoice) };
    const body = await forge(scene);

    const { status } = await app.post("/payments/azampay/callback", body);

    ok(status === 200 || status === 400, String(status));
    await assertNothingGained(scene);
    equal((await app.invoice(invoice.id)).paidMinor, 0);
    assertTraced(scene);
    if (status === 200) {
      const traces = await tracesOf(scene);
      ok(traces.includes("azampay.callback_unproven"), traces.join());
      ok(traces.includes("payment.confirm by gateway:azampay"), traces.join());
    }
    // And the true payer is not kept from paying.
    await app.azampay.push(scene.payment.id).approve();
    equal((await app.invoice(invoice.id)).status, "paid");
  });
}

Deno.test("a signature for one reference, at every place it can be cut, pays no other one", async () => {
  await using app = await startGatewayTill();
  const [cheap, dear] = [await app.bill(), await app.bill()];
  const paid = await app.payByPhone(cheap, { amountMinor: 100_00 });
  const unpaid = await app.payByPhone(dear);
  const push = app.azampay.push(paid.id);
  await push.approve({ times: 0 });
  const body = await push.callback("success");
  const text = body.utilityref + body.externalreference + body.transactionstatus + body.operator;

  for (let cut = 0; cut <= text.length; cut += 3) {
    const shifted = {
      ...body,
      utilityref: text.slice(0, cut),
      externalreference: text.slice(cut, -body.transactionstatus.length - body.operator.length),
    };
    await app.post("/payments/azampay/callback", shifted);
  }
  await app.post("/payments/azampay/callback", { ...body, utilityref: unpaid.id });
  await app.post("/payments/azampay/callback", { ...body, utilityref: unpaid.id.toUpperCase() });

  await assertNothingGained({ app, invoice: cheap, payment: paid });
  const [payment] = await assertNothingGained({ app, invoice: dear, payment: unpaid });
  deepEqual([payment?.status, (await app.invoice(dear.id)).paidMinor], ["needs_review", 0]);
});

Deno.test("one cheap push that was paid, its amount altered, pays no dear invoice", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const scene = { app, invoice, payment: await app.payByPhone(invoice, { amountMinor: 100_00 }) };
  const push = app.azampay.push(scene.payment.id);
  await push.approve({ times: 0 });

  for (const amount of [String(TOTAL / 100), "1e4", "-100", " 100 ", "100.001", "0x64", "NaN"]) {
    await app.post(
      "/payments/azampay/callback",
      await push.callback("success", { altered: { amount } }),
    );
    await assertNothingGained(scene);
  }
  equal((await app.invoice(invoice.id)).paidMinor, 0);
  await push.approve();
  await push.approve({ altered: { amount: String(TOTAL / 100) } });

  const [payment] = await assertNothingGained(scene);
  deepEqual([payment?.status, payment?.receivedMinor], ["completed", 100_00]);
  deepEqual((await app.invoice(invoice.id)).status, "partially_paid");
  ok((await tracesOf(scene)).includes("payment.not_believed"));
});

Deno.test("a cheap order's tracking id, presented in every way, pays no dear invoice", async () => {
  await using app = await startGatewayTill();
  const [cheap, dear] = [await app.bill(), await app.bill()];
  const paid = await app.payAtPesapal(cheap, { amountMinor: 1_00 });
  const unpaid = await app.payAtPesapal(dear);
  const scene = { app, invoice: dear, payment: unpaid };
  await app.pesapal.order(paid.id).complete();
  app.advance(DAY_MS / 2);
  const swapped = { id: unpaid.id, trackingId: paid.trackingId };

  for (const trackingId of [paid.trackingId!, paid.trackingId!.toUpperCase()]) {
    const call = pesapalCall({ id: unpaid.id, trackingId });
    await app.get(`/payments/pesapal/ipn?${new URLSearchParams(call)}`);
    await app.post("/payments/pesapal/ipn", call);
    await postForm(app, "/payments/pesapal/ipn", call);
    const back = await app.get(`/payments/pesapal/callback?${new URLSearchParams(call)}`);
    assertProblem(back, 404, "not_found");
  }
  // Its own names said beside the other's.
  const both = `${new URLSearchParams(pesapalCall(unpaid))}&${new URLSearchParams(
    pesapalCall(swapped),
  )}`;
  await app.get(`/payments/pesapal/ipn?${both}`);
  await app.send(`/api/v2/payments/${unpaid.id}/check`);

  const [payment] = await assertNothingGained(scene);
  equal(payment?.status, "pending");
  equal((await app.invoice(dear.id)).paidMinor, 0);
  ok((await tracesOf(scene)).includes("payment.strange_call"));
  assertTraced(scene);
});

Deno.test("an order that the account took for somebody else pays none of ours", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  app.pesapal.faults.submit.push("break");
  const payment = await app.payAtPesapal(invoice);
  equal(payment.trackingId, null);
  // Of the same amount, and no payment of ours has its name.
  const foreign = await app.services.gateways.get("pesapal")!.startCheckout({
    reference: UNKNOWN_ID,
    amount: { currency: "TZS", minor: TOTAL },
    description: "Another shop's",
    payer: { name: "Robber", email: "robber@example.com", phone: null },
    returnUrl: `${app.relay.url}/x`,
    notificationUrl: `${app.relay.url}/payments/pesapal/ipn`,
  });
  await app.pesapal.order(UNKNOWN_ID).complete({ ipnTimes: 0 });
  const call = pesapalCall({ id: payment.id, trackingId: foreign.trackingId });

  await app.post("/payments/pesapal/ipn", call);
  await app.get(`/payments/pesapal/callback?${new URLSearchParams(call)}`);

  const scene = { app, invoice, payment };
  const [found] = await assertNothingGained(scene);
  deepEqual([found?.status, found?.trackingId], ["needs_review", null]);
  equal((await app.invoice(invoice.id)).paidMinor, 0);
  ok((await tracesOf(scene)).includes("payment.not_believed"));
});

Deno.test("an order paid in another currency or amount is left to a person, and may not be decided by a call", async () => {
  await using app = await startGatewayTill();
  for (
    const outcome of [
      { currency: "UGX" },
      { currency: "USD" },
      { amount: 1 },
      { amount: TOTAL / 100 - 0.01 },
      { amount: TOTAL },
    ]
  ) {
    const invoice = await app.bill();
    const scene = { app, invoice, payment: await app.payAtPesapal(invoice) };

    await app.pesapal.order(scene.payment.id).complete(outcome);
    for (let i = 0; i < 3; i++) await app.post("/payments/pesapal/ipn", pesapalCall(scene.payment));

    const { payments: [payment], invoice: after } = await checkedBooks(app, invoice.id);
    deepEqual([payment?.status, after.paidMinor], ["needs_review", 0], JSON.stringify(outcome));
    ok((await tracesOf(scene)).includes("payment.not_believed"));
    ok(await app.services.store.get(keys.incident("payments_need_review")));
    assertTraced(scene);
  }
});

Deno.test("an old success, replayed after a reversal, pays nothing again", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const scene = { app, invoice, payment: await app.payAtPesapal(invoice) };
  const order = app.pesapal.order(scene.payment.id);
  await order.complete();
  await order.reverse();
  equal((await app.invoice(invoice.id)).status, "open");

  for (let i = 0; i < 5; i++) {
    app.advance(DAY_MS);
    await app.post("/payments/pesapal/ipn", pesapalCall(scene.payment));
    // Even if Pesapal itself said so: what was taken back stays taken back.
    order.code = i % 2 === 0 ? 1 : 3;
    await app.send(`/api/v2/payments/${scene.payment.id}/check`);
  }

  const [payment] = await assertNothingGained(scene);
  equal(payment?.status, "reversed");
  equal((await app.invoice(invoice.id)).paidMinor, 0);
  assertTraced(scene);
});

Deno.test("a signed success, replayed for ever, counts once", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const scene = { app, invoice, payment: await app.payByPhone(invoice) };
  const push = app.azampay.push(scene.payment.id);
  await push.approve();
  const success = await push.callback("success");
  await app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
    paymentId: scene.payment.id,
    amountMinor: TOTAL,
    reason: "Sent back",
    reference: "bank 1",
  });

  await leavesStoreAlone(app, async () => {
    for (let i = 0; i < 20; i++) await app.post("/payments/azampay/callback", success);
  });

  const { invoice: after } = await checkedBooks(app, invoice.id);
  deepEqual([after.status, after.paidMinor, after.refundedMinor], ["refunded", 0, TOTAL]);
});

Deno.test("addresses of invoices cannot be enumerated, and who tries is stopped", async () => {
  await using app = await startGatewayTill({
    env: { RATE_LIMITS: "", TRUSTED_PROXY_HOPS: "1" },
  });
  const invoice = await app.bill();
  const token = invoiceToken(app.config, invoice.id);
  const bytes = Uint8Array.from(
    atob(token.replaceAll("-", "+").replaceAll("_", "/")),
    (char) => char.charCodeAt(0),
  );
  const visit = (path: string, address: string) =>
    app.request("GET", path, { headers: { "x-forwarded-for": address } });
  const guesses = [
    `/i/${invoice.id}`,
    `/i/${invoice.number}`,
    `/i/${token.slice(0, -1)}`,
    `/i/${token}A`,
    ...Array.from({ length: 32 }, (_, i) => {
      const flipped = bytes.map((byte, at) => at === i ? byte ^ 1 : byte);
      return `/i/${
        btoa(String.fromCharCode(...flipped)).replaceAll("+", "-").replaceAll("/", "_").replace(
          "=",
          "",
        )
      }`;
    }),
  ];

  const statuses: number[] = [];
  for (const guess of guesses) statuses.push((await visit(guess, ROBBER)).status);

  deepEqual([...new Set(statuses)], [404, 429]);
  equal(statuses.filter((status) => status === 404).length, 20);
  // Whoever has the address sees the invoice, whatever others do.
  equal((await visit(`/i/${token}`, "203.0.113.9")).status, 200);
  const { refusals } = app.services.metrics;
  match(refusals.lines().join("\n"), /invoice_link/);
});

Deno.test("50 callbacks, 5 refunds, a reversal and a check at once leave what the gateway has", async () => {
  for (const isReversed of [false, true]) {
    await using app = await startGatewayTill();
    const invoice = await app.bill();
    const scene = { app, invoice, payment: await app.payAtPesapal(invoice) };
    const order = app.pesapal.order(scene.payment.id);
    await order.complete({ ipnTimes: 0, method: "Visa" });
    await app.post("/payments/pesapal/ipn", pesapalCall(scene.payment));
    const refund = () =>
      app.send(`/api/v2/invoices/${invoice.id}/refunds`, {
        paymentId: scene.payment.id,
        amountMinor: TOTAL,
        reason: "Not wanted",
      });

    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, i) => {
        if (i % 10 === 5) return refund();
        if (i === 27 && isReversed) return order.reverse().then(() => ({ status: 200 }));
        if (i === 33) return app.send(`/api/v2/payments/${scene.payment.id}/check`);
        return app.post("/payments/pesapal/ipn", pesapalCall(scene.payment));
      }),
    );

    ok(answers.every(({ status }) => status < 500), answers.map(({ status }) => status).join());
    ok(app.pesapal.calls.refund <= 1);
    if (order.code === 1 && order.refundAsked !== null) await order.reverse();
    app.advance(2 * DAY_MS);
    await app.send(`/api/v2/payments/${scene.payment.id}/check`);
    await assertNothingGained(scene);
    const { invoice: after } = await checkedBooks(app, invoice.id);
    equal(after.paidMinor, 0);
    equal(trueMinor(app, scene.payment.id), 0);
  }
});

Deno.test("50 clicks on all ways to pay make one order and one push", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const path = `/i/${invoiceToken(app.config, invoice.id)}/pay`;
  const phone = { phone: "0712 345 678", provider: "Mpesa" };

  const answers = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      postForm(app, path, {
        attempt: `robber-attempt-${i % 7}`,
        ...(i % 2 === 0 ? { gateway: "pesapal" } : { gateway: "azampay", ...phone }),
      })),
  );

  ok(answers.every(({ status }) => status === 303), answers.map(({ status }) => status).join());
  deepEqual([app.pesapal.orders.length, app.azampay.pushes.length], [1, 1]);
});

Deno.test("calls of other methods, sizes and forms are refused, and grow nothing", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  const payment = await app.payAtPesapal(invoice);
  const query = new URLSearchParams(pesapalCall(payment));

  await leavesStoreAlone(app, async () => {
    for (
      const path of [
        "/payments/pesapal/ipn",
        "/payments/pesapal/callback",
        "/payments/azampay/callback",
      ]
    ) {
      for (const method of ["PUT", "PATCH", "DELETE"]) {
        const answer = await app.request(method, `${path}?${query}`);
        assertProblem(answer, 405, "method_not_allowed");
      }
    }
    assertProblem(
      await app.post(`/payments/pesapal/callback?${query}`, {}),
      405,
      "method_not_allowed",
    );
    for (const path of ["/payments/pesapal/ipn", "/payments/azampay/callback"]) {
      const large = JSON.stringify({ ...pesapalCall(payment), padding: "x".repeat(1_000_000) });
      assertProblem(await app.post(path, large), 413, "payload_too_large");
      const deep = "[".repeat(30_000) + "]".repeat(30_000);
      equal((await app.post(path, deep)).status, 400);
    }
    equal((await app.get(`/payments/pesapal/ipn?${"a=b&".repeat(1_500)}`)).status, 400);
  });
  equal(app.pesapal.calls.status, 0);
});

Deno.test("a thousand calls about references that we do not know grow nothing and ask nobody", async () => {
  await using app = await startGatewayTill();
  const byHand = await app.payByHand(await app.bill(), 5);
  const payment = await app.payByPhone(await app.bill());
  const { body: sample } = { body: await app.azampay.push(payment.id).callback("success") };
  const calls = { ...app.pesapal.calls };

  await leavesStoreAlone(app, async () => {
    for (let batch = 0; batch < 20; batch++) {
      await Promise.all(
        Array.from({ length: 50 }, (_, i) => {
          const n = (batch * 50 + i).toString(16).padStart(12, "0");
          const id = i % 10 === 0 ? byHand.id : `01938d6e-3c00-7000-8000-${n}`;
          return i % 2 === 0
            ? app.post("/payments/pesapal/ipn", pesapalCall({ id, trackingId: UNKNOWN_GUID }))
            : app.post("/payments/azampay/callback", {
              ...sample,
              utilityref: id,
              signature: null,
            });
        }),
      );
    }
  });

  deepEqual(app.pesapal.calls, calls);
  match(app.services.metrics.notifications.lines().join("\n"), /outcome="unknown"\S* 500/);
});

Deno.test("forged callbacks make us fetch AzamPay's key no more than twice a minute", async () => {
  await using app = await startGatewayTill();
  const payment = await app.payByPhone(await app.bill());
  const body = await app.azampay.push(payment.id).callback("success", { signing: "forged" });

  for (let i = 0; i < 60; i++) {
    app.advance(1_000);
    await app.post("/payments/azampay/callback", body);
  }

  ok(app.azampay.calls.public_key <= 3, String(app.azampay.calls.public_key));
  await app.azampay.push(payment.id).approve();
  equal((await app.payment(payment.id)).status, "completed");
});
