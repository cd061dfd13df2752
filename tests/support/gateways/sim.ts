/**
 * The task `sim`: both payment gateways on this machine, to click through payments
 * with `deno task dev`. What it writes to standard output is a part of `.env`.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { azampayVariables } from "./azampay_shop.ts";
import { AzamPaySimulator } from "./azampay_simulator.ts";
import { PesapalSimulator } from "./pesapal_simulator.ts";

const USAGE = `Simulate Pesapal and AzamPay on this machine

Usage: deno task sim [--port 9101] [--shop http://localhost:8000]

  --port   That of Pesapal; the two after it are AzamPay's. 0 for any that are free.
  --shop   Where the shop is, for AzamPay to call: its PUBLIC_URL.
`;

/** Not in use by anything that a developer is likely to run. */
const PORT = "9101";
const SHOP = "http://localhost:8000";

const { port, shop } = argumentsOrExit();
const pesapal = await startOrExit(() => PesapalSimulator.start({ port }));
const azampay = await startOrExit(() =>
  AzamPaySimulator.start({ port: port === 0 ? 0 : port + 1 })
);
azampay.callbackUrl = `${shop}/payments/azampay/callback`;
for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, stop);
console.log(`# Pesapal and AzamPay, simulated until Ctrl+C: no money moves.
# Put these lines into .env, and start the shop at ${shop}.
${lines({ ...pesapal.environment, ...azampayVariables(azampay) })}
# Pesapal's page opens when somebody pays there. The telephone that AzamPay asks:
# ${azampay.checkoutUrl}/phone`);

function argumentsOrExit(): { port: number; shop: string } {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: "string", default: PORT },
        shop: { type: "string", default: SHOP },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      Deno.exit(0);
    }
    const port = Number(values.port);
    const url = URL.parse(values.shop);
    if (!/^\d+$/.test(values.port) || port > 65_533) throw new TypeError("--port is no port");
    if (!url || !/^https?:$/.test(url.protocol)) throw new TypeError("--shop is no http address");
    return { port, shop: url.origin };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    Deno.exit(2);
  }
}

async function startOrExit<T>(start: () => T | Promise<T>): Promise<T> {
  try {
    return await start();
  } catch (error) {
    if (
      !(error instanceof Error && /EADDRINUSE|AddrInUse/.test(`${error.name} ${error.message}`))
    ) {
      throw error;
    }
    console.error(`The port is in use; give another one: deno task sim --port ${port + 10}`);
    Deno.exit(1);
  }
}

/** Lines of a `.env` file. */
function lines(variables: Record<string, string>): string {
  return Object.entries(variables).map(([name, value]) => `${name}="${value}"`).join("\n");
}

async function stop(): Promise<void> {
  await Promise.all([pesapal[Symbol.asyncDispose](), azampay[Symbol.asyncDispose]()]);
  Deno.exit(0);
}
