/**
 * A real browser, Debian's Chromium, that records the errors of its pages.
 *
 * @module
 */
import type { Browser, BrowserContextOptions, Page } from "playwright-core";

const CHROMIUM = "/usr/bin/chromium";

/** Whether the browser is installed. */
export const hasChromium: boolean = isThere();
/** What to add to the name of a test that is ignored without it. */
export const CHROMIUM_HINT: string = hasChromium ? "" : " (needs: apt-get install -y chromium)";

function isThere(): boolean {
  try {
    return Deno.statSync(CHROMIUM).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A cheap phone. */
export const PHONE: BrowserContextOptions = {
  viewport: { width: 360, height: 800 },
  deviceScaleFactor: 2,
  isMobile: true,
  hasTouch: true,
};
/** A desktop screen. */
export const DESKTOP: BrowserContextOptions = { viewport: { width: 1280, height: 900 } };

/** A user with a browser. */
export interface Visitor extends AsyncDisposable {
  readonly page: Page;
  /** Faults of pages: errors, violations of their policy, requests to foreign hosts. */
  readonly complaints: string[];
  /** The text of the page, in one line. */
  words(): Promise<string>;
  /** Takes a screenshot if `SCREENSHOTS` names a folder. */
  picture(name: string): Promise<void>;
}

/** The browser, running. */
export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  /** Starts it. As root it has no sandbox. */
  static async start(): Promise<TestBrowser> {
    // When it is loaded the driver looks for Windows, in a file that only tests with all
    // permissions may ask for; so it does not look.
    Deno.env.set("__IS_WSL_TEST__", "1");
    const { chromium } = await import("playwright-core");
    const args = ["--no-sandbox", "--disable-gpu"];
    return new TestBrowser(await chromium.launch({ executablePath: CHROMIUM, args }));
  }

  /** A visitor without cookies. @param home Our address. @param others Addresses of linked pages. */
  async visit(
    options: BrowserContextOptions,
    { home, others }: { home: string; others: readonly string[] },
  ): Promise<Visitor> {
    const context = await this.#browser.newContext(options);
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("console", (message) => {
      const isOurs = message.location().url.startsWith(home) || message.location().url === "";
      const isTold = ["error", "warning"].includes(message.type());
      // A form that is shown again with its errors is no error of the page.
      if (isOurs && isTold && !/status of 422/.test(message.text())) {
        complaints.push(message.text());
      }
    });
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("requestfailed", (request) => {
      // A page may be left while it refreshes itself.
      const error = request.failure()?.errorText ?? "";
      if (error !== "net::ERR_ABORTED") complaints.push(`${request.url()} ${error}`);
    });
    page.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol === "data:" || origin === home || others.includes(origin)) return;
      complaints.push(`To ${origin}`);
    });
    return {
      page,
      complaints,
      async words() {
        return (await page.innerText("body")).replaceAll(/\s+/g, " ");
      },
      async picture(name) {
        const folder = Deno.env.get("SCREENSHOTS");
        if (folder) await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
      },
      [Symbol.asyncDispose]: () => context.close(),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}
