/**
 * The invariants of outgoing webhooks: the directory has each endpoint as it is,
 * and each endpoint has a secret.
 *
 * @module
 */
import { type Check, check, type Get, type Table } from "./indexes.ts";
import * as keys from "../kv/keys.ts";
import type { WebhookDirectory, WebhookEndpoint, WebhookSecrets } from "../kv/webhook_records.ts";

/** Endpoints of the directory that a check reads: a snapshot has ten keys. */
const READ_MAX = 8;

/** The checks of an endpoint, except its history. */
export const WEBHOOK_CHECKS: readonly Check[] = [
  check<WebhookEndpoint>("webhook.directory_wrong", "warning", directoryFault),
  check<WebhookEndpoint>("webhook.secret_missing", "warning", secretFault),
];

/** The tables of webhooks, except the endpoints. */
export const WEBHOOK_TABLES: readonly Table[] = [
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
  if (deletedAt !== null) return null; // the check of the directory finds it
  if (!found) return "The endpoint is not in the directory";
  const isSame = found.isEnabled === isEnabled &&
    found.eventTypes.join() === eventTypes.join();
  return isSame ? null : "The directory has other settings of the endpoint";
}

function secretFault({ id, deletedAt }: WebhookEndpoint, get: Get): string | null {
  if (deletedAt !== null) return null;
  const { secrets } = get(keys.webhookSecrets(id)) ?? { secrets: [] };
  return secrets.length > 0 ? null : "The endpoint has no secret";
}

function endpointFault({ subscriptions }: WebhookDirectory, get: Get): string | null {
  const ids = subscriptions.slice(0, READ_MAX).map(({ id }) => id);
  const missing = ids.find((id) => get(keys.webhook(id))?.deletedAt !== null);
  return missing === undefined ? null : `Endpoint ${missing} does not exist`;
}

function leftFault(_: WebhookSecrets, get: Get, key: keys.Key<unknown>): string | null {
  const endpoint = get(keys.webhook(String(key[1])));
  return endpoint?.deletedAt === null ? null : "The secrets belong to no endpoint";
}
