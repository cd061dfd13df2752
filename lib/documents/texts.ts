/**
 * What invoices and their pages say, a table for each language: a word that one
 * of them lacks does not compile.
 *
 * @module
 */
import type { Language } from "../languages.ts";

/** How an invoice stands, as its buyer sees it. */
export type InvoiceState =
  | "draft"
  | "due"
  | "overdue"
  | "partly_paid"
  | "partly_overdue"
  | "paid"
  | "void"
  | "refunded";

/** What stopped a payment before a gateway had it. */
export type PayProblem =
  | "phone"
  | "provider"
  | "gateway"
  | "amount"
  | "too_often"
  | "unavailable";

/** What there is a text for, beside states and problems. */
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

/** Every text of an invoice; in braces stands what is put in, by {@linkcode fill}. */
export interface InvoiceTexts extends Readonly<Record<InvoiceWord, string>> {
  /** How it stands, in a word or two. */
  readonly states: Readonly<Record<InvoiceState, string>>;
  /** What that means for the buyer; `{day}` is the due date. */
  readonly stateNotes: Readonly<Record<InvoiceState, string>>;
  /** Why a payment was not begun; `{minutes}` in `too_often`. */
  readonly problems: Readonly<Record<PayProblem, string>>;
}

const EN: InvoiceTexts = {
  invoice: "Invoice",
  draft: "Draft",
  number: "Number",
  issued: "Issued",
  due: "Due",
  billTo: "Bill to",
  phone: "Phone",
  taxId: "Tax ID",
  description: "Description",
  quantity: "Qty",
  unitPrice: "Unit price",
  amount: "Amount",
  subtotal: "Subtotal",
  tax: "Tax",
  total: "Total",
  paid: "Paid",
  refunded: "Paid back",
  balance: "To pay",
  credit: "Paid too much: your credit",
  notes: "Notes",
  page: "Page {page} of {pages}",
  // Beside the QR code, while something is owed and when nothing is.
  scanToPay: "Scan to pay, or to see what is paid",
  scanToSee: "Scan to see how it stands",
  states: {
    draft: "Draft",
    due: "To be paid",
    overdue: "Overdue",
    partly_paid: "Partly paid",
    partly_overdue: "Partly paid, overdue",
    paid: "Paid",
    void: "Void",
    refunded: "Paid back",
  },
  stateNotes: {
    draft: "This is not an invoice yet.",
    due: "Please pay by {day}.",
    overdue: "It was due on {day}.",
    partly_paid: "Please pay the rest by {day}.",
    partly_overdue: "The rest was due on {day}.",
    paid: "Thank you. Nothing is owed.",
    void: "This invoice was cancelled: nothing is owed.",
    refunded: "What was paid went back to you: nothing is owed.",
  },
  download: "Download PDF",
  share: "Share by WhatsApp",
  // Before the address of the page.
  shareText: "Invoice {number} of {shop}, {amount}:",
  pay: "How to pay",
  payAmount: "Pay {amount}",
  payOnline: "Card or mobile money",
  payOnlineNote: "You go on to the secure page of Pesapal.",
  payByPhone: "Mobile money",
  payByPhoneNote: "Your phone asks you to confirm with your PIN.",
  payOtherwise: "Try again or pay another way",
  phoneNumber: "Phone number",
  provider: "Network",
  chooseProvider: "Choose",
  // The gateway's own reason is in English; other languages do without.
  cannotTake: "{reason}.",
  noWayToPay: "It cannot be paid on this page at the moment. Please write to us or ring us.",
  checking: "We are checking your payment",
  checkingOnline: "It usually takes less than a minute. Please do not pay a second time.",
  checkingPhone: "Look at your phone and confirm with your PIN. Please do not pay a second time.",
  refreshes: "This page refreshes by itself.",
  checkAgain: "Look again",
  failed: "Your last payment did not go through. You can try again.",
  inReview: "We are looking into one of your payments and will get in touch.",
  questions: "Questions? Ring {phone}.",
  problems: {
    phone: "This is not a phone number that we know. Write it like 0712 345 678.",
    provider: "Please choose the network of your phone number.",
    gateway: "Please choose one of the ways to pay below.",
    amount: "This amount cannot be paid that way. Please choose another.",
    too_often: "That was too often. Please try again in {minutes} min.",
    unavailable: "That did not work just now. Please try again in a moment.",
  },
};

