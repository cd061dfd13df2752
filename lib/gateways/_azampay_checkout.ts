/**
 * AzamPay's checkout: a payment request on the payer's telephone, in whole Tanzanian
 * shillings. An accepted request is not yet a payment.
 *
 * @module
 */
import { z } from "zod";
import { formatMoney, type Money } from "../money.ts";
import { type GatewayReply, quotable } from "./_call.ts";
import {
  type Checkout,
  type CheckoutRequest,
  GatewayError,
  MOBILE_PROVIDERS,
  type MobileProvider,
} from "./mod.ts";

/** The largest amount of one request, by AzamPay's schema: five million shillings. */
const AMOUNT_MAX: Money = Object.freeze({ currency: "TZS", minor: 500_000_000 });

const CENTS = 100;

/** Tanzania's mobile numbers, as in AzamPay's own plugin for WooCommerce. */
const PAYER = /^\+(255(?:6[1-9]|7[1-8])\d{7})$/;

/** The body of a checkout request. */
export interface MnoCheckout {
  /** `255` and nine digits. */
  accountNumber: string;
  /** Whole shillings, in digits. The schema has a number, but clients send text. */
  amount: string;
  /** No other is accepted. */
  currency: "TZS";
  /** Our reference, up to 128 ASCII characters; it comes back as `utilityref`. */
  externalId: string;
  /** The network; the number does not show it, since numbers are portable. */
  provider: MobileProvider;
}

/** Why AzamPay does not accept `amount`, for the payer to read; null if it does. */
export function amountRefusal(amount: Money): string | null {
  const { currency, minor } = amount;
  if (currency !== "TZS") return "Mobile money accepts only Tanzanian shillings";
  if (minor <= 0 || minor % CENTS !== 0) return "Mobile money accepts only whole shillings";
  if (minor > AMOUNT_MAX.minor) {
    return `Mobile money accepts at most ${formatMoney(AMOUNT_MAX)} per payment`;
  }
  return null;
}

/**
 * The body for `request`.
 *
 * @throws {GatewayError} `refused`, code `amount`, `phone` or `provider`, where AzamPay
 * would refuse, so that no call is made.
 */
export function newMnoCheckout(
  { reference, amount, payer, provider }: CheckoutRequest,
): MnoCheckout {
  const refusal = amountRefusal(amount);
  if (refusal !== null) throw refused("amount", refusal);
  const [, accountNumber] = PAYER.exec(payer.phone ?? "") ?? [];
  if (accountNumber === undefined) {
    throw refused("phone", "Mobile money requires a mobile number of Tanzania");
  }
  if (provider === undefined || !MOBILE_PROVIDERS.includes(provider)) {
    throw refused("provider", "Mobile money requires the name of the network");
  }
  return {
    accountNumber,
    amount: String(amount.minor / CENTS),
    currency: "TZS",
    externalId: reference,
    provider,
  };
}

const Accepted = z.object({
  success: z.boolean(),
  transactionId: z.string().trim().max(128).nullish(),
  message: z.string().nullish(),
});

const Problem = z.object({ errors: z.record(z.string(), z.unknown()) });

/**
 * Reads the answer to a checkout request.
 *
 * @throws {GatewayError} `refused` for a refusal, including `success: false` with a
 * status of success; `unknown`, code `bad_answer`, for an unclear answer, since the
 * telephone may have received the request.
 */
export function readCheckout({ status, body }: GatewayReply): Checkout {
  // 408 means that the server stopped reading; the outcome is not known.
  if (status >= 400 && status !== 408) throw refused(`http_${status}`, refusalText(status, body));
  const { success: isRead, data } = Accepted.safeParse(body);
  if (!isRead || status !== 200) {
    const message = "Cannot start a payment: the answer of AzamPay is not valid";
    throw new GatewayError("azampay", "unknown", "bad_answer", message);
  }
  if (!data.success) {
    const said = quotable(data.message ?? "");
    throw refused("not_accepted", `AzamPay refused the payment${said && `: ${said}`}`);
  }
  return { trackingId: data.transactionId || null, redirectUrl: null };
}

/** Names the fields that AzamPay refused, without their values, which it may quote. */
function refusalText(status: number, body: unknown): string {
  const { data } = Problem.safeParse(body);
  const fields = Object.keys(data?.errors ?? {}).map((name) => quotable(name).slice(0, 40));
  return fields.length === 0
    ? `AzamPay refused the payment with status ${status}`
    : `AzamPay refused the payment for its ${fields.slice(0, 8).join(", ")}`;
}

function refused(code: string, message: string): GatewayError {
  return new GatewayError("azampay", "refused", code, message);
}
