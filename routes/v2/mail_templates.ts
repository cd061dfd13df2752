/**
 * | method | path                                           | who             | answers                           |
 * | ------ | ---------------------------------------------- | --------------- | --------------------------------- |
 * | GET    | `/api/v2/mail-templates`                         | `system:read`   | 200                               |
 * | GET    | `/api/v2/mail-templates/:kind/:language`         | `system:read`   | 200, 422                          |
 * | PUT    | `/api/v2/mail-templates/:kind/:language`         | `system:write`  | 200, 400, 412, 413, 415, 422      |
 * | DELETE | `/api/v2/mail-templates/:kind/:language`         | `system:write`  | 200, 400, 412, 422                |
 * | POST   | `/api/v2/mail-templates/:kind/:language/preview` | `system:write`  | 200, 400, 413, 415, 422           |
 * | POST   | `/api/v2/clients/:id/news`                       | `clients:write` | 202, 400, 404, 409, 413, 415, 422 |
 *
 * The words of mails, and sending those that are about nobody's own business.
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
  type UsedTemplate,
} from "../../lib/mail/templates.ts";
import type { Services } from "../../lib/app/services.ts";
import type { AppEnv } from "../_env.ts";
import { callerOf, revisionOf, revisionTag } from "../_http.ts";
import {
  Id,
  IdempotencyHeader,
  IdParam,
  jsonAnswer,
  jsonBody,
  newRoutes,
  problems,
  RevisionHeader,
  secured,
  Time,
} from "../_openapi.ts";

const Name = z.object({
  kind: z.enum(MAIL_KINDS).openapi({ param: { name: "kind", in: "path" } }),
  language: z.enum(LANGUAGES).openapi({ param: { name: "language", in: "path" } }),
});

const Subject = z.string().max(TEMPLATE_MAX.subject).openapi({
  example: "Invoice {{invoiceNumber}} of {{shopName}}",
});
const Text = z.string().max(TEMPLATE_MAX.text).openapi({
  example: "Hello {{clientName}},\n\n{{#owed}}please pay {{owed}}: {{/owed}}{{invoiceUrl}}",
});
const Html = z.string().max(TEMPLATE_MAX.html).openapi({
  description: "What the frame of the HTML part holds; empty for a mail of text only",
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
  kind: z.enum(MAIL_KINDS),
  language: z.enum(LANGUAGES),
  subject: z.string(),
  text: z.string(),
  html: z.string(),
  isOwn: z.boolean().openapi({ description: "Whether these are the shop's own words" }),
  revision: z.int().openapi({ description: "Of the shop's own words; 0 if there never were any" }),
  updatedAt: Time.nullable(),
}).openapi("MailTemplate");
const MailPreview = z.object({
  subject: z.string(),
  text: z.string(),
  html: z.string().optional(),
}).openapi("MailPreview");

/** The routes under `/api/v2/mail-templates`. */
export function mailTemplateRoutes(services: Services): OpenAPIHono<AppEnv> {
  const routes = newRoutes();
  routes.openapi(
    createRoute({
      method: "get",
      path: "/",
      tags: ["mail"],
      summary: "List the words of all mails, in all languages",
      ...secured(services, "system:read"),
      responses: {
        200: jsonAnswer("All of them", z.object({ data: z.array(MailTemplateBody) })),
        ...problems(401, 403),
      },
    }),
    async (c) => c.json({ data: await listTemplates(services) }, 200),
  );
  routes.openapi(
    createRoute({
      method: "get",
      path: "/{kind}/{language}",
      tags: ["mail"],
      summary: "Read the words of a mail",
      ...secured(services, "system:read"),
      request: { params: Name },
      responses: { 200: templateAnswer("The words"), ...problems(401, 403, 422) },
    }),
    async (c) => {
      const template = await getTemplate(services, c.req.valid("param"));
      c.header("etag", revisionTag(template));
      return c.json(template, 200);
    },
  );
  routes.openapi(
    createRoute({
      method: "put",
      path: "/{kind}/{language}",
      tags: ["mail"],
      summary: "Use the shop's own words for a mail: Mustache with names and sections only",
      ...secured(services, "system:write"),
      request: {
        params: Name,
        headers: RevisionHeader.extend(IdempotencyHeader.shape),
        ...jsonBody(MailTexts),
      },
      responses: {
        200: templateAnswer("The words as they are now"),
        ...problems(400, 401, 403, 412, 413, 415, 422),
      },
    }),
    async (c) => {
      const options = { by: callerOf(c), revision: revisionOf(c) };
      const texts = c.req.valid("json");
      const template = await putTemplate(services, c.req.valid("param"), texts, options);
      c.header("etag", revisionTag(template));
      return c.json(template, 200);
    },
  );
  routes.openapi(
    createRoute({
      method: "delete",
      path: "/{kind}/{language}",
      tags: ["mail"],
      summary: "Use the usual words again; the history keeps the shop's own",
      ...secured(services, "system:write"),
      request: { params: Name, headers: RevisionHeader.extend(IdempotencyHeader.shape) },
      responses: {
        200: templateAnswer("The usual words"),
        ...problems(400, 401, 403, 412, 422),
      },
    }),
    async (c) => {
      const options = { by: callerOf(c), revision: revisionOf(c) };
      const template: UsedTemplate = await resetTemplate(
        services,
        c.req.valid("param"),
        options,
      );
      c.header("etag", revisionTag(template));
      return c.json(template, 200);
    },
  );
  routes.openapi(
    createRoute({
      method: "post",
      path: "/{kind}/{language}/preview",
      tags: ["mail"],
      summary:
        "See a mail with an example of everything, in these or other words; nothing is stored",
      ...secured(services, "system:write"),
      request: { params: Name, headers: IdempotencyHeader, ...jsonBody(MailDraft) },
      responses: {
        200: jsonAnswer("The mail", MailPreview),
        ...problems(400, 401, 403, 413, 415, 422),
      },
    }),
    async (c) => {
      const name = c.req.valid("param");
      return c.json(await previewTemplate(services, name, c.req.valid("json"), callerOf(c)), 200);
    },
  );
  return routes;
}

/** The route under `/api/v2/clients` that sends news. */
export function newsRoutes(services: Services): OpenAPIHono<AppEnv> {
  return newRoutes().openapi(
    createRoute({
      method: "post",
      path: "/{id}/news",
      tags: ["mail"],
      summary: "Send the news, in the words of their template, to a client that has agreed",
      ...secured(services, "clients:write"),
      request: { params: IdParam, headers: IdempotencyHeader },
      responses: {
        202: jsonAnswer("The message, which the outbox has", z.object({ messageId: Id })),
        ...problems(400, 401, 403, 404, 409, 413, 415, 422),
      },
    }),
    async (c) => {
      const { id } = await sendNews(services, c.req.valid("param").id, callerOf(c));
      return c.json({ messageId: id }, 202);
    },
  );
}

function templateAnswer(description: string) {
  return jsonAnswer(description, MailTemplateBody);
}
