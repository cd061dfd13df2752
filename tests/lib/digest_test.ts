import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import {
  fromBase64Url,
  hmacSha256,
  sha256,
  sha256Hex,
  timingSafeEqual,
  toBase64Url,
} from "../../lib/digest.ts";

const bytes = fc.uint8Array({ maxLength: 100 });
const utf8 = new TextEncoder();

Deno.test("sha256Hex() gives the digests of FIPS 180-4's examples", () => {
  equal(
    sha256Hex(""),
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  );
  equal(
    sha256Hex("abc"),
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
  equal(
    sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
    "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
  );
});

Deno.test("sha256() gives plain bytes, the same for a string as for its UTF-8", async () => {
  await fc.assert(fc.asyncProperty(fc.string({ unit: "binary" }), async (text) => {
    const digest = sha256(text);

    equal(Object.getPrototypeOf(digest), Uint8Array.prototype);
    deepEqual(digest, sha256(utf8.encode(text)));
    deepEqual(digest, new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(text))));
  }));
});

Deno.test("hmacSha256() gives the codes of RFC 4231", () => {
  const cases: [Uint8Array, string | Uint8Array, string][] = [
    [
      new Uint8Array(20).fill(0x0b),
      "Hi There",
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ],
    [
      utf8.encode("Jefe"),
      "what do ya want for nothing?",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ],
    [
      new Uint8Array(131).fill(0xaa),
      "Test Using Larger Than Block-Size Key - Hash Key First",
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ],
  ];

  for (const [key, data, code] of cases) {
    const result = hmacSha256(key, data);

    equal(Object.getPrototypeOf(result), Uint8Array.prototype);
    equal(Buffer.from(result).toString("hex"), code);
  }
});

Deno.test("timingSafeEqual() distinguishes equal from different values of any length", () => {
  // So often that comparing but one byte of a digest would be found out.
  fc.assert(
    fc.property(bytes, bytes, (a, b) => {
      equal(timingSafeEqual(a, b), a.length === b.length && a.every((byte, i) => byte === b[i]));
      equal(timingSafeEqual(a, a.slice()), true);
    }),
    { numRuns: 5_000 },
  );
  equal(timingSafeEqual("", ""), true);
  equal(timingSafeEqual("secret", utf8.encode("secret")), true);
  equal(timingSafeEqual("secret", "secre"), false);
  equal(timingSafeEqual("secret", "secret\0"), false);
});

Deno.test("fromBase64Url() reads what toBase64Url() writes, and toBase64Url() uses URL letters only", () => {
  fc.assert(fc.property(bytes, (data) => {
    const text = toBase64Url(data);

    equal(/^[A-Za-z0-9_-]*$/.test(text), true);
    deepEqual(fromBase64Url(text), data);
  }));
});

Deno.test("toBase64Url() writes a part of a buffer, not all of it", () => {
  equal(toBase64Url(new Uint8Array([1, 2, 3, 4]).subarray(1, 3)), "AgM");
});

Deno.test("fromBase64Url() refuses every other spelling", () => {
  deepEqual(fromBase64Url("AA"), new Uint8Array(1));

  for (
    const text of ["AB", "AA==", "A", "AAAAA", "+/+/", "AA ", " AA", "A\nA", "AA.", "AÄ", "AA\0"]
  ) {
    equal(fromBase64Url(text), null, JSON.stringify(text));
  }
});
