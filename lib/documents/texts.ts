/**
 * The texts of invoices and their pages, a table per language: a missing text does
 * not compile.
 *
 * @module
 */
import type { Language } from "../languages.ts";

/** The state of an invoice as its buyer sees it. */
export type InvoiceState =
  | "draft"
  | "due"
  | "overdue"
  | "partly_paid"
  | "partly_overdue"
  | "paid"
  | "void"
  | "refunded";

/** Why a payment was not started. */
export type PayProblem =
  | "phone"
  | "provider"
  | "gateway"
  | "amount"
  | "too_often"
  | "unavailable";

/** The texts beside those of states and problems. */
export type InvoiceWord =
  | "invoice"
  | "draft"
  | "number"
  | "issued"
  | "due"
  | "billTo"
  | "phone"
  | "taxId"
  | "description"
  | "quantity"
  | "unitPrice"
  | "amount"
  | "subtotal"
  | "tax"
  | "total"
  | "paid"
  | "refunded"
  | "balance"
  | "credit"
  | "notes"
  | "page"
  | "scanToPay"
  | "scanToSee"
  | "download"
  | "share"
  | "shareText"
  | "pay"
  | "payAmount"
  | "payOnline"
  | "payOnlineNote"
  | "payByPhone"
  | "payByPhoneNote"
  | "payOtherwise"
  | "phoneNumber"
  | "provider"
  | "chooseProvider"
  | "cannotTake"
  | "noWayToPay"
  | "checking"
  | "checkingOnline"
  | "checkingPhone"
  | "refreshes"
  | "checkAgain"
  | "failed"
  | "inReview"
  | "questions";

/** Every text of an invoice; {@linkcode fill} replaces the names in braces. */
export interface InvoiceTexts extends Readonly<Record<InvoiceWord, string>> {
  /** The state, in a word or two. */
  readonly states: Readonly<Record<InvoiceState, string>>;
  /** What the state means for the buyer; `{day}` is the due date. */
  readonly stateNotes: Readonly<Record<InvoiceState, string>>;
  /** Why a payment was not started; `{minutes}` in `too_often`. */
  readonly problems: Readonly<Record<PayProblem, string>>;
}

const EN: InvoiceTexts = {
  invoice: "Invoice",
  draft: "Draft",
  number: "Number",
  issued: "Issue date",
  due: "Due date",
  billTo: "Bill to",
  phone: "Phone",
  taxId: "Tax ID",
  description: "Description",
  quantity: "Quantity",
  unitPrice: "Unit price",
  amount: "Amount",
  subtotal: "Subtotal",
  tax: "Tax",
  total: "Total",
  paid: "Amount paid",
  refunded: "Amount refunded",
  balance: "Balance due",
  credit: "Credit (overpaid)",
  notes: "Notes",
  page: "Page {page} of {pages}",
  // Beside the QR code, with and without a balance due.
  scanToPay: "Scan to pay or to check the balance",
  scanToSee: "Scan to check the status",
  states: {
    draft: "Draft",
    due: "Unpaid",
    overdue: "Overdue",
    partly_paid: "Partially paid",
    partly_overdue: "Partially paid, overdue",
    paid: "Paid",
    void: "Void",
    refunded: "Refunded",
  },
  stateNotes: {
    draft: "This is a draft, not an invoice.",
    due: "Please pay by {day}.",
    overdue: "Payment was due on {day}.",
    partly_paid: "Please pay the balance by {day}.",
    partly_overdue: "The balance was due on {day}.",
    paid: "Thank you. No payment is due.",
    void: "This invoice is void. No payment is due.",
    refunded: "Your payment was refunded. No payment is due.",
  },
  download: "Download PDF",
  share: "Share on WhatsApp",
  // Before the address of the page.
  shareText: "Invoice {number} from {shop} for {amount}:",
  pay: "Payment options",
  payAmount: "Pay {amount}",
  payOnline: "Card or mobile money",
  payOnlineNote: "You will be taken to Pesapal's secure page.",
  payByPhone: "Mobile money",
  payByPhoneNote: "You will receive a payment request on your phone. Confirm it with your PIN.",
  payOtherwise: "Try again or pay another way",
  phoneNumber: "Phone number",
  provider: "Network",
  chooseProvider: "Select a network",
  // The gateway's reason is in English: other languages have a general text.
  cannotTake: "{reason}.",
  noWayToPay: "This invoice cannot be paid online at the moment. Please contact us.",
  checking: "We are checking your payment",
  checkingOnline: "This usually takes less than a minute. Please do not pay again.",
  checkingPhone: "Check your phone and confirm with your PIN. Please do not pay again.",
  refreshes: "This page refreshes automatically.",
  checkAgain: "Check again",
  failed: "Your last payment failed. You can try again.",
  inReview: "We are reviewing one of your payments and will contact you.",
  questions: "Questions? Call {phone}.",
  problems: {
    phone: "The phone number is not valid. Enter it as 0712 345 678.",
    provider: "Please select the network of your phone number.",
    gateway: "Please select one of the payment options below.",
    amount: "This amount cannot be paid with this option. Please select another.",
    too_often: "Too many attempts. Please try again in {minutes} min.",
    unavailable: "The service is not available at the moment. Please try again shortly.",
  },
};

