/** Which client an enquiry belongs to, and what a visitor does not learn about that client. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import * as keys from "../../lib/kv/keys.ts";
import { asAdmin, startShop } from "../support/program/shop.ts";

const CONTACTS: [known: Record<string, string>, again: Record<string, string>][] = [
  [{ email: "asha@example.com" }, { email: " Asha@EXAMPLE.com " }],
  [{ phone: "0712 345 678" }, { phone: "+255 (712) 345-678" }],
  [{ phone: "+255712345678" }, { phone: "00255712345678" }],
  [{ phone: "+255712345678" }, { phone: "255 712 345 678" }],
  [{ email: "asha@example.com", phone: "0712345678" }, { phone: "0712-345-678" }],
  [
    { email: "asha@example.com" },
    { email: "ASHA@example.com", phone: "0754 000 111" },
  ],
];

for (const [known, again] of CONTACTS) {
  const names = [known, again].map((contact) => Object.values(contact).join(" and "));
  Deno.test(`POST /api/v2/leads with ${names[1]} finds the client with ${names[0]}`, async () => {
    await using app = await startShop();
    const first = await app.post("/api/v2/leads", { name: "Asha Mushi", ...known });
    const before = await app.services.store.get(keys.client(first.body.client.id));

    const { status, body } = await app.post("/api/v2/leads", {
      name: "Somebody Else",
      ...again,
      marketingConsent: true,
    });

    equal(status, 201);
    equal(body.client.id, first.body.client.id);
    equal(body.lead.clientId, first.body.client.id);
    equal(body.client.name, "Somebody Else");
    equal(await app.count(keys.clients), 1);
    deepEqual(await app.services.store.get(keys.client(body.client.id)), before);
    equal(await app.count(keys.leadsByClient(body.client.id)), 2);
  });
}

Deno.test("POST /api/v2/leads identifies the client by e-mail address when the telephone number is another client's", async () => {
  await using app = await startShop();
  const byEmail = await app.post("/api/v2/leads", { name: "Asha", email: "asha@example.com" });
  const byPhone = await app.post("/api/v2/leads", { name: "Juma", phone: "0712345678" });

  const { body } = await app.post("/api/v2/leads", {
    name: "Asha",
    email: "asha@example.com",
    phone: "0712345678",
  });

  equal(body.client.id, byEmail.body.client.id);
  equal(
    await app.services.store.get(keys.clientByPhone("+255712345678")),
    byPhone.body.client.id,
  );
});

Deno.test("POST /api/v2/leads discloses nothing about an existing client to a visitor", async () => {
  await using app = await startShop();
  const product = await app.stockProduct();
  const { body: { client } } = await app.post("/api/v2/leads", {
    name: "Asha Binti Mushi",
    email: "asha@example.com",
    phone: "0712345678",
    message: "Siri yangu",
  });
  await asAdmin(app, "PATCH", `/api/v2/clients/${client.id}`, { body: { notes: "Pays late" } });

  const { text, body } = await app.post("/api/v2/leads", {
    name: "A. Visitor",
    email: "asha@example.com",
    productId: product.id,
  });

  deepEqual(body.client, {
    id: client.id,
    name: "A. Visitor",
    email: "asha@example.com",
    phone: null,
  });
  deepEqual(body.invoice.billTo, {
    name: "A. Visitor",
    email: "asha@example.com",
    phone: null,
  });
  for (const known of ["Binti", "712345678", "Siri", "Pays late"]) ok(!text.includes(known), known);
});
