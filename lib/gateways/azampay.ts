/**
 * AzamPay: mobile money in Tanzania. The payer's telephone asks for a PIN, and AzamPay
 * sends the outcome in a signed callback. It has no call for the status of a payment,
 * for refunds or for cancelling: if a callback is missing, a person checks.
 *
 * @module
 */
import { z } from "zod";
import type { AzamPayConfig } from "../config/gateways.ts";
import type { Log } from "../telemetry/mod.ts";
import type { Money } from "../money.ts";
import type { Clock } from "../time.ts";
import { GatewayCaller, type GatewayReply, quotable } from "./_call.ts";
import { type FreshToken, TokenKeeper } from "./_tokens.ts";
import {
  type AzamPayCallback,
  confirmationOf,
  parseCallback,
  signedText,
  stateOf,
  trackingIdsOf,
} from "./_azampay_callback.ts";
import { amountRefusal, newMnoCheckout, readCheckout } from "./_azampay_checkout.ts";
import { AzamPayKey, publicKeyOf, type SignatureValidity } from "./_azampay_key.ts";
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

/** AzamPay's answer with a token. */
const TokenAnswer = z.object({
  success: z.literal(true),
  data: z.object({ accessToken: z.string().min(1).max(8_192), expire: z.string().max(64) }),
});

const KeyAnswer = z.object({ publicKey: z.string().max(16_384) });

/** AzamPay with one account. */
export class AzamPay implements Gateway {
  readonly name = "azampay";
  readonly isMobileMoney = true;
  readonly #config: AzamPayConfig;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #caller: GatewayCaller;
  readonly #tokens: TokenKeeper;
  readonly #key: AzamPayKey;

