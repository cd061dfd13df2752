/**
 * The invariants of outgoing webhooks: each endpoint is in the directory as it
 * is, and has a secret.
 *
 * @module
 */
import { type Check, check, type Get, type Room } from "./indexes.ts";
import * as keys from "../kv/keys.ts";
import type { WebhookDirectory, WebhookEndpoint, WebhookSecrets } from "../kv/webhook_records.ts";

/** Endpoints of the directory that a check looks at: a snapshot has ten keys. */
const LOOK_MAX = 8;

/** What has to be so around an endpoint. */
export const WEBHOOK_CHECKS: readonly Check[] = [
  check<WebhookEndpoint>("webhook.directory_wrong", "warning", directoryFault),
  check<WebhookEndpoint>("webhook.secret_missing", "warning", secretFault),
];

/** Every other prefix of webhooks whose entries must agree with others. */
export const WEBHOOK_ROOMS: readonly Room[] = [
  {
    prefix: ["webhook_directory"],
    severity: "warning",
    checks: [check<WebhookDirectory>("webhook.endpoint_missing", "warning", endpointFault)],
  },
  {
    prefix: ["webhook_secrets"],
    severity: "warning",
    checks: [check<WebhookSecrets>("webhook.secret_left", "warning", leftFault)],
  },
];

function directoryFault(
  { id, eventTypes, isEnabled, deletedAt }: WebhookEndpoint,
  get: Get,
): string | null {
  const { subscriptions } = get(keys.webhookDirectory) ?? { subscriptions: [] };
  const found = subscriptions.find((one) => one.id === id);
  if (deletedAt !== null) return null; // asked from the other side
  if (!found) return "It is not in the directory";
  const isSame = found.isEnabled === isEnabled &&
    found.eventTypes.join() === eventTypes.join();
  return isSame ? null : "The directory has it otherwise";
}

function secretFault({ id, deletedAt }: WebhookEndpoint, get: Get): string | null {
  if (deletedAt !== null) return null;
  return (get(keys.webhookSecrets(id))?.secrets.length ?? 0) > 0 ? null : "It has no secret";
}

function endpointFault({ subscriptions }: WebhookDirectory, get: Get): string | null {
  const ids = subscriptions.slice(0, LOOK_MAX).map(({ id }) => id);
  const missing = ids.find((id) => get(keys.webhook(id))?.deletedAt !== null);
  return missing === undefined ? null : `${missing} is not there`;
}

function leftFault(_: WebhookSecrets, get: Get, key: keys.Key<unknown>): string | null {
  const endpoint = get(keys.webhook(String(key[1])));
  return endpoint?.deletedAt === null ? null : "It is of no endpoint";
}
