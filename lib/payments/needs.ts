/**
 * What payments need from the rest of the program.
 *
 * @module
 */
import type { RateLimiter } from "../access/rate_limit.ts";
import type { AlertServices } from "../alerts/mod.ts";
import type { Config } from "../config/mod.ts";
import type { Gateway, GatewayName } from "../gateways/mod.ts";
import type { InvoiceServices } from "../invoices/mod.ts";
import type { Metrics } from "../telemetry/metrics.ts";

/** What starting, confirming and refunding payments needs. */
export interface PaymentServices extends AlertServices {
  /** Where gateways send payers and callbacks, and the country of telephone numbers without a code. */
  readonly config:
    & InvoiceServices["config"]
    & Pick<Config, "publicUrl" | "defaultRegion" | "secretKey" | "secretKeyPrevious">;
  /** The gateways that are offered, in the order to offer them. */
  readonly gateways: ReadonlyMap<GatewayName, Gateway>;
  /** Limits how often callbacks make us ask a gateway. */
  readonly limiter: RateLimiter;
  /** Counts callbacks and payments. */
  readonly metrics: Metrics;
}
