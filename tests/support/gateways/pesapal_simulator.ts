/**
 * Pesapal on this machine: a real HTTP server, as strict as it is documented to be,
 * with every habit of the real one as a switch, that notifies as well or as badly as
 * a test wants. It knows what was really paid.
 *
 * @module
 */
import {
  apiError,
  BAD_TOKEN,
  eastAfricaTime,
  isGuid,
  isText,
  isUrl,
  newToken,
  type Order,
  readOrder,
  recordOf,
  type Refusal,
  utcTime,
} from "./pesapal_contract.ts";
import { payerPage } from "./pesapal_page.ts";
import { type RawAnswer, type RawRequest, type RawServer, startRawServer } from "./raw_server.ts";

/** What Pesapal has registered. */
export const PESAPAL_ACCOUNT = Object.freeze({
  consumerKey: "simulatedConsumerKey7Qm2",
  consumerSecret: "simulated/consumerSecret+9Xr4=",
});

/** What can be asked of it. */
export type Endpoint =
  | "token"
  | "register_ipn"
  | "list_ipn"
  | "submit"
  | "status"
  | "refund"
  | "cancel";

/** What goes wrong with one call. */
export type Fault =
  /** Nothing is done; this is answered. Without a body it is empty; a text is sent as HTML. */
  | { status: number; body?: unknown }
  /** Nothing is done; it says so in its own words. */
  | { refusal: { code: string; message?: string; type?: string } }
  /** Nothing is done; the connection breaks. */
  | "break"
  /** It is done; the connection breaks instead of an answer. */
  | "drop"
  /** It is done; the answer waits for {@linkcode PesapalSimulator.release}. */
  | "hold"
  /** It is done; the answer is a page. */
  | "html";

/** How it behaves, to be changed at any time. Where sources contradict each other, the first is usual. */
export interface PesapalBehaviour {
  /** How long a token is good, in milliseconds: five minutes by the documents, an hour by records. */
  tokenLifeMs: number;
  /** Whether `expiryDate` is said at all. */
  isExpirySaid: boolean;
  /** The HTTP status of errors: always 200, or one that fits. */
  errorStatus: "200" | "fitting";
  /** What the type of an error is called. */
  errorTypeName: "error_type" | "type";
  /** What `error` is when there is none. */
  noError: "null" | "all_null";
  /** The `status` in bodies. */
  statusAs: "text" | "number";
  /** How an order that nobody paid is answered for. */
  unpaidAs: "error_500" | "plain";
  /** How states are written. */
  descriptions: "upper" | "title";
  /** Digits after the point of amounts. */
  amountDigits: 0 | 1 | 2;
  /** How the reference is said back. */
  referenceCase: "same" | "upper";
  /** Where payers are sent. */
  redirect: "page" | "null" | "empty" | "http" | "foreign";
  /** Where to be notified, as the list has it: with all that registering told, or the URL and id only. */
  listAs: "short" | "full";
  /** What the account may be paid in. */
  currencies: ReadonlySet<string>;
  /** The most that an order may ask for. */
  amountMax: number;
  /** What a payer does before the order is answered, so that the notification comes first. */
  hastyPayer: "complete" | "fail" | null;
  /** How often a change is notified. */
  ipnTimes: number;
}

/** What was answered to a notification. */
export interface IpnAnswer {
  status: number;
  text: string;
  /** Whether it is the answer that Pesapal waits for. */
  isAcknowledged: boolean;
}

/** How a payment comes out. */
export interface Outcome {
  /** What is paid; what was asked for if absent. */
  amount?: number;
  /** In what. */
  currency?: string;
  /** Such as `Visa`; `MPESA` if absent. */
  method?: string;
  /** How often it is notified. */
  ipnTimes?: number;
}

/** Money that really moved; what went back is negative. */
export interface Moved {
  reference: string;
  trackingId: string;
  amount: number;
  currency: string;
}

interface Answer {
  status: number;
  /** Text is HTML, all else JSON; empty if absent. */
  body?: unknown;
  location?: string;
}

interface Registration {
  ipnId: string;
  url: string;
  type: "GET" | "POST";
  createdAt: number;
}

const STATES = ["INVALID", "COMPLETED", "FAILED", "REVERSED"] as const;

const IFRAME = "/pesapaliframe/PesapalIframe3/";

