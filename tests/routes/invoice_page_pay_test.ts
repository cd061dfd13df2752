/**
 * Payment on the public invoice page, as by a browser without scripts: the page's own
 * forms, sent to strict simulated gateways.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { invoiceToken } from "../../lib/invoices/links.ts";
import { payments } from "../../lib/kv/keys.ts";
import { MINUTE_MS } from "../../lib/time.ts";
import { assertProblem } from "../support/program/answers.ts";
import type { TestAnswer } from "../support/program/app.ts";
import { azampayVariables } from "../support/gateways/azampay_shop.ts";
import { AzamPaySimulator } from "../support/gateways/azampay_simulator.ts";
import { IMPATIENT } from "../support/gateways/gateway_services.ts";
import { PesapalSimulator } from "../support/gateways/pesapal_simulator.ts";
import {
  asAdmin,
  leavesStoreAlone,
  newClient,
  startShop,
  type TestShop,
} from "../support/program/shop.ts";

const WORK = { description: "Work", quantity: 1, unitMinor: 15_000_00 };
const PHONE = { phone: "0712 345 678", provider: "Mpesa" };
const NEW_NUMBER = "0754 111 222";

/** A shop with both gateways. */
interface PayingShop extends AsyncDisposable {
  app: TestShop;
  pesapal: PesapalSimulator;
  azampay: AzamPaySimulator;
}

async function startPayingShop(env: Record<string, string> = {}): Promise<PayingShop> {
  const [pesapal, azampay] = await Promise.all([
    PesapalSimulator.start(),
    AzamPaySimulator.start(),
  ]);
  const app = await startShop({
    env: { ...pesapal.environment, ...azampayVariables(azampay), ...env },
    gatewayPolicy: IMPATIENT,
  });
  azampay.callbackUrl = `${app.url}/payments/azampay/callback`;
  return {
    app,
    pesapal,
    azampay,
    async [Symbol.asyncDispose]() {
      await app[Symbol.asyncDispose]();
      await Promise.all([pesapal[Symbol.asyncDispose](), azampay[Symbol.asyncDispose]()]);
    },
  };
}

/** An invoice, and the path of its page. */
async function newInvoice(
  app: TestShop,
  fields: object = {},
): Promise<{ id: string; path: string }> {
  const clientId = await newClient(app);
  const { body: { id } } = await asAdmin(app, "POST", "/api/v2/invoices", {
    body: { clientId, lines: [WORK], ...fields },
  });
  return { id, path: `/i/${invoiceToken(app.config, id)}` };
}

/** A form of a page as a browser would send it without input. */
interface Form {
  action: string;
  fields: Record<string, string>;
}

/** The form for a gateway on a page. */
async function formOn(app: TestShop, address: string, gateway: string): Promise<Form> {
  const { text } = await app.get(address);
  for (const [form] of text.matchAll(/<form .*?<\/form>/gs)) {
    const action = /action="([^"]*)"/.exec(form)?.[1]?.replaceAll("&amp;", "&") ?? "";
    const hidden = form.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)"/g);
    const fields = Object.fromEntries(Array.from(hidden, ([, name, value]) => [name, value]));
    if (fields.gateway === gateway) return { action, fields };
  }
  throw new Error(`No form for ${gateway}: ${text}`);
}

/** Submits a form with `typed` as its input. */
function send(
  app: TestShop,
  { action, fields }: Form,
  { typed = {}, headers = {} }: { typed?: object; headers?: Record<string, string> } = {},
): Promise<TestAnswer<unknown>> {
  return app.request("POST", action, {
    headers: { "content-type": "application/x-www-form-urlencoded", ...headers },
    body: String(new URLSearchParams({ ...fields, ...typed })),
  });
}

async function wordsOn(app: TestShop, address: string): Promise<string> {
  const { text } = await app.get(address);
  return text.replace(/^.*<body>/s, "").replaceAll(/<[^>]*>/g, " ").replaceAll(/[\s\u00a0]+/g, " ");
}

/** The redirect target of a response. */
const placeOf = ({ headers }: TestAnswer<unknown>) => headers.get("location") ?? "";

