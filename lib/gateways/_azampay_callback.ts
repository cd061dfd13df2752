/**
 * The contents of AzamPay's callbacks. The signature covers four fields, joined without
 * a separator: `utilityref` (our reference), `externalreference` (theirs),
 * `transactionstatus` and `operator`. A valid signature proves that AzamPay reported
 * this outcome for this reference, and nothing else:
 *
 * - The amount is not signed. It must be compared with the requested amount; a
 *   difference is for a person to review.
 * - The other ids of the transaction are not signed, and there is no time: the same
 *   callback may come again at any time.
 * - Without separators, characters can be moved from one field to the next under the
 *   same signature. Our references have a fixed length and form, so the reference
 *   either stays the same or becomes invalid.
 *
 * @module
 */
import { z } from "zod";
import { AppError } from "../errors.ts";
import { isId } from "../ids.ts";
import { type Money, parseMajor } from "../money.ts";
import { quotable } from "./_call.ts";
import type { Confirmation, IncomingCall } from "./mod.ts";

/** The fields in use. All others, such as passwords and telephone numbers, are dropped. */
export interface AzamPayCallback {
  /** Our reference, a UUIDv7; signed. */
  utilityref: string;
  /** AzamPay's own id; signed. */
  externalreference: string;
  /** Such as `success`; signed. */
  transactionstatus: string;
  /** The network; signed. */
  operator: string;
  /** Another id. */
  reference: string;
  /** A third id. */
  transid: string;
  /** The receipt number of the network. */
  mnoreference: string;
  /** Whole shillings, as sent. */
  amount: string;
  /** For people. */
  message: string;
  /** In base64; empty if there is none. */
  signature: string;
}

/** A missing text counts as empty, as in the signature. */
function text(max: number) {
  return z.string().max(max).nullish().transform((value) => value ?? "");
}

const Callback: z.ZodType<AzamPayCallback> = z.object({
  utilityref: z.string().refine(isId),
  externalreference: text(128),
  transactionstatus: z.string().min(1).max(64),
  operator: text(64),
  reference: text(128),
  transid: text(128),
  mnoreference: text(128),
  amount: z.union([text(32), z.number().transform(String)]),
  message: text(2_000),
  signature: text(2_048),
});

/** Parses the JSON body of a POST; null if it is not a callback, or has no reference of ours. */
export function parseCallback({ method, body }: IncomingCall): AzamPayCallback | null {
  if (method !== "POST") return null;
  try {
    return Callback.safeParse(JSON.parse(body)).data ?? null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** The signed text; without the two fields that a note in AzamPay's schema mentions. */
export function signedText(
  { utilityref, externalreference, transactionstatus, operator }: AzamPayCallback,
): string {
  return utilityref + externalreference + transactionstatus + operator;
}

/** All ids of the transaction, the signed one first. Their meaning is not documented. */
export function trackingIdsOf(
  { externalreference, reference, transid }: AzamPayCallback,
): string[] {
  return [...new Set([externalreference, reference, transid])].filter((id) => id !== "");
}

/** What a callback with a valid signature reports; see the module's head for what that proves. */
export function confirmationOf(callback: AzamPayCallback): Confirmation {
  const state = stateOf(callback.transactionstatus);
  return {
    state,
    reference: callback.utilityref,
    trackingIds: trackingIdsOf(callback),
    amount: amountOf(callback.amount),
    confirmationCode: state === "completed" ? callback.mnoreference || null : null,
    method: quotable(callback.operator).slice(0, 40) || null,
    reason: state === "completed" ? null : quotable(callback.message) || null,
  };
}

/** The meaning of `transactionstatus`: documents have `failure`, the official plugin `failed`. */
export function stateOf(status: string): Confirmation["state"] {
  switch (status.toLowerCase()) {
    case "success":
      return "completed";
    case "failure":
    case "failed":
    case "fail":
      return "failed";
    default:
      return "unknown";
  }
}

function amountOf(text: string): Money | null {
  try {
    return parseMajor(text, "TZS");
  } catch (error) {
    if (error instanceof AppError) return null;
    throw error;
  }
}