/** An amount in JSON, with so many digits after the point, or more if it needs them. */
class Decimal {
  constructor(readonly value: number, readonly digits: number) {}

  get text(): string {
    const needed = String(this.value).split(".")[1]?.length ?? 0;
    return this.value.toFixed(Math.max(needed, this.digits));
  }
}

/** Pesapal, running. */
export class PesapalSimulator implements AsyncDisposable {
  /** How it behaves. */
  readonly behaviour: PesapalBehaviour = {
    tokenLifeMs: 300_000,
    isExpirySaid: true,
    errorStatus: "200",
    errorTypeName: "error_type",
    noError: "null",
    statusAs: "text",
    unpaidAs: "error_500",
    descriptions: "title",
    amountDigits: 2,
    referenceCase: "same",
    redirect: "page",
    listAs: "short",
    currencies: new Set(["KES", "TZS", "UGX", "RWF", "USD"]),
    amountMax: 100_000_000_000_000,
    hastyPayer: null,
    ipnTimes: 1,
  };
  /** What goes wrong with the next calls, the first one first. */
  readonly faults: Record<Endpoint, Fault[]> = {
    token: [],
    register_ipn: [],
    list_ipn: [],
    submit: [],
    status: [],
    refund: [],
    cancel: [],
  };
  /** How often it was asked. */
  readonly calls: Record<Endpoint, number> = {
    token: 0,
    register_ipn: 0,
    list_ipn: 0,
    submit: 0,
    status: 0,
    refund: 0,
    cancel: 0,
  };
  /** All orders, in order. */
  readonly orders: SimulatedOrder[] = [];
  /** What was really paid and taken back, in order. */
  readonly money: Moved[] = [];
  /** Which address wants which notifications. */
  readonly registrations: Registration[] = [];

  readonly #clock: () => number;
  readonly #server: RawServer;
  readonly #tokens = new Map<string, number>();
  readonly #held = new Set<() => void>();

  private constructor(clock: () => number, port: number) {
    this.#clock = clock;
    this.#server = startRawServer((request) => this.#answer(new Asked(request)), port);
  }

  /** Starts it on a free port, or on `port`. */
  static start(
    { port = 0, clock = Date.now }: { port?: number; clock?: () => number } = {},
  ): PesapalSimulator {
    return new PesapalSimulator(clock, port);
  }

  /** Where it listens. */
  get origin(): string {
    return this.#server.url;
  }

  /** Where its API begins. */
  get baseUrl(): string {
    return `${this.origin}/pesapalv3`;
  }

  /** What a program needs to use it. */
  get environment(): Record<string, string> {
    return {
      PESAPAL_BASE_URL: this.baseUrl,
      PESAPAL_CONSUMER_KEY: PESAPAL_ACCOUNT.consumerKey,
      PESAPAL_CONSUMER_SECRET: PESAPAL_ACCOUNT.consumerSecret,
    };
  }

  /** The moment, milliseconds UTC. */
  get now(): number {
    return this.#clock();
  }

  /** The order with our reference or its tracking id. */
  order(name: string): SimulatedOrder {
    const order = this.#find(name) ?? this.orders.findLast(({ request }) => request.id === name);
    if (!order) throw new Error(`Pesapal knows nothing of ${name}`);
    return order;
  }

  /** Ends every token that was given out. */
  revokeTokens(): void {
    this.#tokens.clear();
  }

  /** Lets go of all answers that are held. */
  release(): void {
    for (const answer of this.#held) answer();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    await this.#server[Symbol.asyncDispose]();
  }

  #find(trackingId: string): SimulatedOrder | undefined {
    return this.orders.find((order) => order.trackingId === trackingId.toLowerCase());
  }

  async #answer(asked: Asked): Promise<RawAnswer> {
    const answer = asked.path.startsWith(IFRAME)
      ? await this.#page(asked)
      : await this.#answerApi(asked);
    return answer === "break" ? answer : toRaw(answer, this.#clock());
  }

  async #answerApi(asked: Asked): Promise<Answer | "break"> {
    const route = this.#routeOf(asked);
    if (!route) return { status: 404, body: "<h1>Not Found</h1>" };

