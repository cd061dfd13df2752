/**
 * Rate limits of requests: which rule counts a request, and the response headers.
 * Fields follow draft-ietf-httpapi-ratelimit-headers-10.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { addressGroup, clientAddress } from "../lib/access/client_address.ts";
import type { RateGuard, RateState } from "../lib/access/rate_limit.ts";
import type { RateRuleName } from "../lib/config/rate_rules.ts";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";

/** The subject that a request is counted for. */
export type SubjectOf = (c: Context<AppEnv>, services: Services) => string;

/** The client's address; an IPv6 /64 counts as one. */
export function byAddress(c: Context<AppEnv>, { config }: Services): string {
  const remote = c.env?.remoteAddr?.hostname;
  return addressGroup(
    clientAddress(remote, c.req.header("x-forwarded-for"), config.trustedProxyHops),
  );
}

/**
 * Counts the request's write, exactly, in its own transaction.
 *
 * @throws {AppError} `rate_limited` at once, if this instance already knows
 */
export function countWrite(
  services: Services,
  c: Context<AppEnv>,
  rule: RateRuleName,
  subject: string,
): void {
  const guard = addGuard(services, c, rule, subject);
  if (guard) services.limiter.expectRoom(guard);
}

/**
 * Counts an enquiry by the visitor's address (with a key, by the key) and by the
 * e-mail address in it.
 *
 * @throws {AppError} `rate_limited` at once, if this instance already knows
 */
export function countLead(services: Services, c: Context<AppEnv>, email: string | undefined): void {
  if (!c.get("principal")) countWrite(services, c, "lead_post", byAddress(c, services));
  if (email !== undefined) countWrite(services, c, "lead_email", email.trim().toLowerCase());
}

/**
 * Counts a write that stores nothing, in this instance only, so that its response
 * shows the same limits as any other.
 *
 * @throws {AppError} `rate_limited`
 */
export function countUnstored({ limiter }: Services, c: Context<AppEnv>): void {
  for (const guard of c.get("guards") ?? []) limiter.takeHere(guard);
}

/** Counts a read, in this instance only. @throws {AppError} `rate_limited` */
export function countRead(
  services: Services,
  c: Context<AppEnv>,
  rule: RateRuleName,
  subject: string,
): void {
  const guard = addGuard(services, c, rule, subject);
  if (guard) services.limiter.takeHere(guard);
}

/** Adds a guard to the request, for its response headers; null if the rule is not enabled. */
function addGuard(
  { limiter }: Services,
  c: Context<AppEnv>,
  rule: RateRuleName,
  subject: string,
): RateGuard | null {
  const guard = limiter.guard(rule, subject);
  if (guard) c.set("guards", [...c.get("guards") ?? [], guard]);
  return guard;
}

/** Counts a visitor's reads of a route by address; reads with a key are counted by the key. */
export function limitReads(services: Services, rule: RateRuleName): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const isVisitor = c.req.header("authorization") === undefined;
    if (isVisitor) countRead(services, c, rule, byAddress(c, services));
    await next();
  };
}

/** Sets the rate limit headers of a response, and remembers refusals. */
export function limitHeaders(services: Services, c: Context<AppEnv>, headers: Headers): void {
  const guards = c.get("guards");
  if (!guards) return;
  const states: string[] = [];
  const policies: string[] = [];
  for (const guard of guards) {
    const { rule: { name, limit, windowMs }, state, isRefused } = guard;
    policies.push(`"${name}";q=${limit};w=${Math.ceil(windowMs / 1_000)}`);
    if (state) states.push(stateField(state));
    if (!isRefused) continue;
    services.limiter.noteRefusal(guard);
    services.metrics.refusals.add({ rule: name });
  }
  headers.set("ratelimit-policy", policies.join(", "));
  if (states.length > 0) headers.set("ratelimit", states.join(", "));
}

function stateField({ rule, remaining, resetMs }: RateState): string {
  return `"${rule.name}";r=${remaining};t=${Math.ceil(resetMs / 1_000)}`;
}
