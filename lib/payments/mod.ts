/**
 * Payments of invoices: reading them, and what all of this room needs.
 *
 * `checkout.ts` starts a payment, `confirm.ts` decides it by the gateway's word (`state.ts`,
 * `schedule.ts`), `callbacks.ts` and `reconcile.ts` call that, `operators.ts` and `refunds.ts` serve
 * people, `records.ts` writes and `effects.ts` reports.
 *
 * @module
 */
import {
  listByIndex,
  listEntities,
  type Page,
  PAGE_MAX,
  type PageRequest,
} from "../entities/page.ts";
import { AppError } from "../errors.ts";
import * as keys from "../kv/keys.ts";
import type { Payment, PaymentStatus } from "../kv/payment_records.ts";
import type { RateLimiter } from "../access/rate_limit.ts";
import type { AlertServices } from "../alerts/mod.ts";
import type { Config } from "../config/mod.ts";
import type { Gateway, GatewayName } from "../gateways/mod.ts";
import type { InvoiceServices } from "../invoices/mod.ts";
import type { Metrics } from "../telemetry/metrics.ts";

export type { Payment, PaymentChannel, PaymentStatus, Refund } from "../kv/payment_records.ts";
export {
  GATEWAY_NAMES,
  PAYMENT_CHANNELS,
  PAYMENT_OUTCOMES,
  PAYMENT_STATUSES,
  REFUND_CHANNELS,
  REFUND_OUTCOMES,
  REFUND_STATUSES,
} from "../kv/payment_records.ts";
export { type GatewayName, MOBILE_PROVIDERS, type MobileProvider } from "../gateways/mod.ts";

/** What starting, confirming and refunding payments needs. */
export interface PaymentServices extends AlertServices {
  /** Where gateways send payers and callbacks, and the country of telephone numbers without a code. */
  readonly config:
    & InvoiceServices["config"]
    & Pick<Config, "publicUrl" | "defaultRegion" | "secretKey" | "secretKeyPrevious">;
  /** The gateways that are offered, in the order to offer them. */
  readonly gateways: ReadonlyMap<GatewayName, Gateway>;
  /** Limits how often callbacks make us query a gateway. */
  readonly limiter: RateLimiter;
  /** Counts callbacks and payments. */
  readonly metrics: Metrics;
}

/** Which payments are listed: those for which all of it holds. */
export interface PaymentFilter {
  /** Only payments in this state; null for all. */
  status: PaymentStatus | null;
  /** Only payments of this invoice; null for all. */
  invoiceId: string | null;
}

/** A payment. @throws {AppError} `not_found` */
export async function getPayment({ store }: PaymentServices, id: string): Promise<Payment> {
  const payment = await store.get(keys.payment(id));
  if (!payment) throw unknownPayment();
  return payment;
}

/** The last payments of an invoice, newest first, up to {@linkcode PAGE_MAX}. Two round trips. */
export async function listPayments(
  services: PaymentServices,
  invoiceId: string,
): Promise<Payment[]> {
  const page = { limit: PAGE_MAX, cursor: null };
  return (await searchPayments(services, { invoiceId, status: null }, page)).data;
}

/** A page of payments, newest first. */
export async function searchPayments(
  services: PaymentServices,
  { status, invoiceId }: PaymentFilter,
  page: PageRequest,
): Promise<Page<Payment>> {
  const isWanted = (payment: Payment) => status === null || payment.status === status;
  if (invoiceId !== null) {
    const list = `payments/invoice/${invoiceId}`;
    const prefix = keys.paymentsByInvoice(invoiceId);
    return await listByIndex(services, list, prefix, keys.payment, page, isWanted);
  }
  if (status !== null) {
    const list = `payments/status/${status}`;
    const prefix = keys.paymentsByStatus(status);
    return await listByIndex(services, list, prefix, keys.payment, page, isWanted);
  }
  return await listEntities(services, "payments", keys.payments, page);
}

/** The error for an unknown payment. */
export function unknownPayment(): AppError {
  return new AppError("not_found", "No such payment");
}
