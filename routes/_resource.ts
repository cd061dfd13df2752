/**
 * The parts that the JSON routes share: descriptions of list, read, change and action
 * routes, and how their responses are made.
 *
 * @module
 */
import { createRoute, type OpenAPIHono, type z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Scope } from "../lib/access/mod.ts";
import type { Services } from "../lib/app/mod.ts";
import type { Caller } from "../lib/entities/caller.ts";
import type { Page } from "../lib/entities/page.ts";
import type { AppEnv } from "./_env.ts";
import { callerOf, revisionOf, revisionTag } from "./_http.ts";
import {
  IdempotencyHeader,
  IdParam,
  jsonBody,
  jsonResponse,
  newRoutes,
  pageOf,
  problems,
  type ProblemStatus,
  RevisionHeader,
  secured,
} from "./_openapi.ts";

/** An app of routes, each of which registers itself. Where two match, the first one answers. */
export function routesOf<S extends Services>(
  services: S,
  ...adders: ((app: OpenAPIHono<AppEnv>, services: S) => void)[]
): OpenAPIHono<AppEnv> {
  const app = newRoutes();
  for (const add of adders) add(app, services);
  return app;
}

/** The description of a route. */
interface About<P extends string> {
  path: P;
  /** The group in the OpenAPI document. */
  tag: string;
  summary: string;
  /** The scope that the caller's key needs. */
  scope: Scope;
}

function route<M extends "get" | "post" | "patch", P extends string>(
  services: Services,
  method: M,
  { path, tag, summary, scope }: About<P>,
) {
  return { method, path, tags: [tag], summary, ...secured(services, scope) };
}

/** GET a page of a list. `query` extends `PageQuery`; `failures` are further statuses. */
export function listRoute<
  P extends string,
  B extends z.ZodType,
  Q extends z.ZodObject,
  F extends ProblemStatus = never,
>(
  services: Services,
  { item, query, description = "A page", failures = [], ...about }:
    & About<P>
    & { item: B; query: Q; description?: string; failures?: F[] },
) {
  return createRoute({
    ...route(services, "get", about),
    request: { query },
    responses: {
      200: jsonResponse(description, pageOf(item)),
      ...problems(400, 401, 403, 422),
      ...problems(...failures),
    },
  });
}

/** GET a list that fits into one response. */
export function listAllRoute<P extends string, B extends z.ZodType>(
  services: Services,
  { body, ...about }: About<P> & { body: B },
) {
  return createRoute({
    ...route(services, "get", about),
    responses: { 200: jsonResponse("All of them", body), ...problems(401, 403) },
  });
}

/** GET an entity by its id. */
export function readRoute<P extends string, B extends z.ZodType>(
  services: Services,
  { body, description, ...about }:
    & About<P>
    & { body: B; description: string },
) {
  return createRoute({
    ...route(services, "get", about),
    request: { params: IdParam },
    responses: { 200: jsonResponse(description, body), ...problems(401, 403, 404, 422) },
  });
}

/** PATCH an entity; with If-Match only if its revision has not changed. */
export function changeRoute<
  P extends string,
  C extends z.ZodType,
  B extends z.ZodType,
  F extends ProblemStatus = never,
>(
  services: Services,
  { change, body, description, failures = [], ...about }:
    & About<P>
    & { change: C; body: B; description: string; failures?: F[] },
) {
  return createRoute({
    ...route(services, "patch", about),
    request: { params: IdParam, headers: RevisionHeader, ...jsonBody(change) },
    responses: {
      200: jsonResponse(description, body),
      ...problems(400, 401, 403, 404, 412, 413, 415, 422),
      ...problems(...failures),
    },
  });
}

/** POST a JSON body to create an entity, once for each Idempotency-Key. */
export function createResourceRoute<
  P extends string,
  C extends z.ZodType,
  B extends z.ZodType,
  F extends ProblemStatus = never,
>(
  services: Services,
  { input, body, description, failures = [], ...about }:
    & About<P>
    & { input: C; body: B; description: string; failures?: F[] },
) {
  return createRoute({
    ...route(services, "post", about),
    request: { headers: IdempotencyHeader, ...jsonBody(input) },
    responses: {
      201: jsonResponse(description, body),
      ...problems(400, 401, 403, 413, 415, 422),
      ...problems(...failures),
    },
  });
}

/** POST an action on an entity, without a body. 202: the action continues after the response. */
export function actionRoute<
  P extends string,
  S extends 200 | 202,
  B extends z.ZodType,
  F extends ProblemStatus = never,
>(
  services: Services,
  { status, body, description, failures = [], ...about }:
    & About<P>
    & { status: S; body: B; description: string; failures?: F[] },
) {
  return createRoute({
    ...route(services, "post", about),
    request: { params: IdParam, headers: IdempotencyHeader },
    responses: {
      ...successOf(status, description, body),
      ...problems(400, 401, 403, 404, 413, 415, 422),
      ...problems(...failures),
    },
  });
}

/** POST an action on an entity, with a JSON body. 201: the action creates something. */
export function commandRoute<
  P extends string,
  S extends 200 | 201,
  C extends z.ZodType,
  B extends z.ZodType,
>(
  services: Services,
  { status, input, body, description, ...about }:
    & About<P>
    & { status: S; input: C; body: B; description: string },
) {
  return createRoute({
    ...route(services, "post", about),
    request: { params: IdParam, headers: IdempotencyHeader, ...jsonBody(input) },
    responses: {
      ...successOf(status, description, body),
      ...problems(400, 401, 403, 404, 409, 413, 415, 422),
    },
  });
}

function successOf<S extends number, B extends z.ZodType>(
  status: S,
  description: string,
  body: B,
): Record<S, ReturnType<typeof jsonResponse<B>>> {
  // A computed key loses its literal type.
  return { [status]: jsonResponse(description, body) } as Record<
    S,
    ReturnType<typeof jsonResponse<B>>
  >;
}

/** The body of a page; `show` makes each item. */
export function pageBody<T, B>(
  { data, nextCursor }: Page<T>,
  show: (item: T) => B,
): { data: B[]; nextCursor: string | null } {
  return { data: data.map(show), nextCursor };
}

/** Sets the ETag of the response to the entity's revision, and returns the entity. */
export function tagged<T extends { revision: number }>(c: Context<AppEnv>, entity: T): T {
  c.header("etag", revisionTag(entity));
  return entity;
}

/** The caller of a change and the expected revision. @throws {AppError} `malformed` */
export function changeOptions(c: Context<AppEnv>): { by: Caller; revision: number | null } {
  return { by: callerOf(c), revision: revisionOf(c) };
}

/** An entity without the fields that only its history needs. */
export function publicFields<T extends { createdBy: unknown; createdIn: unknown; chain: unknown }>(
  { createdBy: _by, createdIn: _in, chain: _chain, ...shown }: T,
): Omit<T, "createdBy" | "createdIn" | "chain"> {
  return shown;
}