    const [endpoint, does] = route;
    this.calls[endpoint]++;
    const fault = this.faults[endpoint].shift();
    if (fault === "break") return "break";
    if (typeof fault === "object") {
      return "refusal" in fault
        ? this.#refuse({ type: "api_error", message: "", ...fault.refusal })
        : fault;
    }
    const isAuthorized = endpoint === "token" || this.#isAuthorized(asked);
    const answer = isAuthorized ? await does.call(this, asked) : this.#refuse(BAD_TOKEN, 401);
    if (fault === "drop") return "break";
    if (fault === "html") return { status: 200, body: "<h1>One moment</h1>" };
    if (fault === "hold") await this.#hold();
    return answer;
  }

  #hold(): Promise<void> {
    return new Promise((resolve) => {
      const release = () => {
        this.#held.delete(release);
        resolve();
      };
      this.#held.add(release);
    });
  }

  #routeOf(
    { method, path }: Asked,
  ): [Endpoint, (asked: Asked) => Answer | Promise<Answer>] | undefined {
    switch (`${method} ${path}`) {
      case "POST /pesapalv3/api/Auth/RequestToken":
        return ["token", this.#token];
      case "POST /pesapalv3/api/URLSetup/RegisterIPN":
        return ["register_ipn", this.#registerIpn];
      case "GET /pesapalv3/api/URLSetup/GetIpnList":
        return ["list_ipn", this.#listIpn];
      case "POST /pesapalv3/api/Transactions/SubmitOrderRequest":
        return ["submit", this.#submit];
      case "GET /pesapalv3/api/Transactions/GetTransactionStatus":
        return ["status", this.#status];
      case "POST /pesapalv3/api/Transactions/RefundRequest":
        return ["refund", this.#refund];
      case "POST /pesapalv3/api/Transactions/CancelOrder":
        return ["cancel", this.#cancel];
    }
  }

  #isAuthorized({ headers }: Asked): boolean {
    const token = /^Bearer +(\S+)$/.exec(headers.get("authorization") ?? "")?.[1] ?? "";
    return (this.#tokens.get(token) ?? 0) > this.#clock();
  }

  #status200(): unknown {
    return this.behaviour.statusAs === "text" ? "200" : 200;
  }

  #noError(): unknown {
    if (this.behaviour.noError === "null") return null;
    return this.#error({ type: null, code: null, message: null });
  }

  #error({ type, code, message }: { type: unknown; code: unknown; message: unknown }): unknown {
    return { [this.behaviour.errorTypeName]: type, code, message, call_back_url: null };
  }

  /** Errors come with status 200 and another one in the body. */
  #refuse(refusal: Refusal, status = 500): Answer {
    const { errorStatus, statusAs } = this.behaviour;
    return {
      status: errorStatus === "200" ? 200 : status === 500 ? 400 : status,
      body: {
        error: this.#error(refusal),
        status: statusAs === "text" ? String(status) : status,
        message: refusal.message,
      },
    };
  }

  #token({ body }: Asked): Answer {
    const { consumer_key: key, consumer_secret: secret } = recordOf(body);
    const { consumerKey, consumerSecret } = PESAPAL_ACCOUNT;
    if (key !== consumerKey || secret !== consumerSecret) {
      return this.#refuse(apiError("invalid_consumer_key_or_secret_provided", ""));
    }
    const { tokenLifeMs, isExpirySaid } = this.behaviour;
    const expiresAt = this.#clock() + tokenLifeMs;
    const token = newToken(this.#clock(), tokenLifeMs);
    this.#tokens.set(token, expiresAt);
    return {
      status: 200,
      body: {
        token,
        ...(isExpirySaid ? { expiryDate: utcTime(expiresAt) } : {}),
        error: this.#noError(),
        status: this.#status200(),
        message: "Request processed successfully",
      },
    };
  }

  #registerIpn({ body }: Asked): Answer {
    const { url, ipn_notification_type: type } = recordOf(body);
    if (!isUrl(url)) return this.#refuse(apiError("invalid_ipn_url", "The url is not valid"));
    if (type !== "GET" && type !== "POST") {
      return this.#refuse(apiError("invalid_ipn_notification_type", "It is GET or POST"));
    }
    const ipnId = crypto.randomUUID();
    const registration: Registration = { ipnId, url, type, createdAt: this.#clock() };
    this.registrations.push(registration);
    return { status: 200, body: this.#registered(registration, "full") };
  }

  #registered({ ipnId, url, type, createdAt }: Registration, as: "short" | "full"): unknown {
    const all = {
      id: this.registrations.length,
      notification_type: type === "GET" ? 0 : 1,
      ipn_notification_type_description: type,
      ipn_status: 1,
      // As it is spelt.
      ipn_status_decription: "Active",
    };
    return {
      url,
      created_date: utcTime(createdAt),
      ipn_id: ipnId,
      ...(as === "full" ? all : {}),
      error: this.#noError(),
      status: this.#status200(),
    };
  }

  #listIpn(): Answer {
    const { listAs } = this.behaviour;
    return { status: 200, body: this.registrations.map((one) => this.#registered(one, listAs)) };
  }

  async #submit({ body }: Asked): Promise<Answer> {
    const read = readOrder(body, this.behaviour.currencies);
    if (typeof read === "string") return this.#refuse(apiError("invalid_request", read));
    const registration = this.registrations.find(({ ipnId }) => ipnId === read.notification_id);
    if (!registration) {
      return this.#refuse(apiError("invalid_notification_id", "The IPN is not registered"));
    }
    if (this.orders.some(({ request }) => request.id === read.id)) {
      return this.#refuse(apiError("duplicate_merchant_reference", "The id was used before"));
    }
    if (read.amount > this.behaviour.amountMax) {
      const message = "The amount exceeds your limit";
      return this.#refuse(apiError("amount_exceeds_default_limit", message));
    }
    const order = new SimulatedOrder(this, read, registration);
    this.orders.push(order);
    const { hastyPayer } = this.behaviour;
    if (hastyPayer !== null) await order[hastyPayer]();
    return {
      status: 200,
      body: {
        order_tracking_id: order.trackingId,
        merchant_reference: this.#referenceOf(order),
        redirect_url: this.#redirectOf(order),
        error: this.#noError(),
        status: this.#status200(),
      },
    };
  }

  #referenceOf({ request: { id } }: SimulatedOrder): string {
    return this.behaviour.referenceCase === "same" ? id : id.toUpperCase();
  }

  #redirectOf({ pageUrl, trackingId }: SimulatedOrder): string | null {
    const path = `${IFRAME}Index?OrderTrackingId=${trackingId}`;
    switch (this.behaviour.redirect) {
      case "page":
        return pageUrl;
      case "null":
        return null;
      case "empty":
        return "";
      case "http":
        return `http://pay.pesapal.com${path}`;
      case "foreign":
        return `https://pay.pesapal.com.example.com${path}`;
    }
  }

  #status({ query }: Asked): Answer {
    const [, trackingId = ""] =
      [...query].find(([name]) => name.toLowerCase() === "ordertrackingid") ?? [];
    const order = this.#find(trackingId);
    if (!order) {
      const code = isGuid(trackingId) ? "order_not_found" : "invalid_order_tracking_id";
      return this.#refuse(apiError(code, "The order is not known"));
    }
    const { unpaidAs, descriptions, amountDigits } = this.behaviour;
    const { request, paid, code, reason } = order;
    const isUnpaid = code === 0;
    const error = isUnpaid && unpaidAs === "error_500"
      ? this.#error(apiError("payment_details_not_found", "Pending Payment"))
      : this.#noError();
    const description = STATES[code];
    return {
      status: 200,
      body: {
        payment_method: paid?.method ?? "",
        amount: new Decimal(paid?.amount ?? request.amount, amountDigits),
        created_date: eastAfricaTime(order.createdAt),
        confirmation_code: order.confirmationCode,
        order_tracking_id: order.trackingId,
        payment_status_description: descriptions === "upper" || isUnpaid
          ? description
          : description.charAt(0) + description.slice(1).toLowerCase(),
        description: reason,
        message: "Request processed successfully",
        payment_account: paid ? "476173**0010" : "",
        call_back_url: order.returnUrl,
        status_code: code,
        merchant_reference: this.#referenceOf(order),
        payment_status_code: code === 2 ? "request_terminated_by_user" : "",
        currency: paid?.currency ?? request.currency,
        error,
        status: isUnpaid && unpaidAs === "error_500" ? "500" : this.#status200(),
      },
    };
  }

  /** Takes the wish to have money back; a person grants it. */
  #refund({ body }: Asked): Answer {
    const { confirmation_code: code, amount, username, remarks } = recordOf(body);
    const order = this.orders.find(({ confirmationCode }) =>
      confirmationCode !== "" && confirmationCode === code
    );
    const said = Number(amount);
    const { paid, refundAsked } = order ?? {};
    const isAmount = /^\d+(?:\.\d{1,2})?$/.test(String(amount)) && said > 0;
    const isWhole = said === paid?.amount;
    const isTaken = order?.code === 1 && paid && refundAsked === null && isAmount &&
      said <= paid.amount && (isWhole || paid.method === "Visa") && isText(username, 200) &&
      isText(remarks, 500);
    if (!isTaken) return this.#verdict(false, "Refund rejected");
    order.refundAsked = said;
    return this.#verdict(true, "Refund request successfully");
  }

  #cancel({ body }: Asked): Answer {
    const { order_tracking_id: trackingId } = recordOf(body);
    const order = isGuid(trackingId) ? this.#find(trackingId) : undefined;
    const isOpen = order && !order.isCancelled && (order.code === 0 || order.code === 2);
    if (!isOpen) return this.#verdict(false, "Order could not be cancelled");
    order.isCancelled = true;
    return this.#verdict(true, "Order successfully cancelled.");
  }

  #verdict(isDone: boolean, message: string): Answer {
    const status = isDone ? 200 : 500;
    const { statusAs } = this.behaviour;
    return {
      status: 200,
      body: { status: statusAs === "text" ? String(status) : status, message },
    };
  }

  async #page(asked: Asked): Promise<Answer> {
    const order = this.#find(asked.query.get("OrderTrackingId") ?? "");
    if (!order) return { status: 404, body: "<h1>No such order</h1>" };
    const { trackingId, returnUrl, cancelUrl, pageUrl, request } = order;
    const isOpen = !order.isCancelled && (order.code === 0 || order.code === 2);
    switch (`${asked.method} ${asked.path.slice(IFRAME.length)}`) {
      case "GET Index": {
        const state = order.isCancelled
          ? "cancelled"
          : isOpen
          ? order.code === 2 ? "failed" : "open"
          : "paid";
        const { description, currency, amount } = request;
        const price = `${currency} ${amount.toFixed(2)}`;
        const body = payerPage({ trackingId, description, price, state, returnUrl });
        return { status: 200, body };
      }
      case "POST Pay":
        if (isOpen) await order.complete();
        return { status: 303, location: returnUrl };
      case "POST Fail":
        if (isOpen) await order.fail();
        return { status: 303, location: pageUrl };
      case "POST Cancel":
        return { status: 303, location: cancelUrl };
      default:
        return { status: 404, body: "<h1>Not Found</h1>" };
    }
  }
}

