/**
 * The enquiry form of the previous website (`/save-lead/`, `/api/v1/save-lead`): its
 * pages work after changing one address. Bodies are in the old format (`status`, `url`,
 * `message`); errors now have error status codes. Deprecated: RFC 9745, RFC 8594.
 *
 * @module
 */
import { type Context, Hono, type HonoRequest } from "hono";
import { z } from "zod";
import { parseContact } from "../lib/contact.ts";
import { AppError } from "../lib/errors.ts";
import { invoiceUrl } from "../lib/invoices/links.ts";
import { acceptLead, type LeadSource } from "../lib/leads/mod.ts";
import { getProductOnSale, type Product } from "../lib/products/mod.ts";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";
import { callerOf } from "./_http.ts";
import { countLead } from "./_limits.ts";
import { invalid, line, multiline } from "./_openapi.ts";
import { answerError, UNEXPECTED } from "./_problem.ts";

const DEPRECATED_SINCE = "@1764547200"; // 2025-12-01
const SUNSET = "Wed, 01 Dec 2027 00:00:00 GMT";

const SOURCES: readonly LeadSource[] = [
  "website",
  "whatsapp",
  "email",
  "pesapal",
  "azampay",
  "contact",
];
/** Sources whose pages expect a redirect to the payment page. */
const PAYING: ReadonlySet<LeadSource> = new Set<LeadSource>(["pesapal", "azampay"]);

/** What the old pages send; other fields are ignored. */
const V1Lead = z.object({
  name: line(120),
  contact: z.string().min(1).max(254),
  product: multiline(200).nullish(),
  source: z.string().max(40).nullish(),
  product_id: z.union([z.string().max(80), z.int()]).nullish(),
});

const PATHS = ["/api/v1/save-lead", "/api/v1/save-lead/", "/save-lead", "/save-lead/"];

/** The v1 routes. */
export function v1Routes(services: Services): Hono<AppEnv> {
  return new Hono<AppEnv>().on("POST", PATHS, (c) => saveLead(services, c));
}

/** Whether an old page made the request, which cannot read a problem document. */
export function isV1Request({ method, path }: Pick<HonoRequest, "method" | "path">): boolean {
  return method === "POST" && PATHS.includes(path);
}

/** The response to an error, in the old format. */
export function answerV1Error(error: unknown, c: Context<AppEnv>, services: Services): Response {
  const { status, headers } = answerError(error, c, services);
  const message = error instanceof AppError && error.kind !== "internal"
    ? [error.message, ...error.fields.map(({ path, message }) => `${path}: ${message}`)].join("; ")
    : UNEXPECTED;
  const answered = answer({ status: "error", message }, status);
  const retryAfter = headers.get("retry-after");
  if (retryAfter !== null) answered.headers.set("retry-after", retryAfter);
  return answered;
}

async function saveLead(services: Services, c: Context<AppEnv>): Promise<Response> {
  const parsed = V1Lead.safeParse(await readJson(c));
  if (!parsed.success) throw invalid(parsed.error.issues);
  const { name, contact, product: productText, product_id, source: named } = parsed.data;
  const reached = await parseContact(contact, services.config.defaultRegion);
  if (!reached) {
    throw new AppError("invalid_input", "contact: Must be an e-mail address or a phone number");
  }
  countLead(services, c, "email" in reached ? reached.email : undefined);
  const lower = (named ?? "website").toLowerCase();
  const source = SOURCES.find((known) => known === lower) ?? "other";
  const product = product_id === null || product_id === undefined || product_id === ""
    ? null
    : await productOnSale(services, String(product_id));
  const { invoice } = await acceptLead(services, {
    name,
    ...reached,
    message: productText ? `Product: ${productText.replace(/\p{Cc}/gu, " ")}` : "",
    ...(product ? { productId: product.id } : {}),
    quantity: 1,
    source,
    marketingConsent: false,
  }, callerOf(c));
  if (invoice && PAYING.has(source)) {
    return answer({ status: "redirect", url: invoiceUrl(services.config, invoice.id) }, 200);
  }
  return answer({ status: "success" }, 200);
}

async function productOnSale(services: Services, idOrSlug: string): Promise<Product> {
  try {
    return await getProductOnSale(services, idOrSlug);
  } catch (error) {
    if (!(error instanceof AppError) || error.kind !== "not_found") throw error;
    throw new AppError("invalid_input", "product_id: This product is not on sale");
  }
}

async function readJson(c: Context<AppEnv>): Promise<unknown> {
  try {
    return await c.req.json();
  } catch {
    throw new AppError("malformed", "The body is not JSON");
  }
}

function answer(body: Record<string, string>, status: number): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      "content-type": "application/json",
      "cache-control": "no-store",
      "deprecation": DEPRECATED_SINCE,
      "sunset": SUNSET,
      "link": '</docs>; rel="deprecation"',
    },
  });
}
