/** CSRF: forms from pages of other sites are refused. */
import { match, ok, strictEqual as equal } from "node:assert/strict";
import { LEAD } from "../support/program/app.ts";
import { assertProblem } from "../support/program/answers.ts";
import { leavesStoreAlone, startShop } from "../support/program/shop.ts";
import { forge } from "./_raw_requests.ts";

for (
  const [how, headers] of [
    ["from another site", {}],
    ["from a neighbour of the same site", {
      "origin": "https://www.example.com",
      "sec-fetch-site": "same-site",
    }],
    ["without a word where from", { "origin": "null", "sec-fetch-site": "none" }],
    ["as text", { "content-type": "text/plain" }],
    ["with a file", { "content-type": "multipart/form-data; boundary=x" }],
  ] as [string, Record<string, string>][]
) {
  Deno.test(`a form ${how} with our cookie is refused with an error page`, async () => {
    await using app = await startShop();

    const answer = await leavesStoreAlone(app, () => forge(app, "/console/leads", headers));
    const asProgram = await forge(app, "/api/v2/leads", headers);

    equal(answer.status, 403);
    equal(answer.headers.get("content-type"), "text/html; charset=utf-8");
    equal(answer.headers.get("cache-control"), "no-store");
    match(answer.text, /<h1>Forbidden<\/h1>/);
    match(answer.text, /sent from a page of another site\. Open it on this site and send it again/);
    ok(answer.text.includes(answer.headers.get("x-request-id")!));
    assertProblem(asProgram, 403, "forbidden");
  });
}

Deno.test("a form from our own pages, or without cookies, is accepted", async () => {
  await using app = await startShop();
  const noCookie = {
    "content-type": "application/x-www-form-urlencoded",
    "origin": "https://evil.example",
  };
  const statusOf = async (headers: Record<string, string>) =>
    (await forge(app, "/nowhere", headers)).status;

  equal(await statusOf({ "sec-fetch-site": "same-origin" }), 404);
  equal(await statusOf({ "origin": app.config.publicUrl, "sec-fetch-site": "x" }), 404);
  const bare = await app.request("POST", "/nowhere", { body: "a=b", headers: noCookie });
  equal(bare.status, 404);
  // Before a browser sends JSON it makes a preflight request, which CORS refuses.
  const json = await app.request("POST", "/api/v2/leads", {
    body: LEAD,
    headers: { cookie: "a=b", origin: "https://evil.example", "sec-fetch-site": "cross-site" },
  });
  equal(json.status, 201);
  const read = await app.request("GET", "/api/v2/products", {
    headers: { cookie: "a=b", origin: "https://evil.example" },
  });
  equal(read.status, 200);
});