/** An order, and what becomes of it. */
export class SimulatedOrder {
  /** Pesapal's name for it. */
  readonly trackingId: string = crypto.randomUUID();
  /** When it was submitted, milliseconds UTC. */
  readonly createdAt: number;
  /** What status says. */
  code: 0 | 1 | 2 | 3 = 0;
  /** What was paid. */
  paid: { amount: number; currency: string; method: string } | null = null;
  /** Of what was paid. */
  confirmationCode = "";
  /** Why it failed. */
  reason: string | null = null;
  /** Whether it can no longer be paid. */
  isCancelled = false;
  /** How much somebody wants back. */
  refundAsked: number | null = null;

  readonly #simulator: PesapalSimulator;
  readonly #registration: Registration;

  constructor(
    simulator: PesapalSimulator,
    /** As it was submitted. */
    readonly request: Order,
    registration: Registration,
  ) {
    this.#simulator = simulator;
    this.#registration = registration;
    this.createdAt = simulator.now;
  }

  /** Where the payer pays. */
  get pageUrl(): string {
    return `${this.#simulator.origin}${IFRAME}Index?OrderTrackingId=${this.trackingId}`;
  }

  /** Where the payer's browser goes when it is done. */
  get returnUrl(): string {
    return this.#named(this.request.callback_url, "CALLBACKURL");
  }

