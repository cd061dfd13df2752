/**
 * The program from its first moment: health checks before the routes have loaded, the rest after.
 */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { startApp as startRoutes } from "../../routes/start.ts";
import { startApp, type TestApp } from "../support/program/app.ts";

const INFO = { remoteAddr: { hostname: "127.0.0.1" } };

function request(app: TestApp, path: string): Request {
  return new Request(app.url + path);
}

/** The names of an answer's headers, with the values of those that are the same each time. */
function steady(response: Response): [string, string][] {
  const own = ["x-request-id", "content-length", "date", "vary"];
  return [...response.headers].filter(([name]) => !own.includes(name)).sort();
}

Deno.test("health checks are the same before and after the routes have loaded", async () => {
  await using app = await startApp();

  for (const path of ["/health", "/health/", "/health/live", "/health/ready"]) {
    const starting = startRoutes(app.services, app.monitor);
    const early = await starting.fetch(request(app, path), INFO);
    await starting.loaded;
    const later = await starting.fetch(request(app, path), INFO);

    equal(early.status, 200, path);
    deepEqual(steady(early), steady(later), path);
    deepEqual(Object.keys(await early.json()), Object.keys(await later.json()), path);
  }
});

Deno.test("a health check does not wait for the routes", async () => {
  await using app = await startApp();
  const starting = startRoutes(app.services, app.monitor);
  const loaded = starting.loaded.then(() => "the routes have loaded");
  const checked = Promise.resolve(starting.fetch(request(app, "/health/live"), INFO));

  equal(await Promise.race([loaded, checked.then(({ status }) => status)]), 200);

  await (await checked).body?.cancel();
  await loaded;
});

Deno.test("a request that comes before the routes have loaded is answered when they have", async () => {
  await using app = await startApp();
  const product = await app.stockProduct();
  const starting = startRoutes(app.services, app.monitor);

  const response = await starting.fetch(request(app, "/api/v2/products"), INFO);

  equal(response.status, 200);
  const { data } = await response.json();
  deepEqual(data.map(({ id }: { id: string }) => id), [product.id]);
  const missing = await starting.fetch(request(app, "/health/unknown"), INFO);
  equal(missing.status, 404);
  await missing.body?.cancel();
  await starting.loaded;
});
