/**
 * Mail templates: the defaults, and the shop's custom ones that replace them. A
 * template is read when a mail is sent, so a change applies to pending mails too.
 *
 * @module
 */
import { expectRevision, newEntity, putChange } from "../entities/mod.ts";
import { DEFAULT_MAILS, MAIL_KINDS, problemsOf, type RenderedTexts, renderTexts } from "./words.ts";
import { exampleOf } from "./variables.ts";
import { AppError } from "../errors.ts";
import { derivedId } from "../ids.ts";
import * as keys from "../kv/keys.ts";
import type { MailKind, MailTemplate, MailTexts } from "../kv/mail_records.ts";
import { transact } from "../kv/mod.ts";
import { type Language, LANGUAGES } from "../languages.ts";
import { type Caller, operationOf, passGuards } from "../entities/caller.ts";
import type { StoreServices } from "../kv/store.ts";
import { isoTime } from "../time.ts";

export type { MailKind, MailTexts } from "../kv/mail_records.ts";
export { isMailKind, MAIL_KINDS, TEMPLATE_MAX } from "./words.ts";

/** Identifies a template. */
export interface TemplateName {
  /** Kind of mail. */
  kind: MailKind;
  /** Language of the mail. */
  language: Language;
}

/** The template in use for a mail. */
export interface UsedTemplate extends TemplateName, MailTexts {
  /** Its id in the history. */
  id: string;
  /** Whether it is custom. */
  isOwn: boolean;
  /** Revision of the custom template, in use or not; 0 if there never was one. */
  revision: number;
  /** Last change of the custom template; null if never. */
  updatedAt: string | null;
}

/** Every template in every language. One read. */
export async function listTemplates(services: StoreServices): Promise<UsedTemplate[]> {
  const stored = await services.store.list(keys.mailTemplates, { limit: 200 });
  const byId = new Map(stored.map(({ value }) => [value.id, value]));
  return MAIL_KINDS.flatMap((kind) =>
    LANGUAGES.map((language) => usedOf({ kind, language }, byId.get(idOf({ kind, language }))))
  );
}

/** One template. One read. */
export async function getTemplate(
  { store }: Pick<StoreServices, "store">,
  name: TemplateName,
): Promise<UsedTemplate> {
  return usedOf(name, await store.get(keys.mailTemplate(idOf(name))));
}

/**
 * Stores a custom template.
 *
 * @param revision The revision that the caller saw, 0 for none; null skips the check.
 * @throws {AppError} `invalid_input` naming each part that is not a valid template or
 * has a variable unknown to its kind; `stale_revision`
 */
export async function putTemplate(
  services: StoreServices,
  name: TemplateName,
  texts: MailTexts,
  { by, revision = null }: { by: Caller; revision?: number | null },
): Promise<UsedTemplate> {
  expectTemplate(name.kind, texts);
  const now = services.clock();
  const id = idOf(name);
  const key = keys.mailTemplate(id);
  const { subject, text, html } = texts;
  const fields = { subject, text, html, resetAt: null };
  return await transact(services, { template: key }, ({ template: before }, writes) => {
    if (before) {
      expectRevision(before, revision);
      const action = "mail_template.put";
      return usedOf(
        name,
        putChange(writes, { entity: "mail_template", action, key, before, fields, by, now }),
      );
    }
    if (revision !== null && revision !== 0) throw staleRevision();
    const template: MailTemplate = { ...newEntity(id, by, now), ...name, ...fields };
    writes.set(key, template);
    return usedOf(name, template);
  }, { operation: operationOf(by, "mail_template.put", [name, texts], { now }) });
}

/**
 * Restores the default template; the custom one stays in the history.
 *
 * @throws {AppError} `stale_revision`
 */
export async function resetTemplate(
  services: StoreServices,
  name: TemplateName,
  { by, revision = null }: { by: Caller; revision?: number | null },
): Promise<UsedTemplate> {
  const now = services.clock();
  const key = keys.mailTemplate(idOf(name));
  return await transact(services, { template: key }, ({ template: before }, writes) => {
    if (!before) {
      if (revision !== null && revision !== 0) throw staleRevision();
      return usedOf(name, null);
    }
    expectRevision(before, revision);
    if (before.resetAt !== null) return usedOf(name, before);
    const action = "mail_template.reset";
    const fields = { resetAt: isoTime(now) };
    return usedOf(
      name,
      putChange(writes, { entity: "mail_template", action, key, before, fields, by, now }),
    );
  }, { operation: operationOf(by, "mail_template.reset", name, { now }) });
}

/**
 * Renders a mail with example values, from the template in use or from texts that
 * are not stored.
 *
 * @throws {AppError} `invalid_input` as {@linkcode putTemplate}
 */
export async function previewTemplate(
  services: StoreServices,
  name: TemplateName,
  texts: { [P in keyof MailTexts]?: string | undefined },
  by: Caller,
): Promise<RenderedTexts> {
  await passGuards(services, by);
  const { kind, language } = name;
  const used = await getTemplate(services, name);
  const shown: MailTexts = {
    subject: texts.subject ?? used.subject,
    text: texts.text ?? used.text,
    html: texts.html ?? used.html,
  };
  expectTemplate(kind, shown);
  return renderTexts(kind, shown, { language, variables: exampleOf(kind, language) });
}

function expectTemplate(kind: MailKind, texts: MailTexts): void {
  const fields = problemsOf(kind, texts);
  if (fields.length === 0) return;
  throw new AppError("invalid_input", "The template is not valid for this kind of mail", {
    fields,
  });
}

function usedOf(name: TemplateName, stored: MailTemplate | null | undefined): UsedTemplate {
  const { kind, language } = name;
  const isOwn = stored?.resetAt === null;
  const { subject, text, html } = isOwn ? stored : DEFAULT_MAILS[language][kind];
  const { revision = 0, updatedAt = null } = stored ?? {};
  return { id: idOf(name), kind, language, subject, text, html, isOwn, revision, updatedAt };
}

/** A fixed id for each kind and language, so no index is needed. Its time part is not a time. */
function idOf({ kind, language }: TemplateName): string {
  return derivedId(["mail_template", kind, language]);
}

function staleRevision(): AppError {
  return new AppError("stale_revision", "There is no custom template");
}