Deno.test("POST /i/:token/pay prompts the payer's phone, and the page follows until the invoice is paid", async () => {
  await using shop = await startPayingShop();
  const { app, azampay } = shop;
  const { path } = await newInvoice(app);

  const form = await formOn(app, `${path}?lang=sw`, "azampay");
  const answer = await send(app, form, { typed: PHONE });
  const checking = await wordsOn(app, placeOf(answer));
  const [push] = azampay.pushes;
  await push?.approve();
  const paid = await wordsOn(app, placeOf(answer));

  equal(answer.status, 303);
  equal(placeOf(answer), `${path}?lang=sw`);
  equal(answer.headers.get("cache-control"), "no-store");
  match(checking, /Tunahakiki malipo yako Angalia simu yako/);
  deepEqual([push?.accountNumber, push?.amount, push?.provider], [
    "255712345678",
    15_000,
    "Mpesa",
  ]);
  match(paid, /Imelipwa Asante\. Hakuna malipo yanayodaiwa\. .*Kiasi kilicholipwa TSh 15,000/);
  deepEqual(azampay.paid.map(({ amount }) => amount), [15_000]);
  ok(!app.logLines.join().includes("712345678"));
});

Deno.test("POST /i/:token/pay allows another payment after the payer declined", async () => {
  await using shop = await startPayingShop();
  const { app, azampay } = shop;
  const { path } = await newInvoice(app);

  await send(app, await formOn(app, path, "azampay"), { typed: PHONE });
  await azampay.pushes[0]?.decline();
  const declined = await wordsOn(app, path);
  await send(app, await formOn(app, path, "azampay"), { typed: PHONE });
  await azampay.pushes[1]?.approve();
  const paid = await wordsOn(app, path);

  match(declined, /Your last payment failed\. You can try again\./);
  match(paid, /Paid Thank you\. No payment is due\./);
  equal(azampay.pushes.length, 2);
});

Deno.test("POST /i/:token/pay sends the payer to Pesapal and back to the true status", async () => {
  await using shop = await startPayingShop();
  const { app, pesapal } = shop;
  const { path } = await newInvoice(app, { currency: "USD" });

  const page = await app.get(path);
  const answer = await send(app, await formOn(app, path, "pesapal"));
  const [order] = pesapal.orders;
  const { pathname, search } = new URL(order!.returnUrl);
  const early = await app.get(pathname + search);
  const checking = await wordsOn(app, new URL(placeOf(early)).pathname);
  await order?.complete({ ipnTimes: 0 });
  await app.get(pathname + search);
  const paid = await wordsOn(app, path);

  equal(answer.status, 303);
  equal(placeOf(answer), order?.pageUrl);
  deepEqual([order?.request.amount, order?.request.currency], [15_000, "USD"]);
  // Chrome applies this to the redirect after a form.
  const policy = page.headers.get("content-security-policy") ?? "";
  match(policy, /form-action 'self' https: http:;/);
  match(checking, /We are checking your payment/);
  match(paid, /Paid Thank you\. .*Amount paid \$15,000\.00/);
});

Deno.test("POST /i/:token/pay returns the payer from Pesapal to the page's language", async () => {
  await using shop = await startPayingShop();
  const { app, pesapal } = shop;
  const { path } = await newInvoice(app);
  const inEnglish = { headers: { "accept-language": "en" } };

  const form = await formOn(app, `${path}?lang=sw`, "pesapal");
  await send(app, form, inEnglish);
  const [order] = pesapal.orders;
  const again = await send(app, { ...form, action: form.action.replace("lang=sw", "lang=en") });
  await order?.complete({ ipnTimes: 0 });
  const { pathname, search } = new URL(order!.returnUrl);
  const back = await app.request("GET", pathname + search, inEnglish);
  const { text, headers } = await app.request("GET", `${path}?lang=sw`, inEnglish);

  // The same button in another language is the same payment.
  deepEqual([placeOf(again), pesapal.orders.length], [order?.pageUrl, 1]);
  equal(back.status, 303);
  equal(placeOf(back), `${app.config.publicUrl}${path}?lang=sw`);
  equal(headers.get("content-language"), "sw");
  match(text, /Imelipwa/);
});

Deno.test("GET /payments/pesapal/callback accepts known languages only, and nothing else", async () => {
  await using shop = await startPayingShop();
  const { app, pesapal } = shop;
  const { id, path } = await newInvoice(app);
  await asAdmin(app, "POST", `/api/v2/invoices/${id}/checkout`, { body: { gateway: "pesapal" } });
  const url = new URL(pesapal.orders[0]!.returnUrl);

  const places = [];
  for (const lang of [null, "", "fr", "SW", "sw&x=1", "//evil.example.com", "en"]) {
    if (lang !== null) url.searchParams.set("lang", lang);
    places.push(placeOf(await app.get(url.pathname + url.search)));
  }

  const plain = `${app.config.publicUrl}${path}`;
  deepEqual(places, [...Array(6).fill(plain), `${plain}?lang=en`]);
});

