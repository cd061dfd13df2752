/**
 * Opens the payment gateways of the configuration; the code of each is loaded only if it
 * is configured. A further gateway is a file and three lines here.
 *
 * @module
 */
import type { Config } from "../config/mod.ts";
import type { Gateway, GatewayName, GatewayOptions } from "./mod.ts";

/** The configured gateways, in the order to offer them. Makes no call. */
export async function openGateways(
  { pesapal, azampay }: Pick<Config, "pesapal" | "azampay">,
  options: GatewayOptions,
): Promise<ReadonlyMap<GatewayName, Gateway>> {
  const gateways: Gateway[] = [];
  if (pesapal) {
    const { Pesapal } = await import("./pesapal.ts");
    gateways.push(new Pesapal(pesapal, options));
  }
  if (azampay) {
    const { AzamPay } = await import("./azampay.ts");
    gateways.push(new AzamPay(azampay, options));
  }
  return new Map(gateways.map((gateway) => [gateway.name, gateway]));
}
