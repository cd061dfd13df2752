import fc from "fast-check";
import {
  deepStrictEqual as deepEqual,
  notStrictEqual as notEqual,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import { createPublicKey } from "node:crypto";
import { publicKeyOf } from "../../../lib/gateways/_azampay_key.ts";
import { newId } from "../../../lib/ids.ts";
import { HOUR_MS, MINUTE_MS } from "../../../lib/time.ts";
import { type SignedCallback, signingKey } from "../../support/gateways/azampay_contract.ts";
import type { CallbackOptions, IdField, Signing } from "../../support/gateways/azampay_push.ts";
import { callOf, startAzamPayShop } from "../../support/gateways/azampay_shop.ts";

Deno.test("AzamPay.readCallback() confirms a callback that AzamPay signed", async () => {
  await using shop = await startAzamPayShop();
  const push = await shop.checkout();
  const paid = await push.callback("success");

  const read = await shop.read(paid);

  deepEqual(read, {
    reference: push.externalId,
    trackingId: paid.externalreference,
    kind: "completed",
    confirmation: {
      state: "completed",
      reference: push.externalId,
      trackingIds: [paid.externalreference, push.transactionId, paid.transid],
      amount: { currency: "TZS", minor: 1_500_000 },
      confirmationCode: paid.mnoreference,
      method: "Mpesa",
      reason: null,
    },
  });
});

Deno.test("AzamPay.readCallback() reads the lower-case field names of AzamPay", async () => {
  await using shop = await startAzamPayShop();
  const push = await shop.checkout();
  const { signature } = await push.callback("success", {
    body: { operator: "Airtel", externalreference: "0d4e7cbb2a6f4f1b8f6d" },
  });
  const text = `{"message":"Transaction completed","user":"u","password":"p","clientId":"c",` +
    `"transactionstatus":"success","operator":"Airtel","reference":"AZM1","externalreference":` +
    `"0d4e7cbb2a6f4f1b8f6d","utilityref":"${push.externalId}","amount":"15000","transid":"77",` +
    `"msisdn":"255712345678","mnoreference":"MP1","submerchantAcc":null,` +
    `"additionalProperties":null,"fspReferenceId":"F1","signature":"${signature}"}`;

  const read = await shop.gateway.readCallback(callOf(text));
  const otherNames = await shop.gateway.readCallback(
    callOf(
      text.replace("utilityref", "utilityRef").replace("transactionstatus", "transactionStatus"),
    ),
  );

  equal(read?.confirmation?.state, "completed");
  equal(otherNames, null);
});

Deno.test("AzamPay.readCallback() reads every failure status as a failure, and an unknown status as no outcome", async () => {
  await using shop = await startAzamPayShop();
  const push = await shop.checkout();
  const states: Record<string, string> = {
    success: "completed",
    Success: "completed",
    failure: "failed",
    failed: "failed",
    fail: "failed",
    FAILED: "failed",
    pending: "unknown",
    successful: "unknown",
    "success ": "unknown",
  };

  const read: Record<string, string | undefined> = {};
  for (const word of Object.keys(states)) {
    const found = await shop.read(await push.callback(word));
    equal(found?.kind, found?.confirmation?.state);
    read[word] = found?.confirmation?.state;
  }
  const failed = await shop.read(await push.callback("failure"));

  deepEqual(read, states);
  deepEqual([failed?.confirmation?.reason, failed?.confirmation?.confirmationCode], [
    "Transaction failed",
    null,
  ]);
});

Deno.test("AzamPay.readCallback() returns the transaction id among its references, whichever field has it", async () => {
  await using shop = await startAzamPayShop();
  const push = await shop.checkout();
  const everything: IdField[] = ["reference", "transid", "externalreference"];
  const found = [];

  for (const idFields of [...everything.map((field) => [field]), everything, []]) {
    shop.simulator.behaviour.idFields = idFields;
    const { confirmation } = (await shop.read(await push.callback("success")))!;
    const ids = confirmation!.trackingIds;
    found.push([ids.includes(push.transactionId), ids.length]);
  }

  deepEqual(found, [[true, 3], [true, 3], [true, 3], [true, 1], [false, 3]]);
});

Deno.test("AzamPay.readCallback() confirms no callback that differs from what AzamPay signed", async () => {
  await using shop = await startAzamPayShop();
  const push = await shop.checkout();
  const other = await shop.checkout();
  const altered = (changes: Partial<SignedCallback>): CallbackOptions => ({ altered: changes });
  const failed = await push.callback("failure");
  const attempts: [string, CallbackOptions][] = [
    ["success", { signing: "unsigned" }],
    ["failure", { signing: "unsigned" }],
    ["success", altered({ signature: "" })],
    ["success", { signing: "forged" }],
    ["success", { signing: "two_fields" }],
    ["success", altered({ utilityref: other.externalId })],
    ["success", altered({ externalreference: "another" })],
    ["success", altered({ operator: "Airtel" })],
    ["success", altered({ operator: "mpesa" })],
    // The signature of a failure under a success.
    ["success", altered({ signature: failed.signature })],
    ["success", altered({ signature: btoa("x".repeat(256)) })],
    ["success", altered({ signature: "no signature" })],
    ["success", altered({ signature: "AAAA" })],
  ];

  const read = [];
  for (const [status, options] of attempts) {
    read.push(await shop.read(await push.callback(status, options)));
  }
  const again = await shop.read({ ...failed, transactionstatus: "success" });

  deepEqual(read.map((found) => found?.confirmation), attempts.map(() => null));
  deepEqual(read.map((found) => found?.kind), [
    "completed",
    "failed",
    ...attempts.slice(2).map(() => "completed"),
  ]);
  equal(again?.confirmation, null);
  equal(read[0]?.reference, push.externalId);
});

Deno.test("AzamPay.readCallback() returns the amount in the callback, which is not signed", async () => {
  await using shop = await startAzamPayShop();
  const push = await shop.checkout();
  const amounts: [unknown, number | null][] = [
    ["15000", 1_500_000],
    ["15000.00", 1_500_000],
    [15_000, 1_500_000],
    ["1", 100],
    ["15000.5", 1_500_050],
    ["0", 0],
    ["15,000", null],
    ["-15000", null],
    ["1e4", null],
    ["", null],
    [null, null],
    [1e300, null],
    ["15000.001", null],
  ];

  const read = [];
  const paid = await push.callback("success");
  for (const [amount] of amounts) {
    const { confirmation } = (await shop.read({ ...paid, amount, msisdn: "255700000000" }))!;
    equal(confirmation?.state, "completed");
    read.push(confirmation?.amount?.minor ?? null);
  }

  deepEqual(read, amounts.map(([, minor]) => minor));
});

Deno.test("AzamPay.readCallback() returns the same for a repeated callback", async () => {
  await using shop = await startAzamPayShop();
  const push = await shop.checkout();
  const body = await push.callback("success");

  const first = await shop.read(body);
  shop.advance(48 * HOUR_MS);
  const read = await Promise.all(Array.from({ length: 50 }, () => shop.read(body)));

  equal(new Set([first, ...read].map((found) => JSON.stringify(found))).size, 1);
  equal(first?.confirmation?.state, "completed");
  // A day later the key was fetched once more, for all of them.
  equal(shop.simulator.calls.public_key, 2);
});

Deno.test("AzamPay.readCallback() confirms no other payment or status when characters move between the signed fields", async () => {
  await using shop = await startAzamPayShop();
  const push = await shop.checkout();
  const callbacks = [await push.callback("success"), await push.callback("failure")];
  const textOf = (body: SignedCallback) =>
    body.utilityref + body.externalreference + body.transactionstatus + body.operator;
  const cuts = fc.array(fc.nat({ max: 90 }), { minLength: 3, maxLength: 3 });

  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...callbacks), cuts, async (body, places) => {
      const text = textOf(body);
      const [a, b, c] = places.map((place) => Math.min(place, text.length)).sort((x, y) => x - y);
      const moved = {
        ...body,
        utilityref: text.slice(0, a),
        externalreference: text.slice(a, b),
        transactionstatus: text.slice(b, c),
        operator: text.slice(c),
      };
      equal(textOf(moved), text);

      const read = await shop.read(moved);

      if (read === null) return;
      equal(read.reference, push.externalId);
      // What still is an end is the end that was signed.
      const { state } = read.confirmation!;
      if (state !== "unknown") equal(state, (await shop.read(body))?.kind);
    }),
    { numRuns: 300 },
  );
  const { utilityref, externalreference } = callbacks[0]!;
  const shifted = {
    ...callbacks[0],
    utilityref: utilityref + externalreference[0],
    externalreference: externalreference.slice(1),
  };
  equal(await shop.read(shifted), null);
});

