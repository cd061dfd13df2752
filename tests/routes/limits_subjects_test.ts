/** Whom a rate limit counts, behind proxies or not; what a window stores and what is counted. */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import { LEAD } from "../support/program/app.ts";
import { postFrom, startLimited } from "./_limits.ts";

let sent = 0;

/** By number of trusted proxies: X-Forwarded-For of two requests, and whether it is one visitor. */
const ADDRESSES: [hops: number, first: string | null, second: string | null, isOne: boolean][] = [
  // Without a trusted proxy the header is ignored.
  [0, null, "192.0.2.7", true],
  [0, "192.0.2.1", "192.0.2.2", true],
  [0, "192.0.2.1", "2001:db8::1", true],
  // Behind one, only what it appended counts.
  [1, "192.0.2.1", "192.0.2.1", true],
  [1, "192.0.2.1", "192.0.2.2", false],
  [1, "192.0.2.7, 192.0.2.1", "192.0.2.8, 192.0.2.1", true],
  [1, "192.0.2.1", "192.0.2.7,192.0.2.9,  192.0.2.1", true],
  [1, "192.0.2.7, 192.0.2.1", "192.0.2.7, 192.0.2.2", false],
  [1, "192.0.2.7", "192.0.2.7, 192.0.2.2", false],
  [1, null, null, true],
  [1, null, "", true],
  [1, null, " , ", true],
  [1, "garbage", "<script>", true],
  [1, "garbage", "192.0.2.1", false],
  [1, "999.1.1.1", "unknown", true],
  // Behind two, what the inner one appended is the outer one.
  [2, "192.0.2.1, 198.51.100.1", "192.0.2.1, 198.51.100.2", true],
  [2, "192.0.2.1, 198.51.100.1", "192.0.2.2, 198.51.100.1", false],
  [2, "192.0.2.7, 192.0.2.1, 198.51.100.1", "192.0.2.8, 192.0.2.1, 198.51.100.1", true],
  [2, "192.0.2.7, 192.0.2.1, 198.51.100.1", "192.0.2.7, 192.0.2.2, 198.51.100.1", false],
  // Who goes round the outer one is counted with all that do.
  [2, "192.0.2.1", "192.0.2.2", true],
  [2, "192.0.2.1", null, true],
  // A subscriber has all of an IPv6 /64, and an IPv4 address in one spelling.
  [1, "2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true],
  [1, "2001:db8:0:1::1", "2001:db8:0:2::1", false],
  [1, "2001:DB8::1", "2001:0db8:0000:0000:0000:0000:0000:0002", true],
  [1, "::ffff:192.0.2.1", "192.0.2.1", true],
  [1, "::ffff:c000:201", "192.0.2.1", true],
  [1, "::ffff:192.0.2.1", "::ffff:192.0.2.2", false],
];

for (const [hops, first, second, isOne] of ADDRESSES) {
  const name = `${first ?? "none"} and ${second ?? "none"}`;
  Deno.test(`behind ${hops} proxies, X-Forwarded-For ${name} are ${isOne ? "one" : "two"}`, async () => {
    const env = { TRUSTED_PROXY_HOPS: String(hops) };
    await using app = await startLimited("lead_post=1/1m", { env });
    const post = (forwardedFor: string | null) =>
      app.post("/api/v2/leads", { ...LEAD, email: `visitor${++sent}@example.com` }, {
        ...(forwardedFor === null ? {} : { "x-forwarded-for": forwardedFor }),
      });

    const statuses = [(await post(first)).status, (await post(second)).status];

    deepEqual(statuses, [201, isOne ? 429 : 201]);
  });
}

Deno.test("a forged X-Forwarded-For cannot use up someone else's limit", async () => {
  await using app = await startLimited("lead_post=3/1m");

  for (let i = 0; i < 10; i++) await postFrom(app, "192.0.2.7, 192.0.2.1");
  for (let i = 0; i < 10; i++) {
    const other = { "x-real-ip": "192.0.2.7", "forwarded": "for=192.0.2.7" };
    await postFrom(app, "192.0.2.2", {}, other);
  }

  equal((await postFrom(app, "192.0.2.7")).status, 201);
});

Deno.test("a stored window discloses neither the IP address nor the e-mail address that it counts", async () => {
  await using app = await startLimited();
  for (const address of ["192.0.2.1", "2001:db8:0:1::1"]) {
    await postFrom(app, address, { email: "asha@example.com" });
  }
  await app.request("GET", "/i/x", { headers: { "x-forwarded-for": "192.0.2.1" } });

  const windows = await app.kv.text(["rate"]);
  const everything = await app.kv.text();

  equal(windows.trim().split("\n").length, 4);
  for (const line of windows.trim().split("\n")) {
    match(line, /^\["rate","[a-z_]+","[\w-]{22}"\] 1 \{"slots":\[(\[\d+,\d+\],?)+\],"exp":\d+\}$/);
  }
  ok(!/192\.0\.2|2001|0db8|asha/.test(windows.replace(/\d{13}/g, "")));
  ok(!everything.includes("192.0.2.1") && !everything.includes("2001:db8"));
  ok(!app.logLines.join().includes("192.0.2.1") && !app.logLines.join().includes("2001:db8"));
});

Deno.test("refusals are counted per rule", async () => {
  await using app = await startLimited("lead_post=1/1m,catalogue_read=1/1m");
  for (let i = 0; i < 4; i++) await postFrom(app, "192.0.2.1");
  for (let i = 0; i < 3; i++) await app.get("/api/v2/products");

  const lines = app.services.metrics.refusals.lines();

  deepEqual(lines.sort(), [
    'wetech_rate_limited_total{rule="catalogue_read"} 2',
    'wetech_rate_limited_total{rule="lead_post"} 3',
  ]);
});
