/**
 * Visitors with enquiries: each has a name, an e-mail address, a telephone number and a
 * network address of their own.
 *
 * @module
 */
import type { NewLead } from "../../lib/leads/mod.ts";
import type { NewProduct } from "../../lib/products/mod.ts";
import { HOST } from "./_processes.ts";

/** A visitor. */
export interface Visitor {
  name: string;
  email: string;
  phone: string;
  /** IPv4. */
  address: string;
}

/** What they enquire about. */
export const PRODUCT: NewProduct = {
  slug: "duka-pos",
  title: "Duka POS",
  category: "saas",
  price: { currency: "TZS", minor: 45_000_000 },
  oldPrice: null,
  description: "<p>Point of sale for a shop.</p>",
  features: ["Works offline"],
  demoUrl: null,
  active: true,
};

/** Numbers of visitors are below it. */
export const VISITORS_MAX = 10_000_000;
/** Prime to {@linkcode VISITORS_MAX}, so that its multiples pass through all numbers once. */
const SCATTER = 7_368_787;
const MESSAGE = "Habari, tunahitaji mfumo wa mauzo kwa maduka mawili. Tafadhali nipigie simu.";

const encoder = new TextEncoder();

/** Visitor number `n`. Their names are in no order, as in life: the store's keys are scattered. */
export function visitor(n: number): Visitor {
  const scattered = String((n * SCATTER) % VISITORS_MAX).padStart(7, "0");
  return {
    name: `Asha Mushi ${scattered}`,
    email: `${scattered}.asha@example.com`,
    phone: `+25571${scattered}`,
    address: `10.${n >> 16 & 255}.${n >> 8 & 255}.${n & 255}`,
  };
}

/** The enquiry of visitor number `n`, as the use case takes it. */
export function enquiry(n: number, productId: string): NewLead {
  const { name, email, phone } = visitor(n);
  return {
    name,
    email,
    phone,
    message: MESSAGE,
    productId,
    quantity: 1,
    source: "website",
    marketingConsent: false,
  };
}

/** The same as a request over HTTP/1.1; every other visitor sends an Idempotency-Key. */
export function enquiryRequest(n: number, productId: string): Uint8Array<ArrayBuffer> {
  const { name, email, phone, address } = visitor(n);
  const body = JSON.stringify({ name, email, phone, message: MESSAGE, productId });
  const key = n % 2 === 0 ? `idempotency-key: ${crypto.randomUUID()}\r\n` : "";
  return encoder.encode(
    `POST /api/v2/leads HTTP/1.1\r\nhost: ${HOST}\r\nx-forwarded-proto: https\r\n` +
      `x-forwarded-for: ${address}\r\n${key}content-type: application/json\r\n` +
      `content-length: ${body.length}\r\n\r\n${body}`,
  );
}

/** A request that reads, with an API key if it needs one. */
export function readRequest(path: string, key: string | null): Uint8Array<ArrayBuffer> {
  const authorization = key === null ? "" : `authorization: Bearer ${key}\r\n`;
  return encoder.encode(
    `GET ${path} HTTP/1.1\r\nhost: ${HOST}\r\nx-forwarded-proto: https\r\n` +
      `x-forwarded-for: 10.255.0.1\r\n${authorization}\r\n`,
  );
}
