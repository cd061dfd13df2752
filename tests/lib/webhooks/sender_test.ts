/**
 * Webhooks go where an operator said, and to nothing that only we can reach.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { systemClock } from "../../../lib/time.ts";
import {
  openWebhookSender,
  type WebhookAnswer,
  type WebhookSenderOptions,
} from "../../../lib/webhooks/sender.ts";
import { isAllowedAddress, parseTarget } from "../../../lib/webhooks/target.ts";
import {
  hasOpenssl,
  newCertificate,
  OPENSSL_HINT,
  startWebhookEndpoint,
} from "../../support/servers/webhook_endpoint.ts";

const HOST = "hooks.example.test";
const SENT = { headers: { "content-type": "application/json" }, body: '{"n":1}' };

/** In production, where names mean what the test says. */
function sender(
  addresses: string[] | (() => Promise<string[]>),
  options: Partial<WebhookSenderOptions> = {},
) {
  return openWebhookSender({
    isPublicOnly: true,
    clock: systemClock,
    resolve: typeof addresses === "function" ? addresses : () => Promise.resolve(addresses),
    ...options,
  });
}

function unanswered(reason: string): WebhookAnswer {
  return { isAnswered: false, reason };
}

/** What is not the public internet's, by the registries of IANA, as bits and how many of them count. */
const RESERVED_IPV4 = [
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"],
  ...["172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"],
  ...["198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"],
  ...["168.63.129.16/32"],
].map((range) => {
  const [base = "", bits = ""] = range.split("/");
  return { base: toBits(base), bits: Number(bits) };
});

function toBits(address: string): number {
  return address.split(".").reduce((sum, byte) => sum * 256 + Number(byte), 0);
}

function toText(bits: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(bits / 2 ** shift) % 256).join(".");
}

/** As in production. */
function isPublicAddress(address: string): boolean {
  return isAllowedAddress(address, { isPublicOnly: true });
}

Deno.test("isAllowedAddress() refuses every address of a reserved range", () => {
  const reserved = fc.constantFrom(...RESERVED_IPV4).chain(({ base, bits }) =>
    fc.nat({ max: 2 ** (32 - bits) - 1 }).map((rest) => toText(base + rest))
  );
  fc.assert(fc.property(reserved, (address) => !isPublicAddress(address)), { numRuns: 3_000 });

  // In IPv6 no spelling of an IPv4 address passes, public ones neither.
  const [left, right] = [fc.nat({ max: 0xffff }), fc.nat({ max: 0xffff })];
  const hex = (n: number) => n.toString(16);
  const embedding = fc.constantFrom("::ffff:", "::", "64:ff9b::", "64:ff9b:1::", "::ffff:0:");
  fc.assert(fc.property(
    embedding,
    left,
    right,
    (prefix, a, b) => !isPublicAddress(`${prefix}${hex(a)}:${hex(b)}`),
  ));
  fc.assert(fc.property(left, right, (a, b) => !isPublicAddress(`2002:${hex(a)}:${hex(b)}::1`)));

  // And nothing outside of what is given out for the internet.
  const outside = fc.nat({ max: 0xffff }).filter((n) => n >> 13 !== 1);
  fc.assert(fc.property(outside, right, (a, b) => !isPublicAddress(`${hex(a)}::${hex(b)}`)));
});

Deno.test("isAllowedAddress() accepts every other IPv4 address", () => {
  const others = fc.nat({ max: 2 ** 32 - 1 }).filter((address) =>
    !RESERVED_IPV4.some(({ base, bits }) =>
      Math.floor(address / 2 ** (32 - bits)) === Math.floor(base / 2 ** (32 - bits))
    ) && !/^192\.(?:31\.196|52\.193|175\.48)\./.test(toText(address))
  );
  fc.assert(fc.property(others, (address) => isPublicAddress(toText(address))), {
    numRuns: 3_000,
  });
  ok(isPublicAddress("2606:4700:4700::1111"));
});

