/**
 * What a developer does: starts `deno task sim`, copies its lines into `.env`,
 * starts the shop, and clicks through a payment of each gateway.
 */
// Under their short names Deno exports from here what compares with `==`.
import { doesNotMatch, match, ok, strictEqual as equal } from "node:assert/strict";
import { sleep } from "../../../lib/time.ts";
import { startServer } from "../processes/server_process.ts";
import { newKvFile } from "../program/shop.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

/** The task, which has written its lines. */
interface Sim extends AsyncDisposable {
  /** All of them. */
  readonly text: string;
  /** Ends it as Ctrl+C does. */
  stop(): Promise<Deno.CommandStatus>;
}

async function startSim(...args: string[]): Promise<Sim> {
  const { tasks } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  const [, ...command] = tasks.sim.command.split(" ");
  const child = new Deno.Command(Deno.execPath(), {
    args: [...command, ...args],
    cwd: ROOT,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let text = "";
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  while (!text.includes("/phone")) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`The task ended: ${text}`);
    text += value;
  }
  await reader.cancel();
  const stop = async () => {
    try {
      child.kill("SIGINT");
    } catch {
      // It has ended.
    }
    return await child.status;
  };
  return {
    text,
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
    },
  };
}

/** A free port, in place of a developer's 8000. */
function freePort(): number {
  // Below the ports that the system gives to other tests meanwhile.
  const port = 12_000 + Math.floor(Math.random() * 8_000);
  try {
    using listener = Deno.listen({ hostname: "127.0.0.1", port });
    return listener.addr.port;
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    return freePort();
  }
}

/** Opens a page, or presses a button, and follows redirects as a browser does. */
async function open(address: string, fields?: Record<string, string>) {
  const response = await fetch(
    address,
    fields ? { method: "POST", body: new URLSearchParams(fields) } : {},
  );
  return { url: response.url, text: await response.text() };
}

/** The address and the hidden fields of the form that has `mark` in it. */
function formWith(mark: string, { url, text }: { url: string; text: string }) {
  const form = Array.from(text.matchAll(/<form .*?<\/form>/gs), ([form]) => form)
    .find((form) => form.includes(mark));
  if (form === undefined) throw new Error(`No form with ${mark}: ${text}`);
  const action = /action="([^"]*)"/.exec(form)?.[1]?.replaceAll("&amp;", "&") ?? "";
  const hidden = form.matchAll(/<input type="hidden" name="(\w+)" value="([^"]*)"/g);
  const fields = Object.fromEntries(Array.from(hidden, ([, name, value]) => [name!, value!]));
  return { action: new URL(action, url).href, fields };
}

Deno.test("the variables that `deno task sim` prints suffice to click through payments", async () => {
  await using file = await newKvFile();
  const port = freePort();
  const shop = `http://127.0.0.1:${port}`;
  await using sim = await startSim("--port", "0", "--shop", shop);
  const envFile = file.path.replace(/[^/]*$/, ".env");
  await Deno.writeTextFile(envFile, sim.text);
  await using server = await startServer({
    kvPath: file.path,
    env: { PORT: String(port), PUBLIC_URL: shop },
    flags: [`--env-file=${envFile}`],
  });
  const { id: productId } = await (await fetch(`${shop}/api/v2/products/duka-pos`)).json();
  const invoicePage = async (phone: string): Promise<string> => {
    const response = await fetch(`${shop}/api/v2/leads`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: "Asha Mushi", phone, productId }),
    });
    const { links } = await response.json();
    return links.invoice;
  };

  // At Pesapal: the page of the invoice, Pesapal's page, and back.
  const first = await open(await invoicePage("0712345678"));
  doesNotMatch(first.text, /Paid/);
  const choice = formWith(`value="pesapal"`, first);
  const gateway = await open(choice.action, choice.fields);
  match(gateway.text, /Pesapal \(simulated\)/);
  const back = await open(formWith(`id="pay"`, gateway).action, {});

  ok(back.url.startsWith(`${shop}/i/`), back.url);
  match(back.text, /Paid/);

  // By telephone: the push is approved, and the page shows it by itself.
  const address = await invoicePage("0754111222");
  const asking = formWith(`value="azampay"`, await open(address));
  await open(asking.action, { ...asking.fields, phone: "0754 111 222", provider: "Mpesa" });
  const phone = /http\S+\/phone/.exec(sim.text)![0];
  await open(formWith("Approve", await open(phone)).action, {});
  let text = "";
  for (let i = 0; i < 100 && !/Paid/.test(text); i++) {
    if (i > 0) await sleep(50);
    ({ text } = await open(address));
  }

  match(text, /Paid/);
  server.kill("SIGTERM");
  equal((await server.ended).code, 0);
  equal((await sim.stop()).code, 0);
});
