/**
 * Unsubscribing from the newsletter: a page with one button, and the one-click POST
 * of mail programs (RFC 8058). GET changes nothing, since mail scanners follow links.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import { clientIdOf, withdrawConsent } from "../lib/mail/consent.ts";
import { AppError } from "../lib/errors.ts";
import { type Language, LANGUAGES } from "../lib/languages.ts";
import { passGuards } from "../lib/entities/caller.ts";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";
import { callerOf } from "./_http.ts";
import { byAddress, countWrite } from "./_limits.ts";
import { pagePolicy } from "./_security.ts";

interface Texts {
  question: string;
  button: string;
  done: string;
}

const TEXTS: Readonly<Record<Language, Texts>> = {
  en: {
    question: "Do you want to unsubscribe from news from {shop}?",
    button: "Unsubscribe",
    done: "You are unsubscribed. You will still receive messages about your own orders.",
  },
  sw: {
    question: "Ungependa kuacha kupokea habari kutoka {shop}?",
    button: "Jiondoe",
    done: "Umejiondoa. Bado utapokea ujumbe kuhusu maagizo yako mwenyewe.",
  },
};

const STYLE = `
body { font: 16px/1.5 sans-serif; max-width: 32rem; margin: 3rem auto; padding: 0 1rem }
section { margin: 2rem 0 }
button { font: inherit; padding: .7rem 1.2rem }
`;

/** The page that withdraws a client's marketing consent. */
export function unsubscribePage(services: Services): Hono<AppEnv> {
  const { shopName } = services.config;
  return new Hono<AppEnv>()
    .get("/u/:token", async (c) => {
      await expectClient(services, c);
      return answer(c, (texts) => (
        <>
          <p>{texts.question.replace("{shop}", () => shopName)}</p>
          <form method="post">
            <button type="submit">{texts.button}</button>
          </form>
        </>
      ));
    })
    .post("/u/:token", async (c) => {
      await withdrawConsent(services, await expectClient(services, c), callerOf(c));
      return answer(c, (texts) => <p>{texts.done}</p>);
    });
}

/** The client of a token. @throws {AppError} `not_found`, `rate_limited` */
async function expectClient(services: Services, c: Context<AppEnv>): Promise<string> {
  const id = clientIdOf(services.config, c.req.param("token") ?? "");
  if (id !== null) return id;
  // Wrong guesses count together with those of invoice links.
  countWrite(services, c, "invoice_link", byAddress(c, services));
  await passGuards(services, callerOf(c));
  throw new AppError("not_found", "No such page");
}

/** Responds in all languages, since the link does not carry the recipient's. */
function answer(c: Context<AppEnv>, content: (texts: Texts) => unknown) {
  const nonce = pagePolicy(c);
  c.header("cache-control", "no-store");
  c.header("x-robots-tag", "noindex");
  const page = (
    <html lang={LANGUAGES[0]}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <title>Unsubscribe</title>
        <style nonce={nonce} dangerouslySetInnerHTML={{ __html: STYLE }} />
      </head>
      <body>
        {LANGUAGES.map((language) => (
          <section key={language} lang={language}>{content(TEXTS[language])}</section>
        ))}
      </body>
    </html>
  );
  return c.html(`<!DOCTYPE html>${page}`);
}