Deno.test("AzamPay.readCallback() detects a rotated key with one request", async () => {
  await using shop = await startAzamPayShop();
  const { simulator } = shop;
  const push = await shop.checkout();
  const stateOf = async (signing: Signing) =>
    (await shop.read(await push.callback("success", { signing })))?.confirmation?.state;
  equal(await stateOf("signed"), "completed");

  simulator.rotateKey();
  // Until it shows, the key of yesterday is as good as ever.
  const before = await stateOf("old_key");
  shop.advance(MINUTE_MS);
  const found = await Promise.all(Array.from({ length: 20 }, () => stateOf("signed")));
  const calls = simulator.calls.public_key;
  const after = await stateOf("old_key");

  equal(before, "completed");
  deepEqual([...new Set(found)], ["completed"]);
  equal(calls, 2);
  equal(after, undefined);
});

Deno.test("AzamPay.readCallback() requests the key at most twice a minute, whatever is forged", async () => {
  await using shop = await startAzamPayShop();
  const { simulator } = shop;
  const push = await shop.checkout();
  const genuine = await push.callback("success");
  const forged = await push.callback("success", { signing: "forged" });
  await shop.read(genuine);
  shop.advance(MINUTE_MS);

  const read = [];
  for (let i = 0; i < 40; i++) read.push((await shop.read(forged))?.confirmation);
  const between = await shop.read(genuine);
  const calls = simulator.calls.public_key;
  shop.advance(MINUTE_MS / 2);
  await Promise.all(Array.from({ length: 40 }, () => shop.read(forged)));

  deepEqual([...new Set(read)], [null]);
  equal(between?.confirmation?.state, "completed");
  deepEqual([calls, simulator.calls.public_key], [2, 3]);
});