Deno.test("parseTarget() refuses a URL with a private address, in any notation", () => {
  const rules = { isPublicOnly: true };
  const forbidden = [
    ...["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "10.1.2.3", "[::1]"],
    ...["169.254.169.254", "100.100.100.200", "168.63.129.16", "[fd00:ec2::254]", "[fe80::1]"],
    ...["[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[::]", "224.0.0.1", "①②⑦.0.0.1"],
  ];
  for (const host of forbidden) {
    equal(parseTarget(`https://${host}/hook`, rules), "forbidden_address", host);
  }
  equal(parseTarget("http://example.com/", rules), "not_https");
  equal(parseTarget("https://user:pass@example.com/", rules), "has_credentials");
  equal(parseTarget("https://user@example.com/", rules), "has_credentials");
  equal(parseTarget("https://example.com/#", rules), "has_fragment");
  equal(parseTarget("ftp://example.com/", rules), "not_a_url");
  equal(parseTarget("file:///etc/passwd", rules), "not_a_url");
  equal(parseTarget("hooks", rules), "not_a_url");
  ok(typeof parseTarget("https://example.com:8443/hook?a=b", rules) === "object");
  ok(typeof parseTarget("http://127.0.0.1:8000/", { isPublicOnly: false }) === "object");
  equal(parseTarget("http://10.0.0.1/", { isPublicOnly: false }), "forbidden_address");
});

Deno.test("post() connects only to public addresses, whatever the host name", async () => {
  await using receiver = startWebhookEndpoint();
  const url = `https://${HOST}:${receiver.port}/`;

  for (
    const addresses of [["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::1"], ["10.0.0.1"]]
  ) {
    deepEqual(await sender(addresses).post({ ...SENT, url }), unanswered("address not allowed"));
  }
  deepEqual(await sender([]).post({ ...SENT, url }), unanswered("no such host"));
  const failing = () => Promise.reject(new Error("ENOTFOUND"));
  deepEqual(await sender(failing).post({ ...SENT, url }), unanswered("no such host"));
  const plain = await sender(["93.184.216.34"]).post({ ...SENT, url: "http://example.com/" });
  deepEqual(plain, unanswered("address not allowed"));
  equal(receiver.received.length, 0);
});

Deno.test({
  name:
    `post() resolves a name once and connects there, as the certificate has to confirm${OPENSSL_HINT}`,
  ignore: !hasOpenssl,
  async fn() {
    const { ca, ...tls } = await newCertificate(HOST);
    await using receiver = startWebhookEndpoint(tls);
    let asked = 0;
    const rebinding = () => Promise.resolve([asked++ === 0 ? "127.0.0.1" : "127.0.0.2"]);
    const local = { isPublicOnly: false, ca };
    const url = `https://${HOST}:${receiver.port}/hook?a=b`;

    const answer = await sender(rebinding, local).post({ ...SENT, url });
    const other = await sender(["127.0.0.1"], local).post({
      ...SENT,
      url: `https://other.example.test:${receiver.port}/`,
    });
    const untrusted = await sender(["127.0.0.1"], { isPublicOnly: false }).post({ ...SENT, url });

    deepEqual(answer, { isAnswered: true, status: 200, retryAfterMs: null });
    equal(asked, 1);
    deepEqual([other, untrusted], [unanswered("no connection"), unanswered("no connection")]);
    equal(receiver.received.length, 1);
    const [{ path, text, headers }] = receiver.received as [typeof receiver.received[0]];
    deepEqual([path, text, headers.host], ["/hook?a=b", SENT.body, `${HOST}:${receiver.port}`]);
  },
});

Deno.test("post() follows no redirect and returns when to retry", async () => {
  await using elsewhere = startWebhookEndpoint();
  await using receiver = startWebhookEndpoint();
  const local = sender(["127.0.0.1"], { isPublicOnly: false, clock: () => Date.UTC(2026, 5, 15) });
  const post = () => local.post({ ...SENT, url: receiver.url });

  receiver.answer = () =>
    new Response(null, { status: 307, headers: { location: elsewhere.url, "retry-after": "7" } });
  deepEqual(await post(), { isAnswered: true, status: 307, retryAfterMs: 7_000 });
  receiver.answer = () =>
    new Response(null, {
      status: 503,
      headers: { "retry-after": "Mon, 15 Jun 2026 00:01:00 GMT" },
    });
  deepEqual(await post(), { isAnswered: true, status: 503, retryAfterMs: 60_000 });
  receiver.answer = () => new Response(null, { status: 503, headers: { "retry-after": "soon" } });
  deepEqual(await post(), { isAnswered: true, status: 503, retryAfterMs: null });

  equal(elsewhere.received.length, 0);
});

Deno.test("post() reads little of an answer, and does not wait for its end", async () => {
  await using receiver = startWebhookEndpoint();
  const post = (timeoutMs: number) =>
    sender([], { isPublicOnly: false, timeoutMs }).post({ ...SENT, url: receiver.url });

  let pulled = 0;
  const { promise: cancelled, resolve: cancel } = Promise.withResolvers<void>();
  receiver.answer = () =>
    new Response(
      new ReadableStream({
        pull(controller) {
          pulled++;
          controller.enqueue(new Uint8Array(64 * 1024));
        },
        cancel,
      }),
    );
  deepEqual(await post(10_000), { isAnswered: true, status: 200, retryAfterMs: null });
  await cancelled;
  ok(pulled < 1_000, `${pulled} pieces of an endless answer`);

  receiver.answer = () => receiver.released.then(() => 200);
  deepEqual(await post(300), unanswered("no answer in time"));

  // The status counts, although the rest never comes.
  receiver.answer = () =>
    new Response(
      new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(1)) }),
    );
  deepEqual(await post(300), { isAnswered: true, status: 200, retryAfterMs: null });

  const hanging = sender(() => receiver.released.then(() => []), { timeoutMs: 50 });
  const url = `https://${HOST}/`;
  deepEqual(await hanging.post({ ...SENT, url }), unanswered("no answer in time"));
  const nobody = sender([], { isPublicOnly: false });
  const closed = await nobody.post({ ...SENT, url: "http://127.0.0.1:1/" });
  deepEqual(closed, unanswered("no connection"));
});
