/**
 * AzamPay on this machine: two real HTTP servers, as strict as documented, that call back like the
 * real one or as badly as a test asks. Knows what was really paid.
 *
 * @module
 */
import {
  type CallbackBody,
  readMnoCheckout,
  recordOf,
  shortSignedText,
  signedText,
  type SigningKey,
  signingKey,
  validationProblem,
} from "./azampay_contract.ts";
import { phonePage } from "./azampay_phone.ts";
import { type RawAnswer, type RawRequest, type RawServer, startRawServer } from "./raw_server.ts";
import {
  AZAMPAY_ACCOUNT,
  type CallbackAnswer,
  type IdField,
  type Paid,
  type Push,
  type Signing,
  SimulatedPush,
} from "./azampay_push.ts";

/** What it can be called for. */
export type Endpoint = "token" | "checkout" | "public_key" | "partners";

/** What goes wrong with one call. */
export type Fault =
  /** Nothing is done; this is answered. Without a body it is empty; a text is sent as HTML. */
  | { status: number; body?: unknown }
  /** Nothing is done; it says so with a status of success. */
  | { refusal: string }
  /** Nothing is done; the connection breaks. */
  | "break"
  /** It is done; the connection breaks instead of an answer. */
  | "drop"
  /** It is done; the answer waits for {@linkcode AzamPaySimulator.release}. */
  | "hold";

/** How it behaves, to be changed at any time. */
export interface AzamPayBehaviour {
  /** Where X-API-Key must be right; it may be absent, never wrong, elsewhere. */
  apiKeyAt: { token: boolean; checkout: boolean };
  /** AzamPay does not say which they are. */
  idFields: readonly IdField[];
  /** How callbacks are signed unless they say otherwise. */
  signing: Signing;
  /** Whether checkouts are answered without a transaction's id. */
  isIdWithheld: boolean;
  /** The server with the key: sources contradict each other. */
  keyAt: "checkout" | "auth";
  /** How long a token is good, in milliseconds. */
  tokenLifeMs: number;
  /** What a payer does before the checkout is answered, so that the callback comes first. */
  hastyPayer: "approve" | "decline" | null;
}

interface Answer {
  status: number;
  body?: unknown;
}

const AUTH_ROUTES: Record<string, Endpoint> = {
  "POST /AppRegistration/GenerateToken": "token",
  "GET /api/Token/PublicKey": "public_key",
};

const CHECKOUT_ROUTES: Record<string, Endpoint> = {
  "POST /azampay/mno/checkout": "checkout",
  "GET /azampay/v1/public-key": "public_key",
  "GET /api/v1/Partner/GetPaymentPartners": "partners",
};

/** How it is started. */
export interface AzamPayOptions {
  /** That of its first host, the second has the next one; free ones if absent. */
  port?: number;
  /** The clock for the expiry of tokens; the machine's if absent. */
  clock?: () => number;
}

/** AzamPay, running. */
export class AzamPaySimulator implements AsyncDisposable {
  /** The registered callback address; null for no callbacks. */
  callbackUrl: string | null = null;
  /** How it behaves. */
  readonly behaviour: AzamPayBehaviour = {
    apiKeyAt: { token: false, checkout: false },
    idFields: ["reference"],
    signing: "signed",
    isIdWithheld: false,
    keyAt: "checkout",
    tokenLifeMs: 3_600_000,
    hastyPayer: null,
  };
  /** What goes wrong with the next calls, the first one first. */
  readonly faults: Record<Endpoint, Fault[]> = {
    token: [],
    checkout: [],
    public_key: [],
    partners: [],
  };
  /** How often it was called. */
  readonly calls: Record<Endpoint, number> = { token: 0, checkout: 0, public_key: 0, partners: 0 };
  /** Everything on telephones, in order. */
  readonly pushes: Push[] = [];
  /** What was really paid, in order. */
  readonly paid: Paid[] = [];

  readonly #clock: () => number;
  readonly #auth: RawServer;
  readonly #checkout: RawServer;
  readonly #tokens = new Map<string, number>();
  readonly #held: (() => void)[] = [];
  /** How often the key was changed. */
  #rotations = 0;

