/**
 * The captured mails of a development process. Content from outside is shown as text,
 * or as HTML in a sandboxed frame.
 *
 * @module
 */
import { type Context, Hono } from "hono";
import { AppError } from "../lib/errors.ts";
import { newSecret } from "../lib/ids.ts";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";

const STYLE = `
body { font: 15px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .3rem .6rem .3rem 0; vertical-align: top }
th { white-space: nowrap }
h1, td, pre { overflow-wrap: anywhere }
pre { white-space: pre-wrap; background: #f1f3f4; padding: 1rem }
iframe { width: 100%; height: 36rem; border: 1px solid #dadce0 }
`;

/** The mailbox of this process; no routes outside development. */
export function mailboxRoutes({ config, mailbox }: Services): Hono<AppEnv> {
  const routes = new Hono<AppEnv>();
  if (config.appEnv !== "development" || mailbox === null) return routes;
  return routes
    .get("/dev/mailbox", (c) => {
      const nonce = policyFor(c);
      return c.html(
        page(
          nonce,
          <>
            <h1>Mailbox</h1>
            <p>Captured mails of this process: {mailbox.list().length}. None is delivered.</p>
            <table>
              <tr>
                <th>Time</th>
                <th>To</th>
                <th>Subject</th>
              </tr>
              {mailbox.list().map(({ number, at, mail }) => (
                <tr>
                  <td>{at}</td>
                  <td>{mail.to}</td>
                  <td>
                    <a href={`/dev/mailbox/${number}`}>{mail.subject}</a>
                  </td>
                </tr>
              ))}
            </table>
          </>,
        ),
      );
    })
    .get("/dev/mailbox/:number{[0-9]{1,9}}", (c) => {
      const kept = mailbox.find(Number(c.req.param("number")));
      if (!kept) throw new AppError("not_found", "No such mail in the mailbox");
      const { mail, at } = kept;
      const nonce = policyFor(c);
      const rows: [string, string | undefined][] = [
        ["Time", at],
        ["From", `${mail.fromName ?? ""} <${mail.from}>`],
        ["To", mail.to],
        ["Reply-To", mail.replyTo],
        ["Unsubscribe", mail.unsubscribeUrl],
        [
          "Attachments",
          mail.attachments?.map(({ name, bytes }) => `${name} (${bytes.length} bytes)`).join(", "),
        ],
      ];
      return c.html(
        page(
          nonce,
          <>
            <p>
              <a href="/dev/mailbox">Mailbox</a>
            </p>
            <h1>{mail.subject}</h1>
            <table>
              {rows.filter(([, value]) => value !== undefined).map(([name, value]) => (
                <tr>
                  <th>{name}</th>
                  <td>{value}</td>
                </tr>
              ))}
            </table>
            {/* Sandboxed: scripts, forms and links are blocked; styles are inline. */}
            {mail.html !== undefined && <iframe sandbox="" srcdoc={mail.html} title="HTML part" />}
            <pre>{mail.text}</pre>
          </>,
        ),
      );
    });
}

/** The frame inherits this policy, which allows a mail its inline styles and nothing else. */
function policyFor(c: Context<AppEnv>): string {
  const nonce = newSecret(16);
  c.header(
    "content-security-policy",
    [
      "default-src 'none'",
      `style-src 'nonce-${nonce}'`,
      "style-src-attr 'unsafe-inline'",
      "form-action 'none'",
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].join("; "),
  );
  return nonce;
}

function page(nonce: string, content: unknown): string {
  const html = (
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <title>Mailbox</title>
        <style nonce={nonce} dangerouslySetInnerHTML={{ __html: STYLE }} />
      </head>
      <body>{content}</body>
    </html>
  );
  return `<!DOCTYPE html>${html}`;
}
