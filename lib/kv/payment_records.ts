/**
 * What is stored about money that comes in and goes back; the rest of the data
 * dictionary is in `records.ts`.
 *
 * @module
 */
import type { Currency } from "../money.ts";
import type { Actor, Entity } from "./records.ts";

/** Who takes the money: a gateway, or a person who saw it. */
export type PaymentChannel = "pesapal" | "azampay" | "manual";

/** How far a payment has come. */
export type PaymentStatus =
  /** Written before the gateway was asked: whether it knows of it may be unknown. */
  | "created"
  /** The gateway has it, and the payer has not finished. */
  | "pending"
  /** The gateway said, when asked, that this much was paid for this reference. */
  | "completed"
  /** The gateway refused it, the payer gave up, or nothing came in time. It may still complete. */
  | "failed"
  /** It was completed, and the gateway took it back. */
  | "reversed"
  /** The gateway said something that does not fit: a person decides. */
  | "needs_review";

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
  /** Whether the gateway was to pay it back, or a person did. */
  through: "gateway" | "hand";
  /**
   * `requested` before the gateway was asked and while it has not said; it counts as
   * paid back until it is `refused`, so that nothing is paid back twice.
   */
  status: "requested" | "completed" | "refused";
  /** When it was asked for. */
  at: string;
  /** Who asked. */
  by: Actor;
}

/** What a person decided about a payment of which the gateway gave no clear word. */
export interface Resolution {
  /** What became of it. */
  outcome: "completed" | "failed";
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
