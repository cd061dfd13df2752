/** Pesapal's callbacks: what is read of them, and what they are answered. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import type { IncomingCall } from "../../../lib/gateways/mod.ts";
import { newId } from "../../../lib/ids.ts";
import { TEST_START } from "../../support/program/app.ts";
import { start } from "./_pesapal.ts";

const TRACKING_ID = "b945e4af-80a5-4ec1-8706-e03f8332fb04";
const REFERENCE = newId(TEST_START);

function incoming(fields: Partial<IncomingCall>): IncomingCall {
  return { method: "GET", query: new URLSearchParams(), contentType: "", body: "", ...fields };
}

Deno.test("readCallback() reads a query, JSON and a form, in any letter case", async () => {
  await using world = await start();
  const { pesapal } = world;
  const values = {
    OrderTrackingId: TRACKING_ID,
    OrderMerchantReference: REFERENCE,
    OrderNotificationType: "IPNCHANGE",
  };
  const lower = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]),
  );
  const form = "application/x-www-form-urlencoded";
  const calls = [values, lower].flatMap((fields) => [
    incoming({ query: new URLSearchParams(fields) }),
    incoming({ method: "POST", contentType: "application/json", body: JSON.stringify(fields) }),
    incoming({
      method: "POST",
      contentType: `${form}; charset=utf-8`,
      body: String(new URLSearchParams(fields)),
    }),
  ]);

  for (const call of calls) {
    deepEqual(await pesapal.readCallback(call), {
      reference: REFERENCE,
      trackingId: TRACKING_ID,
      kind: "IPNCHANGE",
      confirmation: null,
    });
  }
});

Deno.test("readCallback() refuses everything that Pesapal would not send", async () => {
  await using world = await start();
  const good = `OrderTrackingId=${TRACKING_ID}&OrderMerchantReference=${REFERENCE}`;
  const type = "&OrderNotificationType=IPNCHANGE";
  const queries = [
    "",
    good,
    `${good}&OrderNotificationType=PAID`,
    `OrderTrackingId=1${type}&OrderMerchantReference=${REFERENCE}`,
    `OrderTrackingId=${TRACKING_ID}%26a=b${type}&OrderMerchantReference=${REFERENCE}`,
    `OrderTrackingId=${TRACKING_ID}&OrderMerchantReference=INV-1${type}`,
    `${good}${type}&ordermerchantreference=${newId(TEST_START)}`,
  ];
  const bodies = ["null", "[]", "1", "{", `{"OrderTrackingId":{"a":1}}`];

  for (const query of queries) {
    const call = incoming({ query: new URLSearchParams(query) });
    equal(await world.pesapal.readCallback(call), null, query);
  }
  for (const body of bodies) {
    const call = incoming({ method: "POST", contentType: "application/json", body });
    equal(await world.pesapal.readCallback(call), null, body);
  }
  ok(await world.pesapal.readCallback(incoming({ query: new URLSearchParams(good + type) })));
});

Deno.test("answerOf() answers with exactly the bytes that Pesapal expects", async () => {
  await using world = await start();
  const { pesapal } = world;
  const query = new URLSearchParams({
    OrderTrackingId: TRACKING_ID,
    OrderMerchantReference: REFERENCE,
    OrderNotificationType: "RECURRING",
  });
  const notification = await pesapal.readCallback(incoming({ query }));

  const stored = pesapal.answerOf(notification, true);
  const lost = pesapal.answerOf(notification, false);
  const strange = pesapal.answerOf(null, false);

  equal(stored.status, 200);
  equal(
    JSON.stringify(stored.body),
    `{"orderNotificationType":"RECURRING","orderTrackingId":"${TRACKING_ID}","orderMerchantReference":"${REFERENCE}","status":200}`,
  );
  deepEqual([lost.status, lost.body.status], [500, 500]);
  deepEqual([strange.status, strange.body.status], [400, 500]);
});
