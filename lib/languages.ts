/**
 * The languages that buyers are written to in.
 *
 * @module
 */

/** By its ISO 639 code. */
export type Language = "en" | "sw";

/** Every {@linkcode Language}, in the order in which they are offered. */
export const LANGUAGES: readonly Language[] = Object.freeze(["en", "sw"]);

/** What each calls itself. */
export const LANGUAGE_NAMES: Readonly<Record<Language, string>> = {
  en: "English",
  sw: "Kiswahili",
};

/** Whether `text` is the code of a {@linkcode Language}. */
export function isLanguage(text: unknown): text is Language {
  return text === "en" || text === "sw";
}