  /** Where it goes when the payer gives up. */
  get cancelUrl(): string {
    const { cancellation_url, callback_url } = this.request;
    return this.#named(cancellation_url ?? callback_url, "CALLBACKURL");
  }

  /** Takes the money, and tells of it. What is paid again is taken again. */
  async complete(outcome: Outcome = {}): Promise<IpnAnswer[]> {
    if (this.isCancelled) throw new Error("A cancelled order cannot be paid");
    const { amount = this.request.amount, currency = this.request.currency } = outcome;
    this.paid = { amount, currency, method: outcome.method ?? "MPESA" };
    this.confirmationCode = `SIM${this.trackingId.slice(0, 8).toUpperCase()}`;
    this.code = 1;
    this.reason = null;
    this.#move(amount);
    return await this.notify({ times: outcome.ipnTimes });
  }

  /** Takes nothing, and tells of it; the payer may try again. */
  async fail(outcome: Pick<Outcome, "ipnTimes"> = {}): Promise<IpnAnswer[]> {
    this.code = 2;
    this.reason = "Request cancelled by user";
    return await this.notify({ times: outcome.ipnTimes });
  }

  /** Gives the money back, as after a refund that was granted, and tells of it. */
  async reverse(outcome: Pick<Outcome, "ipnTimes"> = {}): Promise<IpnAnswer[]> {
    if (!this.paid || this.code !== 1) throw new Error("Only what is paid can be reversed");
    this.code = 3;
    this.#move(-this.paid.amount);
    return await this.notify({ times: outcome.ipnTimes });
  }

