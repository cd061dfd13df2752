/**
 * What every payment gateway can do for us, whatever it is called inside. A third
 * one is one file more and a line in {@linkcode openGateways}.
 *
 * A gateway knows nothing of invoices: it is given a reference and an amount. What
 * calls us in its name proves nothing, so {@linkcode Gateway.readCallback} only
 * says what to look at.
 *
 * @module
 */
import type { GatewayName } from "../kv/payment_records.ts";
import type { Log } from "../telemetry/log.ts";
import type { Money } from "../money.ts";
import type { Clock } from "../time.ts";

export type { GatewayName } from "../kv/payment_records.ts";

/** Mobile money networks as AzamPay spells them, the largest first. */
export const MOBILE_PROVIDERS = ["Mpesa", "Tigo", "Airtel", "Halopesa", "Azampesa"] as const;
/** One of {@linkcode MOBILE_PROVIDERS}. */
export type MobileProvider = (typeof MOBILE_PROVIDERS)[number];

/** A payment to begin. */
export interface CheckoutRequest {
  /** Ours, unique for ever and of a fixed length: the payment's id. */
  reference: string;
  /** What to ask for. */
  amount: Money;
  /** What the payer reads, up to 100 characters. */
  description: string;
  /** Who pays, as far as known. */
  payer: {
    /** As on the invoice. */
    name: string;
    /** Null if unknown. */
    email: string | null;
    /** E.164; null if unknown. For mobile money the account that is asked. */
    phone: string | null;
  };
  /** For mobile money: whose. */
  provider?: MobileProvider;
  /** Where the payer's browser goes when it is done, absolute. */
  returnUrl: string;
  /** Where the gateway calls us, absolute. */
  notificationUrl: string;
}

/** A payment that a gateway has taken on; it is not paid by that. */
export interface Checkout {
  /** The gateway's own name for it; null if it gave none. */
  trackingId: string | null;
  /** Where the payer pays, https and at the gateway; null when asked by telephone. */
  redirectUrl: string | null;
}

/** What a gateway says about one payment. */
export interface Confirmation {
  /**
   * `unknown`: it said nothing that could be relied on; ask again later.
   * `failed` may still become `completed`, as payers try again.
   */
  state: "pending" | "completed" | "failed" | "reversed" | "unknown";
  /** The reference that it has; null if it did not say. */
  reference: string | null;
  /** Its own name or names for the payment; empty if it did not say. */
  trackingIds: readonly string[];
  /** What it says was paid; null if it did not say or it is no amount of ours. */
  amount: Money | null;
  /** Its code for the completed payment. */
  confirmationCode: string | null;
  /** How it was paid, in its words. */
  method: string | null;
  /** Why it is so, in its words, without personal data; up to 200 characters. */
  reason: string | null;
}

/** A call that came in a gateway's name, as HTTP brought it. */
export interface IncomingCall {
  /** Upper case. */
  method: string;
  /** All of the query. */
  query: URLSearchParams;
  /** Lower case; empty if there was none. */
  contentType: string;
  /** As it came; empty if there was none. */
  body: string;
}

/** What such a call is about; believed only as far as `confirmation` goes. */
export interface GatewayCallback {
  /** Which payment; looked up, never trusted. */
  reference: string;
  /** The gateway's name for it that the caller used; null if none. */
  trackingId: string | null;
  /** What sort of news the caller says it is: nothing to go by, but to answer with. */
  kind?: string;
  /**
   * What the gateway itself says in it, when it is signed and the signature holds;
   * null when it has to be asked.
   */
  confirmation: Confirmation | null;
}

/** What to answer to a call in a gateway's name. */
export interface CallbackAnswer {
  /** HTTP. */
  status: 200 | 400 | 500;
  /** JSON, in the form that the gateway expects. */
  body: Record<string, string | number | boolean>;
}

/** Whether calls to a gateway are made, or refused at once because it is down. */
export type BreakerState = "closed" | "open" | "half_open";

/** A gateway that is configured. Every call has a time limit and throws {@linkcode GatewayError}. */
export interface Gateway {
  /** Which one. */
  readonly name: GatewayName;
  /** Of this instance. */
  readonly breaker: BreakerState;
  /** Whether the payer names a telephone and provider instead of being sent somewhere. */
  readonly isMobileMoney: boolean;
  /** Why it cannot take an amount, for the payer to read; null if it can. */
  refusalOf(amount: Money): string | null;
  /** Begins a payment. Never repeated by itself: repeating may ask the payer twice. */
  startCheckout(request: CheckoutRequest, signal?: AbortSignal): Promise<Checkout>;
  /** Asks how a payment stands; null if this gateway cannot be asked. Safe to repeat. */
  queryStatus(
    payment: { reference: string; trackingId: string | null; amount: Money },
    signal?: AbortSignal,
  ): Promise<Confirmation | null>;
  /** Asks for money to go back; null if this gateway cannot. */
  refund(
    request: { confirmationCode: string; amount: Money; by: string; reason: string },
    signal?: AbortSignal,
  ): Promise<{ message: string } | null>;
  /** Ends a payment that is not paid, so that it can no longer be; false if it did not. */
  cancel(payment: { trackingId: string }, signal?: AbortSignal): Promise<boolean>;
  /** What a call is about; null if it is no notification of this gateway. May ask the gateway for its public key. */
  readCallback(call: IncomingCall): Promise<GatewayCallback | null>;
  /** What to answer when the notification is stored (or was of no use), and when it could not be. */
  answerOf(notification: GatewayCallback | null, isStored: boolean): CallbackAnswer;
}

/** A call to a gateway that did not do what it should. Its message says what the gateway said, without secrets. */
export class GatewayError extends Error {
  /** What the class is called in logs. */
  override readonly name = "GatewayError";

  /**
   * Says what went wrong, and whether it may have been done all the same.
   *
   * @param outcome `refused`: it said no, and nothing was done. `not_sent`: it was
   * not reached, nothing was done. `unknown`: it may have done it.
   * @param code The gateway's own, or ours such as `timeout`.
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

/** What instances keep together, such as a gateway's token. Values are secrets, kept encrypted. */
export interface SharedCache {
  /** What is kept under a name, unless its time is over. */
  get(name: string): Promise<string | null>;
  /** Keeps a value until `expiresAt`, milliseconds UTC. */
  set(name: string, value: string, expiresAt: number): Promise<void>;
}

/** How patient a caller is. */
export interface CallPolicy {
  /** How long an attempt may take, its body included, unless the call says otherwise. */
  timeoutMs: number;
  /** How often a call that may be repeated is made at most, the first time included. */
  attemptsMax: number;
  /** The longest wait before the second attempt; it doubles from one to the next. */
  backoffMs: number;
  /** Where that doubling ends. */
  backoffMaxMs: number;
  /** So many failures in a row stop all calls. */
  failuresMax: number;
  /** How long they are stopped before one is tried. */
  pauseMs: number;
}

/** What gateways need of the program. */
export interface GatewayOptions {
  /** Where tokens and the like are shared. */
  cache: SharedCache;
  /** Tells what has expired. */
  clock: Clock;
  /** Numbers in [0, 1), for jitter. */
  random: () => number;
  /** Told of calls that fail. */
  log: Log;
  /** How patient calls are, where that is not as usual. */
  policy?: Partial<CallPolicy>;
}
