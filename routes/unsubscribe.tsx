/**
 * | method | path        | who                     | answers                 |
 * | ------ | ----------- | ----------------------- | ----------------------- |
 * | GET    | `/u/:token` | whoever has the address | 200, 404                |
 * | POST   | `/u/:token` | whoever has the address | 200, 404, 413, 429, 503 |
 *
 * The end of news: a page with one button, and what mail programs post by
 * themselves (RFC 8058). Looking at it ends nothing: mail scanners do.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import { clientIdOf, withdrawConsent } from "../lib/mail/consent.ts";
import { AppError } from "../lib/errors.ts";
import { type Language, LANGUAGES } from "../lib/languages.ts";
import { passGuards } from "../lib/entities/caller.ts";
import type { Services } from "../lib/app/services.ts";
import type { AppEnv } from "./_env.ts";
import { callerOf } from "./_http.ts";
import { byAddress, countWrite } from "./_limits.ts";
import { pagePolicy } from "./_security.ts";

interface Words {
  question: string;
  button: string;
  done: string;
}

const WORDS: Readonly<Record<Language, Words>> = {
  en: {
    question: "Do you not want news of {shop} any more?",
    button: "No more news",
    done: "We will send you no more news. You still get mail about your own orders.",
  },
  sw: {
    question: "Hutaki kupokea tena habari za {shop}?",
    button: "Sitaki habari tena",
    done: "Hatutakutumia habari tena. Bado utapokea ujumbe kuhusu maagizo yako mwenyewe.",
  },
};

const STYLE = `
body { font: 16px/1.5 sans-serif; max-width: 32rem; margin: 3rem auto; padding: 0 1rem }
section { margin: 2rem 0 }
button { font: inherit; padding: .7rem 1.2rem }
`;

/** The page that ends a client's consent. */
export function unsubscribePage(services: Services): Hono<AppEnv> {
  const { shopName } = services.config;
  return new Hono<AppEnv>()
    .get("/u/:token", async (c) => {
      await expectClient(services, c);
      return answer(c, (words) => (
        <>
          <p>{words.question.replace("{shop}", () => shopName)}</p>
          <form method="post">
            <button type="submit">{words.button}</button>
          </form>
        </>
      ));
    })
    .post("/u/:token", async (c) => {
      await withdrawConsent(services, await expectClient(services, c), callerOf(c));
      return answer(c, (words) => <p>{words.done}</p>);
    });
}

/** The client of a token. @throws {AppError} `not_found`, `rate_limited` */
async function expectClient(services: Services, c: Context<AppEnv>): Promise<string> {
  const id = clientIdOf(services.config, c.req.param("token") ?? "");
  if (id !== null) return id;
  // Wrong guesses count as those at invoices do.
  countWrite(services, c, "invoice_link", byAddress(c, services));
  await passGuards(services, callerOf(c));
  throw new AppError("not_found", "No such page");
}

/** In all languages: whoever comes by a link has said nothing about theirs. */
function answer(c: Context<AppEnv>, content: (words: Words) => unknown) {
  const nonce = pagePolicy(c);
  c.header("cache-control", "no-store");
  c.header("x-robots-tag", "noindex");
  const page = (
    <html lang={LANGUAGES[0]}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <title>News</title>
        <style nonce={nonce} dangerouslySetInnerHTML={{ __html: STYLE }} />
      </head>
      <body>
        {LANGUAGES.map((language) => (
          <section key={language} lang={language}>{content(WORDS[language])}</section>
        ))}
      </body>
    </html>
  );
  return c.html(`<!DOCTYPE html>${page}`);
}
