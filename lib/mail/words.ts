/**
 * The template language of mails: Mustache, of which only names and sections are
 * left. It has no code, loads nothing and knows no variable but those of its
 * mail; in HTML whatever is put in is escaped.
 *
 * @module
 */
// @ts-types="@types/mustache"
import mustache from "mustache";
import type { FieldProblem } from "../errors.ts";
import type { MailKind, MailTexts } from "../kv/mail_records.ts";
import type { Language } from "../languages.ts";
import { escapeHtml, isLine, isMultiline } from "../text.ts";
import { frame } from "./_parts.ts";
import { MAILS_EN } from "./_words_en.ts";
import { MAILS_SW } from "./_words_sw.ts";
import { exampleOf, type MailVariables, type Variables } from "./variables.ts";

/** Every kind, in the order to show them. */
// The table has these keys and no others.
export const MAIL_KINDS = Object.keys(MAILS_EN) as readonly MailKind[];

/** The words that are used unless the shop has its own. */
export const USUAL_MAILS: Readonly<Record<Language, Readonly<Record<MailKind, MailTexts>>>> = {
  en: MAILS_EN,
  sw: MAILS_SW,
};

/** How long each part of a template may be, in characters: two of them fit into one entry of the history. */
export const TEMPLATE_MAX: Readonly<Record<keyof MailTexts, number>> = {
  subject: 200,
  text: 5_000,
  html: 10_000,
};

/** A mail's words, with everything put in. */
export interface RenderedTexts {
  /** One line. */
  subject: string;
  /** Plain text. */
  text: string;
  /** A whole HTML document; absent where the template has none. */
  html?: string;
}

/** Whether `text` names a {@linkcode MailKind}. */
export function isMailKind(text: unknown): text is MailKind {
  return MAIL_KINDS.some((kind) => kind === text);
}

/** Whether somebody has to have agreed to get it: it is not about their own business. */
export function needsConsent(kind: MailKind): boolean {
  return kind === "news";
}

/** Parsed anew each time, and never kept: there are few, and operators make others. */
const writer = new mustache.Writer();

/** What is put into a name's place in HTML; elsewhere nothing is escaped. */
const AS_HTML = { escape: (value: unknown) => escapeHtml(String(value)) };
const AS_TEXT = { escape: String };

/**
 * Puts variables into the words of a mail, and these into the frame that all
 * mails share. Templates were checked when they were stored; a variable that is
 * not there any more is shown as nothing.
 */
export function renderTexts<K extends MailKind>(
  kind: K,
  texts: MailTexts,
  { language, variables }: { language: Language; variables: MailVariables[K] },
): RenderedTexts {
  // Without a prototype, so that no name finds what nobody put in.
  const view: Variables = Object.assign(Object.create(null), variables);
  const subject = render(texts.subject, view, AS_TEXT).replaceAll(/\s+/g, " ").trim();
  const text = render(texts.text, view, AS_TEXT).trim();
  const footer = footerOf(kind, language, variables);
  return {
    subject,
    text: `${text}\n\n-- \n${footer.join("\n")}\n`,
    ...(texts.html === "" ? {} : {
      html: frame({
        language,
        title: escapeHtml(subject),
        content: render(texts.html, view, AS_HTML),
        footer: footer.map(asHtmlLine).join("<br>"),
      }),
    }),
  };
}

function render(template: string, view: Variables, config: { escape: (value: unknown) => string }) {
  writer.clearCache();
  return writer.render(template, view, undefined, config);
}

const UNSUBSCRIBE: Readonly<Record<Language, string>> = {
  en: "No more of these:",
  sw: "Sitaki ujumbe kama huu tena:",
};

/** Who writes, and where it ends; in every mail, whatever its template says. */
function footerOf(
  kind: MailKind,
  language: Language,
  variables: MailVariables[MailKind],
): string[] {
  const { shopName, shopPhone, shopEmail } = variables;
  const ways = [shopName, shopPhone, shopEmail].filter((way) => way !== "").join(" · ");
  if (!needsConsent(kind) || !("unsubscribeUrl" in variables)) return [ways];
  return [ways, `${UNSUBSCRIBE[language]} ${variables.unsubscribeUrl}`];
}

