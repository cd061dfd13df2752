/**
 * The letters of PDFs: DejaVu, whose Latin, Greek, Cyrillic and signs of
 * currencies cover what names in East Africa are written in. Read once from
 * their package; each PDF embeds only what it uses of them.
 *
 * @module
 */
import { Buffer } from "node:buffer";
// @ts-types="@types/fontkit"
import * as fontkit from "fontkit";
import bold from "dejavu-fonts-ttf/ttf/DejaVuSansCondensed-Bold.ttf" with { type: "bytes" };
import regular from "dejavu-fonts-ttf/ttf/DejaVuSansCondensed.ttf" with { type: "bytes" };

/** What stands for a character that the fonts lack, so that it is seen to be missing. */
const MISSING = "\uFFFD";

/** Invisible, and without effect here: joiners, selectors of variants, marks of direction. */
const UNSEEN = /[\u00AD\u200B-\u200F\u2060\uFE00-\uFE0F]/g;

/** A font as it is parsed. */
export type Font = fontkit.Font;

/** The two weights. */
export const FONTS: Readonly<Record<"regular" | "bold", Font>> = {
  regular: parse(regular),
  bold: parse(bold),
};

/** `text` as the fonts can show it: composed, and with a sign for each character that they lack. */
export function printable(text: string): string {
  return Array.from(
    text.normalize("NFC").replace(UNSEEN, ""),
    (char) => FONTS.regular.hasGlyphForCodePoint(char.codePointAt(0)!) ? char : MISSING,
  ).join("");
}

function parse(file: Uint8Array): Font {
  // Its types ask for Node's Buffer; it reads any bytes.
  const font = fontkit.create(Buffer.from(file.buffer, file.byteOffset, file.byteLength));
  if ("fonts" in font) throw new TypeError("A file of one font has many");
  return font;
}
