/** A shop with one client, for which tests write invoices. */
import type { TestAnswer } from "../support/program/app.ts";
import { asAdmin, newClient, startShop } from "../support/program/shop.ts";

export const WORK = { description: "Installation", quantity: 1, unitMinor: 10_000 };

/** A shop with a client, and how to write invoices for it. */
export async function startOffice() {
  const app = await startShop();
  const clientId = await newClient(app, { name: "Asha Mushi", phone: "0712345678" });
  return Object.assign(app, {
    clientId,
    write: (
      fields: Record<string, unknown> = {},
      headers: Record<string, string> = {},
      // deno-lint-ignore no-explicit-any
    ): Promise<TestAnswer<any>> =>
      asAdmin(app, "POST", "/api/v2/invoices", {
        body: { clientId, lines: [WORK], ...fields },
        headers,
      }),
  });
}
