/**
 * What a callback in AzamPay's name says. Its signature covers four fields, one after
 * the other: `utilityref` (our reference), `externalreference` (theirs),
 * `transactionstatus` and `operator`. So a callback whose signature holds proves that
 * AzamPay came to this end with this reference, and nothing else:
 *
 * - The amount is not signed. Whoever takes it must hold it against what was asked for,
 *   and leave a difference to a person.
 * - The other names of the transaction are not signed either, nor is there a time: the
 *   same callback may come again for ever.
 * - Nothing parts the fields, so characters can be moved from one to its neighbour
 *   under the same signature. As our references have one length and form, whatever is
 *   moved leaves the reference as it was, or leaves none.
 *
 * @module
 */
import { z } from "zod";
import { AppError } from "../errors.ts";
import { isId } from "../ids.ts";
import { type Money, parseMajor } from "../money.ts";
import { quotable } from "./_call.ts";
import type { Confirmation, IncomingCall } from "./mod.ts";

/** The fields that are looked at. What else there is, passwords and telephones, is dropped here. */
export interface AzamPayCallback {
  /** Our reference, a UUIDv7; signed. */
  utilityref: string;
  /** AzamPay's own name for it; signed. */
  externalreference: string;
  /** Such as `success`; signed. */
  transactionstatus: string;
  /** The network; signed. */
  operator: string;
  /** Another name. */
  reference: string;
  /** Another one. */
  transid: string;
  /** The network's receipt. */
  mnoreference: string;
  /** Whole shillings, as sent. */
  amount: string;
  /** Words. */
  message: string;
  /** In base64; empty if there is none. */
  signature: string;
}

/** An absent text is an empty one: what AzamPay signs then. */
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

/** A JSON body of a POST as a callback; null if it is none, or about no payment of ours. */
export function parseCallback({ method, body }: IncomingCall): AzamPayCallback | null {
  if (method !== "POST") return null;
  try {
    return Callback.safeParse(JSON.parse(body)).data ?? null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

/** What the signature is over: never the two fields of which a note in AzamPay's schema speaks. */
export function signedText(
  { utilityref, externalreference, transactionstatus, operator }: AzamPayCallback,
): string {
  return utilityref + externalreference + transactionstatus + operator;
}

/** All names that a callback gives the transaction, the signed one first. Which is which is not documented. */
export function trackingIdsOf(
  { externalreference, reference, transid }: AzamPayCallback,
): string[] {
  return [...new Set([externalreference, reference, transid])].filter((id) => id !== "");
}

/** What a callback says, once its signature is known to hold. See above for what that proves. */
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

/** What `transactionstatus` means: documents say `failure`, the official plugin `failed`. */
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
