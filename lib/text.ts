/**
 * Text from outside, and how little of it may be HTML.
 *
 * Text is stored as it was given, apart from white space around it, and escaped
 * where it is shown. What cannot be shown honestly (controls, halves of
 * characters, orders to turn the direction of writing) is refused, never mended.
 * In a schema that is `z.string().transform(cleanLine).refine(isLine)`.
 *
 * @module
 */

/**
 * What no text of ours holds: controls (C0, C1, DEL), lone surrogates,
 * noncharacters, the embeddings, overrides and isolates of the bidirectional
 * algorithm, separators of lines and paragraphs, and the byte order mark.
 */
const NOT_IN_LINE =
  /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\u202A-\u202E\u2066-\u2069\u2028\u2029\uFEFF]/u;

/** The tags that {@linkcode sanitizeHtml} keeps, apart from `br`, which holds nothing. */
type Tag = "b" | "i" | "em" | "strong" | "p";

/** A tag without attributes, a reference that {@linkcode escapeHtml} writes, or what it escapes. */
const HTML_TOKEN = /<(\/?)([a-zA-Z]{1,6})[ \t\n\f\r]*(\/?)>|&(?:amp|lt|gt|quot|#39);|[&<>"']/g;

/** Whether `text`, which may be empty, is fit for one line: nothing in it breaks or hides. */
export function isLine(text: string): boolean {
  return !NOT_IN_LINE.test(text);
}

/** As {@linkcode isLine}, but tabs and line ends (`\n` or `\r\n`) are allowed. */
export function isMultiline(text: string): boolean {
  return isLine(text.replace(/\r\n|[\t\n]/g, " "));
}

/**
 * `text` without the white space around it: spaces of every kind, tabs, line ends
 * and byte order marks. Never throws, and does not make a line of what is none.
 */
export function cleanLine(text: string): string {
  return text.trim();
}

/** As {@linkcode cleanLine}, and every `\r\n` becomes `\n`. */
export function cleanText(text: string): string {
  // A pair after one more `\r` stays as it is, to be refused rather than made a line end.
  return text.replace(/(?<!\r)\r\n/g, "\n").trim();
}

/** `text` as HTML that shows it, within an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, escapeChar);
}

/**
 * HTML of which only `b`, `i`, `em`, `strong`, `p` and `br` without attributes
 * are left as tags, in lower case and balanced. All else becomes text that looks
 * as it was typed: other tags, tags with attributes, comments, closing tags that
 * close nothing. Nothing is dropped, so what was refused can be seen.
 *
 * The input is HTML: `&amp;`, `&lt;`, `&gt;`, `&quot;` and `&#39;` are kept, any
 * other `&` is text. So the result is a fixed point: sanitizing it again, after
 * it was stored and edited, changes nothing.
 *
 * Takes time in proportion to the length and never throws. The result is safe as
 * the content of an element, not within an attribute, `script` or `style`.
 */
export function sanitizeHtml(html: string): string {
  const open: Tag[] = [];
  // Counted, since looking through `open` for each closing tag is quadratic.
  const isOpen = { b: 0, i: 0, em: 0, strong: 0, p: 0 };

  function closeThrough(tag: Tag): string {
    let closed = "";
    while (isOpen[tag] > 0) {
      const last = open.pop()!;
      isOpen[last]--;
      closed += `</${last}>`;
      if (last === tag) break;
    }
    return closed;
  }

  const body = html.replace(
    HTML_TOKEN,
    (token: string, slash?: string, name?: string, selfClosing?: string) => {
      if (token.length > 1 && token.startsWith("&")) return token;
      const tag = name?.toLowerCase() ?? "";
      if (tag === "br" && !slash) return "<br>";
      if (!isTag(tag) || selfClosing) return escapeHtml(token);
      if (slash) return closeThrough(tag) || escapeHtml(token);
      // A paragraph ends where the next begins: browsers nest them no deeper.
      const before = tag === "p" ? closeThrough("p") : "";
      open.push(tag);
      isOpen[tag]++;
      return `${before}<${tag}>`;
    },
  );
  return body + open.reverse().map((tag) => `</${tag}>`).join("");
}

function isTag(name: string): name is Tag {
  return name === "b" || name === "i" || name === "em" || name === "strong" || name === "p";
}

function escapeChar(char: string): string {
  switch (char) {
    case "&":
      return "&amp;";
    case "<":
      return "&lt;";
    case ">":
      return "&gt;";
    case '"':
      return "&quot;";
    default:
      return "&#39;";
  }
}
