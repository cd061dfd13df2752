/** The simulator answers as Pesapal's documents and recorded answers say. */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { recordOf } from "./pesapal_contract.ts";
import { PESAPAL_ACCOUNT } from "./pesapal_behaviour.ts";
import { newOrder, NOW, start } from "./_plain_pesapal_client.ts";

const SHOP = "https://shop.example.com";

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

Deno.test("PesapalSimulator reports wrong keys with status 200, and issues no token", async () => {
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

Deno.test("PesapalSimulator refuses every call without a valid token", async () => {
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

Deno.test("PesapalSimulator accepts an order, and reports its status as was recorded", async () => {
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
