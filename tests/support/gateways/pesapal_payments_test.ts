/**
 * The simulator notifies, is paid, refunds and cancels as Pesapal's documents, and a client that
 * someone else wrote, expect.
 */
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { PESAPAL_ACCOUNT } from "./pesapal_behaviour.ts";
import { startRawServer } from "./raw_server.ts";
import { until } from "../program/until.ts";
import { newOrder, start } from "./_plain_pesapal_client.ts";
import { runClient } from "./client_process.ts";

const SHOP = "https://shop.example.com";

/** A shop that keeps the notifications it receives, and answers them correctly or not. */
function startShop() {
  const received: { method: string; values: Record<string, string> }[] = [];
  const mood = { isPolite: true };
  const server = startRawServer(({ method, url, body }) => {
    const values = method === "GET" ? Object.fromEntries(url.searchParams) : JSON.parse(body);
    received.push({ method, values });
    const answer = {
      orderNotificationType: values.OrderNotificationType,
      orderTrackingId: values.OrderTrackingId,
      orderMerchantReference: values.OrderMerchantReference,
      status: mood.isPolite ? 200 : "200",
    };
    return Promise.resolve({ status: 200, body: JSON.stringify(answer) });
  });
  return {
    received,
    mood,
    url: server.url,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** An order that is registered at `url`. */
async function submitted(pesapal: Awaited<ReturnType<typeof start>>, url: string, type = "GET") {
  const { ipn_id } = (await pesapal.register(url, type)).body;
  const { body } = await pesapal.submit(newOrder({ notification_id: ipn_id }));
  return pesapal.simulator.order(body.order_tracking_id);
}

for (const type of ["GET", "POST"]) {
  Deno.test(`PesapalSimulator notifies by ${type} as often as a test asks, and recognises a valid answer`, async () => {
    await using pesapal = await start();
    await using shop = startShop();
    const order = await submitted(pesapal, `${shop.url}/ipn`, type);

    const never = await order.complete();
    const twice = await order.notify({ times: 2 });
    shop.mood.isPolite = false;
    const [impolite] = await order.notify({ times: 1, kind: "RECURRING" });

    const values = {
      OrderNotificationType: "IPNCHANGE",
      OrderTrackingId: order.trackingId,
      OrderMerchantReference: order.request.id,
    };
    deepEqual(never, []);
    deepEqual(twice.map(({ isAcknowledged }) => isAcknowledged), [true, true]);
    equal(impolite?.isAcknowledged, false);
    deepEqual(shop.received, [
      { method: type, values },
      { method: type, values },
      { method: type, values: { ...values, OrderNotificationType: "RECURRING" } },
    ]);
  });
}

Deno.test("PesapalSimulator can notify before it answers the order", async () => {
  await using pesapal = await start();
  await using shop = startShop();
  Object.assign(pesapal.simulator.behaviour, { hastyPayer: "complete", ipnTimes: 1 });
  const { ipn_id } = (await pesapal.register(`${shop.url}/ipn`)).body;
  let receivedBefore = -1;
  pesapal.simulator.faults.submit.push("hold");

  const answer = pesapal.submit(newOrder({ notification_id: ipn_id }))
    .then((said) => said.body.order_tracking_id);
  await until(() => shop.received.length > 0);
  receivedBefore = shop.received.length;
  while (pesapal.simulator.orders[0]?.code !== 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const releasing = setInterval(() => pesapal.simulator.release(), 5);
  const id = await answer;
  clearInterval(releasing);

  equal(receivedBefore, 1);
  equal(shop.received[0]?.values.OrderTrackingId, id);
});

Deno.test("PesapalSimulator records what was really paid", async () => {
  await using pesapal = await start();
  const order = await submitted(pesapal, SHOP);
  const { trackingId } = order;
  const reference = order.request.id;

  await order.fail();
  const failed = await pesapal.status(trackingId);
  await order.complete({ amount: 5, currency: "USD", method: "Visa" });
  const paid = await pesapal.status(trackingId);
  await order.reverse();
  const reversed = await pesapal.status(trackingId);

  const received = [failed, paid, reversed].map(({ body }) => [
    body.status_code,
    body.payment_status_description,
    body.status,
    body.amount,
    body.currency,
  ]);
  deepEqual(received, [
    [2, "Failed", "200", 10, "KES"],
    [1, "Completed", "200", 5, "USD"],
    [3, "Reversed", "200", 5, "USD"],
  ]);
  deepEqual(pesapal.simulator.money, [
    { reference, trackingId, amount: 5, currency: "USD" },
    { reference, trackingId, amount: -5, currency: "USD" },
  ]);
  await rejects(order.reverse());
});

Deno.test("PesapalSimulator accepts one refund per payment, and only a full one of mobile money", async () => {
  await using pesapal = await start();
  const refund = (code: string, amount: unknown, more = {}) =>
    pesapal.post("Transactions/RefundRequest", {
      confirmation_code: code,
      amount,
      username: "Asha",
      remarks: "Broken",
      ...more,
    }).then(({ body }) => body.status);
  const card = await submitted(pesapal, SHOP);
  const mobile = await submitted(pesapal, SHOP);
  const unpaid = await refund(card.confirmationCode, "1.00");
  await card.complete({ method: "Visa" });
  await mobile.complete();

  const statuses = [
    unpaid,
    await refund(card.confirmationCode, "10.01"),
    await refund(card.confirmationCode, "1.00", { remarks: "" }),
    await refund(card.confirmationCode, "1.00"),
    await refund(card.confirmationCode, "1.00"),
    await refund(mobile.confirmationCode, "9.99"),
    await refund(mobile.confirmationCode, 10),
  ];

  deepEqual(statuses, ["500", "500", "500", "200", "500", "500", "200"]);
});

Deno.test("PesapalSimulator cancels an unpaid order once, after which it cannot be paid", async () => {
  await using pesapal = await start();
  const cancel = (id: string) =>
    pesapal.post("Transactions/CancelOrder", { order_tracking_id: id })
      .then(({ body }) => body.status);
  const order = await submitted(pesapal, SHOP);
  const paid = await submitted(pesapal, SHOP);
  await paid.complete();

  const statuses = [
    await cancel(order.trackingId),
    await cancel(order.trackingId),
    await cancel(paid.trackingId),
    await cancel(crypto.randomUUID()),
  ];

  deepEqual(statuses, ["200", "500", "500", "500"]);
  await rejects(order.complete());
});

Deno.test("PesapalSimulator has a payment page that leads back to the shop", async () => {
  await using pesapal = await start();
  const order = await submitted(pesapal, SHOP);
  const press = async (action: string) => {
    const url = order.pageUrl.replace("Index", action);
    const response = await fetch(url, { method: "POST", redirect: "manual" });
    await response.body?.cancel();
    return response.headers.get("location");
  };
  const page = async () => await (await fetch(order.pageUrl)).text();

  const open = await page();
  const afterFail = await press("Fail");
  const failed = await page();
  const afterPay = await press("Pay");
  const paid = await page();
  await press("Pay");

  match(open, /KES 10\.00[^]*<button id="pay">[^]*<button id="fail">[^]*<button id="cancel">/);
  match(failed, /failed\. You can try again\.[^]*<button id="pay">/);
  ok(!paid.includes("<button"));
  deepEqual([afterFail, afterPay], [order.pageUrl, order.returnUrl]);
  equal(await press("Cancel"), order.cancelUrl);
  equal(pesapal.simulator.money.length, 1);
});

Deno.test("PesapalSimulator injects the requested faults, and does only what each of them says", async () => {
  await using pesapal = await start();
  const { ipn_id } = (await pesapal.register()).body;
  const { simulator } = pesapal;
  const submit = () => pesapal.submit(newOrder({ notification_id: ipn_id }));
  const refusal = { code: "no" };
  simulator.faults.submit.push({ status: 503 }, { refusal }, "break", "drop", "html", "hold");
  const counts = () => [simulator.calls.submit, simulator.orders.length];

  equal((await submit()).status, 503);
  equal((await submit()).body.error.code, "no");
  await rejects(submit());
  deepEqual(counts(), [3, 0]);
  await rejects(submit());
  match((await submit()).text, /^<h1>/);
  deepEqual(counts(), [5, 2]);
  const held = submit();
  await until(() => simulator.orders.length >= 3);
  const releasing = setInterval(() => simulator.release(), 5);
  equal((await held).body.error, null);
  clearInterval(releasing);
});

Deno.test("PesapalSimulator works with a client library that someone else wrote", async () => {
  await using pesapal = await start();
  const { ipn_id } = (await pesapal.register()).body;
  const order = newOrder({ notification_id: ipn_id });
  const { consumerKey: key, consumerSecret: secret } = PESAPAL_ACCOUNT;
  const { port } = new URL(pesapal.simulator.origin);
  const input = { port: Number(port), account: { key, secret }, order };

  const { list, registered, submitted, status } = await runClient("pesapal_client.ts", input, {
    permissions: ["--allow-sys"],
  });

  equal(list[0].ipn_id, ipn_id);
  equal(registered.error.code, "invalid_ipn_url");
  equal(submitted.merchant_reference, order.id);
  match(submitted.redirect_url, /PesapalIframe3\/Index\?OrderTrackingId=/);
  equal(status.order_tracking_id, submitted.order_tracking_id);
  equal(status.error.code, "payment_details_not_found");
});
