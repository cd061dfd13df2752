/**
 * The languages of mails, invoices and public pages.
 *
 * @module
 */

/** ISO 639 codes, in the order in which they are offered. */
export const LANGUAGES = ["en", "sw"] as const;

/** One of {@linkcode LANGUAGES}. */
export type Language = (typeof LANGUAGES)[number];

/** Each language's name for itself. */
export const LANGUAGE_NAMES: Readonly<Record<Language, string>> = {
  en: "English",
  sw: "Kiswahili",
};

/** Whether `text` is one of {@linkcode LANGUAGES}. */
export function isLanguage(text: unknown): text is Language {
  return LANGUAGES.some((language) => language === text);
}
