/**
 * Secrets and signatures of webhooks, by the Standard Webhooks convention
 * (github.com/standard-webhooks/standard-webhooks), sealed for its endpoint.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { hmacSha256 } from "../digest.ts";
import { newSecret } from "../ids.ts";
import type { WebhookSecrets } from "../kv/webhook_records.ts";
import { type SealConfig, type SealPlace, unseal } from "../crypto/mod.ts";

const PREFIX = "whsec_";

/** A new secret as its receiver gets it: `whsec_` and 32 random bytes in base64. */
export function newWebhookSecret(): string {
  return PREFIX + Buffer.from(newSecret(), "base64url").toString("base64");
}

/** What an endpoint's secrets are bound to when sealed. */
export function sealPlaceOf(endpointId: string): SealPlace {
  return { purpose: "webhook secret", label: endpointId };
}

/** The valid secrets, the current one first, and whether one is sealed with the previous key. */
export async function openSecrets(
  config: SealConfig,
  endpointId: string,
  { secrets }: WebhookSecrets,
  now: number,
): Promise<{ secrets: string[]; isOldKey: boolean }> {
  const valid = secrets.filter(({ until }) => until === null || until > now);
  const opened = await Promise.all(
    valid.map(({ sealed }) => unseal(config, sealPlaceOf(endpointId), sealed)),
  );
  const known = opened.filter((one) => one !== null);
  return {
    secrets: known.map(({ text }) => text),
    isOldKey: known.some(({ isOldKey }) => isOldKey),
  };
}

/** A webhook to sign. */
export interface Signed {
  /** The message's id. */
  id: string;
  /** The time of the attempt, milliseconds UTC. */
  now: number;
  /** The body as it is sent. */
  body: string;
}

/** Headers that prove origin, time and identity of a webhook to its receiver. */
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