  /** Makes no call yet. */
  constructor(config: AzamPayConfig, { cache, clock, random, log, policy = {} }: GatewayOptions) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
    this.#caller = new GatewayCaller({ gateway: "azampay", random, log, policy });
    const account = `azampay ${config.checkoutUrl} ${config.clientId}`;
    this.#tokens = new TokenKeeper({
      cache,
      name: `${account} token`,
      clock,
      request: () => this.#requestToken(),
    });
    this.#key = new AzamPayKey({
      cache,
      name: `${account} key`,
      clock,
      request: () => this.#requestKey(),
    });
  }

  get breaker(): BreakerState {
    return this.#caller.breaker;
  }

  refusalOf(amount: Money): string | null {
    return amountRefusal(amount);
  }

  /**
   * Sends a payment request to the payer's telephone. Repeated only if our token was
   * refused: nothing else proves that the telephone did not receive it.
   */
  async startCheckout(request: CheckoutRequest, signal?: AbortSignal): Promise<Checkout> {
    const body = newMnoCheckout(request);
    const reply = await this.#authorized((headers) =>
      this.#caller.json({
        does: "start a payment",
        method: "POST",
        url: `${this.#config.checkoutUrl}/azampay/mno/checkout`,
        headers,
        body,
        isRepeatable: false,
        signal,
      })
    );
    return readCheckout(reply);
  }

  /**
   * Always null: the documented status call is about payouts, has no amount, and is
   * reported not to know checkouts.
   */
  queryStatus(): Promise<null> {
    return Promise.resolve(null);
  }

  /** Always null: there is no such call. */
  refund(): Promise<null> {
    return Promise.resolve(null);
  }

  /** Always false: there is no such call, and the payer may still confirm later. */
  cancel(): Promise<boolean> {
    return Promise.resolve(false);
  }

  /**
   * A callback with a valid signature has a confirmation; its amount is not signed and
   * must equal the requested one. Without a signature, with an invalid one, or while
   * the key is not available there is none; `kind` is then the claimed outcome:
   * `completed`, `failed` or `unknown`.
   */
  async readCallback(call: IncomingCall): Promise<GatewayCallback | null> {
    const callback = parseCallback(call);
    if (!callback) return null;
    const validity = await this.#verify(callback);
    const { utilityref: reference, transactionstatus } = callback;
    const trackingIds = trackingIdsOf(callback);
    const kind = stateOf(transactionstatus);
    const confirmation: Confirmation | null = validity === "valid"
      ? confirmationOf(callback)
      : null;
    if (confirmation) {
      // Which of them is the id of the checkout is not documented: the log shows it.
      const { externalreference, reference: azamReference, transid } = callback;
      const fields = { externalreference, azamReference, transid };
      this.#log.info("azampay.callback", { paymentId: reference, state: kind, ...fields });
    } else {
      this.#log.warn("azampay.callback_unproven", {
        paymentId: reference,
        state: kind,
        verdict: validity,
      });
    }
    return { reference, trackingId: trackingIds[0] ?? null, kind, confirmation };
  }

  /** AzamPay reads only the status; whether it calls again is not documented. */
  answerOf(callback: GatewayCallback | null, isStored: boolean): CallbackAnswer {
    if (!callback) return { status: 400, body: { success: false, message: "Not a callback" } };
    return isStored
      ? { status: 200, body: { success: true, message: "Received" } }
      : { status: 500, body: { success: false, message: "Not stored, please send it again" } };
  }

  async #verify(callback: AzamPayCallback): Promise<SignatureValidity | "unsigned"> {
    if (callback.signature === "") return "unsigned";
    try {
      return await this.#key.verify(signedText(callback), callback.signature);
    } catch (error) {
      // The callback may not be repeated: a person has to decide.
      if (error instanceof GatewayError) return "unverified";
      throw error;
    }
  }

  /** Makes a call with a token, and once more with a new token if that is refused. */
  async #authorized(
    call: (headers: Record<string, string>) => Promise<GatewayReply>,
  ): Promise<GatewayReply> {
    const { apiKey } = this.#config;
    const attempt = async (refused: string | null) => {
      const token = await this.#tokens.get(refused).catch((error) => {
        throw notSent(error);
      });
      const headers = { authorization: `Bearer ${token}`, "x-api-key": apiKey };
      return { token, reply: await call(headers) };
    };
    const { token, reply } = await attempt(null);
    return reply.status === 401 ? (await attempt(token)).reply : reply;
  }

  async #requestToken(): Promise<FreshToken> {
    const { authUrl, appName, clientId, clientSecret, apiKey } = this.#config;
    const { status, body, date } = await this.#caller.json({
      does: "sign in",
      method: "POST",
      url: `${authUrl}/AppRegistration/GenerateToken`,
      headers: { "x-api-key": apiKey },
      body: { appName, clientId, clientSecret },
      isRepeatable: true,
    });
    const { data: answer } = TokenAnswer.safeParse(body);
    if (status !== 200 || !answer) {
      const { data: said } = z.object({ message: z.string() }).safeParse(body);
      const words = quotable(said?.message ?? "", [clientSecret, apiKey, clientId, appName]);
      const message = `Cannot sign in: azampay refused with status ${status}`;
      throw new GatewayError(
        "azampay",
        "refused",
        "sign_in",
        words ? `${message}: ${words}` : message,
      );
    }
    const { accessToken, expire } = answer.data;
    const zoned = /(?:Z|[+-]\d\d:?\d\d)$/i.test(expire) ? expire : `${expire}Z`;
    const lifeMs = Date.parse(zoned) - (date ?? this.#clock());
    return { token: accessToken, lifeMs: Number.isNaN(lifeMs) ? null : lifeMs };
  }

  /** The documents have one URL for the key, users of the sandbox report the other. */
  async #requestKey(): Promise<string> {
    const { authUrl, checkoutUrl } = this.#config;
    const places = [
      `${checkoutUrl}/azampay/v1/public-key?format=Pem`,
      `${authUrl}/api/Token/PublicKey`,
    ];
    for (const url of places) {
      const pem = await this.#keyAt(url);
      if (pem !== null) return pem;
    }
    const message = "Cannot fetch the public key: azampay has none at the known URLs";
    throw new GatewayError("azampay", "refused", "no_key", message);
  }

  /** Null if AzamPay has no key at this URL. */
  async #keyAt(url: string): Promise<string | null> {
    try {
      const does = "fetch the public key";
      const { status, body } = await this.#authorized((headers) =>
        this.#caller.json({ does, method: "GET", url, headers, isRepeatable: true })
      );
      const { data } = KeyAnswer.safeParse(body);
      return status === 200 && data && publicKeyOf(data.publicKey) ? data.publicKey : null;
    } catch (error) {
      if (error instanceof GatewayError && error.code === "not_json") return null;
      throw error;
    }
  }
}

/** The error for a failure before the call itself, of which nothing was sent. */
function notSent(error: unknown): unknown {
  if (!(error instanceof GatewayError) || error.outcome !== "unknown") return error;
  const { gateway, code, message } = error;
  return new GatewayError(gateway, "not_sent", code, message, { cause: error });
}
