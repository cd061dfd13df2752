/**
 * The start page at `/`: what this service is, and where its documentation and health
 * are. In development it also links to the catalogue and the mailbox.
 *
 * @module
 */
import { Hono } from "hono";
import type { Services } from "../lib/app/mod.ts";
import { type Language, LANGUAGE_NAMES, LANGUAGES } from "../lib/languages.ts";
import type { AppEnv } from "./_env.ts";
import { languageOf } from "./_language.ts";
import { pagePolicy } from "./_security.ts";

/** A link with its label and a line of explanation. */
interface Entry {
  href: string;
  label: string;
  text: string;
}

interface Texts {
  about: string;
  invoiceHint: string;
  developers: string;
  development: string;
  docs: string;
  docsText: string;
  health: string;
  healthText: string;
  catalogue: string;
  catalogueText: string;
  mailbox: string;
  mailboxText: string;
}

const TEXTS: Readonly<Record<Language, Texts>> = {
  en: {
    about: "This service receives enquiries, issues invoices and accepts payments for {shop}.",
    invoiceHint: "Received an invoice? Open the link in our message to view and pay it.",
    developers: "For developers",
    development: "Development only",
    docs: "API documentation",
    docsText: "All requests and responses, to read and to try out",
    health: "Service health",
    healthText: "The current state of the system, as JSON",
    catalogue: "Catalogue",
    catalogueText: "The products on sale, as JSON",
    mailbox: "Mailbox",
    mailboxText: "Captured e-mails of this process; none is delivered",
  },
  sw: {
    about: "Huduma hii hupokea maulizo, hutoa ankara na hupokea malipo kwa niaba ya {shop}.",
    invoiceHint: "Umepokea ankara? Fungua kiungo kilicho kwenye ujumbe wetu ili uione na uilipe.",
    developers: "Kwa wasanidi programu",
    development: "Kwa mazingira ya usanidi pekee",
    docs: "Nyaraka za API",
    docsText: "Maombi na majibu yote, ya kusoma na kujaribu",
    health: "Hali ya huduma",
    healthText: "Hali ya sasa ya mfumo, katika JSON",
    catalogue: "Orodha ya bidhaa",
    catalogueText: "Bidhaa zinazouzwa, katika JSON",
    mailbox: "Kisanduku cha barua",
    mailboxText: "Barua pepe zilizohifadhiwa na mchakato huu; hakuna inayotumwa",
  },
};

const STYLE = `
:root{color-scheme:light dark;--back:#eef1f4;--paper:#fff;--ink:#1b2330;--soft:#5b6676;--line:#dde2e8;--brand:#0b5d47}
@media(prefers-color-scheme:dark){:root{--back:#12171d;--paper:#1b222b;--ink:#e8ecf1;--soft:#a3afbd;--line:#333d49;--brand:#7fd1b9}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{max-width:38rem;margin:0 auto;padding:1rem;background:var(--paper);min-height:100vh}
header{display:flex;justify-content:space-between;align-items:baseline;gap:1rem;border-bottom:3px solid var(--brand);padding-bottom:.6rem}
h1{font-size:1.3rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.1rem;margin:1.8rem 0 .5rem}
p{margin:.8rem 0}
p,li span{text-wrap:pretty}
a{color:var(--brand)}
ul{list-style:none;margin:0;padding:0}
li a{display:block;padding:.8rem 0;border-bottom:1px solid var(--line);text-decoration:none;font-weight:700}
li a:hover b{text-decoration:underline}
li b{display:block}
li span{color:var(--soft);font-size:.875rem;font-weight:400}
:focus-visible{outline:3px solid #e0a100;outline-offset:2px}
@media(min-width:40rem){main{margin:2rem auto;padding:2rem;min-height:0;border-radius:10px}}
`.replaceAll("\n", "");

/** The start page. */
export function startPage(services: Services): Hono<AppEnv> {
  const { shopName } = services.config;
  return new Hono<AppEnv>().get("/", (c) => {
    const language = languageOf(services, c);
    c.header("content-language", language);
    c.header("x-robots-tag", "noindex");
    const page = (
      <Page
        language={language}
        shopName={shopName}
        developmentLinks={developmentLinks(services, TEXTS[language])}
        nonce={pagePolicy(c)}
      />
    );
    return c.html(`<!DOCTYPE html>${page}`);
  });
}

/** The links of a development process; none elsewhere. */
function developmentLinks({ config, mailbox }: Services, texts: Texts): Entry[] {
  if (config.appEnv !== "development") return [];
  const links = [
    { href: "/api/v2/products", label: texts.catalogue, text: texts.catalogueText },
  ];
  if (mailbox !== null) {
    links.push({ href: "/dev/mailbox", label: texts.mailbox, text: texts.mailboxText });
  }
  return links;
}

function Page({ language, shopName, developmentLinks, nonce }: {
  language: Language;
  shopName: string;
  developmentLinks: readonly Entry[];
  nonce: string;
}) {
  const texts = TEXTS[language];
  const links = [
    { href: "/docs", label: texts.docs, text: texts.docsText },
    { href: "/health", label: texts.health, text: texts.healthText },
  ];
  return (
    <html lang={language}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <title>{shopName}</title>
        <link rel="icon" href="data:," />
        <style nonce={nonce} dangerouslySetInnerHTML={{ __html: STYLE }} />
      </head>
      <body>
        <main>
          <header>
            <h1>{shopName}</h1>
            <nav>
              {LANGUAGES.filter((other) => other !== language).map((other) => (
                <a href={`/?lang=${other}`} lang={other} hreflang={other}>
                  {LANGUAGE_NAMES[other]}
                </a>
              ))}
            </nav>
          </header>
          <p>{texts.about.replace("{shop}", () => shopName)}</p>
          <p>{texts.invoiceHint}</p>
          <Links title={texts.developers} entries={links} />
          {developmentLinks.length > 0 && (
            <Links title={texts.development} entries={developmentLinks} />
          )}
        </main>
      </body>
    </html>
  );
}

function Links({ title, entries }: { title: string; entries: readonly Entry[] }) {
  return (
    <section>
      <h2>{title}</h2>
      <ul>
        {entries.map(({ href, label, text }) => (
          <li>
            <a href={href}>
              <b>{label}</b>
              <span>{text}</span>
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
