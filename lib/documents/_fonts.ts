/**
 * The fonts of PDFs: DejaVu, whose Latin, Greek, Cyrillic and currency signs cover
 * names in East Africa. Read once from the package; each PDF embeds only the glyphs
 * it uses.
 *
 * @module
 */
import { Buffer } from "node:buffer";
// @ts-types="@types/fontkit"
import * as fontkit from "fontkit";
import bold from "dejavu-fonts-ttf/ttf/DejaVuSansCondensed-Bold.ttf" with { type: "bytes" };
import regular from "dejavu-fonts-ttf/ttf/DejaVuSansCondensed.ttf" with { type: "bytes" };

/** Stands visibly for a character that the fonts lack. */
const MISSING = "\uFFFD";

/** Invisible and without effect here: joiners, variation selectors, direction marks. */
const UNSEEN = /[\u00AD\u200B-\u200F\u2060\uFE00-\uFE0F]/g;

/** A parsed font. */
export type Font = fontkit.Font;

/** The two weights. */
export const FONTS: Readonly<Record<"regular" | "bold", Font>> = {
  regular: parse(regular),
  bold: parse(bold),
};

/** `text` as the fonts can print it: composed, with a sign for each missing character. */
export function printable(text: string): string {
  return Array.from(
    text.normalize("NFC").replace(UNSEEN, ""),
    (char) => FONTS.regular.hasGlyphForCodePoint(char.codePointAt(0)!) ? char : MISSING,
  ).join("");
}

function parse(file: Uint8Array): Font {
  // The library's types require Node's Buffer.
  const font = fontkit.create(Buffer.from(file.buffer, file.byteOffset, file.byteLength));
  if ("fonts" in font) {
    throw new TypeError("Cannot use a font collection: a file with a single font is required");
  }
  return font;
}
