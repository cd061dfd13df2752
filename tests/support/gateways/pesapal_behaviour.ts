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