const SW: InvoiceTexts = {
  invoice: "Ankara",
  draft: "Rasimu",
  number: "Namba",
  issued: "Imetolewa",
  due: "Mwisho wa kulipa",
  billTo: "Mteja",
  phone: "Simu",
  taxId: "Namba ya kodi (TIN)",
  description: "Maelezo",
  quantity: "Idadi",
  unitPrice: "Bei ya kimoja",
  amount: "Kiasi",
  subtotal: "Jumla kabla ya kodi",
  tax: "Kodi",
  total: "Jumla",
  paid: "Umelipa",
  refunded: "Umerudishiwa",
  balance: "Kiasi cha kulipa",
  credit: "Umelipa zaidi: salio lako",
  notes: "Maelezo ya ziada",
  page: "Ukurasa {page} kati ya {pages}",
  scanToPay: "Skani ili kulipa au kuona kilicholipwa",
  scanToSee: "Skani ili kuona hali ya ankara",
  states: {
    draft: "Rasimu",
    due: "Haijalipwa",
    overdue: "Muda wa kulipa umepita",
    partly_paid: "Imelipwa kiasi",
    partly_overdue: "Imelipwa kiasi, muda umepita",
    paid: "Imelipwa",
    void: "Imefutwa",
    refunded: "Pesa zimerudishwa",
  },
  stateNotes: {
    draft: "Hii bado si ankara.",
    due: "Tafadhali lipa kabla ya mwisho wa {day}.",
    overdue: "Ilipaswa kulipwa kufikia {day}.",
    partly_paid: "Tafadhali lipa kilichobaki kabla ya mwisho wa {day}.",
    partly_overdue: "Kilichobaki kilipaswa kulipwa kufikia {day}.",
    paid: "Asante. Hudaiwi chochote.",
    void: "Ankara hii imefutwa: hudaiwi chochote.",
    refunded: "Umerudishiwa ulicholipa: hudaiwi chochote.",
  },
  download: "Pakua PDF",
  share: "Tuma kwa WhatsApp",
  shareText: "Ankara {number} ya {shop}, {amount}:",
  pay: "Jinsi ya kulipa",
  payAmount: "Lipa {amount}",
  payOnline: "Kadi au pesa kwa simu",
  payOnlineNote: "Utapelekwa kwenye ukurasa salama wa Pesapal.",
  payByPhone: "Pesa kwa simu",
  payByPhoneNote: "Simu yako itakuomba uthibitishe kwa PIN yako.",
  payOtherwise: "Jaribu tena au lipa kwa njia nyingine",
  phoneNumber: "Namba ya simu",
  provider: "Mtandao",
  chooseProvider: "Chagua",
  cannotTake: "Njia hii haipokei kiasi hiki au sarafu hii.",
  noWayToPay: "Kwa sasa haiwezi kulipwa kwenye ukurasa huu. Tafadhali tuandikie au tupigie simu.",
  checking: "Tunahakiki malipo yako",
  checkingOnline: "Kwa kawaida huchukua chini ya dakika moja. Tafadhali usilipe mara ya pili.",
  checkingPhone: "Angalia simu yako na uthibitishe kwa PIN yako. Tafadhali usilipe mara ya pili.",
  refreshes: "Ukurasa huu unajisasisha wenyewe.",
  checkAgain: "Angalia tena",
  failed: "Malipo yako ya mwisho hayakukamilika. Unaweza kujaribu tena.",
  inReview: "Tunachunguza mojawapo ya malipo yako, nasi tutawasiliana nawe.",
  questions: "Una swali? Piga simu {phone}.",
  problems: {
    phone: "Namba hii ya simu haitambuliki. Iandike kama 0712 345 678.",
    provider: "Tafadhali chagua mtandao wa namba yako ya simu.",
    gateway: "Tafadhali chagua mojawapo ya njia za kulipa hapa chini.",
    amount: "Kiasi hiki hakiwezi kulipwa kwa njia hiyo. Tafadhali chagua nyingine.",
    too_often: "Umejaribu mara nyingi mno. Tafadhali jaribu tena baada ya dakika {minutes}.",
    unavailable: "Haikuwezekana kwa sasa. Tafadhali jaribu tena baada ya muda mfupi.",
  },
};

/** The texts of each language. */
export const INVOICE_TEXTS: Readonly<Record<Language, InvoiceTexts>> = { en: EN, sw: SW };

/** `text` with a value in place of each `{name}`; what has none stays as it is. */
export function fill(text: string, values: Readonly<Record<string, string | number>>): string {
  return text.replace(
    /\{(\w+)\}/g,
    (braced, name: string) => Object.hasOwn(values, name) ? String(values[name]) : braced,
  );
}

/** As Intl calls the languages; British, for the day before the month. */
const LOCALES: Readonly<Record<Language, string>> = { en: "en-GB", sw: "sw" };

/** Made when first needed: it takes longer than reading most modules. */
const dayFormats = new Map<Language, Intl.DateTimeFormat>();

/** A date `YYYY-MM-DD` for people, such as `29 June 2026` or `29 Juni 2026`. */
export function formatDay(day: string, language: Language): string {
  let format = dayFormats.get(language);
  if (!format) {
    format = new Intl.DateTimeFormat(LOCALES[language], { dateStyle: "long", timeZone: "UTC" });
    dayFormats.set(language, format);
  }
  return format.format(Date.parse(`${day}T00:00:00Z`));
}