function asHtmlLine(line: string): string {
  return escapeHtml(line).replace(
    /https?:\/\/\S+$/,
    (url) => `<a href="${url}" style="color:#5f6368">${url}</a>`,
  );
}

/** What is wrong with the words of a mail; empty for nothing. */
export function problemsOf(kind: MailKind, texts: MailTexts): FieldProblem[] {
  const example: Variables = { ...exampleOf(kind, "en") };
  const problems: FieldProblem[] = [];
  for (const part of ["subject", "text", "html"] as const) {
    const problem = problemOf(texts[part], { part, example });
    if (problem !== null) problems.push({ path: part, ...problem });
  }
  return problems;
}

type Problem = Pick<FieldProblem, "message" | "code">;

function problemOf(
  template: string,
  { part, example }: { part: keyof MailTexts; example: Variables },
): Problem | null {
  if (part !== "html" && template.trim() === "") {
    return { message: "Must not be empty", code: "too_small" };
  }
  if (template.length > TEMPLATE_MAX[part]) {
    return { message: `Must be at most ${TEMPLATE_MAX[part]} characters`, code: "too_big" };
  }
  if (!(part === "subject" ? isLine : isMultiline)(template)) {
    return { message: "Must be text without control characters", code: "custom" };
  }
  if (part === "html" && FORBIDDEN_HTML.test(template)) {
    const message = "Must not have scripts, frames, forms or handlers: mail programs remove them";
    return { message, code: "not_allowed" };
  }
  let tokens: Token[];
  try {
    writer.clearCache();
    // As the library has them, of which its types say less.
    tokens = writer.parse(template) as unknown as Token[];
  } catch (error) {
    const at = /at (\d+)$/.exec(error instanceof Error ? error.message : "")?.[1];
    const where = at === undefined ? "" : `, at character ${at}`;
    return {
      message: `Has a tag or section that is not closed or not opened${where}`,
      code: "not_a_template",
    };
  }
  return problemOfTokens(tokens, [example], part === "html" ? template : null);
}

/** What no mail program runs, and what would be run where it is previewed. */
const FORBIDDEN_HTML =
  /<\s*\/?\s*(?:script|iframe|frame|object|embed|form|base|meta|link|svg|math)\b|<[^>]*\son\w+\s*=|javascript\s*:/i;

/** Kind, value, where it begins and ends, and of a section what is in it. */
type Token = readonly [kind: string, value: string, start: number, end: number, inner?: Token[]];

/** What a name may mean at a place: what is around it, the nearest last. */
type Scopes = readonly Variables[];

function problemOfTokens(tokens: Token[], scopes: Scopes, html: string | null): Problem | null {
  for (const [kind, name, start, , inner = []] of tokens) {
    if (kind === "text" || kind === "!") continue;
    if (kind !== "name" && kind !== "#" && kind !== "^") {
      const message = "Has only {{name}}, {{#name}}…{{/name}} and {{^name}}…{{/name}}";
      return { message, code: "not_allowed" };
    }
    const value = scopes.findLast((scope) => Object.hasOwn(scope, name))?.[name];
    if (value === undefined) return unknownName(name, scopes);
    if (kind === "name") {
      if (typeof value !== "string") {
        return { message: `{{${name}}} can only be a section`, code: "not_a_text" };
      }
      if (html !== null && isInTag(html, start) && !name.endsWith("Url")) {
        return { message: `{{${name}}} must not stand within a tag`, code: "not_allowed" };
      }
      continue;
    }
    const isList = kind === "#" && typeof value === "object";
    const within = isList ? [...scopes, value[0] ?? {}] : scopes;
    const problem = problemOfTokens(inner, within, html);
    if (problem !== null) return problem;
  }
  return null;
}

function unknownName(name: string, scopes: Scopes): Problem {
  const known = scopes.flatMap((scope) => Object.keys(scope)).join(", ");
  return {
    message: `No such variable: {{${name.slice(0, 64)}}}; there are ${known}`,
    code: "unknown_variable",
  };
}

/** Text there would be a value, or worse: only addresses of ours may be one. */
function isInTag(html: string, at: number): boolean {
  return html.lastIndexOf("<", at - 1) > html.lastIndexOf(">", at - 1);
}
