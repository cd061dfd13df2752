/**
 * | method | path        | who                    | answers  |
 * | ------ | ----------- | ---------------------- | -------- |
 * | GET    | `/i/:token` | whoever has the address | 200, 404 |
 *
 * The invoice as the buyer sees it. The address is the only credential, so the
 * page is stored nowhere, leaks to nobody by Referer and loads nothing.
 *
 * @module
 */
import { Hono } from "hono";
import { AppError } from "../lib/errors.ts";
import { invoiceIdOf } from "../lib/invoice_links.ts";
import { getInvoice, type Invoice } from "../lib/invoices.ts";
import { formatMoney } from "../lib/money.ts";
import { passGuards } from "../lib/operation.ts";
import type { Services } from "../lib/services.ts";
import type { AppEnv } from "./_env.ts";
import { callerOf } from "./_http.ts";
import { byAddress, countWrite } from "./_limits.ts";
import { pagePolicy } from "./_walls.ts";

const STATUS_WORDS: Readonly<Record<Invoice["status"], string>> = {
  draft: "Not issued",
  open: "To be paid",
  partially_paid: "Partly paid",
  paid: "Paid",
  void: "Void: nothing is owed",
  uncollectible: "To be paid",
  refunded: "Refunded",
};

const STYLE = `
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 40rem; padding: 1rem }
table { border-collapse: collapse; width: 100% }
td, th { border-bottom: 1px solid #ccc; padding: .4rem 0; text-align: left }
td:last-child, th:last-child { text-align: right }
`;

/** The public invoice page. */
export function invoicePage(services: Services): Hono<AppEnv> {
  return new Hono<AppEnv>().get("/i/:token", async (c) => {
    const id = invoiceIdOf(services.config, c.req.param("token"));
    // The same answer for a token that is not ours and an invoice that is not there.
    const invoice = id === null ? null : await getInvoice(services, id).catch(orNull);
    if (!invoice || invoice.status === "draft") {
      // Wrong guesses count against the address, whatever instance they reach.
      countWrite(services, c, "invoice_link", byAddress(c, services));
      await passGuards(services, callerOf(c));
      throw new AppError("not_found", "No such invoice");
    }
    c.header("cache-control", "no-store");
    c.header("x-robots-tag", "noindex");
    const nonce = pagePolicy(c);
    const page = await <Page invoice={invoice} nonce={nonce} />;
    return c.html(`<!DOCTYPE html>${page}`);
  });
}

function orNull(error: unknown): null {
  if (error instanceof AppError && error.kind === "not_found") return null;
  throw error;
}

function Page({ invoice, nonce }: { invoice: Invoice; nonce: string }) {
  const { number, billTo, status, currency, lines, taxMinor, totalMinor, paidMinor } = invoice;
  const money = (minor: number) => formatMoney({ currency, minor });
  return (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>Invoice {number}</title>
        <style nonce={nonce} dangerouslySetInnerHTML={{ __html: STYLE }} />
      </head>
      <body>
        <h1>Invoice {number}</h1>
        <p>
          For {billTo.name}. <strong>{STATUS_WORDS[status]}</strong>
          {status === "open" || status === "partially_paid" ? ` by ${invoice.dueOn}.` : "."}
        </p>
        <table>
          <thead>
            <tr>
              <th>What</th>
              <th>Amount</th>
            </tr>
          </thead>
          <tbody>
            {lines.map(({ description, quantity, totalMinor }) => (
              <tr>
                <td>{quantity === 1 ? description : `${quantity} × ${description}`}</td>
                <td>{money(totalMinor)}</td>
              </tr>
            ))}
            {taxMinor > 0 && (
              <tr>
                <td>Tax</td>
                <td>{money(taxMinor)}</td>
              </tr>
            )}
            <tr>
              <th>Total</th>
              <th>{money(totalMinor)}</th>
            </tr>
            {paidMinor > 0 && (
              <tr>
                <td>Paid</td>
                <td>{money(paidMinor)}</td>
              </tr>
            )}
          </tbody>
        </table>
      </body>
    </html>
  );
}