Deno.test("POST /i/:token/pay starts one payment when the button is pressed many times", async () => {
  await using shop = await startPayingShop();
  const { app, azampay, pesapal } = shop;
  const [phoned, online] = [await newInvoice(app), await newInvoice(app)];
  const phoneForm = await formOn(app, phoned.path, "azampay");
  const onlineForm = await formOn(app, online.path, "pesapal");

  const presses = await Promise.all([
    ...Array.from({ length: 8 }, () => send(app, phoneForm, { typed: PHONE })),
    ...Array.from({ length: 8 }, () => send(app, onlineForm)),
  ]);
  const late = await send(app, onlineForm);

  ok(presses.every(({ status }) => status === 303));
  deepEqual([azampay.pushes.length, pesapal.orders.length], [1, 1]);
  equal(placeOf(late), pesapal.orders[0]?.pageUrl);
  equal(await app.count(payments), 2);
});

Deno.test("POST /i/:token/pay does not prompt a phone twice from two windows", async () => {
  await using shop = await startPayingShop();
  const { app, azampay } = shop;
  const { path } = await newInvoice(app);
  const [one, other] = [await formOn(app, path, "azampay"), await formOn(app, path, "azampay")];

  await send(app, one, { typed: PHONE });
  const second = await send(app, other, { typed: { ...PHONE, phone: NEW_NUMBER } });

  equal(second.status, 303);
  match(await wordsOn(app, placeOf(second)), /We are checking your payment/);
  equal(azampay.pushes.length, 1);
});

Deno.test("GET /i/:token with pay=again offers all payment options while an attempt is checked", async () => {
  await using shop = await startPayingShop();
  const { app, azampay, pesapal } = shop;
  const { path } = await newInvoice(app);
  await send(app, await formOn(app, path, "pesapal"));

  const again = await formOn(app, `${path}?pay=again`, "pesapal");
  const same = await send(app, again);
  const byPhone = await send(app, await formOn(app, `${path}?pay=again`, "azampay"), {
    typed: PHONE,
  });

  equal(placeOf(same), pesapal.orders[0]?.pageUrl);
  equal(byPhone.status, 303);
  deepEqual([azampay.pushes.length, pesapal.orders.length], [1, 1]);
});

Deno.test("POST /i/:token/pay reports the problem of the form on the page, and stores nothing", async () => {
  await using shop = await startPayingShop();
  const { app, azampay, pesapal } = shop;
  const { path } = await newInvoice(app);
  const dollars = await newInvoice(app, { currency: "USD" });
  const form = await formOn(app, path, "azampay");
  const inSwahili = await formOn(app, `${path}?lang=sw`, "azampay");
  const other = { ...form, action: form.action.replace(path, dollars.path) };

  await leavesStoreAlone(app, async () => {
    for (
      const [sent, typed, said] of [
        [form, { ...PHONE, phone: "" }, "The phone number is not valid."],
        [form, { ...PHONE, phone: "0712 34" }, "The phone number is not valid."],
        [form, { ...PHONE, provider: "" }, "Please select the network"],
        [form, { ...PHONE, provider: "constructor" }, "Please select the network"],
        [form, { ...PHONE, gateway: "mpesa" }, "Please select one of the payment options"],
        [form, { ...PHONE, gateway: "" }, "Please select one of the payment options"],
        [form, { ...PHONE, attempt: "" }, "Please select one of the payment options"],
        [form, { ...PHONE, attempt: "x y" }, "Please select one of the payment options"],
        [other, PHONE, "This amount cannot be paid with this option."],
        [inSwahili, { ...PHONE, phone: "x" }, "Namba ya simu si sahihi."],
      ] as const
    ) {
      const { status, headers, text } = await send(app, sent, { typed });
      equal(status, 422, said);
      match(headers.get("content-type") ?? "", /^text\/html/);
      ok(text.includes(said), `${said} in ${text}`);
      ok(!text.includes('http-equiv="refresh"'));
    }
  });
  deepEqual([azampay.pushes.length, pesapal.orders.length], [0, 0]);
});

Deno.test("POST /i/:token/pay shows the input again, as text", async () => {
  await using shop = await startPayingShop();
  const { app } = shop;
  const { path } = await newInvoice(app);
  const typed = { phone: '"><script>alert(1)</script>', provider: "Airtel" };

  const { text } = await send(app, await formOn(app, path, "azampay"), { typed });

  ok(!text.includes("<script"));
  match(text, /value="&quot;&gt;&lt;script&gt;alert\(1\)&lt;\/script&gt;"/);
  match(text, /<option value="Airtel" selected/);
});

