/** A client of the simulated Pesapal that knows no more than the documents. */
import { PESAPAL_ACCOUNT } from "./pesapal_behaviour.ts";
import { PesapalSimulator } from "./pesapal_simulator.ts";

export const NOW = Date.UTC(2026, 5, 15, 9, 0, 0, 123);

const SHOP = "https://shop.example.com";

interface Answer {
  status: number;
  // As varied as the answers.
  // deno-lint-ignore no-explicit-any
  body: any;
  headers: Headers;
  text: string;
}

/** A client that knows no more than the documents. */
export async function start(times?: { clock: () => number }) {
  const simulator = PesapalSimulator.start({ clock: times?.clock ?? (() => NOW) });
  simulator.behaviour.ipnTimes = 0;
  let token = "";
  async function call(method: string, path: string, body?: unknown): Promise<Answer> {
    const response = await fetch(`${simulator.baseUrl}/api/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await response.text();
    const { status, headers } = response;
    const isJson = /json/.test(headers.get("content-type") ?? "");
    return { status, headers, text, body: isJson ? JSON.parse(text) : undefined };
  }
  const { consumerKey, consumerSecret } = PESAPAL_ACCOUNT;
  const signIn = await call("POST", "Auth/RequestToken", {
    consumer_key: consumerKey,
    consumer_secret: consumerSecret,
  });
  token = signIn.body.token;
  return {
    simulator,
    signIn,
    call,
    post: (path: string, body: unknown) => call("POST", path, body),
    forgetToken: () => token = "garbage",
    async register(url = `${SHOP}/ipn`, type = "GET") {
      return await call("POST", "URLSetup/RegisterIPN", { url, ipn_notification_type: type });
    },
    submit: (order: unknown) => call("POST", "Transactions/SubmitOrderRequest", order),
    status: (id: string) => call("GET", `Transactions/GetTransactionStatus?orderTrackingId=${id}`),
    [Symbol.asyncDispose]: () => simulator[Symbol.asyncDispose](),
  };
}

/** An order that is taken, but for the notification. */
export function newOrder(fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    id: crypto.randomUUID(),
    currency: "KES",
    amount: 10,
    description: "Payment for an order",
    callback_url: `${SHOP}/callback?a=1`,
    billing_address: { email_address: "john.doe@example.com", country_code: "KE" },
    ...fields,
  };
}
