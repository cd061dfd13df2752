/**
 * A telephone in a browser: every payment request at the simulator, with buttons to approve
 * and to decline it. Plain HTML forms, no script.
 *
 * @module
 */

/** A request on the telephone. */
export interface PhoneRequest {
  transactionId: string;
  /** Whole shillings. */
  amount: number;
  provider: string;
  accountNumber: string;
  externalId: string;
  state: "waiting" | "approved" | "declined";
}

const STYLE = `
  body { font: 16px/1.4 system-ui, sans-serif; max-width: 24rem; margin: 2rem auto; padding: 0 1rem }
  article { border: 1px solid #bbb; border-radius: .5rem; padding: 1rem; margin: 1rem 0 }
  strong { font-size: 1.5rem; display: block }
  small { color: #555; overflow-wrap: anywhere }
  form { display: inline }
  button { font: inherit; padding: .6rem 1.2rem; margin: .75rem .5rem 0 0 }
`;

/** The page, the newest request first. */
export function phonePage(requests: readonly PhoneRequest[]): string {
  const articles = requests.toReversed().map(article).join("");
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Simulated telephone</title>
<style>${STYLE}</style>
<h1>Simulated telephone</h1>
<p>AzamPay is simulated here: no money moves.</p>
${articles || "<p>Nothing is asked for.</p>"}
</html>
`;
}

function article(
  { transactionId, amount, provider, accountNumber, externalId, state }: PhoneRequest,
): string {
  const button = (act: string, label: string) =>
    `<form method="post" action="/phone/${transactionId}/${act}"><button>${label}</button></form>`;
  return `<article id="push-${transactionId}" data-state="${state}">
<strong>TZS ${amount.toLocaleString("en")}</strong>
${escaped(provider)} ${escaped(accountNumber)}<br>
<small>${escaped(externalId)}</small><br>
${state === "waiting" ? button("approve", "Approve") + button("decline", "Decline") : state}
</article>
`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
