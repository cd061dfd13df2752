/**
 * What AzamPay takes and says, as it is documented: the shapes of requests, answers
 * and callbacks, and what it signs. Pure; the simulator is built on it.
 *
 * @module
 */

/** Networks, exactly as AzamPay spells them. */
export const PROVIDERS = ["Airtel", "Tigo", "Halopesa", "Azampesa", "Mpesa"] as const;

/** The most that one checkout takes, in shillings. */
export const AMOUNT_MAX = 5_000_000;

/** A checkout that is well-formed. */
export interface MnoCheckout {
  accountNumber: string;
  /** Whole shillings. */
  amount: number;
  currency: string;
  externalId: string;
  provider: string;
  additionalProperties: unknown;
}

/** Of each bad field, what is wrong with it. */
export type FieldErrors = Record<string, string[]>;

/** What AzamPay posts when a payer has decided, but for the signature. */
export interface CallbackBody {
  message: string;
  user: string;
  password: string;
  clientId: string;
  transactionstatus: string;
  operator: string;
  reference: string;
  externalreference: string;
  utilityref: string;
  amount: string;
  transid: string;
  msisdn: string;
  mnoreference: string;
  submerchantAcc: null;
  additionalProperties: unknown;
}

/** The same with what it is signed by, if it is. */
export interface SignedCallback extends CallbackBody {
  /** Base64. */
  signature: string | null;
}

/** Local, international or neither, as the official plugin for WooCommerce distinguishes them. */
const PHONE = /^(?:\+?255|0)?(?:6[1-9]|7[1-8])\d{7}$/;
/** Accounts of AzamPesa may be no telephone number. */
const AZAMPESA_ACCOUNT = /^1\d{6,11}$/;

const encoder = new TextEncoder();

/** Reads a checkout; what it does not know is passed over, as AzamPay does. */
export function readMnoCheckout(
  body: unknown,
): { checkout: MnoCheckout } | { errors: FieldErrors } {
  const fields = recordOf(body);
  const errors: FieldErrors = {};
  const text = (name: string, isGood: (value: string) => boolean, said: string): string => {
    const value = fields[name];
    if (typeof value === "string" && isGood(value)) return value;
    errors[name] = [said];
    return "";
  };

  const provider = text(
    "provider",
    (value) => PROVIDERS.some((known) => known === value),
    "The provider is not supported.",
  );
  const isAzampesa = provider === "Azampesa";
  const accountNumber = text(
    "accountNumber",
    (value) => PHONE.test(value) || (isAzampesa && AZAMPESA_ACCOUNT.test(value)),
    "The account number is not valid.",
  );
  const currency = text("currency", (value) => value === "TZS", "The currency is not supported.");
  const externalId = text(
    "externalId",
    (value) => /^[\x20-\x7e]{1,128}$/.test(value),
    "The external id must be 1 to 128 ASCII characters.",
  );
  const amount = wholeShillings(fields.amount);
  if (amount === null) errors.amount = [`The amount must be digits, up to ${AMOUNT_MAX}.`];
  const { additionalProperties = null } = fields;
  if (!isSmallObject(additionalProperties)) {
    errors.additionalProperties = ["Must be an object of up to 4096 bytes."];
  }

  if (amount === null || Object.keys(errors).length > 0) return { errors };
  return {
    checkout: { accountNumber, amount, currency, externalId, provider, additionalProperties },
  };
}

/** The schema says a number, and almost every client sends a text: both are taken. */
function wholeShillings(value: unknown): number | null {
  const text = typeof value === "number" ? String(value) : value;
  if (typeof text !== "string" || !/^\d{1,9}$/.test(text)) return null;
  const amount = Number(text);
  return amount > 0 && amount <= AMOUNT_MAX ? amount : null;
}

function isSmallObject(value: unknown): boolean {
  if (value === null) return true;
  if (typeof value !== "object" || Array.isArray(value)) return false;
  return encoder.encode(JSON.stringify(value)).length <= 4_096;
}

/** The members of a JSON object; of anything else none. */
export function recordOf(body: unknown): Record<string, unknown> {
  return typeof body === "object" && body !== null && !Array.isArray(body) ? { ...body } : {};
}

/** A refusal of fields, as AzamPay's framework writes it. */
export function validationProblem(errors: FieldErrors) {
  return {
    errors,
    type: "https://tools.ietf.org/html/rfc7231#section-6.5.1",
    title: "One or more validation errors occurred.",
    status: 400,
    traceId: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
  };
}

/** What AzamPay signs: four fields as they are, one after the other. */
export function signedText(
  { utilityref, externalreference, transactionstatus, operator }: CallbackBody,
): string {
  return utilityref + externalreference + transactionstatus + operator;
}

/** The signed text by the short note in AzamPay's schema: with it, callbacks could be altered. */
export function shortSignedText({ utilityref, externalreference }: CallbackBody): string {
  return utilityref + externalreference;
}

/** A pair of keys that AzamPay signs with. */
export interface SigningKey {
  /** The public half, in PEM. */
  readonly pem: string;
  /** Its modulus and exponent in the XML of .NET. */
  readonly xml: string;
  /** RSA, PKCS#1 v1.5, over SHA-256, in base64. */
  sign(text: string): Promise<string>;
}

const ALGORITHM = {
  name: "RSASSA-PKCS1-v1_5",
  hash: "SHA-256",
  modulusLength: 2_048,
  publicExponent: new Uint8Array([1, 0, 1]),
};

const made = new Map<string, Promise<SigningKey>>();

/** The pair of keys of that name, the same whenever asked for: making one takes a while. */
export function signingKey(name: string): Promise<SigningKey> {
  let key = made.get(name);
  if (!key) made.set(name, key = newSigningKey());
  return key;
}

async function newSigningKey(): Promise<SigningKey> {
  const { publicKey, privateKey } = await crypto.subtle.generateKey(ALGORITHM, true, [
    "sign",
    "verify",
  ]);
  const spki = base64(new Uint8Array(await crypto.subtle.exportKey("spki", publicKey)));
  const { n = "", e = "" } = await crypto.subtle.exportKey("jwk", publicKey);
  const plain = (text: string) => text.replaceAll("-", "+").replaceAll("_", "/");
  const padded = (text: string) => plain(text).padEnd(Math.ceil(text.length / 4) * 4, "=");
  return {
    pem: `-----BEGIN PUBLIC KEY-----\n${
      spki.replaceAll(/.{64}/g, "$&\n").trim()
    }\n-----END PUBLIC KEY-----`,
    xml: `<RSAKeyValue><Modulus>${padded(n)}</Modulus><Exponent>${
      padded(e)
    }</Exponent></RSAKeyValue>`,
    async sign(text) {
      const signature = await crypto.subtle.sign(ALGORITHM.name, privateKey, encoder.encode(text));
      return base64(new Uint8Array(signature));
    },
  };
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
