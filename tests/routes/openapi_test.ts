/** The OpenAPI document is valid and complete. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { Validator } from "@seriousme/openapi-schema-validator";
import { createApp } from "../../routes/mod.ts";
import { contractOf } from "../support/program/openapi.ts";
import { startShop } from "../support/program/shop.ts";

/** Answered, and not in the contract: pages for people, and other names of the same. */
const NOT_IN_CONTRACT = [
  "GET /",
  "GET /docs",
  "GET /docs/start.js",
  "GET /docs/swagger-ui.css",
  "GET /docs/swagger-ui.js",
  "GET /health/",
  "GET /health/live/",
  "GET /health/ready/",
  "GET /i/{token}",
  "GET /openapi.json",
  "GET /payments/pesapal/callback",
  "GET /payments/pesapal/ipn",
  "POST /api/v1/save-lead",
  "POST /api/v1/save-lead/",
  "POST /payments/azampay/callback",
  "POST /payments/pesapal/ipn",
  "POST /i/{token}/pay",
  "GET /u/{token}",
  "POST /u/{token}",
  "POST /save-lead",
  "POST /save-lead/",
];

Deno.test("the contract is a valid OpenAPI 3.1 document", async () => {
  await using app = await startShop();
  const { document } = await contractOf(app);

  const { valid, errors } = await new Validator().validate(document);

  deepEqual(errors ?? [], []);
  equal(valid, true);
});

Deno.test("the contract has exactly the routes of the program", async () => {
  await using app = await startShop();
  const { operations } = await contractOf(app);
  const routes = createApp(app.services, app.monitor).routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);

  const documented = operations.map(({ method, path }) => `${method} ${path}`);

  deepEqual([...new Set(routes)].sort(), [...documented, ...NOT_IN_CONTRACT].sort());
});

Deno.test("the contract describes every operation: summary, tag, security, parameters and errors", async () => {
  await using app = await startShop();
  const { document, operations } = await contractOf(app);

  ok(document.components.securitySchemes.apiKey);
  for (const { method, path, isPublic, responses } of operations) {
    const operation = document.paths[path][method.toLowerCase()];
    const name = `${method} ${path}`;
    ok(operation.summary?.length > 10, name);
    ok(operation.tags?.length === 1, name);
    if (!isPublic) deepEqual(operation.security, [{ apiKey: [] }], name);
    if (!isPublic) ok("401" in responses && "403" in responses, name);
    for (const [, parameter] of path.matchAll(/\{(\w+)\}/g)) {
      const described = operation.parameters.find(({ name }: { name: string }) =>
        name === parameter
      );
      equal(described?.in, "path", name);
      equal(described?.required, true, name);
    }
  }
});
