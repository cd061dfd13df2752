/**
 * Paying as people do: in a real browser, on the page of a real process, at both
 * gateways, simulated. `SCREENSHOTS` names a folder for pictures to be looked at.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { readConfig } from "../../lib/config/mod.ts";
import { invoiceToken } from "../../lib/invoices/links.ts";
import {
  CHROMIUM_HINT,
  DESKTOP,
  hasChromium,
  PHONE,
  TestBrowser,
  type Visitor,
} from "../support/servers/browser.ts";
import { azampayVariables } from "../support/gateways/azampay_shop.ts";
import { AzamPaySimulator } from "../support/gateways/azampay_simulator.ts";
import { PesapalSimulator } from "../support/gateways/pesapal_simulator.ts";
import { type ServerProcess, startServer } from "../support/processes/server_process.ts";
import { newKvFile } from "../support/program/shop.ts";

const KEY = "browser-operator-key-0123456789";
/** Within which a page that waits has looked again. */
const REFRESH_MS = 15_000;

/** A shop that is open, and both gateways. */
interface OpenShop extends AsyncDisposable {
  readonly server: ServerProcess;
  readonly pesapal: PesapalSimulator;
  readonly azampay: AzamPaySimulator;
  /** Writes an invoice. @returns Its page's address. */
  bill(fields?: Record<string, unknown>): Promise<string>;
  /** Somebody at a browser of this size. */
  visit(size: typeof PHONE): Promise<Visitor>;
}

/** A port that is free at the moment: the shop has to know its address before it begins. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function openShop(options: Record<string, string> = {}): Promise<OpenShop> {
  const file = await newKvFile();
  const [pesapal, azampay] = [await PesapalSimulator.start(), await AzamPaySimulator.start()];
  const port = freePort();
  const env = {
    ...{ PORT: String(port), PUBLIC_URL: `http://127.0.0.1:${port}`, BOOTSTRAP_API_KEY: KEY },
    SECRET_KEY: btoa("a key of the browser's test only, 32 bytes"),
    SHOP_NAME: "Duka la Karibu",
    SHOP_ADDRESS: "Kariakoo, Dar es Salaam",
    SHOP_PHONE: "+255 712 000 111",
    STORAGE_URL: "",
    ...pesapal.environment,
    ...azampayVariables(azampay),
    ...options,
  };
  azampay.callbackUrl = `${env.PUBLIC_URL}/payments/azampay/callback`;
  const server = await startServer({ kvPath: file.path, env });
  const browser = await TestBrowser.start();
  const config = readConfig({ APP_ENV: "development", ...env });
  const post = async (path: string, body: unknown) => {
    const answer = await fetch(server.url + path, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: `Bearer ${KEY}` },
      body: JSON.stringify(body),
    });
    equal(answer.status, 201);
    return await answer.json();
  };
  const { client } = await post("/api/v2/leads", {
    name: "Asha Mushi",
    email: "asha@example.com",
    phone: "0712345678",
    message: "Habari",
  });
  const sites = { home: server.url, others: [pesapal.origin, azampay.checkoutUrl] };
  return {
    server,
    pesapal,
    azampay,
    async bill(fields = {}) {
      const lines = [
        { description: "Duka POS, leseni ya mwaka mmoja", quantity: 1, unitMinor: 450_000_00 },
        { description: "Mafunzo ya wafanyakazi", quantity: 3, unitMinor: 25_000_00 },
      ];
      const { id } = await post("/api/v2/invoices", { clientId: client.id, lines, ...fields });
      return `${server.url}/i/${invoiceToken(config, id)}`;
    },
    visit: (size) => browser.visit(size, sites),
    async [Symbol.asyncDispose]() {
      await browser[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      for (const one of [pesapal, azampay, file]) await one[Symbol.asyncDispose]();
    },
  };
}

/** Presses the button that goes on to Pesapal. */
async function goToPesapal({ page }: Visitor): Promise<void> {
  await page.locator("form", { has: page.locator('[value="pesapal"]') }).getByRole("button")
    .click();
  await page.waitForURL(/pesapaliframe/);
}

/** Which order the page of Pesapal is about. */
function trackingIdOn({ page }: Visitor): string {
  return new URL(page.url()).searchParams.get("OrderTrackingId")!;
}

/** Fills in the form of mobile money, and sends it. */
async function askPhone({ page }: Visitor, phone: string): Promise<void> {
  const form = page.locator("form", { has: page.locator('[value="azampay"]') });
  await form.locator('[name="phone"]').fill(phone);
  await form.locator('[name="provider"]').selectOption("Mpesa");
  await form.getByRole("button").click();
  await page.waitForLoadState();
}

/** Whether anything is too wide to be read without moving the page. */
async function overflow({ page }: Visitor): Promise<number> {
  return await page.evaluate("document.documentElement.scrollWidth - innerWidth");
}

/** Does it on a phone and on a desk, side by side: pages that wait do so for seconds. */
async function atOnce(run: (name: string, size: typeof PHONE) => Promise<void>): Promise<void> {
  await Promise.all([run("phone", PHONE), run("desktop", DESKTOP)]);
}

function browserTest(name: string, run: () => Promise<void>): void {
  // What the browser's driver keeps open between its calls is its own.
  Deno.test({ name: `${name}${CHROMIUM_HINT}`, ignore: !hasChromium, fn: run });
}

