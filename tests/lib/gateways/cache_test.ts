/**
 * What instances keep of a gateway is theirs alone, for as long as they said.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { fromBase64Url, toBase64Url } from "../../../lib/digest.ts";
import { openGatewayCache } from "../../../lib/gateways/cache.ts";
import * as keys from "../../../lib/kv/keys.ts";
import type { KvPort } from "../../../lib/kv/store.ts";
import { newId } from "../../../lib/ids.ts";
import { transact } from "../../../lib/kv/mod.ts";
import { TEST_START } from "../../support/program/app.ts";
import { FaultyKv } from "../../support/store/faulty_kv.ts";
import { BRISK } from "../../support/store/faulty_store.ts";
import { openGatewayServices } from "../../support/gateways/gateway_services.ts";

const END = TEST_START + 60_000;
/** What a sealed text begins with. */
const NONCE_BYTES = 12;

Deno.test("get() returns a value until its lifetime ends", async () => {
  using shop = await openGatewayServices({ env: {} });
  const cache = openGatewayCache(shop.services);

  await cache.set("a", "first", END);
  await cache.set("a", "Ünïcode 🎉", END);
  const found = await cache.get("a");
  shop.advance(59_999);
  const last = await cache.get("a");
  shop.advance(1);

  equal(found, "Ünïcode 🎉");
  equal(last, "Ünïcode 🎉");
  equal(await cache.get("a"), null);
  equal(await cache.get("b"), null);
});

Deno.test("set() stores values sealed, and outside backups", async () => {
  using shop = await openGatewayServices({ env: {} });
  const cache = openGatewayCache(shop.services);

  await cache.set("a", "eyJ-a-secret-token", END);

  const key = keys.gatewayCache("a");
  const [stored] = await shop.services.store.getStored([key]);
  const bytes = stored?.value;
  ok(bytes instanceof Uint8Array);
  ok(!new TextDecoder().decode(bytes).includes("secret"));
  equal(keys.isDurable(key), false);
});

Deno.test("get() ignores values that were sealed with another key, moved or altered", async () => {
  using shop = await openGatewayServices({ env: {} });
  const { services } = shop;
  const cache = openGatewayCache(services);
  const other = openGatewayCache({
    ...services,
    config: {
      secretKey: crypto.getRandomValues(new Uint8Array(32)),
      secretKeyPrevious: undefined,
    },
  });
  await cache.set("a", "value", END);
  const sealed = await services.store.get(keys.gatewayCache("a"));
  ok(sealed);
  const bytes = fromBase64Url(sealed.sealed)!;
  bytes[NONCE_BYTES]! ^= 1;
  const altered = { ...sealed, sealed: toBase64Url(bytes) };
  const operation = { id: newId(TEST_START), fingerprint: "", isNew: true, keepMs: 60_000 };
  await transact(services, {}, (_, writes) => {
    writes.set(keys.gatewayCache("moved"), sealed);
    writes.set(keys.gatewayCache("altered"), altered);
    writes.set(keys.gatewayCache("prolonged"), { ...sealed, exp: END + 1 });
    return null;
  }, { operation });

  const names = ["a", "moved", "altered", "prolonged"];
  const found = await Promise.all(names.map((name) => cache.get(name)));

  deepEqual(found, ["value", null, null, null]);
  equal(await other.get("a"), null);
});

Deno.test("set() never seals two values with one nonce", async () => {
  using shop = await openGatewayServices({ env: {} });
  const cache = openGatewayCache(shop.services);
  const nonces = new Set<string>();

  for (let i = 0; i < 20; i++) {
    await cache.set("a", "same", END);
    const sealed = await shop.services.store.get(keys.gatewayCache("a"));
    nonces.add(fromBase64Url(sealed!.sealed)!.slice(0, NONCE_BYTES).toHex());
  }

  equal(nonces.size, 20);
});

Deno.test("get() and set() tolerate a store that does not answer, and log it", async () => {
  let kv: FaultyKv | undefined;
  const wrapKv = (opened: KvPort) => kv = new FaultyKv(opened);
  using shop = await openGatewayServices({ env: {}, wrapKv, deadlines: BRISK });
  const cache = openGatewayCache(shop.services);
  await cache.set("a", "value", END);
  kv!.readFault = () => "error";
  kv!.commitFault = () => "lost-before";

  const found = await cache.get("a");
  await cache.set("a", "other", END);
  kv!.heal();

  equal(found, null);
  equal(await cache.get("a"), "value");
  equal(shop.logLines.filter((line) => line.includes("gateway.cache_failed")).length, 2);
});
