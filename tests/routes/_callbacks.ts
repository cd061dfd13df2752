/** Calls that a gateway makes to the shop. */
import type { Payment } from "../../lib/payments/mod.ts";
import type { GatewayTill } from "../support/program/till.ts";

/** Calls in Pesapal's name, as anyone could. */
export function ipn(
  app: GatewayTill,
  { id, trackingId }: Pick<Payment, "id" | "trackingId">,
  kind = "IPNCHANGE",
) {
  return app.post("/payments/pesapal/ipn", {
    OrderNotificationType: kind,
    OrderTrackingId: trackingId,
    OrderMerchantReference: id,
  });
}
