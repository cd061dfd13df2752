/**
 * Who may do what, asked of every operation that the contract lists: a route
 * that is added is in this table by itself.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { createApiKey, revokeApiKey, type Scope, SCOPES } from "../../lib/access/mod.ts";
import { isoTime } from "../../lib/time.ts";
import { TESTER } from "../support/program/app.ts";
import { accessLog, assertProblem } from "../support/program/answers.ts";
import { contractOf, type DocumentedOperation } from "../support/program/openapi.ts";
import { leavesStoreAlone, newKvFile, startShop, type TestShop } from "../support/program/shop.ts";

const UNKNOWN_ID = "01938d6e-3c00-7000-8000-000000000001";

/** Keys of every kind that is not let in, and those that are. */
async function keysOf(app: TestShop, scope: Scope) {
  const { services } = app;
  const revoked = await createApiKey(
    services,
    { name: "old", scopes: [scope, "admin"], expiresAt: null },
    TESTER,
  );
  await revokeApiKey(services, revoked.record.id, TESTER);
  const expiresAt = isoTime(services.clock());
  const expired = await createApiKey(
    services,
    { name: "gone", scopes: [scope, "admin"], expiresAt },
    TESTER,
  );
  const right = await app.newKey(scope);
  return {
    refused: {
      garbage: "garbage",
      forged: `wtk_${UNKNOWN_ID.replaceAll("-", "")}_${"A".repeat(43)}`,
      altered: right.slice(0, -1) + (right.endsWith("A") ? "B" : "A"),
      revoked: revoked.key,
      expired: expired.key,
    },
    wrong: await app.newKey(...SCOPES.filter((other) => other !== scope && other !== "admin")),
    none: await app.newKey(),
    right,
    admin: await app.newKey("admin"),
  };
}

/** A request that would be refused anyway, for what it asks. */
function ask(app: TestShop, { method, path }: DocumentedOperation, key?: string) {
  return app.request(method, path.replace(/\{\w+\}/g, UNKNOWN_ID), {
    ...(method === "POST" || method === "PATCH" ? { body: {} } : {}),
    ...(key === undefined ? {} : { key }),
  });
}

Deno.test("every operation that needs a key refuses whoever has none that fits", async () => {
  await using app = await startShop();
  const { operations } = await contractOf(app);
  const secured = operations.filter(({ isPublic }) => !isPublic);

  ok(secured.length >= 15, `${secured.length} operations`);
  for (const operation of secured) {
    const name = `${operation.method} ${operation.path}`;
    const keys = await keysOf(app, operation.scope!);

    await leavesStoreAlone(app, async () => {
      assertProblem(await ask(app, operation), 401, "unauthenticated");
      for (const [kind, key] of Object.entries(keys.refused)) {
        const answer = await ask(app, operation, key);
        assertProblem(answer, 401, "unauthenticated", { notEchoed: key });
        equal(answer.body.detail, "The API key is not valid", `${name} with ${kind}`);
      }
      for (const key of [keys.wrong, keys.none]) {
        assertProblem(await ask(app, operation, key), 403, "forbidden", { notEchoed: key });
      }
    });
    for (const key of [keys.right, keys.admin, app.adminKey]) {
      const { status } = await ask(app, operation, key);
      ok(![401, 403, 500].includes(status), `${name}: ${status}`);
    }
  }
});

Deno.test("every public operation lets in visitors, and refuses a key that does not fit", async () => {
  await using app = await startShop();
  const { operations } = await contractOf(app);
  const open = operations.filter(({ isPublic }) => isPublic);

  deepEqual(open.map(({ method, path }) => `${method} ${path}`).sort(), [
    "GET /api/v2/products",
    "GET /api/v2/products/{idOrSlug}",
    "GET /health",
    "GET /health/live",
    "GET /health/ready",
    "POST /api/v2/leads",
  ]);
  for (const operation of open) {
    const name = `${operation.method} ${operation.path}`;
    const visitor = await ask(app, operation);
    ok(![401, 403, 500].includes(visitor.status), `${name}: ${visitor.status}`);
    // Health answers a pinger with an old key as it answers one without.
    if (operation.scope === null) {
      equal((await ask(app, operation, "garbage")).status, 200, name);
      continue;
    }
    const keys = await keysOf(app, operation.scope);

    await leavesStoreAlone(app, async () => {
      for (const key of Object.values(keys.refused)) {
        assertProblem(await ask(app, operation, key), 401, "unauthenticated", { notEchoed: key });
      }
      for (const key of [keys.wrong, keys.none]) {
        assertProblem(await ask(app, operation, key), 403, "forbidden");
      }
    });
    for (const key of [keys.right, keys.admin, app.adminKey]) {
      const { status } = await ask(app, operation, key);
      ok(![401, 403, 500].includes(status), `${name}: ${status}`);
    }
  }
});