  private constructor({ port = 0, clock = Date.now }: AzamPayOptions) {
    this.#clock = clock;
    this.#auth = startRawServer((request) => this.#answer(AUTH_ROUTES, request), port);
    this.#checkout = startRawServer(
      (request) => this.#answer(CHECKOUT_ROUTES, request),
      port === 0 ? 0 : port + 1,
    );
  }

  /** Starts it. */
  static async start(options: AzamPayOptions = {}): Promise<AzamPaySimulator> {
    await signingKey("0");
    return new AzamPaySimulator(options);
  }

  /** Where tokens come from. */
  get authUrl(): string {
    return this.#auth.url;
  }

  /** Where all else is; `/phone` is a telephone with every request on it. */
  get checkoutUrl(): string {
    return this.#checkout.url;
  }

  /** The last request on a telephone for one of our references. */
  push(externalId: string): Push {
    const push = this.pushes.findLast((push) => push.externalId === externalId);
    if (!push) throw new Error(`AzamPay was not asked for ${externalId}`);
    return push;
  }

  /** Signs with another key from now on. */
  rotateKey(): void {
    this.#rotations++;
  }

  /** The public key of the moment, in PEM. */
  async publicKey(): Promise<string> {
    return (await this.#key()).pem;
  }

  #key(): Promise<SigningKey> {
    return signingKey(String(this.#rotations));
  }

  /** Ends every token that was given out. */
  revokeTokens(): void {
    this.#tokens.clear();
  }

  /** Releases all held answers. */
  release(): void {
    for (const answer of this.#held.splice(0)) answer();
  }

  /** Posts a body to the registered address. */
  async send(body: unknown): Promise<CallbackAnswer[]> {
    if (this.callbackUrl === null) return [];
    const response = await fetch(this.callbackUrl, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    return [{ status: response.status, text: await response.text() }];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    await Promise.all([this.#auth[Symbol.asyncDispose](), this.#checkout[Symbol.asyncDispose]()]);
  }

  async #answer(routes: Record<string, Endpoint>, request: RawRequest): Promise<RawAnswer> {
    const { method, url } = request;
    if (url.pathname.startsWith("/phone") && routes === CHECKOUT_ROUTES) {
      return await this.#phone(request);
    }
    const endpoint = routes[`${method} ${url.pathname}`];
    if (!endpoint) return { status: 404 };

    this.calls[endpoint]++;
    const fault = this.faults[endpoint].shift();
    if (fault === "break") return "break";
    if (typeof fault === "object") {
      if (!("refusal" in fault)) return toRaw(fault);
      const body = { success: false, transactionId: null, message: fault.refusal };
      return toRaw({ status: 200, body });
    }
    const answer = await this.#does(endpoint, new Asked(request), routes);
    if (fault === "drop") return "break";
    if (fault === "hold") await new Promise<void>((release) => this.#held.push(release));
    return toRaw(answer);
  }

  #does(endpoint: Endpoint, asked: Asked, routes: unknown): Answer | Promise<Answer> {
    switch (endpoint) {
      case "token":
        return this.#token(asked);
      case "checkout":
        return this.#mnoCheckout(asked);
      case "public_key":
        return this.#publicKey(asked, routes === AUTH_ROUTES ? "auth" : "checkout");
      case "partners":
        return this.#partners(asked);
    }
  }

  #token(asked: Asked): Answer {
    const { appName, clientId, clientSecret } = recordOf(asked.body);
    const given = { appName, clientId, clientSecret };
    const missing = Object.entries(given).filter(([, value]) =>
      typeof value !== "string" || value === ""
    );
    if (missing.length > 0) {
      const errors = Object.fromEntries(
        missing.map(([name]) => [name, [`The ${name} field is required.`]]),
      );
      return { status: 400, body: validationProblem(errors) };
    }
    const { apiKey, ...account } = AZAMPAY_ACCOUNT;
    const isKnown = JSON.stringify(given) === JSON.stringify(account) &&
      isKeyGood(asked.header("x-api-key"), apiKey, this.behaviour.apiKeyAt.token);
    if (!isKnown) {
      const message = "Provided detail is not valid for this app or secret key has been expired";
      return { status: 423, body: { data: null, message, success: false, statusCode: 423 } };
    }
    const accessToken = `eyJhbGciOiJIUzI1NiJ9.${crypto.randomUUID().replaceAll("-", "")}`;
    const expiresAt = this.#clock() + this.behaviour.tokenLifeMs;
    this.#tokens.set(accessToken, expiresAt);
    const data = { accessToken, expire: new Date(expiresAt).toISOString() };
    const message = "Token generated successfully";
    return { status: 200, body: { data, message, success: true, statusCode: 200 } };
  }

  async #mnoCheckout(asked: Asked): Promise<Answer> {
    const { apiKey } = AZAMPAY_ACCOUNT;
    const isKey = isKeyGood(asked.header("x-api-key"), apiKey, this.behaviour.apiKeyAt.checkout);
    if (!this.#isAuthorized(asked) || !isKey) return { status: 401 };
    const read = readMnoCheckout(asked.body);
    if ("errors" in read) return { status: 400, body: validationProblem(read.errors) };

    const push = new SimulatedPush(this, read.checkout);
    this.pushes.push(push);
    const { hastyPayer, isIdWithheld } = this.behaviour;
    if (hastyPayer !== null) await push[hastyPayer]();
    const message = "Your request has been received and is being processed.";
    const transactionId = isIdWithheld ? null : push.transactionId;
    return { status: 200, body: { transactionId, message, success: true } };
  }

  async #publicKey(asked: Asked, at: "checkout" | "auth"): Promise<Answer> {
    if (this.behaviour.keyAt !== at) return { status: 404 };
    if (!this.#isAuthorized(asked)) return { status: 401 };
    const format = asked.query.get("format") ?? "Pem";
    if (format !== "Pem" && format !== "Xml") {
      return { status: 400, body: validationProblem({ format: ["Pem or Xml."] }) };
    }
    const { pem, xml } = await this.#key();
    const publicKey = format === "Pem" ? pem : xml;
    return { status: 200, body: { success: true, format, publicKey } };
  }

  #partners(asked: Asked): Answer {
    if (!this.#isAuthorized(asked)) return { status: 401 };
    const partners = [
      ["Airtel", 2],
      ["Tigopesa", 3],
      ["HaloPesa", 4],
      ["Azampesa", 5],
      ["vodacom", 10],
    ] as const;
    return {
      status: 200,
      body: partners.map(([partnerName, provider]) => ({
        logoUrl: `${this.checkoutUrl}/logo/${provider}.png`,
        partnerName,
        provider,
        vendorName: AZAMPAY_ACCOUNT.appName,
        paymentVendorId: crypto.randomUUID(),
        paymentPartnerId: crypto.randomUUID(),
        currency: "TZS",
      })),
    };
  }

  #isAuthorized(asked: Asked): boolean {
    const token = /^Bearer (\S+)$/.exec(asked.header("authorization") ?? "")?.[1] ?? "";
    return (this.#tokens.get(token) ?? 0) > this.#clock();
  }

  async #phone({ method, url }: RawRequest): Promise<RawAnswer> {
    const [, , id, act] = url.pathname.split("/");
    const push = this.pushes.find(({ transactionId }) => transactionId === id);
    if (method === "POST" && push && (act === "approve" || act === "decline")) {
      if (push.state === "waiting") await push[act]();
      return { status: 303, headers: { location: "/phone" } };
    }
    const isPage = method === "GET" && url.pathname === "/phone";
    return toRaw({ status: isPage ? 200 : 404, body: phonePage(this.pushes) });
  }

  /** Signs a callback; for {@linkcode Push}. */
  async sign(
    body: CallbackBody,
    signing: Signing = this.behaviour.signing,
  ): Promise<string | null> {
    switch (signing) {
      case "unsigned":
        return null;
      case "forged":
        return await (await signingKey("forger")).sign(signedText(body));
      case "old_key":
        return await (await signingKey(String(this.#rotations - 1))).sign(signedText(body));
      case "two_fields":
        return await (await this.#key()).sign(shortSignedText(body));
      case "signed":
        return await (await this.#key()).sign(signedText(body));
    }
  }
}

/** A request, as far as AzamPay looks at it. */
class Asked {
  /** JSON, if it says so and is. */
  readonly body: unknown;
  readonly query: URLSearchParams;
  readonly #headers: Headers;

  constructor({ url, headers, body }: RawRequest) {
    const isJson = /^application\/json\b/i.test(headers.get("content-type") ?? "");
    this.body = isJson ? parsed(body) : undefined;
    this.query = url.searchParams;
    this.#headers = headers;
  }

  header(name: string): string | undefined {
    return this.#headers.get(name) ?? undefined;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isKeyGood(given: string | undefined, key: string, isRequired: boolean): boolean {
  return given === undefined ? !isRequired : given === key;
}

function toRaw({ status, body }: Answer): RawAnswer {
  if (body === undefined) return { status };
  const isHtml = typeof body === "string";
  return {
    status,
    headers: { "content-type": `${isHtml ? "text/html" : "application/json"}; charset=utf-8` },
    body: isHtml ? body : JSON.stringify(body),
  };
}
