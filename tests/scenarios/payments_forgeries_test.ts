/**
 * Forged callbacks, and evidence of one payment presented for another. None marks an invoice as
 * paid, each leaves a trace, and no trace says who the payer is.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { DAY_MS, MINUTE_MS } from "../../lib/time.ts";
import { assertProblem } from "../support/program/answers.ts";
import { startGatewayTill, TOTAL } from "../support/program/till.ts";
import {
  assertNothingGained,
  assertTraced,
  pesapalCall,
  postForm,
  type Scene,
  tracesOf,
} from "./_attacks.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";
const UNKNOWN_GUID = "a5e2f1c0-0000-4000-8000-000000000001";

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

Deno.test("a signature for one reference pays no other one, wherever the signed text is divided", async () => {
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

Deno.test("a paid cheap push with an altered amount pays no expensive invoice", async () => {
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

Deno.test("the tracking id of a cheap order pays no expensive invoice, whichever way it is presented", async () => {
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

Deno.test("an order of another shop on the same account pays no invoice", async () => {
  await using app = await startGatewayTill();
  const invoice = await app.bill();
  app.pesapal.faults.submit.push("break");
  const payment = await app.payAtPesapal(invoice);
  equal(payment.trackingId, null);
  // The same amount, under a reference of none of our payments.
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