Deno.test("a key is good until the moment it expires", async () => {
  await using app = await startShop();
  const { key } = await createApiKey(app.services, {
    name: "short",
    scopes: ["leads:read"],
    expiresAt: isoTime(app.services.clock() + 60_000),
  }, TESTER);

  app.advance(59_999);
  const before = await app.get("/api/v2/leads", key);
  app.advance(1);
  const after = await app.get("/api/v2/leads", key);

  equal(before.status, 200);
  assertProblem(after, 401, "unauthenticated");
});

Deno.test("a key is refused from the moment it is revoked, by every instance", async () => {
  await using file = await newKvFile();
  await using here = await startShop({ env: { KV_PATH: file.path } });
  await using there = await startShop({ env: { KV_PATH: file.path } });
  const { key, record } = await createApiKey(
    here.services,
    { name: "leaked", scopes: ["leads:read"], expiresAt: null },
    TESTER,
  );
  equal((await there.get("/api/v2/leads", key)).status, 200);

  await revokeApiKey(here.services, record.id, TESTER);

  assertProblem(await there.get("/api/v2/leads", key), 401, "unauthenticated");
});

for (
  const authorization of [
    "",
    "Bearer",
    "Bearer ",
    "Basic dXNlcjpwYXNz",
    "Token abc",
    "wtk_abc",
    "Bearer a b",
    `Bearer ${"x".repeat(5_000)}`,
  ]
) {
  Deno.test(`Authorization: ${authorization.slice(0, 24)} is refused`, async () => {
    await using app = await startShop();

    for (const path of ["/api/v2/leads", "/api/v2/products"]) {
      const answer = await app.request("GET", path, { headers: { authorization } });

      assertProblem(answer, 401, "unauthenticated");
      match(answer.headers.get("www-authenticate") ?? "", /^Bearer realm="/);
    }
  });
}

Deno.test("the word Bearer is read in any case, with any number of spaces", async () => {
  await using app = await startShop();

  for (const scheme of ["Bearer ", "bearer ", "BEARER   "]) {
    const { status } = await app.request("GET", "/api/v2/leads", {
      headers: { authorization: scheme + app.adminKey },
    });
    equal(status, 200, scheme);
  }
});

Deno.test("a key is nowhere but in its request", async () => {
  await using app = await startShop();
  const key = await app.newKey("leads:read");

  await app.get("/api/v2/leads", key);
  await app.get("/api/v2/clients", key);
  await app.get("/api/v2/leads", app.adminKey);

  const secret = key.split("_").slice(2).join("_");
  const everywhere = app.logLines.join("\n") + await app.kv.text();
  ok(!everywhere.includes(secret));
  ok(!everywhere.includes(app.adminKey));
});

Deno.test("the access log says which key asked, by its id", async () => {
  await using app = await startShop();
  const { key, record } = await createApiKey(
    app.services,
    { name: "reader", scopes: ["leads:read"], expiresAt: null },
    TESTER,
  );

  await app.get("/api/v2/leads", key);
  await app.get("/api/v2/clients", key);
  await app.get("/api/v2/leads", app.adminKey);
  await app.get("/api/v2/leads", "garbage");

  deepEqual(accessLog(app).map(({ actor, status }) => [actor, status]), [
    [`key:${record.id}`, 200],
    [`key:${record.id}`, 403],
    ["bootstrap", 200],
    [undefined, 401],
  ]);
});

Deno.test("the bootstrap key is the one that the environment names, and no other", async () => {
  await using app = await startShop({
    env: { BOOTSTRAP_API_KEY: "another-key-of-this-shop-only" },
  });

  equal((await app.get("/api/v2/leads", "another-key-of-this-shop-only")).status, 200);
  assertProblem(
    await app.get("/api/v2/leads", "dev-bootstrap-api-key-000"),
    401,
    "unauthenticated",
  );
});