Deno.test("AzamPay.readCallback() leaves a callback for review while the key is unavailable, and recovers", async () => {
  await using shop = await startAzamPayShop({ policy: { failuresMax: 100 } });
  const { simulator, logLines } = shop;
  const push = await shop.checkout();
  const body = await push.callback("success");
  const failures = [
    { status: 500 },
    { status: 403, body: {} },
    { status: 200, body: { success: true, publicKey: "no key" } },
    { status: 200, body: { success: true, publicKey: EC_KEY } },
    "break" as const,
  ];

  const read = [];
  for (const failure of failures) {
    // As often as a call that may be repeated is made.
    simulator.faults.public_key = [failure, failure, failure];
    read.push(await shop.read(body));
    simulator.faults.public_key = [];
    shop.advance(MINUTE_MS / 2);
  }
  const healed = await shop.read(body);

  deepEqual(read.map((found) => [found?.reference, found?.confirmation]), [
    ...failures.map(() => [push.externalId, null]),
  ]);
  equal(healed?.confirmation?.state, "completed");
  ok(logLines.some((line) => line.includes('"verdict":"unverified"')));
});

/** Of another kind than AzamPay's. */
const EC_KEY = `-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9
q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==
-----END PUBLIC KEY-----`;

Deno.test("publicKeyOf() reads only RSA keys, with real or escaped line breaks", async () => {
  const { pem, xml } = await signingKey("0");

  const kinds = [pem, pem.replaceAll("\n", "\\n"), `${pem}\n`].map((text) =>
    publicKeyOf(text)?.asymmetricKeyType
  );

  deepEqual(kinds, ["rsa", "rsa", "rsa"]);
  equal(createPublicKey(EC_KEY).asymmetricKeyType, "ec");
  deepEqual([EC_KEY, xml, "", pem.slice(0, 200)].map(publicKeyOf), [null, null, null, null]);
});

