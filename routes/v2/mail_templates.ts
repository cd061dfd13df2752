/**
 * Mail templates under `/api/v2/mail-templates`: read, replace, reset and preview them.
 * Also sends the newsletter to a client, under `/api/v2/clients`.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { sendNews } from "../../lib/mail/consent.ts";
import { LANGUAGES } from "../../lib/languages.ts";
import {
  getTemplate,
  listTemplates,
  MAIL_KINDS,
  previewTemplate,
  putTemplate,
  resetTemplate,
  TEMPLATE_MAX,
} from "../../lib/mail/templates.ts";
import type { Services } from "../../lib/app/mod.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf } from "../_http.ts";
import {
  Id,
  IdempotencyHeader,
  jsonBody,
  jsonResponse,
  problems,
  RevisionHeader,
  secured,
  Time,
} from "../_openapi.ts";
import { actionRoute, changeOptions, listAllRoute, routesOf, tagged } from "../_resource.ts";

const Name = z.object({
  kind: z.enum(MAIL_KINDS).openapi({ param: { name: "kind", in: "path" } }),
  language: z.enum(LANGUAGES).openapi({ param: { name: "language", in: "path" } }),
});

const Subject = z.string().max(TEMPLATE_MAX.subject).openapi({
  example: "Invoice {{invoiceNumber}} from {{shopName}}",
});
const Text = z.string().max(TEMPLATE_MAX.text).openapi({
  example: "Hello {{clientName}},\n\n{{#owed}}please pay {{owed}}: {{/owed}}{{invoiceUrl}}",
});
const Html = z.string().max(TEMPLATE_MAX.html).openapi({
  description: "The body of the HTML part; empty for a text-only mail",
  example: '<p>Hello {{clientName}}</p><p><a href="{{invoiceUrl}}">Your invoice</a></p>',
});
const MailTexts = z.strictObject({ subject: Subject, text: Text, html: Html.default("") })
  .openapi("MailTexts");
const MailDraft = z.strictObject({
  subject: Subject.optional(),
  text: Text.optional(),
  html: Html.optional(),
}).openapi("MailDraft");
const MailTemplateBody = z.object({
  id: Id.openapi({ description: "For the history: `/system/audit?entity=mail_template`" }),
  kind: z.enum(MAIL_KINDS),
  language: z.enum(LANGUAGES),
  subject: z.string(),
  text: z.string(),
  html: z.string(),
  isOwn: z.boolean().openapi({ description: "Whether this is the shop's custom template" }),
  revision: z.int().openapi({ description: "Of the custom template; 0 if there never was one" }),
  updatedAt: Time.nullable(),
}).openapi("MailTemplate");
const Templates = z.object({ data: z.array(MailTemplateBody) });
const MailPreview = z.object({
  subject: z.string(),
  text: z.string(),
  html: z.string().optional(),
}).openapi("MailPreview");

const ChangeHeaders = RevisionHeader.extend(IdempotencyHeader.shape);

/** The routes under `/api/v2/mail-templates`. */
export function mailTemplateRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addList, addRead, addPut, addReset, addPreview);
}

function addList(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = listAllRoute(services, {
    path: "/",
    tag: "mail",
    summary: "List the templates of all mails in all languages",
    scope: "system:read",
    body: Templates,
  });
  routes.openapi(route, async (c) => c.json({ data: await listTemplates(services) }, 200));
}

function addRead(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "get",
    path: "/{kind}/{language}",
    tags: ["mail"],
    summary: "Get a template",
    ...secured(services, "system:read"),
    request: { params: Name },
    responses: { 200: jsonResponse("The template", MailTemplateBody), ...problems(401, 403, 422) },
  });
  routes.openapi(route, async (c) => {
    const template = await getTemplate(services, c.req.valid("param"));
    return c.json(tagged(c, template), 200);
  });
}

function addPut(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "put",
    path: "/{kind}/{language}",
    tags: ["mail"],
    summary: "Set a custom template: Mustache with variables and sections only",
    ...secured(services, "system:write"),
    request: { params: Name, headers: ChangeHeaders, ...jsonBody(MailTexts) },
    responses: {
      200: jsonResponse("The custom template", MailTemplateBody),
      ...problems(400, 401, 403, 412, 413, 415, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const texts = c.req.valid("json");
    const template = await putTemplate(services, c.req.valid("param"), texts, changeOptions(c));
    return c.json(tagged(c, template), 200);
  });
}

function addReset(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "delete",
    path: "/{kind}/{language}",
    tags: ["mail"],
    summary: "Restore the default template; the history keeps the custom one",
    ...secured(services, "system:write"),
    request: { params: Name, headers: ChangeHeaders },
    responses: {
      200: jsonResponse("The default template", MailTemplateBody),
      ...problems(400, 401, 403, 412, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const template = await resetTemplate(services, c.req.valid("param"), changeOptions(c));
    return c.json(tagged(c, template), 200);
  });
}

function addPreview(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = createRoute({
    method: "post",
    path: "/{kind}/{language}/preview",
    tags: ["mail"],
    summary: "Preview a mail with example data, using the stored or the given template",
    ...secured(services, "system:write"),
    request: { params: Name, headers: IdempotencyHeader, ...jsonBody(MailDraft) },
    responses: {
      200: jsonResponse("The mail; nothing is stored", MailPreview),
      ...problems(400, 401, 403, 413, 415, 422),
    },
  });
  routes.openapi(route, async (c) => {
    const name = c.req.valid("param");
    return c.json(await previewTemplate(services, name, c.req.valid("json"), callerOf(c)), 200);
  });
}

/** The newsletter route under `/api/v2/clients`. */
export function newsletterRoutes(services: Services): OpenAPIHono<AppEnv> {
  return routesOf(services, addSendNewsletter);
}

function addSendNewsletter(routes: OpenAPIHono<AppEnv>, services: Services): void {
  const route = actionRoute(services, {
    path: "/{id}/news",
    tag: "mail",
    summary: "Send the newsletter to a client with marketing consent",
    scope: "clients:write",
    status: 202,
    body: z.object({ messageId: Id }),
    description: "The queued message",
    failures: [409],
  });
  routes.openapi(route, async (c) => {
    const { id } = await sendNews(services, c.req.valid("param").id, callerOf(c));
    return c.json({ messageId: id }, 202);
  });
}
