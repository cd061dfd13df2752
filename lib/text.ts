/**
 * Validation of text from outside, and the HTML that it may contain.
 *
 * Text is stored as received, without surrounding white space, and escaped where it
 * is shown. Text that cannot be shown faithfully (control characters, lone
 * surrogates, direction overrides) is rejected, never repaired. In a schema:
 * `z.string().transform(cleanLine).refine(isLine)`.
 *
 * @module
 */

/**
 * Rejected in every text: controls (C0, C1, DEL), lone surrogates, noncharacters,
 * bidirectional embeddings, overrides and isolates, line and paragraph separators,
 * and the byte order mark.
 */
const NOT_IN_LINE =
  /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}\u202A-\u202E\u2066-\u2069\u2028\u2029\uFEFF]/u;

/** The tags that {@linkcode sanitizeHtml} keeps, apart from the empty `br`. */
type Tag = "b" | "i" | "em" | "strong" | "p";

/** A tag without attributes, an entity written by {@linkcode escapeHtml}, or a character it escapes. */
const HTML_TOKEN = /<(\/?)([a-zA-Z]{1,6})[ \t\n\f\r]*(\/?)>|&(?:amp|lt|gt|quot|#39);|[&<>"']/g;

/** Whether `text` is valid as one line, without line breaks or hidden characters. May be empty. */
export function isLine(text: string): boolean {
  return !NOT_IN_LINE.test(text);
}

/** As {@linkcode isLine}, but allows tabs and line ends (`\n` or `\r\n`). */
export function isMultiline(text: string): boolean {
  return isLine(text.replace(/\r\n|[\t\n]/g, " "));
}

/**
 * Trims white space: spaces of every kind, tabs, line ends and byte order marks.
 * Never throws; line breaks within the text stay.
 */
export function cleanLine(text: string): string {
  return text.trim();
}

/** As {@linkcode cleanLine}, and replaces every `\r\n` by `\n`. */
export function cleanText(text: string): string {
  // `\r\r\n` stays, so that it is rejected rather than made a line end.
  return text.replace(/(?<!\r)\r\n/g, "\n").trim();
}

/** Escapes `text` for the content of an element or a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, escapeChar);
}

/**
 * Keeps only the tags `b`, `i`, `em`, `strong`, `p` and `br` without attributes, in
 * lower case and balanced. Everything else becomes text as typed: other tags, tags
 * with attributes, comments, unmatched closing tags. Nothing is dropped, so rejected
 * markup stays visible.
 *
 * The input is HTML: `&amp;`, `&lt;`, `&gt;`, `&quot;` and `&#39;` are kept, any
 * other `&` is text. The result is a fixed point: sanitizing it again changes nothing.
 *
 * Linear time; never throws. The result is safe as the content of an element, not
 * within an attribute, `script` or `style`.
 *
 * Not a library: `sanitize-html` (15 packages, 53 ms to import) and `xss` (38 ms) parse
 * all of HTML for six tags, and drop or rewrite what must stay visible here.
 */
export function sanitizeHtml(html: string): string {
  const open: Tag[] = [];
  // Counted, since searching `open` for each closing tag is quadratic.
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
      // A paragraph ends where the next begins: browsers do not nest them.
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
