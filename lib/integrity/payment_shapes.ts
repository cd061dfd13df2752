/**
 * What a whole payment looks like; the types hold it to `payment_records.ts`.
 *
 * @module
 */
import {
  entity,
  id,
  type Is,
  listOf,
  maybe,
  moment,
  number,
  oneOf,
  record,
  text,
} from "./kinds.ts";
import type {
  Payment,
  PaymentChannel,
  PaymentStatus,
  Refund,
  Resolution,
} from "../kv/payment_records.ts";

const refund = record<Refund>({
  id,
  amountMinor: number,
  reason: text,
  reference: text,
  through: oneOf<Refund["through"]>({ gateway: true, hand: true }),
  status: oneOf<Refund["status"]>({ requested: true, completed: true, refused: true }),
  at: moment,
  by: text,
});

const resolution = record<Resolution>({
  outcome: oneOf<Resolution["outcome"]>({ completed: true, failed: true }),
  reference: text,
  reason: text,
  at: moment,
  by: text,
});

/** Whether a value is a payment in form. */
export const isPayment: Is = record<Payment>({
  ...entity,
  invoiceId: id,
  channel: oneOf<PaymentChannel>({ pesapal: true, azampay: true, manual: true }),
  status: oneOf<PaymentStatus>({
    created: true,
    pending: true,
    completed: true,
    failed: true,
    reversed: true,
    needs_review: true,
  }),
  currency: text,
  amountMinor: number,
  receivedMinor: number,
  refunds: listOf(refund),
  trackingId: maybe(text),
  confirmationCode: maybe(text),
  method: maybe(text),
  redirectUrl: maybe(text),
  payerPhone: maybe(text),
  problem: maybe(text),
  completedAt: maybe(moment),
  nextCheckAt: maybe(number),
  checks: number,
  notes: text,
  resolution: maybe(resolution),
});
