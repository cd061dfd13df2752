/**
 * What webhooks need from the rest of the program.
 *
 * @module
 */
import type { AlertServices } from "../alerts/mod.ts";
import type { Config } from "../config/mod.ts";
import type { WebhookSender } from "./sender.ts";

/** What endpoints, their secrets and deliveries need. */
export interface WebhookServices extends AlertServices {
  /** Seals secrets, and says whether only public addresses are allowed. */
  readonly config: Pick<Config, "appEnv" | "secretKey" | "secretKeyPrevious">;
  /** Posts webhooks. */
  readonly webhookSender: WebhookSender;
}
