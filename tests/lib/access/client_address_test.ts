/** Whose request it is: what our proxies say counts, what the caller says does not. */
import { notStrictEqual as notEqual, strictEqual as equal } from "node:assert/strict";
import fc from "fast-check";
import { addressGroup, clientAddress } from "../../../lib/access/client_address.ts";

const PEER = "198.51.100.9";

for (
  const [forwardedFor, hops, expected] of [
    [undefined, 0, PEER],
    ["192.0.2.1", 0, PEER],
    ["192.0.2.1", 1, "192.0.2.1"],
    ["192.0.2.7, 192.0.2.1", 1, "192.0.2.1"],
    ["192.0.2.7,192.0.2.1", 1, "192.0.2.1"],
    ["192.0.2.7 ,, 192.0.2.1 ,", 1, "192.0.2.1"],
    ["192.0.2.7, 192.0.2.1", 2, "192.0.2.7"],
    ["192.0.2.7, 192.0.2.1, 198.51.100.1", 2, "192.0.2.1"],
    ["192.0.2.1", 2, PEER],
    ["", 1, PEER],
    [" , ", 1, PEER],
    [undefined, 1, PEER],
    [undefined, 10, PEER],
  ] as [string | undefined, number, string][]
) {
  Deno.test(`behind ${hops} proxies, X-Forwarded-For ${forwardedFor ?? "none"} is from ${expected}`, () => {
    equal(clientAddress(PEER, forwardedFor, hops), expected);
  });
}

Deno.test("a request without a peer is from nobody known", () => {
  equal(clientAddress(undefined, undefined, 0), "unknown");
  equal(clientAddress(undefined, undefined, 1), "unknown");
  equal(clientAddress(undefined, "192.0.2.1", 0), "unknown");
});

Deno.test("whatever a caller sends, the address is what the outermost of our proxies appended", () => {
  const proxies = fc.array(fc.ipV4(), { maxLength: 4 });
  fc.assert(fc.property(fc.string(), fc.ipV4(), proxies, (sent, caller, between) => {
    // The first proxy appends the caller, each further one the proxy before it.
    const header = [sent, caller, ...between].join(", ");

    equal(clientAddress(PEER, header, between.length + 1), caller);
  }));
});

for (
  const [one, other] of [
    ["192.0.2.1", "192.0.2.1"],
    ["192.0.2.1", "::ffff:192.0.2.1"],
    ["192.0.2.1", "::FFFF:c000:0201"],
    ["2001:db8::1", "2001:0DB8:0:0:ffff:ffff:ffff:ffff"],
    ["::1", "::2"],
    ["fe80::1", "fe80::1%eth0"],
    ["unknown", ""],
    ["unknown", "garbage"],
    ["unknown", "192.0.2.256"],
    ["192.0.2.1", "192.0.2.1:443"],
    ["2001:db8::1", "[2001:db8::1]"],
    ["2001:db8::1", "[2001:db8::2]:443"],
    ["unknown", "2001:db8::1::2"],
    ["unknown", "192.0.2.1/24"],
  ]
) {
  Deno.test(`${one} and ${other || "nothing"} count as one`, () => {
    equal(addressGroup(one!), addressGroup(other!));
  });
}

for (
  const [one, other] of [
    ["192.0.2.1", "192.0.2.2"],
    ["192.0.2.1", "unknown"],
    ["2001:db8:0:1::1", "2001:db8:0:2::1"],
    ["2001:db8::1", "unknown"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.2"],
  ]
) {
  Deno.test(`${one} and ${other} count as two`, () => {
    notEqual(addressGroup(one!), addressGroup(other!));
  });
}

Deno.test("an IPv6 address counts with its /64 and no other", () => {
  const half = fc.array(fc.integer({ min: 1, max: 0xffff }), { minLength: 4, maxLength: 4 });
  const text = (parts: number[]) => parts.map((part) => part.toString(16)).join(":");
  fc.assert(fc.property(half, half, half, (subnet, host, other) => {
    const group = addressGroup(text([...subnet, ...host]));

    equal(addressGroup(text([...subnet, ...other])), group);
    const next = [...subnet.slice(0, 3), subnet[3]! ^ 1];
    notEqual(addressGroup(text([...next, ...host])), group);
  }));
});
