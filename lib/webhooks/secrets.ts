/**
 * What signs webhooks, by the Standard Webhooks convention
 * (github.com/standard-webhooks/standard-webhooks), sealed for its endpoint.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { hmacSha256 } from "../digest.ts";
import { newSecret } from "../ids.ts";
import type { WebhookSecrets } from "../kv/webhook_records.ts";
import { type SealConfig, type SealPlace, unseal } from "../crypto/sealing.ts";

const PREFIX = "whsec_";

/** A new secret as receivers are told it: `whsec_` and 32 random bytes in base64. */
export function newWebhookSecret(): string {
  return PREFIX + Buffer.from(newSecret(), "base64url").toString("base64");
}

/** Where an endpoint's secrets are sealed. */
export function placeOf(endpointId: string): SealPlace {
  return { purpose: "webhook secret", label: endpointId };
}

/** The secrets that sign at the moment, the present one first, and whether all are sealed with the present key. */
export async function openSecrets(
  config: SealConfig,
  endpointId: string,
  { secrets }: WebhookSecrets,
  now: number,
): Promise<{ secrets: string[]; isOldKey: boolean }> {
  const valid = secrets.filter(({ until }) => until === null || until > now);
  const opened = await Promise.all(
    valid.map(({ sealed }) => unseal(config, placeOf(endpointId), sealed)),
  );
  const known = opened.filter((one) => one !== null);
  return {
    secrets: known.map(({ text }) => text),
    isOldKey: known.some(({ isOldKey }) => isOldKey),
  };
}

/** What is signed. */
export interface Signed {
  /** The message. */
  id: string;
  /** When it is sent, milliseconds UTC. */
  now: number;
  /** As it is sent. */
  body: string;
}

/** The headers by which a receiver knows that a webhook is ours, new, and which one it is. */
export function signedHeaders(
  secrets: readonly string[],
  { id, now, body }: Signed,
): Record<string, string> {
  const timestamp = String(Math.floor(now / 1_000));
  const signatures = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(PREFIX.length), "base64");
    const mac = hmacSha256(key, `${id}.${timestamp}.${body}`);
    return `v1,${Buffer.from(mac).toString("base64")}`;
  });
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": signatures.join(" "),
  };
}
