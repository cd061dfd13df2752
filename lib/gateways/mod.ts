/**
 * The contract of payment gateways; `open.ts` opens them.
 *
 * A gateway knows nothing of invoices: it is given a reference and an amount. A
 * callback in its name proves nothing by itself, so {@linkcode Gateway.readCallback}
 * mostly says which payment to check.
 *
 * @module
 */
import type { GatewayName } from "../kv/payment_records.ts";
import type { Log } from "../telemetry/mod.ts";
import type { Money } from "../money.ts";
import type { Clock } from "../time.ts";

export type { GatewayName } from "../kv/payment_records.ts";

/** Mobile money networks as AzamPay spells them, the largest first. */
export const MOBILE_PROVIDERS = ["Mpesa", "Tigo", "Airtel", "Halopesa", "Azampesa"] as const;
/** One of {@linkcode MOBILE_PROVIDERS}. */
export type MobileProvider = (typeof MOBILE_PROVIDERS)[number];

/** A payment to start. */
export interface CheckoutRequest {
  /** Ours, unique for ever and of a fixed length: the payment's id. */
  reference: string;
  /** The amount to pay. */
  amount: Money;
  /** What the payer reads, up to 100 characters. */
  description: string;
  /** The payer, as far as known. */
  payer: {
    /** As on the invoice. */
    name: string;
    /** Null if unknown. */
    email: string | null;
    /** E.164; null if unknown. For mobile money the account that is charged. */
    phone: string | null;
  };
  /** The network; for mobile money only. */
  provider?: MobileProvider;
  /** Where the payer's browser goes afterwards, absolute. */
  returnUrl: string;
  /** Where the gateway sends callbacks, absolute. */
  notificationUrl: string;
}

/** A payment that a gateway has accepted for processing; it is not paid yet. */
export interface Checkout {
  /** The gateway's id of the payment; null if it gave none. */
  trackingId: string | null;
  /** The gateway's payment page, https; null for mobile money. */
  redirectUrl: string | null;
}

/** What a gateway reports about one payment. */
export interface Confirmation {
  /**
   * `unknown`: it reported nothing reliable; query again later. `failed` may still
   * become `completed`, as payers try again.
   */
  state: "pending" | "completed" | "failed" | "reversed" | "unknown";
  /** Our reference as it has it; null if it has none. */
  reference: string | null;
  /** Its ids of the payment; empty if it has none. */
  trackingIds: readonly string[];
  /** The amount that it says was paid; null if missing or not a valid amount. */
  amount: Money | null;
  /** Its code for the completed payment. */
  confirmationCode: string | null;
  /** The method of payment, in its words. */
  method: string | null;
  /** The reason, in its words, without personal data; up to 200 characters. */
  reason: string | null;
}

/** A callback as it came by HTTP, not verified. */
export interface IncomingCall {
  /** Upper case. */
  method: string;
  /** The whole query. */
  query: URLSearchParams;
  /** In lower case; empty if there was none. */
  contentType: string;
  /** As received; empty if there was none. */
  body: string;
}

/** A callback that was read. Only its `confirmation` is proven. */
export interface GatewayCallback {
  /** The payment that it names; to be looked up, never trusted. */
  reference: string;
  /** The gateway's id of the payment, as the caller names it; null if none. */
  trackingId: string | null;
  /** The kind of callback, as the caller names it: not proven, but part of the answer. */
  kind?: string;
  /**
   * What the gateway reports, if the callback has a valid signature; null if the
   * gateway has to be queried.
   */
  confirmation: Confirmation | null;
}

/** The response to a callback. */
export interface CallbackAnswer {
  /** HTTP. */
  status: 200 | 400 | 500;
  /** JSON in the form that the gateway expects. */
  body: Record<string, string | number | boolean>;
}

/** Whether calls to a gateway are made, or refused at once since it is down. */
export type BreakerState = "closed" | "open" | "half_open";

/** A configured gateway. Every call has a time limit and throws {@linkcode GatewayError}. */
export interface Gateway {
  /** Which one. */
  readonly name: GatewayName;
  /** Of this instance. */
  readonly breaker: BreakerState;
  /** Whether the payer gives a telephone number and network, instead of visiting a page. */
  readonly isMobileMoney: boolean;
  /** Why it does not accept an amount, for the payer to read; null if it does. */
  refusalOf(amount: Money): string | null;
  /** Starts a payment. Never repeated automatically, as the payer might be charged twice. */
  startCheckout(request: CheckoutRequest, signal?: AbortSignal): Promise<Checkout>;
  /** Queries a payment; null if this gateway cannot be queried. Safe to repeat. */
  queryStatus(
    payment: { reference: string; trackingId: string | null; amount: Money },
    signal?: AbortSignal,
  ): Promise<Confirmation | null>;
  /** Requests a refund; null if this gateway has no refunds. */
  refund(
    request: { confirmationCode: string; amount: Money; by: string; reason: string },
    signal?: AbortSignal,
  ): Promise<{ message: string } | null>;
  /** Cancels an unpaid payment; false if it was not cancelled. */
  cancel(payment: { trackingId: string }, signal?: AbortSignal): Promise<boolean>;
  /** Reads a callback; null if it is not one of this gateway. May fetch the gateway's public key. */
  readCallback(call: IncomingCall): Promise<GatewayCallback | null>;
  /** The response to a callback that was stored or needs no action, or that could not be stored. */
  answerOf(callback: GatewayCallback | null, isStored: boolean): CallbackAnswer;
}

/** A call to a gateway that failed. Its message quotes the gateway, without secrets. */
export class GatewayError extends Error {
  /** Identifies it in logs. */
  override readonly name = "GatewayError";

  /**
   * Says what failed, and whether the call may have had its effect.
   *
   * @param outcome `refused` or `not_sent` (the gateway was not reached): no effect.
   * `unknown`: it may have had its effect.
   * @param code The gateway's own, or one of ours such as `timeout`.
   */
  constructor(
    readonly gateway: GatewayName,
    readonly outcome: "refused" | "not_sent" | "unknown",
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Values that instances share, such as a gateway's token. They are secrets, stored encrypted. */
export interface SharedCache {
  /** The value under a name; null if there is none, or it has expired. */
  get(name: string): Promise<string | null>;
  /** Stores a value until `expiresAt`, milliseconds UTC. */
  set(name: string, value: string, expiresAt: number): Promise<void>;
}

/** Time limits and retries of a caller. */
export interface CallPolicy {
  /** Time limit of an attempt, body included, unless the call has its own. */
  timeoutMs: number;
  /** Attempts of a repeatable call, the first one included. */
  attemptsMax: number;
  /** The longest wait before the second attempt; doubled for each further one. */
  backoffMs: number;
  /** The limit of that wait. */
  backoffMaxMs: number;
  /** Consecutive failures that open the breaker, which stops all calls. */
  failuresMax: number;
  /** How long calls are stopped before one is tried. */
  pauseMs: number;
}

/** What gateways need. */
export interface GatewayOptions {
  /** Shares tokens and the like. */
  cache: SharedCache;
  /** Decides what has expired. */
  clock: Clock;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /** Records calls that fail. */
  log: Log;
  /** Overrides of the usual time limits and retries. */
  policy?: Partial<CallPolicy>;
}
