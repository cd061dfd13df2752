/**
 * Redaction of secrets and personal data in logs, metrics and error reports, by the name
 * of the field and by the form of the text.
 *
 * In doubt it hides: an unknown `…Name` counts as a person's until it is listed here as
 * the name of a thing. Fields about the program itself stay readable:
 * `event`, `method`, `route`, `requestId`, `jobName`, `messageId`, `tokenCount`.
 *
 * @module
 */

/** Shown in place of a value. */
export const REDACTED = "[redacted]";

/** Words that make a name private anywhere in it. */
const SECRET_WORDS = words(`
  auth authorization bearer cookie cookies credential credentials csrf cvc cvv jwt otp pass passcode
  passphrase passwd password passwords pin pwd secret secrets session signature token tokens
`);

/** The same in names without separators, as in `accesstoken`. */
const SECRET_PARTS =
  /passw|passphrase|secret|token|authoriz|cookie|credential|(?:api|private|access|signing|encryption|consumer|master|bootstrap)keys?$/;

/** Words that make a name private at its end: the value is about a person, or written by one. */
const PERSONAL_WORDS = words(`
  address addresses bcc birthday bodies body cc comment comments contact contacts content dob email
  emails fax firstname form fullname html iban ip ips lastname mail message messages mobile msisdn
  nickname nida note notes passport payer payload phone phones recipient recipients subject surname
  tel telephone text username whatsapp
`);

/** Words that may follow a private word: `phoneNumber`. A keyed hash is not among them; by it the log distinguishes visitors. */
const FILLERS = words(`
  after before decoded field header headers hex input line lower masked
  new no normalised normalized number numbers old original plain previous raw string value values
`);

/** Words for properties of a secret, such as `passwordLength`, which are not secret. */
const MEASURES = words(`
  age at bytes changed count counts days expired expires expiry hours id ids kind kinds length limit
  max min minutes missing ms present required scheme seconds size state status total type types
  valid verified version
`);

/** Before `name`: things, not people. */
const NAMED_THINGS = words(`
  bank branch bucket category check class column constructor country cron currency database event
  field file function gateway header host index job key limit method metric migration module object
  operation parameter path plan policy prefix product provider queue region route rule schema
  server service shop snapshot step store table tag task template type variable zone
`);

/** A program uses few names; names made up by visitors must not fill the memory. */
const KNOWN_MAX = 2_000;

const known = new Map<string, boolean>();

/** Whether a field called `name`, in any naming convention, is always hidden. */
export function isPrivateName(name: string): boolean {
  let isPrivate = known.get(name);
  if (isPrivate === undefined) {
    isPrivate = hasPrivateForm(name);
    if (known.size < KNOWN_MAX) known.set(name, isPrivate);
  }
  return isPrivate;
}

function hasPrivateForm(name: string): boolean {
  const parts = name.slice(0, 200)
    .replace(/([\p{Ll}\d])(\p{Lu})/gu, "$1 $2")
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, "$1 $2")
    .toLowerCase()
    .split(/[^\p{L}\d]+/u)
    // `phone2` is a phone, and `e164` is only a format.
    .map((word) => word.replace(/(?<=\p{L}{2})\d+$/u, ""))
    .filter((word) => word !== "" && !/^(?:e164|\d+)$/.test(word));
  const last = parts.at(-1);
  if (last === undefined) return false;

  const isAboutSecret = SECRET_PARTS.test(parts.join("")) ||
    parts.some((word) => SECRET_WORDS.has(word));
  // The id of a session gives access to it.
  if (isAboutSecret) return !MEASURES.has(last) || (last === "id" && parts.includes("session"));

  while (parts.length > 1 && FILLERS.has(parts.at(-1)!)) parts.pop();
  const head = parts.at(-1)!;
  if (head !== "name" && head !== "names") return PERSONAL_WORDS.has(head);
  return !NAMED_THINGS.has(parts.at(-2) ?? "");
}

/** A cheap first check, since most texts have nothing to hide. */
const SUSPECT =
  /[@+]|%40|%2b|:\/\/|wtk_|eyJ|\/i\/|\d{9}|0\d{2,3}[ -]\d{3}|bearer|basic|passw|secret|token|cookie|authoriz|key|sign|["'?&](?:name|email|phone|contact)/i;

/** Every quantifier is bounded or followed by what it excludes, so the time is linear. */
const PATTERNS: readonly [RegExp, string][] = [
  // user:password@host
  [/(:\/\/)[^\s/?#@]{1,256}@/g, `$1${REDACTED}@`],
  // A header line, or a part of one
  [
    /\b((?:proxy-)?authorization|(?:set-)?cookie|x-api-key)(["']?\s{0,4}[:=]\s{0,4})[^\r\n]{1,4096}/gi,
    `$1$2${REDACTED}`,
  ],
  [/\b(bearer)\s{1,4}[\w.~+/=-]{4,4096}/gi, `$1 ${REDACTED}`],
  [/\b(Basic)\s{1,4}[\w+/=-]{8,4096}/g, `$1 ${REDACTED}`],
  // Our API keys, JSON Web Tokens, and the token in the URL of a public invoice
  [/wtk_[\w-]{1,512}/g, REDACTED],
  [/\beyJ[\w-]{8,4096}(?:\.[\w-]{0,4096}){0,4}/g, REDACTED],
  [/(\/i\/)[\w-]{16,512}/g, `$1${REDACTED}`],
  // key=value and "key": "value"
  [
    /((?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|consumer[_-]?key|signature)["']?\s{0,4}[:=]\s{0,4})(?:"[^"\r\n]{0,1024}"?|'[^'\r\n]{0,1024}'?|[^\s"',;&)}\]]{1,1024})/gi,
    `$1${REDACTED}`,
  ],
  [
    /((?:["']|[?&])(?:(?:full|first|last|client|customer|display)?_?name|e-?mail|phone|contact|message)(?:["']\s{0,4}:\s{0,4}|=))(?:"[^"\r\n]{0,1024}"?|'[^'\r\n]{0,1024}'?|[^\s"',;&)}\]]{1,1024})/gi,
    `$1${REDACTED}`,
  ],
  // E-mail addresses, also as written in a URL
  [
    /[\p{L}\p{N}!#$&'*+/=?^_`{|}~.%-]{1,64}(?:@|%40)[\p{L}\p{N}-]{1,63}(?:\.[\p{L}\p{N}-]{1,63}){1,8}/giu,
    REDACTED,
  ],
  // International phone numbers, and those of East Africa as people write them
  [/(?:\+|%2b)\d(?:[ ().-]{0,2}\d){6,16}/gi, REDACTED],
  [/(?<![\w.-])(?:00)?25[0456]\d{9}(?![\w-])/g, REDACTED],
  [/(?<![\w.-])0[1-8]\d{1,2}[ -]?\d{3}[ -]?\d{3,4}(?![\w-])/g, REDACTED],
];

/** Hides what looks like a secret, an e-mail address or a telephone number. */
export function redactText(text: string): string {
  if (!SUSPECT.test(text)) return text;
  let clean = text;
  for (const [pattern, replacement] of PATTERNS) clean = clean.replace(pattern, replacement);
  return clean;
}

/** Characters read beyond a cut, so that a secret across it is recognised. */
const CUT_MARGIN = 512;

/** The first `max` characters of `text`, redacted before they are cut. */
export function redactStart(text: string, max: number): string {
  return redactText(text.slice(0, max + CUT_MARGIN)).slice(0, max).toWellFormed();
}

function words(list: string): ReadonlySet<string> {
  return new Set(list.split(/\s+/).filter((word) => word !== ""));
}
