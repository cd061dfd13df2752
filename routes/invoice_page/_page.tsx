/**
 * The invoice page as HTML: without scripts, loads nothing, fits small screens.
 *
 * @module
 */
import type { InvoiceDocument } from "../../lib/documents/mod.ts";
import {
  fill,
  INVOICE_TEXTS,
  type InvoiceTexts,
  type PayProblem,
} from "../../lib/documents/texts.ts";
import { LANGUAGE_NAMES, LANGUAGES } from "../../lib/languages.ts";
import { type PayView, type PayWay, PROVIDERS } from "./_pay_view.ts";
import { STYLE } from "./_style.ts";

/** The problem of a submitted form, and its fields. */
export interface FormProblem {
  problem: PayProblem;
  /** Waiting time of `too_often`. */
  minutes: number;
  phone: string;
  provider: string;
}

/** Everything that the page shows. */
export interface PageProps {
  document: InvoiceDocument;
  pay: PayView;
  /** The buyer asked for the payment options while an attempt is being checked. */
  isPayingAgain: boolean;
  /** Null unless the page responds to a form. */
  formProblem: FormProblem | null;
  /** `/i/` and the token. */
  path: string;
  /** Identifies the payment started on this page, so that it is started once. */
  attempt: string;
  /** Nonce of the style sheet. */
  nonce: string;
}

/** The page. */
export function Page(props: PageProps) {
  const { document, nonce, path } = props;
  const { language, number, seller, url, stateNote } = document;
  const texts = INVOICE_TEXTS[language];
  const title = `${texts.invoice} ${number ?? ""}`;
  const total = document.owed ?? document.totals.find(({ isStrong }) => isStrong)?.amount ?? "";
  const share = fill(texts.shareText, { number: number ?? "", shop: seller.name, amount: total });
  return (
    <html lang={language}>
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <Refresh {...props} />
        <title>{`${title} · ${seller.name}`}</title>
        <meta property="og:title" content={`${title} · ${seller.name}`} />
        <meta property="og:description" content={`${total}. ${stateNote}`} />
        <link rel="icon" href="data:," />
        <style nonce={nonce} dangerouslySetInnerHTML={{ __html: STYLE }} />
      </head>
      <body>
        <main>
          <header>
            <b>{seller.name}</b>
            <nav>
              {LANGUAGES.filter((other) => other !== language).map((other) => (
                <a href={`${path}?lang=${other}`} lang={other} hreflang={other}>
                  {LANGUAGE_NAMES[other]}
                </a>
              ))}
            </nav>
          </header>
          <h1>{title}</h1>
          <p>{texts.billTo}: {document.buyer}</p>
          <p class="soft">
            {document.facts.map(factOf).join(" · ")}
          </p>
          <State {...props} texts={texts} />
          <Lines document={document} />
          {document.notes !== "" && (
            <>
              <h2>{texts.notes}</h2>
              <p class="notes">{document.notes}</p>
            </>
          )}
          <Pay {...props} texts={texts} />
          <div class="actions">
            <a class="button plain" href={`${path}.pdf?lang=${language}`}>{texts.download}</a>
            <a
              class="button plain"
              href={`https://wa.me/?text=${encodeURIComponent(`${share} ${url}`)}`}
              rel="noopener noreferrer"
            >
              {texts.share}
            </a>
          </div>
          <footer class="soft">
            <p>{[seller.name, ...seller.lines].join(" · ")}</p>
            {seller.phone !== null && (
              <p>
                <PhoneLink phone={seller.phone} text={texts.questions} />
              </p>
            )}
          </footer>
        </main>
      </body>
    </html>
  );
}

/** A label and its value, which stay on one line of a small screen. */
function factOf([label, value]: [label: string, value: string]): string {
  return `${label}: ${value}`.replaceAll(" ", "\u00a0");
}

/** A sentence with a number that a phone calls on touch. */
function PhoneLink({ phone, text }: { phone: string; text: string }) {
  const [before = "", after = ""] = text.split("{phone}");
  return (
    <>
      {before}
      <a href={`tel:${phone.replace(/[^\d+]/g, "")}`}>{phone}</a>
      {after}
    </>
  );
}

/** Reloads automatically, from the page's own address, since a form may have led here. */
function Refresh({ document, pay, isPayingAgain, formProblem, path }: PageProps) {
  if (pay.refreshS === null || isPayingAgain || formProblem) return null;
  const url = `${path}?lang=${document.language}`;
  return <meta http-equiv="refresh" content={`${pay.refreshS};url=${url}`} />;
}

