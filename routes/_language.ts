/**
 * The language of a page: requested by `?lang=`, or preferred by the browser.
 *
 * @module
 */
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import type { Services } from "../lib/app/mod.ts";
import { isLanguage, type Language, LANGUAGES } from "../lib/languages.ts";
import type { AppEnv } from "./_env.ts";

/** Longest Accept-Language that is parsed; browsers send about a tenth of it. */
const ACCEPT_MAX = 1_000;

/** The language of the response; the shop's own unless the request names one. */
export function languageOf({ config }: Services, c: Context<AppEnv>): Language {
  const requested = c.req.query("lang");
  if (isLanguage(requested)) return requested;
  if ((c.req.header("accept-language")?.length ?? 0) > ACCEPT_MAX) return config.defaultLanguage;
  const preferred = accepts(c, {
    header: "Accept-Language",
    supports: [...LANGUAGES],
    default: config.defaultLanguage,
    match: (accepted, { default: fallback }) =>
      accepted.filter(({ q }) => q > 0)
        .toSorted((a, b) => b.q - a.q)
        .map(({ type }) => type.toLowerCase().split("-")[0])
        .find(isLanguage) ?? fallback,
  });
  return isLanguage(preferred) ? preferred : config.defaultLanguage;
}
