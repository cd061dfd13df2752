/**
 * The template language of mails: Mustache, reduced to names and sections. It runs
 * no code, loads nothing and knows only the variables of its mail; values in HTML
 * are escaped.
 *
 * @module
 */
// @ts-types="@types/mustache"
import mustache from "mustache";
import type { FieldProblem } from "../errors.ts";
import { MAIL_KINDS, type MailKind, type MailTexts } from "../kv/mail_records.ts";
import type { Language } from "../languages.ts";
import { escapeHtml, isLine, isMultiline } from "../text.ts";
import { frame } from "./_parts.ts";
import { MAILS_EN } from "./_words_en.ts";
import { MAILS_SW } from "./_words_sw.ts";
import { exampleOf, type MailVariables, type Variables } from "./variables.ts";

export { MAIL_KINDS } from "../kv/mail_records.ts";

/** The templates in use unless the shop has custom ones. */
export const DEFAULT_MAILS: Readonly<Record<Language, Readonly<Record<MailKind, MailTexts>>>> = {
  en: MAILS_EN,
  sw: MAILS_SW,
};

/** Limits in characters, such that two templates fit into one entry of the history. */
export const TEMPLATE_MAX: Readonly<Record<keyof MailTexts, number>> = {
  subject: 200,
  text: 5_000,
  html: 10_000,
};

/** A rendered mail. */
export interface RenderedTexts {
  /** One line. */
  subject: string;
  /** Plain text. */
  text: string;
  /** A complete HTML document; absent if the template has no HTML. */
  html?: string;
}

/** Whether `text` names a {@linkcode MailKind}. */
export function isMailKind(text: unknown): text is MailKind {
  return MAIL_KINDS.some((kind) => kind === text);
}

/** Whether the recipient must have given marketing consent. */
export function needsConsent(kind: MailKind): boolean {
  return kind === "news";
}

/** Parses a template on every use: mails are few, and operators change templates. */
const writer = new mustache.Writer();

/** Values are escaped in HTML only. */
const AS_HTML = { escape: (value: unknown) => escapeHtml(String(value)) };
const AS_TEXT = { escape: String };

/**
 * Renders a template and puts it into the frame that all mails share. Templates were
 * checked when they were stored; a variable that no longer exists renders as empty.
 */
export function renderTexts<K extends MailKind>(
  kind: K,
  texts: MailTexts,
  { language, variables }: { language: Language; variables: MailVariables[K] },
): RenderedTexts {
  // Without a prototype, so that no name resolves to an inherited property.
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
  en: "Unsubscribe:",
  sw: "Kujiondoa:",
};

/** The sender and the unsubscribe link, in every mail whatever its template says. */
function footerOf(
  kind: MailKind,
  language: Language,
  variables: MailVariables[MailKind],
): string[] {
  const { shopName, shopPhone, shopEmail } = variables;
  const sender = [shopName, shopPhone, shopEmail].filter((part) => part !== "").join(" · ");
  if (!needsConsent(kind) || !("unsubscribeUrl" in variables)) return [sender];
  return [sender, `${UNSUBSCRIBE[language]} ${variables.unsubscribeUrl}`];
}

function asHtmlLine(line: string): string {
  return escapeHtml(line).replace(
    /https?:\/\/\S+$/,
    (url) => `<a href="${url}" style="color:#5f6368">${url}</a>`,
  );
}

/** Problems of a template; empty if it is valid. */
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
    return { message: "Must not contain control characters", code: "custom" };
  }
  if (part === "html" && FORBIDDEN_HTML.test(template)) {
    const message =
      "Must not contain scripts, frames, forms or event handlers: mail programs remove them";
    return { message, code: "not_allowed" };
  }
  let tokens: Token[];
  try {
    writer.clearCache();
    // The library's types describe its tokens less precisely.
    tokens = writer.parse(template) as unknown as Token[];
  } catch (error) {
    const at = /at (\d+)$/.exec(error instanceof Error ? error.message : "")?.[1];
    const where = at === undefined ? "" : `, at character ${at}`;
    return {
      message: `Contains a tag or section that is not opened or not closed${where}`,
      code: "not_a_template",
    };
  }
  return problemOfTokens(tokens, [example], part === "html" ? template : null);
}

/** Mail programs ignore these, but a preview in a browser would run or load them. */
const FORBIDDEN_HTML =
  /<\s*\/?\s*(?:script|iframe|frame|object|embed|form|base|meta|link|svg|math)\b|<[^>]*\son\w+\s*=|javascript\s*:/i;

/** Kind, value, start, end and, for a section, its content. */
type Token = readonly [kind: string, value: string, start: number, end: number, inner?: Token[]];

/** The variables visible at a place, innermost last. */
type Scopes = readonly Variables[];

function problemOfTokens(tokens: Token[], scopes: Scopes, html: string | null): Problem | null {
  for (const [kind, name, start, , inner = []] of tokens) {
    if (kind === "text" || kind === "!") continue;
    if (kind !== "name" && kind !== "#" && kind !== "^") {
      const message = "May only contain {{name}}, {{#name}}…{{/name}} and {{^name}}…{{/name}}";
      return { message, code: "not_allowed" };
    }
    const value = scopes.findLast((scope) => Object.hasOwn(scope, name))?.[name];
    if (value === undefined) return unknownName(name, scopes);
    if (kind === "name") {
      if (typeof value !== "string") {
        return { message: `{{${name}}} can only be used as a section`, code: "not_a_text" };
      }
      if (html !== null && isInTag(html, start) && !name.endsWith("Url")) {
        return { message: `{{${name}}} must not be used within a tag`, code: "not_allowed" };
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
    message: `Unknown variable {{${name.slice(0, 64)}}}; known variables: ${known}`,
    code: "unknown_variable",
  };
}

/** A value there could become an attribute: only our own URLs may. */
function isInTag(html: string, at: number): boolean {
  return html.lastIndexOf("<", at - 1) > html.lastIndexOf(">", at - 1);
}
