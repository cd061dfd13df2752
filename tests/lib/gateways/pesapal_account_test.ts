/** Tokens and notification addresses at Pesapal: shared, cached and renewed. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { usableMs } from "../../../lib/gateways/_tokens.ts";
import { MINUTE_MS } from "../../../lib/time.ts";
import { TEST_START } from "../../support/program/app.ts";
import { openGatewayServices } from "../../support/gateways/gateway_services.ts";
import { failureOf, newRequest, SHOP, start } from "./_pesapal.ts";

for (const errorStatus of ["200", "fitting"] as const) {
  Deno.test(`startCheckout() signs in once more when its token is refused with status ${errorStatus}`, async () => {
    await using world = await start({ errorStatus });
    await world.pesapal.startCheckout(newRequest());
    world.simulator.revokeTokens();

    await world.pesapal.startCheckout(newRequest());

    const { token, submit } = world.simulator.calls;
    deepEqual([token, submit], [2, 3]);
    equal(world.simulator.orders.length, 2);
  });
}

Deno.test("startCheckout() fails when a new token is refused, too", async () => {
  await using world = await start();
  await world.pesapal.startCheckout(newRequest());
  world.simulator.faults.submit.push({ status: 401 }, { status: 401 });

  const error = await failureOf(world.pesapal.startCheckout(newRequest()));

  deepEqual([error.outcome, error.code], ["refused", "unauthorized"]);
  deepEqual([world.simulator.calls.token, world.simulator.calls.submit], [2, 3]);
});

Deno.test("fifty simultaneous calls request one token, and one more when all are refused", async () => {
  await using world = await start();
  const fifty = () =>
    Promise.all(
      Array.from({ length: 50 }, () => world.pesapal.startCheckout(newRequest())),
    );

  await fifty();
  const { token, list_ipn, register_ipn } = world.simulator.calls;
  world.simulator.revokeTokens();
  await fifty();

  deepEqual([token, list_ipn, register_ipn], [1, 1, 1]);
  equal(world.simulator.calls.token, 2);
  equal(world.simulator.orders.length, 100);
});

Deno.test("the token and the registered address are shared by the instances of one store", async () => {
  const folder = await Deno.makeTempDir();
  const KV_PATH = `${folder}/shop.kv`;
  {
    await using first = await start({}, { env: { KV_PATH } });
    const env = { ...first.simulator.environment, KV_PATH };
    using second = await openGatewayServices({ env });

    await first.pesapal.startCheckout(newRequest());
    await second.gateway("pesapal").startCheckout(newRequest());
    first.simulator.revokeTokens();
    await second.gateway("pesapal").startCheckout(newRequest());
    await first.pesapal.startCheckout(newRequest());

    const { token, list_ipn, register_ipn } = first.simulator.calls;
    deepEqual([token, list_ipn, register_ipn], [2, 1, 1]);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a token is used until a minute before it expires, independent of our clock", async () => {
  for (const tokenLifeMs of [5 * MINUTE_MS, 60 * MINUTE_MS]) {
    await using world = await start({ tokenLifeMs });
    const tokens = async () => {
      await world.pesapal.startCheckout(newRequest());
      return world.simulator.calls.token;
    };

    const first = await tokens();
    world.shop.advance(tokenLifeMs - MINUTE_MS - 1);
    const before = await tokens();
    world.shop.advance(1);
    const after = await tokens();

    deepEqual([first, before, after], [1, 1, 2]);
  }
});

Deno.test("a token without an expiry is used for at most four minutes", async () => {
  await using world = await start({ isExpirySaid: false });

  await world.pesapal.startCheckout(newRequest());
  world.shop.advance(4 * MINUTE_MS);
  await world.pesapal.startCheckout(newRequest());

  equal(world.simulator.calls.token, 2);
});

Deno.test("usableMs() leaves a minute, or half of a lifetime that is too short for that", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 1e12 }), (lifeMs) => {
    const usable = usableMs(lifeMs);

    ok(usable < lifeMs && usable <= 24 * 60 * MINUTE_MS);
    ok(usable >= Math.floor(Math.min(lifeMs, 24 * 60 * MINUTE_MS) / 2));
    if (lifeMs >= 2 * MINUTE_MS) ok(lifeMs - usable >= MINUTE_MS);
  }));
  equal(usableMs(-5), usableMs(null));
});

Deno.test("a registered address is found in Pesapal's list, and registered again when it is missing", async () => {
  await using world = await start();
  await world.pesapal.startCheckout(newRequest());
  // Its store is another one, and knows nothing yet.
  using forgetful = await openGatewayServices({ env: world.simulator.environment });

  await forgetful.gateway("pesapal").startCheckout(newRequest());
  const { register_ipn } = world.simulator.calls;
  world.simulator.registrations.length = 0;
  const error = await failureOf(forgetful.gateway("pesapal").startCheckout(newRequest()));
  await forgetful.gateway("pesapal").startCheckout(newRequest());

  equal(register_ipn, 1);
  deepEqual([error.outcome, error.code], ["refused", "invalid_notification_id"]);
  equal(world.simulator.calls.register_ipn, 2);
});

Deno.test("an address that is registered for another HTTP method is not used", async () => {
  await using world = await start({ listAs: "full" });
  const url = `${SHOP}/payments/pesapal/ipn`;
  const ipnId = crypto.randomUUID();
  world.simulator.registrations.push({ ipnId, url, type: "GET", createdAt: TEST_START });

  await world.pesapal.startCheckout(newRequest());

  deepEqual(world.simulator.registrations.map(({ type }) => type), ["GET", "POST"]);
});