Deno.test("POST /i/:token/pay of a void invoice shows its state, and calls no gateway", async () => {
  await using shop = await startPayingShop();
  const { app, azampay } = shop;
  const { id, path } = await newInvoice(app);
  const form = await formOn(app, path, "azampay");
  await asAdmin(app, "POST", `/api/v2/invoices/${id}/void`, { body: { reason: "x" } });

  const answer = await send(app, form, { typed: PHONE });

  equal(answer.status, 303);
  match(await wordsOn(app, placeOf(answer)), /This invoice is void\./);
  equal(azampay.calls.checkout, 0);
});

Deno.test("POST /i/:token/pay keeps an invoice payable when the gateway refuses or fails", async () => {
  await using shop = await startPayingShop();
  const { app, pesapal, azampay } = shop;
  const { path } = await newInvoice(app);
  pesapal.faults.submit.push({ refusal: { code: "amount_exceeds_default_limit" } });
  azampay.faults.checkout.push("drop");

  const refused = await send(app, await formOn(app, path, "pesapal"));
  const words = await wordsOn(app, placeOf(refused));
  const lost = await send(app, await formOn(app, path, "azampay"), { typed: PHONE });

  equal(placeOf(refused), `${path}?lang=en`);
  match(words, /Your last payment failed\./);
  // It is unknown whether the phone was prompted: the page waits for the outcome.
  equal(lost.status, 303);
  match(await wordsOn(app, placeOf(lost)), /We are checking your payment/);
});

Deno.test("POST /i/:token/pay limits prompts per phone, across invoices", async () => {
  await using shop = await startPayingShop({ RATE_LIMITS: "pay_phone=2/10m" });
  const { app, azampay } = shop;
  const paths = [];
  for (let i = 0; i < 4; i++) paths.push((await newInvoice(app)).path);

  const answers = [];
  for (const path of paths.slice(0, 3)) {
    answers.push(await send(app, await formOn(app, path, "azampay"), { typed: PHONE }));
  }
  const fourth = await formOn(app, paths[3]!, "azampay");
  const other = await send(app, fourth, { typed: { ...PHONE, phone: NEW_NUMBER } });
  app.advance(10 * MINUTE_MS);
  const later = await send(app, fourth, { typed: PHONE });

  deepEqual(answers.map(({ status }) => status), [303, 303, 429]);
  match(answers[2]!.text, /Too many attempts\. Please try again in 10 min\./);
  equal(answers[2]!.headers.get("retry-after"), "600");
  deepEqual([other.status, later.status], [303, 303]);
  equal(azampay.pushes.length, 4);
});

Deno.test("POST /i/:token/pay is limited per invoice and per address", async () => {
  for (const rule of ["pay_invoice", "pay_address"]) {
    await using shop = await startPayingShop({ RATE_LIMITS: `${rule}=1/10m` });
    const { app, pesapal } = shop;
    const { path } = await newInvoice(app);
    const first = await send(app, await formOn(app, path, "pesapal"));
    pesapal.orders.length = 0;
    const second = await send(app, await formOn(app, `${path}?pay=again`, "pesapal"));

    deepEqual([first.status, second.status], [303, 429], rule);
    equal(pesapal.orders.length, 0);
  }
});

Deno.test("POST /i/:token/pay requires the link of an invoice, and a form", async () => {
  await using shop = await startPayingShop();
  const { app } = shop;
  const { path } = await newInvoice(app);
  const draft = await newInvoice(app, { draft: true });
  const form = await formOn(app, path, "azampay");
  const post = (action: string, headers = {}) =>
    send(app, { ...form, action }, { typed: PHONE, headers });

  const flipped = `${path.slice(0, -1)}${path.endsWith("A") ? "B" : "A"}`;
  for (const at of ["/i/x", flipped, draft.path, `${path}.pdf`]) {
    assertProblem(await post(`${at}/pay`), 404, "not_found");
  }
  const json = { "content-type": "application/json" };
  assertProblem(await post(`${path}/pay`, json), 415, "unsupported_media_type");
  const foreign = { cookie: "session=x", origin: "https://evil.example.com" };
  assertProblem(await post(`${path}/pay`, foreign), 403, "forbidden");
  equal(await app.count(payments), 0);
});

Deno.test("the page offers no payment options if no gateway is configured", async () => {
  await using app = await startShop();
  const { path } = await newInvoice(app);

  const page = await app.get(path);
  const answer = await send(app, {
    action: `${path}/pay`,
    fields: { gateway: "pesapal", attempt: "A".repeat(22) },
  });

  ok(!page.text.includes("<form"));
  match(page.headers.get("content-security-policy") ?? "", /form-action 'self';/);
  equal(answer.status, 422);
});