  /** Tells of it as often as is usual, or `times`, one after the other. */
  async notify(
    { times = this.#simulator.behaviour.ipnTimes, kind = "IPNCHANGE" }: {
      times?: number | undefined;
      kind?: "IPNCHANGE" | "RECURRING";
    } = {},
  ): Promise<IpnAnswer[]> {
    const answers: IpnAnswer[] = [];
    for (let i = 0; i < times; i++) answers.push(await this.#notifyOnce(kind));
    return answers;
  }

  async #notifyOnce(kind: string): Promise<IpnAnswer> {
    const { url, type } = this.#registration;
    const values = this.#values(kind);
    const response = type === "GET"
      ? await fetch(this.#named(url, kind), { redirect: "manual" })
      : await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(values),
        redirect: "manual",
      });
    const text = await response.text();
    return { status: response.status, text, isAcknowledged: isAcknowledged(text, values) };
  }

  #values(kind: string) {
    return {
      OrderNotificationType: kind,
      OrderTrackingId: this.trackingId,
      OrderMerchantReference: this.request.id,
    };
  }

  #named(address: string, kind: string): string {
    const url = new URL(address);
    for (const [name, value] of Object.entries(this.#values(kind))) {
      url.searchParams.append(name, value);
    }
    return url.href;
  }

  #move(amount: number): void {
    this.#simulator.money.push({
      reference: this.request.id,
      trackingId: this.trackingId,
      amount,
      currency: this.paid?.currency ?? this.request.currency,
    });
  }
}

/** The answer has what was sent, and 200 as a number. */
function isAcknowledged(text: string, sent: Record<string, string>): boolean {
  let answer: Record<string, unknown>;
  try {
    answer = recordOf(JSON.parse(text));
  } catch {
    return false;
  }
  return answer.orderNotificationType === sent.OrderNotificationType &&
    answer.orderTrackingId === sent.OrderTrackingId &&
    answer.orderMerchantReference === sent.OrderMerchantReference && answer.status === 200;
}

/** A request, as far as Pesapal looks at it. */
class Asked {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  /** JSON, if it says so and is. */
  readonly body: unknown;

  constructor({ method, url, headers, body }: RawRequest) {
    this.method = method;
    // Live and sandbox differ in their first part only.
    this.path = url.pathname.replace(/^\/v3\//, "/pesapalv3/");
    this.query = url.searchParams;
    this.headers = headers;
    const isJson = /^application\/json\b/i.test(headers.get("content-type") ?? "");
    this.body = isJson ? parsed(body) : undefined;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toRaw({ status, body, location }: Answer, now: number): RawAnswer {
  const isHtml = typeof body === "string";
  const type = isHtml ? "text/html; charset=utf-8" : "application/json; charset=utf-8";
  return {
    status,
    headers: {
      date: new Date(now).toUTCString(),
      "cache-control": "no-cache",
      ...(body === undefined ? {} : { "content-type": type }),
      ...(location === undefined ? {} : { location }),
    },
    body: body === undefined ? "" : isHtml ? body : toJson(body),
  };
}

/** JSON in which amounts have the digits that they are to have. */
function toJson(body: unknown): string {
  const mark = crypto.randomUUID();
  const text = JSON.stringify(
    body,
    (_, value) => value instanceof Decimal ? `${mark}${value.text}${mark}` : value,
  );
  return text.replaceAll(`"${mark}`, "").replaceAll(`${mark}"`, "");
}