Deno.test("AzamPay.readCallback() finds the key at both documented addresses", async () => {
  await using shop = await startAzamPayShop();
  shop.simulator.behaviour.keyAt = "auth";
  const push = await shop.checkout();

  const read = await shop.read(await push.callback("success"));

  equal(read?.confirmation?.state, "completed");
  // Once where it is not, and once where it is.
  equal(shop.simulator.calls.public_key, 2);
});

Deno.test("AzamPay.readCallback() refuses other methods and malformed bodies", async () => {
  await using shop = await startAzamPayShop();
  const { gateway, simulator } = shop;
  const push = await shop.checkout();
  const body = await push.callback("success");
  const text = JSON.stringify(body);
  const wrong = [
    callOf(text, { method: "GET" }),
    callOf(text, { method: "PUT" }),
    callOf(""),
    callOf("utilityref=1&transactionstatus=success"),
    callOf(`[${text}]`),
    callOf(text.slice(0, -1)),
    callOf("null"),
  ];
  const wrongFields: unknown[] = [
    { ...body, utilityref: "order-1" },
    { ...body, utilityref: push.externalId.toUpperCase() },
    { ...body, utilityref: ` ${push.externalId}` },
    { ...body, utilityref: crypto.randomUUID() },
    { ...body, utilityref: null },
    { ...body, utilityref: [push.externalId] },
    { ...body, transactionstatus: "" },
    { ...body, transactionstatus: true },
    { ...body, operator: "x".repeat(65) },
    { ...body, signature: "x".repeat(2_049) },
    { ...body, amount: { minor: 1 } },
  ];

  const read = [];
  for (const call of wrong) read.push(await gateway.readCallback(call));
  for (const fields of wrongFields) read.push(await shop.read(fields));

  deepEqual(read, [...wrong, ...wrongFields].map(() => null));
  equal(simulator.calls.public_key, 0);
});

Deno.test("AzamPay.readCallback() neither throws nor confirms on arbitrary input", async () => {
  await using shop = await startAzamPayShop();
  const reference = newId(Date.now());
  const field = fc.oneof(fc.string(), fc.jsonValue(), fc.constant("success"));
  const callbacks = fc.record({
    utilityref: fc.oneof(fc.constant(reference), field),
    externalreference: field,
    transactionstatus: fc.oneof(fc.constantFrom("success", "failure"), field),
    operator: field,
    reference: field,
    amount: field,
    message: field,
    signature: fc.oneof(fc.base64String({ minLength: 172, maxLength: 344 }), field),
  }, { requiredKeys: [] });
  const bodies = fc.oneof(
    callbacks.map((callback) => JSON.stringify(callback)),
    fc.json(),
    fc.string(),
  );

  await fc.assert(
    fc.asyncProperty(bodies, async (body) => {
      const read = await shop.gateway.readCallback(callOf(body));
      if (read !== null) deepEqual([read.reference, read.confirmation], [reference, null]);
    }),
    { numRuns: 500 },
  );

  ok(shop.simulator.calls.public_key <= 1);
});

Deno.test("AzamPay.answerOf() answers whether AzamPay should send the callback again", async () => {
  await using shop = await startAzamPayShop();
  const push = await shop.checkout();
  const read = await shop.read(await push.callback("success"));
  const { gateway } = shop;

  const statuses = [
    gateway.answerOf(read, true),
    gateway.answerOf(read, false),
    gateway.answerOf(null, true),
    gateway.answerOf(null, false),
  ].map(({ status, body }) => [status, body.success]);

  deepEqual(statuses, [[200, true], [500, false], [400, false], [400, false]]);
});

Deno.test("AzamPay.readCallback() distinguishes two payments of one telephone and amount, in any order", async () => {
  await using shop = await startAzamPayShop();
  const [one, other] = [await shop.checkout(), await shop.checkout()];

  const bodies = await Promise.all([
    other.callback("failure"),
    one.callback("success"),
    other.callback("success"),
    one.callback("failure"),
  ]);
  const read = await Promise.all(bodies.map((body) => shop.read(body)));

  notEqual(one.externalId, other.externalId);
  deepEqual(read.map((found) => [found?.reference, found?.confirmation?.state]), [
    [other.externalId, "failed"],
    [one.externalId, "completed"],
    [other.externalId, "completed"],
    [one.externalId, "failed"],
  ]);
});
