/**
 * The page of Pesapal where a payer pays, without script.
 *
 * @module
 */

/** The content of the page. */
export interface PageOrder {
  trackingId: string;
  description: string;
  /** Such as `TZS 1500.00`. */
  price: string;
  state: "open" | "failed" | "paid" | "cancelled";
  /** Where the payer returns to. */
  returnUrl: string;
}

const WORDS = {
  open: "Choose how it ends.",
  failed: "The payment failed. You can try again.",
  paid: "This order is paid.",
  cancelled: "This order was cancelled.",
};

/** The page of an order. */
export function payerPage(order: PageOrder): string {
  const { trackingId, description, price, state, returnUrl } = order;
  const button = (action: string, label: string) =>
    `<form method="post" action="/pesapaliframe/PesapalIframe3/${action}?OrderTrackingId=${trackingId}">` +
    `<button id="${action.toLowerCase()}">${label}</button></form>`;
  const isOpen = state === "open" || state === "failed";
  const forms = isOpen
    ? button("Pay", "Pay") + button("Fail", "Let it fail") + button("Cancel", "Cancel")
    : "";
  return `<!doctype html><html lang="en"><meta charset="utf-8">` +
    `<meta name="viewport" content="width=device-width"><title>Pesapal (simulated)</title>` +
    `<style>body{font:18px sans-serif;max-width:30em;margin:2em auto;padding:0 1em}` +
    `button{font:inherit;padding:.6em 1.2em;margin:.3em 0;width:100%}</style>` +
    `<h1>Pesapal (simulated)</h1><p>${escaped(description)}<p><strong>${escaped(price)}</strong>` +
    `<p id="state">${WORDS[state]}${forms}` +
    `<p><a id="return" href="${escaped(returnUrl)}">Return to the shop</a></html>`;
}

/** Characters that are escaped. */
function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
