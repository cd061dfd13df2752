/**
 * The simulator is held to what AzamPay documents, to a client that someone else
 * wrote, and its signatures to OpenSSL.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { newId } from "../../../lib/ids.ts";
import type { SignedCallback } from "./azampay_contract.ts";
import { AZAMPAY_ACCOUNT } from "./azampay_push.ts";
import { AzamPaySimulator } from "./azampay_simulator.ts";
import { runClient } from "./client_process.ts";
import { until } from "../program/until.ts";

const { apiKey: _, ...ACCOUNT } = AZAMPAY_ACCOUNT;

const CHECKOUT = {
  accountNumber: "255712345678",
  amount: 15_000,
  currency: "TZS",
  externalId: "order-1",
  provider: "Mpesa",
};

interface Sent {
  status: number;
  // deno-lint-ignore no-explicit-any
  body: any;
}

async function post(url: string, body: unknown, headers = {}): Promise<Sent> {
  return await answerTo(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
}

async function answerTo(url: string, init: RequestInit): Promise<Sent> {
  const response = await fetch(url, init);
  const text = await response.text();
  return { status: response.status, body: text === "" ? null : JSON.parse(text) };
}

async function tokenOf(simulator: AzamPaySimulator): Promise<string> {
  const { body } = await post(`${simulator.authUrl}/AppRegistration/GenerateToken`, ACCOUNT);
  return body.data.accessToken;
}

async function checkout(simulator: AzamPaySimulator, changes = {}, headers = {}): Promise<Sent> {
  const authorization = `Bearer ${await tokenOf(simulator)}`;
  const body = { ...CHECKOUT, ...changes };
  return await post(`${simulator.checkoutUrl}/azampay/mno/checkout`, body, {
    authorization,
    ...headers,
  });
}

/** Listens for callbacks. */
function startShop(simulator: AzamPaySimulator) {
  const received: SignedCallback[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    received.push(await request.json());
    return new Response("thanks", { headers: { connection: "close" } });
  });
  simulator.callbackUrl = `http://127.0.0.1:${server.addr.port}/callback`;
  return { received, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("AzamPaySimulator issues tokens to the account it knows, and to no other", async () => {
  await using simulator = await AzamPaySimulator.start();
  const url = `${simulator.authUrl}/AppRegistration/GenerateToken`;

  const good = await post(url, ACCOUNT);
  const wrong = await post(url, { ...ACCOUNT, clientSecret: "another" });
  const short = await post(url, { appName: ACCOUNT.appName });
  const wrongKey = await post(url, ACCOUNT, { "x-api-key": "another" });
  const elsewhere = await post(`${simulator.authUrl}/App/Login`, ACCOUNT);

  equal(good.status, 200);
  deepEqual(Object.keys(good.body), ["data", "message", "success", "statusCode"]);
  ok(good.body.success);
  ok(Date.parse(good.body.data.expire) > Date.now());
  deepEqual([wrong.status, wrong.body.data, wrong.body.success], [423, null, false]);
  deepEqual([short.status, Object.keys(short.body.errors)], [400, ["clientId", "clientSecret"]]);
  equal(wrongKey.status, 423);
  equal(elsewhere.status, 404);
});

Deno.test("AzamPaySimulator accepts a checkout as documented, and names each invalid field", async () => {
  await using simulator = await AzamPaySimulator.start();
  const bad: Record<string, Record<string, unknown>> = {
    amount: { amount: 5_000_001 },
    "amount ": { amount: "15,000" },
    "amount  ": { amount: 15_000.5 },
    "amount   ": { amount: 0 },
    currency: { currency: "USD" },
    externalId: { externalId: "x".repeat(129) },
    provider: { provider: "AzamPesa" },
    "provider ": { provider: "mpesa" },
    accountNumber: { accountNumber: "254712345678" },
    "accountNumber ": { accountNumber: "1234567", provider: "Mpesa" },
    additionalProperties: { additionalProperties: { note: "x".repeat(4_096) } },
  };

  const number = await checkout(simulator);
  const text = await checkout(simulator, { amount: "5000000", externalId: "order-2", more: 1 });
  const account = await checkout(simulator, { accountNumber: "1234567", provider: "Azampesa" });
  const named: string[] = [];
  for (const changes of Object.values(bad)) {
    const { status, body } = await checkout(simulator, changes);
    named.push(`${status} ${Object.keys(body.errors)}`);
  }
  const nobody = await checkout(simulator, {}, { authorization: "Bearer another" });
  const wrongKey = await checkout(simulator, {}, { "x-api-key": "another" });

  deepEqual(Object.keys(number.body), ["transactionId", "message", "success"]);
  deepEqual([number.status, text.status, account.status], [200, 200, 200]);
  deepEqual(named, Object.keys(bad).map((name) => `400 ${name.trim()}`));
  deepEqual([nobody.status, nobody.body], [401, null]);
  equal(wrongKey.status, 401);
  deepEqual(simulator.pushes.map(({ amount }) => amount), [15_000, 5_000_000, 15_000]);
  equal(simulator.push("order-1").transactionId, account.body.transactionId);
  deepEqual(simulator.paid, []);
});

Deno.test("AzamPaySimulator calls back once per decision of a payer, or as often and as wrongly as a test asks", async () => {
  await using simulator = await AzamPaySimulator.start();
  await using shop = startShop(simulator);
  await checkout(simulator);
  const push = simulator.push("order-1");

  const first = await push.approve();
  await push.approve({ times: 2 });
  await push.approve({ times: 0 });
  await push.decline({ signing: "unsigned", altered: { amount: "1" } });

  deepEqual(first, [{ status: 200, text: "thanks" }]);
  deepEqual(
    shop.received.map(({ transactionstatus, amount }) => [transactionstatus, amount]),
    [["success", "15000"], ["success", "15000"], ["success", "15000"], ["failure", "1"]],
  );
  equal(shop.received[3]?.signature, null);
  deepEqual([push.state, simulator.paid.length], ["approved", 1]);
});

Deno.test("AzamPaySimulator has a telephone on which a browser approves and declines", async () => {
  await using simulator = await AzamPaySimulator.start();
  await using shop = startShop(simulator);
  await checkout(simulator, { externalId: "<b>1" });
  await checkout(simulator, { externalId: "order-2" });
  const press = async (externalId: string, act: string) => {
    const { transactionId } = simulator.push(externalId);
    const url = `${simulator.checkoutUrl}/phone/${transactionId}/${act}`;
    const { status, headers, body } = await fetch(url, { method: "POST", redirect: "manual" });
    await body?.cancel();
    return [status, headers.get("location")];
  };

  const before = await (await fetch(`${simulator.checkoutUrl}/phone`)).text();
  const approved = await press("<b>1", "approve");
  const declined = await press("order-2", "decline");
  await press("order-2", "approve");
  const after = await (await fetch(`${simulator.checkoutUrl}/phone`)).text();

  ok(before.includes("&lt;b>1") && !before.includes("<b>1"));
  equal(before.match(/<form method="post"/g)?.length, 4);
  deepEqual([approved, declined], [[303, "/phone"], [303, "/phone"]]);
  ok(!after.includes("<form"));
  deepEqual(shop.received.map(({ transactionstatus }) => transactionstatus), [
    "success",
    "failure",
  ]);
  deepEqual(simulator.paid.map(({ externalId }) => externalId), ["<b>1"]);
});

/** The client's hosts are fixed; its proxy is not. */
function startProxy(simulator: AzamPaySimulator) {
  const places: Record<string, string> = {
    "authenticator-sandbox.azampay.co.tz": simulator.authUrl,
    "sandbox.azampay.co.tz": simulator.checkoutUrl,
  };
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    const { hostname, pathname, search } = new URL(request.url);
    asked.push(`${request.method} ${hostname}${pathname}`);
    const place = places[hostname];
    if (!place) return new Response(null, { status: 502 });
    const { method, headers } = request;
    const body = method === "GET" ? null : await request.text();
    const answer = await fetch(place + pathname + search, { method, headers, body });
    return new Response(await answer.text(), { status: answer.status, headers: answer.headers });
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  return { url, asked, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("AzamPaySimulator is AzamPay to a client that others wrote for it", async () => {
  await using simulator = await AzamPaySimulator.start();
  await using proxy = startProxy(simulator);
  simulator.behaviour.apiKeyAt.checkout = true;
  const externalId = newId(Date.now());
  const env = { HTTPS_PROXY: proxy.url };
  const payment = { externalId, amount: "2500", accountNumber: "0712345678", provider: "Tigo" };

  const good = await runClient("azampay_client.ts", { account: AZAMPAY_ACCOUNT, ...payment }, {
    env,
  });
  const bad = await runClient("azampay_client.ts", {
    account: { ...AZAMPAY_ACCOUNT, apiKey: "another" },
    ...payment,
    amount: "25.50",
  }, { env });

  ok(good.signedIn.success && good.signedIn.data.accessToken);
  equal(good.checkout.transactionId, simulator.push(externalId).transactionId);
  deepEqual([good.checkout.success, good.partners.partners.length], [true, 5]);
  deepEqual(
    [simulator.pushes.length, simulator.push(externalId).amount],
    [1, 2_500],
  );
  deepEqual([bad.checkout.success, bad.checkout.statusCode], [false, 401]);
  deepEqual(proxy.asked.slice(0, 3), [
    "POST authenticator-sandbox.azampay.co.tz/AppRegistration/GenerateToken",
    "POST sandbox.azampay.co.tz/azampay/mno/checkout",
    "GET sandbox.azampay.co.tz/api/v1/Partner/GetPaymentPartners",
  ]);
});

const HAS_OPENSSL = await new Deno.Command("openssl", { args: ["version"], stdout: "null" })
  .output().then(({ success }) => success, () => false);

/** What OpenSSL says of the signature of a callback. */
async function isVerified(pem: string, text: string, signature: string): Promise<boolean> {
  const folder = await Deno.makeTempDir();
  try {
    const bytes = Uint8Array.from(atob(signature), (char) => char.charCodeAt(0));
    await Promise.all([
      Deno.writeTextFile(`${folder}/key`, pem),
      Deno.writeTextFile(`${folder}/text`, text),
      Deno.writeFile(`${folder}/signature`, bytes),
    ]);
    const { success } = await new Deno.Command("openssl", {
      args: ["dgst", "-sha256", "-verify", "key", "-signature", "signature", "text"],
      cwd: folder,
      stdout: "null",
      stderr: "null",
    }).output();
    return success;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: `AzamPaySimulator signs so that OpenSSL finds it right${
    HAS_OPENSSL ? "" : " (needs: apt-get install -y openssl)"
  }`,
  ignore: !HAS_OPENSSL,
  fn: async () => {
    await using simulator = await AzamPaySimulator.start();
    await checkout(simulator);
    const push = simulator.push("order-1");
    const textOf = (body: SignedCallback) =>
      body.utilityref + body.externalreference + body.transactionstatus + body.operator;

    const good = await push.callback("success");
    const forged = await push.callback("success", { signing: "forged" });
    const short = await push.callback("success", { signing: "two_fields" });
    const url = `${simulator.checkoutUrl}/azampay/v1/public-key?format=Pem`;
    const headers = { authorization: `Bearer ${await tokenOf(simulator)}` };
    const { body } = await answerTo(url, { headers });
    simulator.rotateKey();
    const next = await push.callback("success");

    deepEqual(
      await Promise.all([
        isVerified(body.publicKey, textOf(good), good.signature!),
        isVerified(body.publicKey, textOf({ ...good, operator: "Tigo" }), good.signature!),
        isVerified(body.publicKey, textOf(forged), forged.signature!),
        isVerified(body.publicKey, textOf(short), short.signature!),
        isVerified(body.publicKey, textOf(next), next.signature!),
        isVerified(await simulator.publicKey(), textOf(next), next.signature!),
      ]),
      [true, false, false, false, false, true],
    );
    equal((await answerTo(url, {})).status, 401);
    equal((await answerTo(url.replace("Pem", "Der"), { headers })).status, 400);
  },
});

Deno.test("AzamPaySimulator injects the requested faults, and does only what each of them says", async () => {
  await using simulator = await AzamPaySimulator.start();
  const { faults } = simulator;
  const isBroken = (error: unknown) => ok(error instanceof TypeError);

  faults.checkout.push({ status: 500 }, { refusal: "Not today" }, "break", "drop", "hold");
  const failed = await checkout(simulator);
  const refused = await checkout(simulator);
  await checkout(simulator).then(() => ok(false), isBroken);
  const pushesBefore = simulator.pushes.length;
  await checkout(simulator).then(() => ok(false), isBroken);
  const pushesAfter = simulator.pushes.length;
  const held = checkout(simulator);
  await until(() => simulator.pushes.length > pushesAfter);
  simulator.release();

  deepEqual([failed.status, failed.body], [500, null]);
  deepEqual([refused.status, refused.body.success, refused.body.message], [
    200,
    false,
    "Not today",
  ]);
  deepEqual([pushesBefore, pushesAfter], [0, 1]);
  equal((await held).status, 200);
  equal(simulator.calls.checkout, 5);
});
