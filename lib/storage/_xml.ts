/**
 * The subset of XML in S3's answers: attributes do not matter, no element contains one
 * of its own name, text is UTF-8 with entities. A parser such as `fast-xml-parser`
 * (7 packages, 1.9 MB, 17 ms to import) would be far larger than this file.
 *
 * @module
 */

const ENTITIES: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

/** The inner XML of each element of this name. */
export function* elements(xml: string, name: string): Generator<string> {
  for (const [, inner = ""] of xml.matchAll(pattern(name, "gs"))) yield inner;
}

/** The text of the first element of this name, if there is one. */
export function textOf(xml: string, name: string): string | undefined {
  const inner = pattern(name, "s").exec(xml)?.[1];
  return inner?.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (entity, hex, decimal, word) => {
    if (word !== undefined) return ENTITIES[word] ?? entity;
    return String.fromCodePoint(hex === undefined ? Number(decimal) : parseInt(hex, 16));
  });
}

/** Whether the document's outermost element has this name. */
export function isDocument(xml: string, name: string): boolean {
  return new RegExp(`^\\s*(?:<\\?[^>]*>\\s*)?<${name}[\\s>/]`).test(xml);
}

/** `text` as the content of an element. */
export function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function pattern(name: string, flags: string): RegExp {
  return new RegExp(`<${name}(?:\\s[^>]*)?>(.*?)</${name}>`, flags);
}
