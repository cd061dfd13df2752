/**
 * The start page: what this service is, in two languages, with links that work.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { startApp, type TestApp } from "../support/program/app.ts";
import {
  CHROMIUM_HINT,
  DESKTOP,
  hasChromium,
  PHONE,
  TestBrowser,
} from "../support/servers/browser.ts";

/** What an application must configure for development. */
const DEVELOPMENT = { APP_ENV: "development" };

function start(app: TestApp, path = "/", headers: Record<string, string> = {}) {
  return app.request("GET", path, { headers });
}

function linksOf(html: string): string[] {
  return Array.from(html.matchAll(/href="(\/[^"]*)"/g), ([, href = ""]) => href);
}

Deno.test("GET / names the shop and links to the API documentation and the health", async () => {
  await using app = await startApp({ env: { SHOP_NAME: "Duka & Wana" } });

  const { status, headers, text } = await start(app);

  equal(status, 200);
  equal(headers.get("content-type"), "text/html; charset=UTF-8");
  equal(headers.get("cache-control"), "no-store");
  equal(headers.get("content-language"), "en");
  match(text, /^<!DOCTYPE html><html lang="en">/);
  match(text, /<h1>Duka &amp; Wana<\/h1>/);
  match(text, /issues invoices and accepts payments for Duka &amp; Wana\./);
  deepEqual(linksOf(text), ["/?lang=sw", "/docs", "/health"]);
});

Deno.test("GET / runs no script and loads nothing from elsewhere", async () => {
  await using app = await startApp();

  const { headers, text } = await start(app);

  const policy = headers.get("content-security-policy") ?? "";
  match(policy, /^default-src 'none'/);
  ok(!/unsafe|https?:|\*/.test(policy), policy);
  ok(!/<script|(?:src|href)="(?:https?:)?\/\/| style=/.test(text), text);
});

Deno.test("GET / follows ?lang, then Accept-Language, then the shop's language", async () => {
  await using app = await startApp({ env: { DEFAULT_LANGUAGE: "sw" } });

  const languageOf = async (path: string, accept?: string) => {
    const answer = await start(
      app,
      path,
      accept === undefined ? {} : { "accept-language": accept },
    );
    return answer.headers.get("content-language");
  };

  equal(await languageOf("/?lang=en", "sw"), "en");
  equal(await languageOf("/", "de, en-GB;q=0.8, sw;q=0.5"), "en");
  equal(await languageOf("/", "sw-TZ"), "sw");
  equal(await languageOf("/?lang=xx", "de"), "sw");
  match((await start(app, "/?lang=sw")).text, /Nyaraka za API/);
});

Deno.test("GET / links to the catalogue and the mailbox in development only", async () => {
  await using app = await startApp({ env: DEVELOPMENT });
  await using elsewhere = await startApp();

  const links = linksOf((await start(app)).text);
  const others = linksOf((await start(elsewhere)).text);

  deepEqual(links, ["/?lang=sw", "/docs", "/health", "/api/v2/products", "/dev/mailbox"]);
  for (const link of links) equal((await app.get(link)).status, 200, link);
  ok(!others.some((link) => /products|mailbox/.test(link)), others.join());
});

Deno.test("/ answers HEAD, and refuses POST with 405", async () => {
  await using app = await startApp();

  const head = await app.request("HEAD", "/");
  const post = await app.request("POST", "/", { headers: { accept: "application/json" } });

  deepEqual([head.status, head.text], [200, ""]);
  deepEqual([post.status, post.headers.get("allow")], [405, "GET, HEAD"]);
});

Deno.test({
  name: `the start page fits phones and desktops, light and dark${CHROMIUM_HINT}`,
  ignore: !hasChromium,
  fn: async () => {
    await using app = await startApp({ env: { ...DEVELOPMENT, SHOP_NAME: "WeTech Solutions" } });
    await using browser = await TestBrowser.start();

    for (const [width, device] of [[360, PHONE], [1280, DESKTOP]] as const) {
      for (const colorScheme of ["light", "dark"] as const) {
        const options = { ...device, colorScheme };
        await using visitor = await browser.visit(options, { home: app.url, others: [] });
        for (const language of ["en", "sw"]) {
          await visitor.page.goto(`${app.url}/?lang=${language}`);
          await visitor.picture(`start_${width}_${colorScheme}_${language}`);

          const fits = await visitor.page.evaluate<boolean>(
            "document.documentElement.scrollWidth <= innerWidth",
          );
          const back = await visitor.page.evaluate<string>(
            "getComputedStyle(document.body).backgroundColor",
          );
          ok(fits, `${width} ${language}`);
          equal(back, colorScheme === "dark" ? "rgb(18, 23, 29)" : "rgb(238, 241, 244)");
        }
        deepEqual(visitor.complaints, []);
      }
    }
  },
});
