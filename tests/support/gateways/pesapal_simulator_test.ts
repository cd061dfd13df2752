/**
 * The simulator is what Pesapal's documents, recorded answers and someone else's
 * client say that Pesapal is.
 */
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { recordOf } from "./pesapal_contract.ts";
import { PESAPAL_ACCOUNT, PesapalSimulator } from "./pesapal_simulator.ts";
import { startRawServer } from "./raw_server.ts";
import { until } from "../program/until.ts";

const NOW = Date.UTC(2026, 5, 15, 9, 0, 0, 123);

const SHOP = "https://shop.example.com";

interface Said {
  status: number;
  // As varied as the answers.
  // deno-lint-ignore no-explicit-any
  body: any;
  headers: Headers;
  text: string;
}

/** A client that knows no more than the documents. */
async function start(times?: { clock: () => number }) {
  const simulator = PesapalSimulator.start({ clock: times?.clock ?? (() => NOW) });
  simulator.behaviour.ipnTimes = 0;
  let token = "";
  async function call(method: string, path: string, body?: unknown): Promise<Said> {
    const response = await fetch(`${simulator.baseUrl}/api/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await response.text();
    const { status, headers } = response;
    const isJson = /json/.test(headers.get("content-type") ?? "");
    return { status, headers, text, body: isJson ? JSON.parse(text) : undefined };
  }
  const { consumerKey, consumerSecret } = PESAPAL_ACCOUNT;
  const signIn = await call("POST", "Auth/RequestToken", {
    consumer_key: consumerKey,
    consumer_secret: consumerSecret,
  });
  token = signIn.body.token;
  return {
    simulator,
    signIn,
    call,
    post: (path: string, body: unknown) => call("POST", path, body),
    forgetToken: () => token = "garbage",
    async register(url = `${SHOP}/ipn`, type = "GET") {
      return await call("POST", "URLSetup/RegisterIPN", { url, ipn_notification_type: type });
    },
    submit: (order: unknown) => call("POST", "Transactions/SubmitOrderRequest", order),
    status: (id: string) => call("GET", `Transactions/GetTransactionStatus?orderTrackingId=${id}`),
    [Symbol.asyncDispose]: () => simulator[Symbol.asyncDispose](),
  };
}

/** An order that is taken, but for the notification. */
function newOrder(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: crypto.randomUUID(),
    currency: "KES",
    amount: 10,
    description: "Payment for an order",
    callback_url: `${SHOP}/callback?a=1`,
    billing_address: { email_address: "john.doe@example.com", country_code: "KE" },
    ...fields,
  };
}

Deno.test("PesapalSimulator signs in as was recorded", async () => {
  await using pesapal = await start();

  const { status, body, headers } = pesapal.signIn;

  equal(status, 200);
  equal(headers.get("date"), "Mon, 15 Jun 2026 09:00:00 GMT");
  deepEqual(Object.keys(body), ["token", "expiryDate", "error", "status", "message"]);
  match(body.token, /^eyJ[\w-]+\.eyJ[\w-]+\.[\w-]+$/);
  ok(body.token.length > 350 && body.token.length < 550, String(body.token.length));
  match(body.expiryDate, /^2026-06-15T09:05:00\.\d{7}Z$/);
  deepEqual([body.error, body.status, body.message], [
    null,
    "200",
    "Request processed successfully",
  ]);
});

Deno.test("PesapalSimulator says with status 200 that keys are wrong, and gives no token", async () => {
  await using pesapal = await start();

  const { status, body } = await pesapal.post("Auth/RequestToken", {
    consumer_key: PESAPAL_ACCOUNT.consumerKey,
    consumer_secret: "wrong",
  });

  equal(status, 200);
  equal(body.token, undefined);
  equal(body.status, "500");
  deepEqual(body.error, {
    error_type: "api_error",
    code: "invalid_consumer_key_or_secret_provided",
    message: "",
    call_back_url: null,
  });
});

Deno.test("PesapalSimulator lets nobody do anything without a token that is good", async () => {
  let now = NOW;
  await using pesapal = await start({ clock: () => now });
  const calls = () =>
    Promise.all([
      pesapal.register(),
      pesapal.call("GET", "URLSetup/GetIpnList"),
      pesapal.submit(newOrder()),
      pesapal.status(crypto.randomUUID()),
      pesapal.post("Transactions/RefundRequest", {}),
      pesapal.post("Transactions/CancelOrder", {}),
    ]);

  now += 300_000;
  const expired = await calls();
  pesapal.forgetToken();
  pesapal.simulator.behaviour.errorStatus = "fitting";
  const unknown = await calls();

  for (const { status, body } of expired) {
    deepEqual([status, body.error.code], [200, "invalid_api_credentials_provided"]);
  }
  deepEqual(unknown.map(({ status }) => status), [401, 401, 401, 401, 401, 401]);
});

Deno.test("PesapalSimulator registers and lists addresses as was recorded", async () => {
  await using pesapal = await start();

  const none = await pesapal.call("GET", "URLSetup/GetIpnList");
  const { body } = await pesapal.register("http://localhost/ipn", "POST");
  const again = await pesapal.register("http://localhost/ipn", "POST");
  const list = await pesapal.call("GET", "URLSetup/GetIpnList");

  deepEqual(none.body, []);
  deepEqual(body, {
    url: "http://localhost/ipn",
    created_date: "2026-06-15T09:00:00.1237772Z",
    ipn_id: body.ipn_id,
    id: 1,
    notification_type: 1,
    ipn_notification_type_description: "POST",
    ipn_status: 1,
    ipn_status_decription: "Active",
    error: null,
    status: "200",
  });
  deepEqual(list.body.map((item: unknown) => Object.keys(recordOf(item))), [
    ["url", "created_date", "ipn_id", "error", "status"],
    ["url", "created_date", "ipn_id", "error", "status"],
  ]);
  ok(again.body.ipn_id !== body.ipn_id);
  equal((await pesapal.register("GET")).body.error.code, "invalid_ipn_url");
  equal((await pesapal.register(SHOP, "PUT")).body.error.code, "invalid_ipn_notification_type");
});

Deno.test("PesapalSimulator takes an order, and tells of it what was recorded", async () => {
  await using pesapal = await start();
  const { ipn_id } = (await pesapal.register()).body;
  const order = newOrder({ notification_id: ipn_id });

  const { body } = await pesapal.submit(order);
  const status = await pesapal.status(body.order_tracking_id.toUpperCase());

  const { order_tracking_id: id } = body;
  deepEqual(body, {
    order_tracking_id: id,
    merchant_reference: order.id,
    redirect_url:
      `${pesapal.simulator.origin}/pesapaliframe/PesapalIframe3/Index?OrderTrackingId=${id}`,
    error: null,
    status: "200",
  });
  equal(status.status, 200);
  match(status.text, /"amount":10\.00,/);
  deepEqual(status.body, {
    payment_method: "",
    amount: 10,
    created_date: "2026-06-15T12:00:00.123",
    confirmation_code: "",
    order_tracking_id: id,
    payment_status_description: "INVALID",
    description: null,
    message: "Request processed successfully",
    payment_account: "",
    call_back_url:
      `${SHOP}/callback?a=1&OrderNotificationType=CALLBACKURL&OrderTrackingId=${id}&OrderMerchantReference=${order.id}`,
    status_code: 0,
    merchant_reference: order.id,
    payment_status_code: "",
    currency: "KES",
    error: {
      error_type: "api_error",
      code: "payment_details_not_found",
      message: "Pending Payment",
      call_back_url: null,
    },
    status: "500",
  });
});

const BAD_ORDERS: Record<string, Record<string, unknown>> = {
  "an id of 51 characters": { id: "x".repeat(51) },
  "an id with a space": { id: "a b" },
  "no id": { id: undefined },
  "an id that is a number": { id: 1 },
  "a currency that is not enabled": { currency: "EUR" },
  "an amount in text": { amount: "10.00" },
  "an amount of nothing": { amount: 0 },
  "a negative amount": { amount: -1 },
  "an amount with three decimals": { amount: 10.005 },
  "a description of 101 characters": { description: "x".repeat(101) },
  "no description": { description: "" },
  "no callback": { callback_url: undefined },
  "a callback that is no URL": { callback_url: "/callback" },
  "no notification": { notification_id: null },
  "a notification that was not registered": { notification_id: crypto.randomUUID() },
  "a strange redirect mode": { redirect_mode: "NEW_WINDOW" },
  "nobody to bill": { billing_address: { first_name: "John" } },
  "a country of three letters": { billing_address: { phone_number: "07", country_code: "KEN" } },
  "a field that is none": { currencyCode: "KES" },
};

for (const [what, fields] of Object.entries(BAD_ORDERS)) {
  Deno.test(`PesapalSimulator refuses an order with ${what}`, async () => {
    await using pesapal = await start();
    const { ipn_id } = (await pesapal.register()).body;

    const good = await pesapal.submit(newOrder({ notification_id: ipn_id }));
    const { status, body } = await pesapal.submit(newOrder({ notification_id: ipn_id, ...fields }));

    equal(good.body.error, null);
    equal(status, 200);
    match(body.error.code, /^invalid_/);
    equal(body.redirect_url, undefined);
    equal(pesapal.simulator.orders.length, 1);
  });
}

Deno.test("PesapalSimulator refuses a second order with the same id, and one above the limit", async () => {
  await using pesapal = await start();
  const { ipn_id } = (await pesapal.register()).body;
  const order = newOrder({ notification_id: ipn_id });
  await pesapal.submit(order);
  pesapal.simulator.behaviour.amountMax = 9;

  const twice = await pesapal.submit(order);
  const dear = await pesapal.submit(newOrder({ notification_id: ipn_id }));

  equal(twice.body.error.code, "duplicate_merchant_reference");
  equal(dear.body.error.code, "amount_exceeds_default_limit");
});

/** A shop that keeps what it is told, and answers it as it should or not. */
function startShop() {
  const told: { method: string; values: Record<string, string> }[] = [];
  const mood = { isPolite: true };
  const server = startRawServer(({ method, url, body }) => {
    const values = method === "GET" ? Object.fromEntries(url.searchParams) : JSON.parse(body);
    told.push({ method, values });
    const answer = {
      orderNotificationType: values.OrderNotificationType,
      orderTrackingId: values.OrderTrackingId,
      orderMerchantReference: values.OrderMerchantReference,
      status: mood.isPolite ? 200 : "200",
    };
    return Promise.resolve({ status: 200, body: JSON.stringify(answer) });
  });
  return {
    told,
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
  Deno.test(`PesapalSimulator notifies by ${type} as often as it is told, and knows a good answer`, async () => {
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
    deepEqual(shop.told, [
      { method: type, values },
      { method: type, values },
      { method: type, values: { ...values, OrderNotificationType: "RECURRING" } },
    ]);
  });
}

Deno.test("PesapalSimulator can notify before it has answered for the order", async () => {
  await using pesapal = await start();
  await using shop = startShop();
  Object.assign(pesapal.simulator.behaviour, { hastyPayer: "complete", ipnTimes: 1 });
  const { ipn_id } = (await pesapal.register(`${shop.url}/ipn`)).body;
  let toldBefore = -1;
  pesapal.simulator.faults.submit.push("hold");

  const answer = pesapal.submit(newOrder({ notification_id: ipn_id }))
    .then((said) => said.body.order_tracking_id);
  await until(() => shop.told.length > 0);
  toldBefore = shop.told.length;
  while (pesapal.simulator.orders[0]?.code !== 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  const releasing = setInterval(() => pesapal.simulator.release(), 5);
  const id = await answer;
  clearInterval(releasing);

  equal(toldBefore, 1);
  equal(shop.told[0]?.values.OrderTrackingId, id);
});

Deno.test("PesapalSimulator knows what was really paid", async () => {
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

  const told = [failed, paid, reversed].map(({ body }) => [
    body.status_code,
    body.payment_status_description,
    body.status,
    body.amount,
    body.currency,
  ]);
  deepEqual(told, [
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

Deno.test("PesapalSimulator takes one refund of what was paid, of mobile money only a whole one", async () => {
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

Deno.test("PesapalSimulator cancels what is not paid, once, and it can no longer be", async () => {
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

Deno.test("PesapalSimulator has a page to pay on, that leads back to the shop", async () => {
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

Deno.test("PesapalSimulator fails, breaks and holds as it is told, and does no more than it says", async () => {
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

Deno.test("PesapalSimulator is Pesapal to someone else's client", async () => {
  await using pesapal = await start();
  const { ipn_id } = (await pesapal.register()).body;
  const order = newOrder({ notification_id: ipn_id });
  const { consumerKey: key, consumerSecret: secret } = PESAPAL_ACCOUNT;
  const { port } = new URL(pesapal.simulator.origin);
  const input = JSON.stringify({ port: Number(port), account: { key, secret }, order });

  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-check",
      "--cached-only",
      "--allow-net=127.0.0.1",
      "--allow-env",
      "--allow-read",
      "--allow-sys",
      new URL("pesapal_client.ts", import.meta.url).href,
      input,
    ],
  }).output();

  ok(success, new TextDecoder().decode(stderr));
  const { list, registered, submitted, status } = JSON.parse(new TextDecoder().decode(stdout));
  equal(list[0].ipn_id, ipn_id);
  equal(registered.error.code, "invalid_ipn_url");
  equal(submitted.merchant_reference, order.id);
  match(submitted.redirect_url, /PesapalIframe3\/Index\?OrderTrackingId=/);
  equal(status.order_tracking_id, submitted.order_tracking_id);
  equal(status.error.code, "payment_details_not_found");
});
