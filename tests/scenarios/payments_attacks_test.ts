/**
 * Replays, races, floods and enumeration. None marks an invoice as paid, each leaves a trace, and
 * no trace says who the payer is.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { invoiceToken } from "../../lib/invoices/links.ts";
import * as keys from "../../lib/kv/keys.ts";
import { DAY_MS } from "../../lib/time.ts";
import { assertProblem } from "../support/program/answers.ts";
import { trueMinor } from "../support/gateways/money_truth.ts";
import { leavesStoreAlone } from "../support/program/shop.ts";
import { checkedBooks, startGatewayTill, TOTAL } from "../support/program/till.ts";
import { assertNothingGained, assertTraced, pesapalCall, postForm, tracesOf } from "./_attacks.ts";

const UNKNOWN_GUID = "a5e2f1c0-0000-4000-8000-000000000001";

const ROBBER = "198.51.100.7";

Deno.test("an order paid in another currency or amount needs review, which no callback can decide", async () => {
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

Deno.test("an old success that is replayed after a reversal pays nothing", async () => {
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

Deno.test("a signed success that is replayed many times counts once", async () => {
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

Deno.test("invoice addresses cannot be enumerated, and attempts are rate limited", async () => {
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
  // The holder of the address sees the invoice, whatever others do.
  equal((await visit(`/i/${token}`, "203.0.113.9")).status, 200);
  const { refusals } = app.services.metrics;
  match(refusals.lines().join("\n"), /invoice_link/);
});

Deno.test("50 callbacks, 5 refunds, a reversal and a check at once leave the amounts of the gateway", async () => {
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

Deno.test("50 simultaneous checkouts by every method make one order and one push", async () => {
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

Deno.test("calls with other methods, sizes and content types are refused, and store nothing", async () => {
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

Deno.test("a thousand callbacks about unknown references store nothing and query no gateway", async () => {
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
  match(app.services.metrics.callbacks.lines().join("\n"), /outcome="unknown"\S* 500/);
});

Deno.test("forged callbacks cause at most two requests for AzamPay's key a minute", async () => {
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
