/**
 * Pesapal on this machine: a real HTTP server, as strict as documented, with every habit of the
 * real one as a switch. Notifies as reliably or unreliably as a test asks, and knows what was
 * really paid.
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
  readOrder,
  recordOf,
  type Refusal,
  utcTime,
} from "./pesapal_contract.ts";
import { payerPage } from "./pesapal_page.ts";
import { type RawAnswer, type RawServer, startRawServer } from "./raw_server.ts";
import {
  type Endpoint,
  type Fault,
  PESAPAL_ACCOUNT,
  type PesapalBehaviour,
} from "./pesapal_behaviour.ts";
import { IFRAME, type Moved, type Registration, SimulatedOrder } from "./pesapal_order.ts";
import { type Answer, Asked, Decimal, toRaw } from "./pesapal_wire.ts";

const STATES = ["INVALID", "COMPLETED", "FAILED", "REVERSED"] as const;

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
  /** How often it was called. */
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
  /** What was really paid and refunded, in order. */
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

  /** Releases all held answers. */
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

  /** Accepts a refund request, which a person grants later. */
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
