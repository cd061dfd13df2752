/**
 * What signs webhooks, by the Standard Webhooks convention
 * (github.com/standard-webhooks/standard-webhooks), and how it is kept: encrypted
 * with a key derived from `SECRET_KEY`, with the endpoint sealed in, so that who
 * can read the store learns nothing and who can write it cannot give one endpoint
 * the secret of another.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Config } from "../config.ts";
import { fromBase64Url, hmacSha256, toBase64Url } from "../digest.ts";
import { newSecret } from "../ids.ts";
import type { WebhookSecrets } from "../kv/webhook_records.ts";

/** What of the configuration seals. */
export type SealConfig = Pick<Config, "secretKey" | "secretKeyPrevious">;

const PREFIX = "whsec_";
const NONCE_BYTES = 12;

const encoder = new TextEncoder();

/** A new secret as receivers are told it: `whsec_` and 32 random bytes in base64. */
export function newWebhookSecret(): string {
  return PREFIX + Buffer.from(newSecret(), "base64url").toString("base64");
}

/** Encrypts an endpoint's secret. */
export async function sealSecret(
  { secretKey }: SealConfig,
  endpointId: string,
  secret: string,
): Promise<string> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const sealed = await crypto.subtle.encrypt(
    algorithm(nonce, endpointId),
    await cipherKey(secretKey),
    encoder.encode(secret),
  );
  return toBase64Url(new Uint8Array([...nonce, ...new Uint8Array(sealed)]));
}

/** A secret, and whether it is to be sealed anew before the key that it was sealed with is gone. */
export interface Unsealed {
  /** As the receiver has it. */
  secret: string;
  /** Sealed with the key before the present one. */
  isOldKey: boolean;
}

/** Decrypts an endpoint's secret; null if it was sealed with neither key, or not for this endpoint. */
export async function unsealSecret(
  { secretKey, secretKeyPrevious }: SealConfig,
  endpointId: string,
  sealed: string,
): Promise<Unsealed | null> {
  const bytes = fromBase64Url(sealed);
  if (!bytes) return null;
  const nonce = bytes.slice(0, NONCE_BYTES);
  for (const key of [secretKey, secretKeyPrevious]) {
    if (key === undefined) continue;
    try {
      const text = await crypto.subtle.decrypt(
        algorithm(nonce, endpointId),
        await cipherKey(key),
        bytes.slice(NONCE_BYTES),
      );
      return { secret: new TextDecoder().decode(text), isOldKey: key !== secretKey };
    } catch {
      // Of another key: the other one may fit.
    }
  }
  return null;
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
    valid.map(({ sealed }) => unsealSecret(config, endpointId, sealed)),
  );
  const known = opened.filter((one) => one !== null);
  return {
    secrets: known.map(({ secret }) => secret),
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

function algorithm(nonce: Uint8Array<ArrayBuffer>, endpointId: string): AesGcmParams {
  return { name: "AES-GCM", iv: nonce, additionalData: encoder.encode(endpointId) };
}

function cipherKey(secretKey: Uint8Array<ArrayBuffer>): Promise<CryptoKey> {
  const bytes = hmacSha256(secretKey, "webhook secret\0");
  return crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);
}
