/**
 * The public invoice page with payment; a PDF with `.pdf` after the token. The link is
 * the only credential, so the page is not cached, sends no Referer and loads nothing.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import { documentOf } from "../../lib/documents/mod.ts";
import type { PayProblem } from "../../lib/documents/texts.ts";
import { AppError } from "../../lib/errors.ts";
import { newSecret } from "../../lib/ids.ts";
import { invoiceIdOf, invoiceToken } from "../../lib/invoices/links.ts";
import { getInvoice, type Invoice } from "../../lib/invoices/mod.ts";
import type { Language } from "../../lib/languages.ts";
import { passGuards } from "../../lib/entities/caller.ts";
import { startCheckout } from "../../lib/payments/checkout.ts";
import { listPayments } from "../../lib/payments/mod.ts";
import type { Services } from "../../lib/app/mod.ts";
import { businessDate, MINUTE_MS } from "../../lib/time.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import { answerPdf } from "../_invoice_pdf.ts";
import { languageOf } from "../_language.ts";
import { byAddress, countWrite } from "../_limits.ts";
import { pagePolicy } from "../_security.ts";
import { keyOf, type PayFields, readPayChoice, readPayFields } from "./_form.ts";
import { type FormProblem, Page } from "./_page.tsx";
import { payViewOf } from "./_pay_view.ts";

const PDF = ".pdf";

/** The public invoice page. */
export function invoicePage(services: Services): Hono<AppEnv> {
  return new Hono<AppEnv>()
    .get("/i/:token", async (c) => {
      const token = c.req.param("token");
      const isPdf = token.endsWith(PDF);
      const invoice = await findInvoice(services, c, isPdf ? token.slice(0, -PDF.length) : token);
      const language = languageOf(services, c);
      if (isPdf) return await answerPdf(c, services, { invoice, language });
      return await answerPage(services, c, { invoice, language, formProblem: null });
    })
    .post("/i/:token/pay", async (c) => {
      const invoice = await findInvoice(services, c, c.req.param("token"));
      const fields = await readPayFields(c);
      const language = languageOf(services, c);
      const outcome = await pay(services, c, { invoice, fields, language });
      if ("location" in outcome) {
        return c.redirect(outcome.location ?? `${pathOf(services, invoice)}?lang=${language}`, 303);
      }
      const { status, problem, retryAfterMs = 0 } = outcome;
      c.status(status);
      if (retryAfterMs > 0) c.header("retry-after", String(Math.ceil(retryAfterMs / 1_000)));
      const minutes = Math.max(1, Math.ceil(retryAfterMs / MINUTE_MS));
      const { phone, provider } = fields;
      const formProblem = { problem, minutes, phone, provider };
      // Read again: the attempt may have changed the invoice.
      const now = await getInvoice(services, invoice.id);
      return await answerPage(services, c, { invoice: now, language, formProblem });
    });
}

/** The invoice of a token. @throws {AppError} `not_found`, for a draft too; `rate_limited` */
async function findInvoice(
  services: Services,
  c: Context<AppEnv>,
  token: string,
): Promise<Invoice> {
  const id = invoiceIdOf(services.config, token);
  // An invalid token and a missing invoice get the same response.
  const invoice = id === null ? null : await getInvoice(services, id).catch(orNull);
  if (invoice && invoice.status !== "draft" && invoice.number !== null) return invoice;
  // Wrong guesses count against the address, on all instances.
  countWrite(services, c, "invoice_link", byAddress(c, services));
  await passGuards(services, callerOf(c));
  throw new AppError("not_found", "No such invoice");
}

function orNull(error: unknown): null {
  if (error instanceof AppError && error.kind === "not_found") return null;
  throw error;
}

function pathOf({ config }: Services, { id }: Invoice): string {
  return `/i/${invoiceToken(config, id)}`;
}

async function answerPage(
  services: Services,
  c: Context<AppEnv>,
  { invoice, language, formProblem }: {
    invoice: Invoice;
    language: Language;
    formProblem: FormProblem | null;
  },
): Promise<Response> {
  const { config, clock, gateways } = services;
  const now = clock();
  const today = businessDate(now, config.timeZone);
  const document = documentOf(config, { invoice, language, today });
  const payments = await listPayments(services, invoice.id);
  c.header("cache-control", "no-store");
  c.header("x-robots-tag", "noindex");
  c.header("content-language", language);
  const page = await (
    <Page
      document={document}
      pay={payViewOf({ invoice, payments, gateways: gateways.values(), now })}
      isPayingAgain={c.req.query("pay") === "again"}
      formProblem={formProblem}
      path={pathOf(services, invoice)}
      attempt={newSecret(16)}
      nonce={pagePolicy(c, formTargets(services))}
    />
  );
  return c.html(`<!DOCTYPE html>${page}`);
}

/** Chrome applies form-action to the redirect after a form too: to a gateway. */
function formTargets({ config, gateways }: Services): string[] {
  if (gateways.size === 0) return [];
  return config.appEnv === "production" ? ["https:"] : ["https:", "http:"];
}

type PayOutcome =
  /** Where the payer continues; null for the invoice page, which shows the status. */
  | { location: string | null }
  | { status: 422 | 429 | 503; problem: PayProblem; retryAfterMs?: number | undefined };

/** Starts a payment. Returns the problems that the payer can act on. */
async function pay(
  services: Services,
  c: Context<AppEnv>,
  { invoice, fields, language }: { invoice: Invoice; fields: PayFields; language: Language },
): Promise<PayOutcome> {
  const choice = await readPayChoice(services, fields);
  if (typeof choice === "string") return { status: 422, problem: choice };
  try {
    countWrite(services, c, "pay_address", byAddress(c, services));
    countWrite(services, c, "pay_invoice", invoice.id);
    if (choice.phone !== undefined) countWrite(services, c, "pay_phone", choice.phone);
    const by = { ...callerOf(c), idempotencyKey: keyOf(invoice.id, fields, choice) };
    const request = { ...choice, language };
    const { redirectUrl } = await startCheckout(services, invoice.id, request, by);
    return { location: redirectUrl };
  } catch (error) {
    if (error instanceof AppError) return outcomeOf(error);
    throw error;
  }
}

/** A failure as the payer sees it. @throws {AppError} The error itself if it is a defect */
function outcomeOf(error: AppError): PayOutcome {
  const { kind, fields: [field], retryAfterMs } = error;
  switch (kind) {
    // Already paid, or a payment is in progress.
    case "conflict":
      return { location: null };
    case "rate_limited":
      return { status: 429, problem: "too_often", retryAfterMs };
    case "unavailable":
    case "outcome_unknown":
      return { status: 503, problem: "unavailable", retryAfterMs };
    case "invalid_input":
      if (field?.code === "amount_refused") return { status: 422, problem: "amount" };
      return { status: 422, problem: field?.path === "phone" ? "phone" : "gateway" };
    default:
      throw error;
  }
}
