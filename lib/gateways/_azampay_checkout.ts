/**
 * What AzamPay is asked for, and what it answers: a request on the payer's telephone,
 * in whole Tanzanian shillings. That it took the request is not that it was paid.
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

/** The most that AzamPay asks a telephone for at once, by its schema: five million shillings. */
const AMOUNT_MAX: Money = Object.freeze({ currency: "TZS", minor: 500_000_000 });

const CENTS = 100;

/** Tanzania's mobile numbers as AzamPay's own plugin for WooCommerce tells them. */
const PAYER = /^\+(255(?:6[1-9]|7[1-8])\d{7})$/;

/** What is posted to ask a telephone. */
export interface MnoCheckout {
  /** `255` and nine digits. */
  accountNumber: string;
  /** Whole shillings, in digits. The schema says a number, but clients send a text. */
  amount: string;
  /** It takes no other. */
  currency: "TZS";
  /** Our reference, up to 128 ASCII characters; it comes back as `utilityref`. */
  externalId: string;
  /** Whose telephone; it cannot be told from the number, since numbers are portable. */
  provider: MobileProvider;
}

/** Why AzamPay cannot ask for `amount`, for the payer to read; null if it can. */
export function amountRefusal(amount: Money): string | null {
  const { currency, minor } = amount;
  if (currency !== "TZS") return "Mobile money takes only Tanzanian shillings";
  if (minor <= 0 || minor % CENTS !== 0) return "Mobile money takes only whole shillings";
  if (minor > AMOUNT_MAX.minor) {
    return `Mobile money takes at most ${formatMoney(AMOUNT_MAX)} at a time`;
  }
  return null;
}

/** Why AzamPay cannot ask the telephone `phone` (E.164), for the payer to read; null if it can. */
export function phoneRefusal(phone: string | null): string | null {
  return PAYER.test(phone ?? "") ? null : "Mobile money needs a mobile number of Tanzania";
}

/**
 * What to post for `request`.
 *
 * @throws {GatewayError} `refused`, code `amount`, `phone` or `provider`, where
 * AzamPay is sure to refuse: so that it need not be asked.
 */
export function newMnoCheckout(
  { reference, amount, payer, provider }: CheckoutRequest,
): MnoCheckout {
  const refusal = amountRefusal(amount);
  if (refusal !== null) throw refused("amount", refusal);
  const [, accountNumber] = PAYER.exec(payer.phone ?? "") ?? [];
  if (accountNumber === undefined) throw refused("phone", phoneRefusal(null)!);
  if (provider === undefined || !MOBILE_PROVIDERS.includes(provider)) {
    throw refused("provider", "Mobile money needs the name of its provider");
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
 * What AzamPay made of a request for money.
 *
 * @throws {GatewayError} `refused` for any answer that says no, `success: false` with
 * a status of success among them; `unknown`, code `bad_answer`, for one that says
 * neither, since the telephone may have been asked.
 */
export function readCheckout({ status, body }: GatewayReply): Checkout {
  // By 408 a server says that it gave up reading: not what became of the request.
  if (status >= 400 && status !== 408) throw refused(`http_${status}`, refusalText(status, body));
  const { success: isRead, data } = Accepted.safeParse(body);
  if (!isRead || status !== 200) {
    const message = "Cannot start a payment: AzamPay answered something else";
    throw new GatewayError("azampay", "unknown", "bad_answer", message);
  }
  if (!data.success) {
    const said = quotable(data.message ?? "");
    throw refused("not_accepted", `AzamPay refused the payment${said && `: ${said}`}`);
  }
  return { trackingId: data.transactionId || null, redirectUrl: null };
}

/** Names the fields that AzamPay found bad; their values, which it may quote, stay out. */
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