const SW: InvoiceTexts = {
  invoice: "Ankara",
  draft: "Rasimu",
  number: "Namba",
  issued: "Tarehe ya ankara",
  due: "Mwisho wa kulipa",
  billTo: "Mteja",
  phone: "Simu",
  taxId: "Namba ya mlipakodi (TIN)",
  description: "Maelezo",
  quantity: "Idadi",
  unitPrice: "Bei ya kimoja",
  amount: "Kiasi",
  subtotal: "Jumla kabla ya kodi",
  tax: "Kodi",
  total: "Jumla",
  paid: "Kiasi kilicholipwa",
  refunded: "Kiasi kilichorejeshwa",
  balance: "Salio linalodaiwa",
  credit: "Salio lako (ziada)",
  notes: "Maelezo ya ziada",
  page: "Ukurasa {page} kati ya {pages}",
  scanToPay: "Skani ili kulipa au kuangalia salio",
  scanToSee: "Skani ili kuangalia hali ya ankara",
  states: {
    draft: "Rasimu",
    due: "Haijalipwa",
    overdue: "Muda wa kulipa umepita",
    partly_paid: "Imelipwa kwa sehemu",
    partly_overdue: "Imelipwa kwa sehemu, muda umepita",
    paid: "Imelipwa",
    void: "Imebatilishwa",
    refunded: "Malipo yamerejeshwa",
  },
  stateNotes: {
    draft: "Hii ni rasimu, si ankara.",
    due: "Tafadhali lipa kufikia tarehe {day}.",
    overdue: "Ilitakiwa kulipwa kufikia tarehe {day}.",
    partly_paid: "Tafadhali lipa salio kufikia tarehe {day}.",
    partly_overdue: "Salio lilitakiwa kulipwa kufikia tarehe {day}.",
    paid: "Asante. Hakuna malipo yanayodaiwa.",
    void: "Ankara hii imebatilishwa. Hakuna malipo yanayodaiwa.",
    refunded: "Malipo yako yamerejeshwa. Hakuna malipo yanayodaiwa.",
  },
  download: "Pakua PDF",
  share: "Tuma kwa WhatsApp",
  shareText: "Ankara {number} kutoka {shop} ya {amount}:",
  pay: "Njia za malipo",
  payAmount: "Lipa {amount}",
  payOnline: "Kadi au malipo kwa simu",
  payOnlineNote: "Utapelekwa kwenye ukurasa salama wa Pesapal.",
  payByPhone: "Malipo kwa simu",
  payByPhoneNote:
    "Utapokea ombi la malipo kwenye simu yako. Thibitisha kwa namba yako ya siri (PIN).",
  payOtherwise: "Jaribu tena au lipa kwa njia nyingine",
  phoneNumber: "Namba ya simu",
  provider: "Mtandao",
  chooseProvider: "Chagua mtandao",
  cannotTake: "Njia hii haipokei kiasi hiki au sarafu hii.",
  noWayToPay: "Kwa sasa ankara hii haiwezi kulipwa mtandaoni. Tafadhali wasiliana nasi.",
  checking: "Tunahakiki malipo yako",
  checkingOnline: "Kwa kawaida huchukua chini ya dakika moja. Tafadhali usilipe tena.",
  checkingPhone:
    "Angalia simu yako na uthibitishe kwa namba yako ya siri (PIN). Tafadhali usilipe tena.",
  refreshes: "Ukurasa huu unajisasisha wenyewe.",
  checkAgain: "Angalia tena",
  failed: "Malipo yako ya mwisho hayakufanikiwa. Unaweza kujaribu tena.",
  inReview: "Tunapitia mojawapo ya malipo yako na tutawasiliana nawe.",
  questions: "Una swali? Piga simu {phone}.",
  problems: {
    phone: "Namba ya simu si sahihi. Iandike kama 0712 345 678.",
    provider: "Tafadhali chagua mtandao wa namba yako ya simu.",
    gateway: "Tafadhali chagua mojawapo ya njia za malipo hapa chini.",
    amount: "Kiasi hiki hakiwezi kulipwa kwa njia hii. Tafadhali chagua nyingine.",
    too_often: "Umejaribu mara nyingi mno. Tafadhali jaribu tena baada ya dakika {minutes}.",
    unavailable: "Huduma haipatikani kwa sasa. Tafadhali jaribu tena baada ya muda mfupi.",
  },
};

/** The texts of each language. */
export const INVOICE_TEXTS: Readonly<Record<Language, InvoiceTexts>> = { en: EN, sw: SW };

/** Replaces each `{name}` in `text` by its value; a name without a value stays. */
export function fill(text: string, values: Readonly<Record<string, string | number>>): string {
  return text.replace(
    /\{(\w+)\}/g,
    (braced, name: string) => Object.hasOwn(values, name) ? String(values[name]) : braced,
  );
}

/** Intl locales; British English, which puts the day before the month. */
const LOCALES: Readonly<Record<Language, string>> = { en: "en-GB", sw: "sw" };

/** Created on first use: each takes longer than loading most modules. */
const dayFormats = new Map<Language, Intl.DateTimeFormat>();

/** Formats a date `YYYY-MM-DD` as `29 June 2026` or `29 Juni 2026`. */
export function formatDay(day: string, language: Language): string {
  let format = dayFormats.get(language);
  if (!format) {
    format = new Intl.DateTimeFormat(LOCALES[language], { dateStyle: "long", timeZone: "UTC" });
    dayFormats.set(language, format);
  }
  return format.format(Date.parse(`${day}T00:00:00Z`));
}
