/**
 * What is stored about money that comes in and goes back; the rest of the data
 * dictionary is in `records.ts`.
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

/** Money that went back, or is about to. */
export interface Refund {
  /** UUIDv7. */
  id: string;
  /** In minor units, more than 0. */
  amountMinor: number;
  /** Why, as an operator said. */
  reason: string;
  /** Where it can be found outside: a receipt, the gateway's word; may be empty. */
  reference: string;
  /** Who pays it out. */
  through: RefundChannel;
  /** How far it has come. */
  status: RefundStatus;
  /** When it was asked for. */
  at: string;
  /** Who asked. */
  by: Actor;
}

/** What a person decided about a payment of which the gateway gave no clear word. */
export interface Resolution {
  /** What became of it. */
  outcome: PaymentOutcome;
  /** The evidence: where the gateway's portal or the bank shows it. */
  reference: string;
  /** Why it was decided so. */
  reason: string;
  /** When it was decided. */
  at: string;
  /** Who decided. */
  by: Actor;
}

/** One attempt to pay an invoice. Its id is the reference that the gateway is given. */
export interface Payment extends Entity {
  /** What it pays. */
  invoiceId: string;
  /** Who takes the money. */
  channel: PaymentChannel;
  /** How far it has come. */
  status: PaymentStatus;
  /** That of the invoice. */
  currency: Currency;
  /** What the payer was asked for, in minor units. */
  amountMinor: number;
  /** What was paid as far as confirmed, in minor units; 0 unless completed or reversed. */
  receivedMinor: number;
  /** What went back of it, oldest first; at most 20. */
  refunds: Refund[];
  /** The gateway's own name for it; for a manual one the receipt; null until known. */
  trackingId: string | null;
  /** The provider's code for the completed payment, such as a receipt of mobile money. */
  confirmationCode: string | null;
  /** How it was paid, in the gateway's words, such as `Visa`; null if unknown. */
  method: string | null;
  /** Where the payer pays, an address of the gateway; null for none. A credential: never logged. */
  redirectUrl: string | null;
  /** Of mobile money, E.164; null otherwise. */
  payerPhone: string | null;
  /** Why it failed or needs a person, in words without personal data; null if it does not. */
  problem: string | null;
  /** When it was completed; null if it never was. */
  completedAt: string | null;
  /** When the gateway is asked next, milliseconds UTC; null when nothing is left to ask. */
  nextCheckAt: number | null;
  /** How often it was asked since the payment began, or since it was last told something new. */
  checks: number;
  /** The shop's own about a manual payment; may be empty. */
  notes: string;
  /** What a person decided about it; null if nobody had to. */
  resolution: Resolution | null;
}

/**
 * The attempt that a payer may be under way with. Volatile: without it a payer
 * is only asked once more.
 */
export interface CheckoutSlot {
  /** The last attempt on the invoice with the gateway. */
  paymentId: string;
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}

/** What instances keep together for a while, encrypted; see `gateway_cache.ts`. */
export interface SealedValue {
  /** As `sealing.ts` sealed it. */
  sealed: string;
  /** Milliseconds UTC after which this counts as absent. */
  exp: number;
}
