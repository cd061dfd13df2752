/**
 * Pesapal (API 3.0): the payer is sent to its page, and the outcome is queried. An
 * order is never repeated: each attempt to pay is a new order.
 *
 * Orders need the id of a URL that is registered for callbacks (IPN). It is registered
 * once for each URL and account, and looked up when the id is not known.
 *
 * @module
 */
import type { PesapalConfig } from "../config/gateways.ts";
import { sha256, toBase64Url } from "../digest.ts";
import { type Currency, formatMajor, type Money } from "../money.ts";
import { DAY_MS, orAborted } from "../time.ts";
import { type GatewayCall, GatewayCaller, type GatewayReply } from "./_call.ts";
import {
  confirmationOf,
  errorOf,
  findIpnId,
  ipnIdOf,
  isUnauthorized,
  orderOf,
  outcomeOf,
  tokenOf,
  trackingIdOf,
} from "./_pesapal_answers.ts";
import { callbackOf, ipnAnswer } from "./_pesapal_callbacks.ts";
import { type FreshToken, TokenKeeper } from "./_tokens.ts";
import {
  type BreakerState,
  type CallbackAnswer,
  type Checkout,
  type CheckoutRequest,
  type Confirmation,
  type Gateway,
  type GatewayCallback,
  GatewayError,
  type GatewayOptions,
  type IncomingCall,
} from "./mod.ts";

/** The currencies that it accepts. */
const CURRENCIES: ReadonlySet<Currency> = new Set(["TZS", "KES", "UGX", "RWF", "USD"]);

/** Hosts of its payment pages, beside the host of the API. */
const PAGE_HOSTS: ReadonlySet<string> = new Set(["pay.pesapal.com", "cybqa.pesapal.com"]);

/** Limits of its fields, in characters. */
const DESCRIPTION_MAX = 100;
const NAME_MAX = 50;
const REFERENCE = /^[A-Za-z0-9][A-Za-z0-9-]{0,49}$/;
const URL_MAX = 2_000;

/** Callbacks come by POST, which keeps ids out of URLs. */
const IPN_METHOD = "POST";
/** A registration is permanent; it is looked up again in case it was deleted there. */
const IPN_KEPT_MS = 30 * DAY_MS;

/** A call without its authorization. */
type Call = Omit<GatewayCall, "url" | "headers"> & { path: string };

/** Pesapal, for one account. */
export class Pesapal implements Gateway {
  /** Which one. */
  readonly name = "pesapal";
  /** The payer chooses on Pesapal's page. */
  readonly isMobileMoney = false;
  readonly #config: PesapalConfig;
  readonly #options: GatewayOptions;
  readonly #caller: GatewayCaller;
  readonly #tokens: TokenKeeper;
  /** Distinguishes this account and environment in the cache. */
  readonly #account: string;
  readonly #registrations = new Map<string, Promise<string>>();

