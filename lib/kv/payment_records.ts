/**
 * Stored records of payments and refunds. The rest of the data dictionary is in
 * `records.ts`.
 *
 * @module
 */
import type { Currency } from "../money.ts";
import type { Actor, Entity } from "./records.ts";

/** Payment gateways. */
export const GATEWAY_NAMES = ["pesapal", "azampay"] as const;
/** One of {@linkcode GATEWAY_NAMES}. */
export type GatewayName = (typeof GATEWAY_NAMES)[number];

/** Who takes the money: a gateway, or a person who recorded it. */
export const PAYMENT_CHANNELS = [...GATEWAY_NAMES, "manual"] as const;
/** One of {@linkcode PAYMENT_CHANNELS}. */
export type PaymentChannel = (typeof PAYMENT_CHANNELS)[number];

/** How far a payment has come. */
export const PAYMENT_STATUSES = [
  /** Stored before the gateway was called: whether it knows of the payment may be unknown. */
  "created",
  /** The gateway has it, and the payer has not finished. */
  "pending",
  /** The gateway confirmed, when asked, this amount for this reference. */
  "completed",
  /** The gateway refused it, the payer cancelled, or it expired. It may still complete. */
  "failed",
  /** It was completed, and the gateway reversed it. */
  "reversed",
  /** The gateway's report does not fit: a person decides. */
  "needs_review",
] as const;
/** One of {@linkcode PAYMENT_STATUSES}. */
export type PaymentStatus = (typeof PAYMENT_STATUSES)[number];

/** Who pays a refund out: the gateway, or a person. */
export const REFUND_CHANNELS = ["gateway", "hand"] as const;
/** One of {@linkcode REFUND_CHANNELS}. */
export type RefundChannel = (typeof REFUND_CHANNELS)[number];

/**
 * How far a refund has come. `requested`: before the gateway was called and until it
 * reports. It counts as refunded until it is `refused`, so that nothing is refunded twice.
 */
export const REFUND_STATUSES = ["requested", "completed", "refused"] as const;
/** One of {@linkcode REFUND_STATUSES}. */
export type RefundStatus = (typeof REFUND_STATUSES)[number];

/** What a person can decide about a refund. */
export const REFUND_OUTCOMES = ["completed", "refused"] as const;
/** One of {@linkcode REFUND_OUTCOMES}. */
export type RefundOutcome = (typeof REFUND_OUTCOMES)[number];

/** What a person can decide about a payment. */
export const PAYMENT_OUTCOMES = ["completed", "failed"] as const;
/** One of {@linkcode PAYMENT_OUTCOMES}. */
export type PaymentOutcome = (typeof PAYMENT_OUTCOMES)[number];

/** A refund, made or requested. */
export interface Refund {
  /** UUIDv7. */
  id: string;
  /** In minor units, more than 0. */
  amountMinor: number;
  /** The operator's reason. */
  reason: string;
  /** Evidence elsewhere, such as a receipt or the gateway's reference; may be empty. */
  reference: string;
  /** Who pays it out. */
  through: RefundChannel;
  /** How far it has come. */
  status: RefundStatus;
  /** When it was requested. */
  at: string;
  /** Who requested it. */
  by: Actor;
}

/** A person's decision on a payment whose status the gateway could not confirm. */
export interface Resolution {
  /** The decided status. */
  outcome: PaymentOutcome;
  /** The evidence: where the gateway's portal or the bank shows it. */
  reference: string;
  /** The reason of the decision. */
  reason: string;
  /** When it was decided. */
  at: string;
  /** Who decided. */
  by: Actor;
}

/** One attempt to pay an invoice. Its id is the reference at the gateway. */
export interface Payment extends Entity {
  /** The invoice that it pays. */
  invoiceId: string;
  /** Who takes the money. */
  channel: PaymentChannel;
  /** How far it has come. */
  status: PaymentStatus;
  /** The invoice's currency. */
  currency: Currency;
  /** The requested amount, in minor units. */
  amountMinor: number;
  /** The confirmed amount, in minor units; 0 unless completed or reversed. */
  receivedMinor: number;
  /** Its refunds, oldest first; at most 20. */
  refunds: Refund[];
  /** The gateway's own id; for a manual payment the receipt; null until known. */
  trackingId: string | null;
  /** The provider's code for the completed payment, such as a mobile money receipt. */
  confirmationCode: string | null;
  /** How it was paid, in the gateway's words, such as `Visa`; null if unknown. */
  method: string | null;
  /** The gateway's page where the payer pays; null for none. A credential: never logged. */
  redirectUrl: string | null;
  /** The mobile money account, E.164; null otherwise. */
  payerPhone: string | null;
  /** Why it failed or needs review, without personal data; null otherwise. */
  problem: string | null;
  /** When it was completed; null if it never was. */
  completedAt: string | null;
  /** Time of the next status check, milliseconds UTC; null if none is due. */
  nextCheckAt: number | null;
  /** Status checks since the payment started, or since the last change. */
  checks: number;
  /** The shop's notes on a manual payment; may be empty. */
  notes: string;
  /** The decision of a person; null if none was needed. */
  resolution: Resolution | null;
}

/**
 * The attempt that a payer may be in the middle of. Volatile: without it the payer only
 * starts another one.
 */
export interface CheckoutSlot {
  /** The last attempt on the invoice with the gateway. */
  paymentId: string;
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}

/** An encrypted value that instances share for a limited time; see `gateways/cache.ts`. */
export interface SealedValue {
  /** Encrypted by `crypto/sealing.ts`. */
  sealed: string;
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}