browserTest(
  "an invoice is paid at Pesapal, on a phone and on a desk, with and without scripts",
  async () => {
    await using shop = await openShop();
    await atOnce(async (name, size) => {
      for (const javaScriptEnabled of [true, false]) {
        const address = await shop.bill();
        await using visitor = await shop.visit({ ...size, javaScriptEnabled });
        const { page } = visitor;
        const shot = (what: string) =>
          visitor.picture(`pesapal-${name}-${javaScriptEnabled}-${what}`);

        await page.goto(`${address}?lang=en`);
        await shot("1-open");
        match(await visitor.words(), /Unpaid TZS 525,000 Please pay by/);
        equal(javaScriptEnabled ? await overflow(visitor) : 0, 0);
        await goToPesapal(visitor);
        await shot("2-pesapal");
        await page.click("#pay");
        await page.waitForURL(/\/i\//);
        await shot("3-paid");

        const words = await visitor.words();
        match(words, /Thank you\. No payment is due\./);
        equal(await page.locator("form").count(), 0);
        deepEqual(visitor.complaints, []);
      }
    });
  },
);

browserTest(
  "a payment that failed can be tried again, and one that is checked becomes paid by itself",
  async () => {
    await using shop = await openShop();
    await atOnce(async (name, size) => {
      const address = await shop.bill();
      await using visitor = await shop.visit(size);
      const { page } = visitor;
      const shot = (what: string) => visitor.picture(`pending-${name}-${what}`);
      await page.goto(`${address}?lang=en`);
      await goToPesapal(visitor);
      await page.click("#fail");
      await page.click("#return");
      await page.waitForURL(/\/i\//);
      await shot("1-failed");
      match(await visitor.words(), /Your last payment failed\. You can try again\./);

      await goToPesapal(visitor);
      const order = shop.pesapal.order(trackingIdOn(visitor));
      // Back without having paid.
      await page.click("#return");
      await page.waitForURL(/\/i\//);
      await shot("2-checking");
      match(await visitor.words(), /We are checking your payment/);
      equal(await page.locator("form").count(), 0);
      await order.complete();
      await page.getByText("No payment is due").waitFor({ timeout: REFRESH_MS });
      await shot("3-paid");

      deepEqual(visitor.complaints, []);
    });
  },
);

browserTest("a telephone is asked, says no, is asked again and pays, in Swahili", async () => {
  await using shop = await openShop();
  await atOnce(async (name, size) => {
    const address = await shop.bill();
    await using visitor = await shop.visit({
      ...size,
      locale: "sw-TZ",
      javaScriptEnabled: name === "desktop",
    });
    const { page } = visitor;
    const shot = (what: string) => visitor.picture(`phone-${name}-${what}`);
    const phone = name === "desktop" ? "0712 345 678" : "+255 754 000 001";
    const digits = phone.replaceAll(" ", "").slice(-9);
    const asked = () =>
      shop.azampay.pushes.findLast(({ accountNumber }) => accountNumber.endsWith(digits))!;
    await page.goto(address);
    await shot("1-open");
    equal(await page.locator("html").getAttribute("lang"), "sw");
    await askPhone(visitor, "0712 34");
    await shot("2-mistake");
    match(await visitor.words(), /Namba ya simu si sahihi\./);
    equal(await page.locator('[name="phone"]').inputValue(), "0712 34");

    await askPhone(visitor, phone);
    await shot("3-asked");
    match(await visitor.words(), /Tunahakiki malipo yako Angalia simu yako/);
    await asked().decline();
    await page.getByText("Malipo yako ya mwisho hayakufanikiwa").waitFor({ timeout: REFRESH_MS });
    await shot("4-declined");
    await askPhone(visitor, phone);
    await asked().approve();
    await page.getByText("Hakuna malipo yanayodaiwa").waitFor({ timeout: REFRESH_MS });
    await shot("5-paid");

    deepEqual(visitor.complaints, []);
  });
});

browserTest(
  "what a gateway cannot take is said, and nothing on the page is loaded from elsewhere",
  async () => {
    await using shop = await openShop();
    const address = await shop.bill({
      currency: "USD",
      lines: [{ description: "Consulting ".repeat(12).trim(), quantity: 12, unitMinor: 1_250_75 }],
      notes: "Thank you!\nAsante sana.",
    });
    await using visitor = await shop.visit(PHONE);
    const { page } = visitor;
    const loaded: string[] = [];
    page.on("request", (request) => loaded.push(request.resourceType()));

    await page.goto(`${address}?lang=en`);
    await visitor.picture("dollars-phone");

    match(await visitor.words(), /\$15,009\.00/);
    equal(await page.locator("form").count(), 1);
    equal(await overflow(visitor), 0);
    ok(loaded.every((type) => type === "document"), loaded.join());
    const share = await page.locator('a[href^="https://wa.me/"]').getAttribute("href");
    ok(share?.includes(encodeURIComponent(address)));
    deepEqual(visitor.complaints, []);
  },
);

browserTest("a button that is pressed twice begins one payment", async () => {
  await using shop = await openShop();
  const address = await shop.bill();
  await using visitor = await shop.visit(PHONE);
  const { page } = visitor;
  await page.goto(`${address}?lang=en`);
  const form = page.locator("form", { has: page.locator('[value="azampay"]') });
  await form.locator('[name="phone"]').fill("0712345678");
  await form.locator('[name="provider"]').selectOption("Mpesa");

  await form.getByRole("button").dblclick();
  await page.getByText("We are checking your payment").waitFor({ timeout: REFRESH_MS });

  equal(shop.azampay.pushes.length, 1);
  deepEqual(visitor.complaints, []);
});