  /** Makes no call yet. */
  constructor(config: PesapalConfig, options: GatewayOptions) {
    const { baseUrl, consumerKey, consumerSecret } = config;
    const { cache, clock, random, log, policy = {} } = options;
    this.#config = config;
    this.#options = options;
    this.#account = digest([baseUrl, consumerKey, consumerSecret]);
    this.#caller = new GatewayCaller({
      gateway: this.name,
      random,
      log,
      policy,
      secrets: [consumerKey, consumerSecret],
    });
    this.#tokens = new TokenKeeper({
      cache,
      clock,
      name: `pesapal token ${this.#account}`,
      request: () => this.#requestToken(),
    });
  }

  /** Of this instance. */
  get breaker(): BreakerState {
    return this.#caller.breaker;
  }

  /** Why it cannot take an amount, for the payer to read; null if it can. */
  refusalOf({ currency, minor }: Money): string | null {
    if (!CURRENCIES.has(currency)) return `Pesapal does not accept ${currency}`;
    return minor > 0 ? null : "There is nothing to pay";
  }

  /** Submits an order. Up to four round trips the first time, and one later on. */
  async startCheckout(request: CheckoutRequest, signal?: AbortSignal): Promise<Checkout> {
    const { reference, amount, description, payer, returnUrl, notificationUrl } = request;
    const refusal = this.refusalOf(amount);
    if (refusal !== null) throw this.#refused("amount", refusal);
    if (!REFERENCE.test(reference)) {
      throw this.#refused("reference", "The reference is not valid for Pesapal");
    }
    if (payer.email === null && payer.phone === null) {
      throw this.#refused("payer", "Pesapal requires an e-mail address or a phone number");
    }
    const body = await this.#call({
      does: "start a payment",
      method: "POST",
      path: "/api/Transactions/SubmitOrderRequest",
      body: {
        id: reference,
        currency: amount.currency,
        // Exact, since a number holds up to 15 digits.
        amount: Number(formatMajor(amount)),
        description: cut(description, DESCRIPTION_MAX),
        callback_url: returnUrl,
        cancellation_url: returnUrl,
        redirect_mode: "TOP_WINDOW",
        notification_id: await this.#ipnId(notificationUrl, signal),
        billing_address: billingOf(payer),
      },
      isRepeatable: false,
      signal,
    }).catch((error) => this.#forgetRefusedIpn(error, notificationUrl));
    const order = orderOf(body);
    if (order.reference !== reference || order.trackingId === null) {
      throw this.#unknown("mismatch", "Pesapal answered about another payment");
    }
    if (!this.#isPage(order.redirectUrl)) {
      throw this.#unknown("bad_address", "Pesapal returned no valid payment page");
    }
    return { trackingId: order.trackingId, redirectUrl: order.redirectUrl };
  }

  /** Queries the status by tracking id, the only id that Pesapal accepts; null without one. */
  async queryStatus(
    { trackingId }: { trackingId: string | null },
    signal?: AbortSignal,
  ): Promise<Confirmation | null> {
    const known = trackingIdOf(trackingId);
    if (known === null) return null;
    const { status, body } = await this.#authorized({
      does: "query a payment",
      method: "GET",
      path: `/api/Transactions/GetTransactionStatus?orderTrackingId=${known}`,
      isRepeatable: true,
      signal,
    });
    const confirmation = confirmationOf(body);
    // The fields of a refusal are not reliable.
    return status < 300 ? confirmation : { ...confirmation, state: "unknown" };
  }

  /**
   * Requests a refund, which a person then approves in Pesapal's dashboard; a completed
   * one shows as `reversed`. Mobile money is refunded in full or not at all.
   */
  async refund(
    request: { confirmationCode: string; amount: Money; by: string; reason: string },
    signal?: AbortSignal,
  ): Promise<{ message: string }> {
    const { confirmationCode, amount, by, reason } = request;
    const body = await this.#call({
      does: "request a refund",
      method: "POST",
      path: "/api/Transactions/RefundRequest",
      body: {
        confirmation_code: confirmationCode,
        amount: formatMajor(amount),
        username: cut(by, NAME_MAX),
        remarks: cut(reason, DESCRIPTION_MAX),
      },
      isRepeatable: false,
      signal,
    });
    const outcome = outcomeOf(body);
    if (!outcome) {
      throw this.#unknown("no_verdict", "Pesapal did not say whether it accepts the refund");
    }
    if (!outcome.isDone) {
      throw this.#refused("refund_refused", `Pesapal refused the refund: ${outcome.message}`);
    }
    return { message: outcome.message };
  }

  /** Cancels an unpaid order; false if Pesapal did not, as for a paid one. */
  async cancel({ trackingId }: { trackingId: string }, signal?: AbortSignal): Promise<boolean> {
    const { body } = await this.#authorized({
      does: "cancel a payment",
      method: "POST",
      path: "/api/Transactions/CancelOrder",
      body: { order_tracking_id: trackingId },
      // It would refuse a repeated request although the first one succeeded.
      isRepeatable: false,
      signal,
    });
    return outcomeOf(body)?.isDone ?? false;
  }

  /** Reads a callback; null if it is not one of Pesapal. */
  readCallback(call: IncomingCall): Promise<GatewayCallback | null> {
    return Promise.resolve(callbackOf(call));
  }

  /** The response to a callback. */
  answerOf(callback: GatewayCallback | null, isStored: boolean): CallbackAnswer {
    return ipnAnswer(callback, isStored);
  }

  /** Makes a call; an answer with an error is thrown. */
  async #call(call: Call): Promise<unknown> {
    const { status, body } = await this.#authorized(call);
    const error = errorOf(body);
    if (error) {
      throw this.#refused(error.code, `Cannot ${call.does}: Pesapal says ${error.message}`);
    }
    if (status >= 300) {
      throw this.#refused(`http_${status}`, `Cannot ${call.does}: Pesapal refused, ${status}`);
    }
    return body;
  }

  /** Makes a call with the token, and once more with a new token if that is refused. */
  async #authorized(call: Call): Promise<GatewayReply> {
    const token = await this.#beforehand(() => this.#tokens.get(), call.signal);
    const reply = await this.#request(call, token);
    if (!isUnauthorized(reply)) return reply;
    // A refused token has no effect, so even an order may be submitted again.
    const other = await this.#beforehand(() => this.#tokens.get(token), call.signal);
    const second = await this.#request(call, other);
    if (!isUnauthorized(second)) return second;
    throw this.#refused("unauthorized", `Cannot ${call.does}: Pesapal refuses our tokens`);
  }

  #request({ path, ...call }: Call, token?: string): Promise<GatewayReply> {
    return this.#caller.json({
      ...call,
      url: this.#config.baseUrl + path,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    });
  }

  async #requestToken(): Promise<FreshToken> {
    const { consumerKey, consumerSecret } = this.#config;
    const requestedAt = this.#options.clock();
    const { body, date } = await this.#request({
      does: "sign in",
      method: "POST",
      path: "/api/Auth/RequestToken",
      body: { consumer_key: consumerKey, consumer_secret: consumerSecret },
      isRepeatable: true,
    });
    const found = tokenOf(body);
    if (!found) {
      const { code, message } = errorOf(body) ?? { code: "no_token", message: "no token" };
      throw this.#refused(code, `Cannot sign in: Pesapal says ${message}`);
    }
    const { token, expiresAt } = found;
    // Measured by Pesapal's clock, since ours may be wrong.
    return { token, lifeMs: expiresAt === null ? null : expiresAt - (date ?? requestedAt) };
  }

  /** The id of our callback URL. */
  async #ipnId(url: string, signal?: AbortSignal): Promise<string> {
    const { cache } = this.#options;
    const known = await cache.get(this.#ipnName(url));
    if (known !== null) return known;
    let registration = this.#registrations.get(url);
    if (!registration) {
      registration = this.#register(url).finally(() => this.#registrations.delete(url));
      this.#registrations.set(url, registration);
    }
    return await this.#beforehand(() => registration, signal);
  }

  async #register(url: string): Promise<string> {
    const list = await this.#call({
      does: "list the callback URLs",
      method: "GET",
      path: "/api/URLSetup/GetIpnList",
      isRepeatable: true,
    });
    const id = findIpnId(list, url, IPN_METHOD) ?? ipnIdOf(
      await this.#call({
        does: "register the callback URL",
        method: "POST",
        path: "/api/URLSetup/RegisterIPN",
        body: { url, ipn_notification_type: IPN_METHOD },
        isRepeatable: false,
      }),
    );
    if (id === null) {
      throw this.#unknown("no_ipn_id", "Pesapal returned no id for the callback URL");
    }
    const { cache, clock } = this.#options;
    await cache.set(this.#ipnName(url), id, clock() + IPN_KEPT_MS);
    return id;
  }

  #ipnName(url: string): string {
    return `pesapal ipn ${this.#account} ${digest([IPN_METHOD, url])}`;
  }

  /** Forgets a registration that Pesapal refused, so that the next order registers again. */
  async #forgetRefusedIpn(error: unknown, url: string): Promise<never> {
    const isAboutIpn = error instanceof GatewayError && error.outcome === "refused" &&
      /ipn|notification/i.test(`${error.code} ${error.message}`);
    if (isAboutIpn) await this.#options.cache.set(this.#ipnName(url), "", 0);
    throw error;
  }

  /** Prepares a call. A failure is `not_sent`, as the call itself was not made. */
  async #beforehand<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      // Other calls wait for the same work; cancelling one must not cancel it for them.
      return await orAborted(work(), signal);
    } catch (error) {
      if (signal?.aborted) {
        throw new GatewayError(
          this.name,
          "not_sent",
          "aborted",
          "Cannot call Pesapal: the call was cancelled",
        );
      }
      if (!(error instanceof GatewayError) || error.outcome !== "unknown") throw error;
      throw new GatewayError(this.name, "not_sent", error.code, error.message);
    }
  }

  /** Whether `url` is a page of Pesapal, to which a payer may be sent. */
  #isPage(url: string | null): url is string {
    const page = url === null || url.length > URL_MAX ? null : URL.parse(url);
    if (!page || page.username !== "" || page.password !== "") return false;
    const api = new URL(this.#config.baseUrl);
    // A local simulator has no certificate.
    if (page.protocol !== "https:") return page.origin === api.origin;
    return page.host === api.host || PAGE_HOSTS.has(page.host);
  }

  #refused(code: string, message: string): GatewayError {
    return new GatewayError(this.name, "refused", code, message);
  }

  #unknown(code: string, message: string): GatewayError {
    return new GatewayError(this.name, "unknown", code, message);
  }
}

function billingOf({ name, email, phone }: CheckoutRequest["payer"]): Record<string, string> {
  const words = name.trim().split(/\s+/);
  const last = words.length > 1 ? words.pop() ?? "" : "";
  return {
    ...(email === null ? {} : { email_address: email }),
    ...(phone === null ? {} : { phone_number: phone }),
    first_name: cut(words.join(" "), NAME_MAX),
    last_name: cut(last, NAME_MAX),
  };
}

/** At most `max` UTF-16 units, and no half of a character. */
function cut(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}

function digest(parts: readonly string[]): string {
  return toBase64Url(sha256(JSON.stringify(parts)).subarray(0, 16));
}
