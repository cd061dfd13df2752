/**
 * What a test can switch about the simulated Pesapal: its behaviour, and faults of single calls.
 *
 * @module
 */

/** What Pesapal has registered. */
export const PESAPAL_ACCOUNT = Object.freeze({
  consumerKey: "simulatedConsumerKey7Qm2",
  consumerSecret: "simulated/consumerSecret+9Xr4=",
});

/** What it can be called for. */
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

/**
 * How it behaves, to be changed at any time. Where sources contradict each other, the first value
 * is the usual one.
 */
export interface PesapalBehaviour {
  /** Lifetime of a token, in milliseconds: five minutes by the documents, an hour by records. */
  tokenLifeMs: number;
  /** Whether answers contain `expiryDate`. */
  isExpirySaid: boolean;
  /** The HTTP status of errors: always 200, or one that fits. */
  errorStatus: "200" | "fitting";
  /** What the type of an error is called. */
  errorTypeName: "error_type" | "type";
  /** The value of `error` in an answer without one. */
  noError: "null" | "all_null";
  /** The `status` in bodies. */
  statusAs: "text" | "number";
  /** The status answer for an unpaid order. */
  unpaidAs: "error_500" | "plain";
  /** How states are written. */
  descriptions: "upper" | "title";
  /** Digits after the point of amounts. */
  amountDigits: 0 | 1 | 2;
  /** How the reference is repeated in answers. */
  referenceCase: "same" | "upper";
  /** Where payers are sent. */
  redirect: "page" | "null" | "empty" | "http" | "foreign";
  /** Registered addresses as the list has them: all fields of the registration, or URL and id. */
  listAs: "short" | "full";
  /** Currencies that the account accepts. */
  currencies: ReadonlySet<string>;
  /** The highest amount of an order. */
  amountMax: number;
  /** What a payer does before the order is answered, so that the notification comes first. */
  hastyPayer: "complete" | "fail" | null;
  /** How often a change is notified. */
  ipnTimes: number;
}