function State(
  { document, pay, formProblem, texts, ...page }: PageProps & { texts: InvoiceTexts },
) {
  const { state, stateLabel, stateNote, owed } = document;
  const isPayable = pay.ways.some(({ refusal }) => refusal === null);
  const asksToPay = isPayable && (pay.refreshS === null || page.isPayingAgain || formProblem);
  return (
    <>
      <div class={`state ${state}`}>
        <b>{stateLabel}</b>
        {owed !== null && <strong>{owed}</strong>}
        {stateNote}
      </div>
      {formProblem && (
        <p class="state problem" role="alert">
          {fill(texts.problems[formProblem.problem], { minutes: formProblem.minutes })}
        </p>
      )}
      {!formProblem && pay.status !== null && (
        <div class="state note" role="status">
          <PaymentStatus pay={pay} texts={texts} again={`${page.path}?lang=${document.language}`} />
        </div>
      )}
      {asksToPay && (
        <p>
          <a class="button" href="#pay">{fill(texts.payAmount, { amount: owed ?? "" })}</a>
        </p>
      )}
    </>
  );
}

function PaymentStatus(
  { pay, texts, again }: { pay: PayView; texts: InvoiceTexts; again: string },
) {
  switch (pay.status) {
    case "checking_online":
    case "checking_phone":
      return (
        <>
          <b>{texts.checking}</b>
          {pay.status === "checking_phone" ? texts.checkingPhone : texts.checkingOnline}{" "}
          {texts.refreshes} <a href={again}>{texts.checkAgain}</a>
        </>
      );
    case "failed":
      return <>{texts.failed}</>;
    case "in_review":
      return <>{texts.inReview}</>;
    case null:
      return null;
    default:
      return pay.status satisfies never;
  }
}

function Lines({ document }: { document: InvoiceDocument }) {
  return (
    <table>
      <tbody>
        {document.lines.map(({ description, quantity, unitPrice, amount }) => (
          <tr>
            <td>
              {description}
              {quantity !== "1" && (
                <>
                  <br />
                  <small>{`${quantity}\u00a0× ${unitPrice}`}</small>
                </>
              )}
            </td>
            <td>{amount}</td>
          </tr>
        ))}
      </tbody>
      <tfoot>
        {document.totals.map(({ label, amount, isStrong }) => (
          <tr class={isStrong ? "strong" : undefined}>
            <th scope="row">{label}</th>
            <td>{amount}</td>
          </tr>
        ))}
      </tfoot>
    </table>
  );
}

function Pay({ document, pay, isPayingAgain, formProblem, path, attempt, texts }: PageProps & {
  texts: InvoiceTexts;
}) {
  const { owed, language } = document;
  if (owed === null) return null;
  if (pay.ways.every(({ refusal }) => refusal !== null)) {
    return <p class="soft">{texts.noWayToPay}</p>;
  }
  if (pay.refreshS !== null && !isPayingAgain && !formProblem) {
    return (
      <p>
        <a href={`${path}?lang=${language}&pay=again#pay`}>{texts.payOtherwise}</a>
      </p>
    );
  }
  const props = { texts, owed, action: `${path}/pay?lang=${language}`, attempt };
  return (
    <section id="pay">
      <h2>{texts.pay}</h2>
      {pay.ways.map((way) => (
        <Way key={way.gateway} way={way} formProblem={formProblem} {...props} />
      ))}
    </section>
  );
}

function Way({ way, owed, action, attempt, formProblem, texts }: {
  way: PayWay;
  owed: string;
  action: string;
  attempt: string;
  formProblem: FormProblem | null;
  texts: InvoiceTexts;
}) {
  const { gateway, isMobileMoney, refusal } = way;
  const name = isMobileMoney ? texts.payByPhone : texts.payOnline;
  if (refusal !== null) {
    return (
      <p class="way soft">
        <b>{name}</b>
        <br />
        {fill(texts.cannotTake, { reason: refusal })}
      </p>
    );
  }
  return (
    <form method="post" action={action}>
      <b>{name}</b>
      <p class="soft">{isMobileMoney ? texts.payByPhoneNote : texts.payOnlineNote}</p>
      <input type="hidden" name="gateway" value={gateway} />
      <input type="hidden" name="attempt" value={attempt} />
      {isMobileMoney && (
        <>
          <label>
            {texts.phoneNumber}
            <input
              name="phone"
              type="tel"
              autocomplete="tel"
              inputmode="tel"
              maxlength={24}
              required
              placeholder="0712 345 678"
              value={formProblem?.phone ?? ""}
            />
          </label>
          <label>
            {texts.provider}
            <select name="provider" required>
              <option value="">{texts.chooseProvider}</option>
              {Object.entries(PROVIDERS).map(([value, label]) => (
                <option value={value} selected={value === formProblem?.provider}>{label}</option>
              ))}
            </select>
          </label>
        </>
      )}
      <button type="submit">{fill(texts.payAmount, { amount: owed })}</button>
    </form>
  );
}
