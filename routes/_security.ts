/**
 * Security of all routes: host check, HTTPS, security headers, CORS and CSRF.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { csrf } from "hono/csrf";
import { AppError } from "../lib/errors.ts";
import { newSecret } from "../lib/ids.ts";
import type { Config } from "../lib/config/mod.ts";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";

/** How long browsers insist on HTTPS: a year, in seconds. */
const HSTS_MAX_AGE_S = 365 * 24 * 3_600;
/** Authorities remembered as allowed: a host may come with several ports. */
const KNOWN_MAX = 100;

/**
 * Serves only the configured hosts, so that no link made from a request can point
 * elsewhere. Health routes are exempt: monitors may use an IP address.
 *
 * @returns What throws {AppError} `misdirected` for a request to another host.
 */
export function checkHost(
  { allowedHosts }: Pick<Config, "allowedHosts">,
): (c: Context<AppEnv>) => void {
  const hosts = new Set(allowedHosts);
  /** Authorities that were allowed, such as `shop.example:8000`; as many as there are hosts. */
  const known = new Set<string>();
  return (c) => {
    const { url } = c.req;
    const start = url.indexOf("://") + 3;
    const authority = url.slice(start, url.indexOf("/", start));
    if (known.has(authority) || isHealth(c)) return;
    if (!hosts.has(new URL(url).hostname)) {
      throw new AppError("misdirected", "This server does not serve the requested host");
    }
    if (known.size < KNOWN_MAX) known.add(authority);
  };
}

/**
 * Where plain HTTP is redirected to in production; null for a request to be answered. The scheme
 * comes from the socket or the outermost trusted proxy; the target comes from the configuration.
 */
export function httpsAddress(
  { appEnv, trustedProxyHops, publicUrl }: Config,
  c: Context<AppEnv>,
): string | null {
  if (appEnv !== "production" || isHealth(c) || isHttps(c, trustedProxyHops)) return null;
  const { pathname, search } = new URL(c.req.url);
  return publicUrl + pathname + search;
}

/** Security headers of every response; pages add a content security policy of their own. */
export function securityHeaders({ appEnv }: Pick<Config, "appEnv">): readonly [string, string][] {
  return [
    ["cross-origin-opener-policy", "same-origin"],
    ["cross-origin-resource-policy", "same-origin"],
    ["origin-agent-cluster", "?1"],
    ["referrer-policy", "no-referrer"],
    ...(appEnv === "production"
      ? [["strict-transport-security", `max-age=${HSTS_MAX_AGE_S}; includeSubDomains`] as const]
      : []),
    ["x-content-type-options", "nosniff"],
    ["x-dns-prefetch-control", "off"],
    ["x-download-options", "noopen"],
    ["x-frame-options", "DENY"],
    ["x-permitted-cross-domain-policies", "none"],
  ].map(([name = "", value = ""]) => [name, value]);
}

/**
 * Sets the content security policy of a page: only scripts and styles with the nonce apply.
 *
 * @param formTargets Other origins that its forms may redirect to.
 * @returns The nonce, new for each response.
 */
export function pagePolicy(c: Context<AppEnv>, formTargets: readonly string[] = []): string {
  const nonce = newSecret(16);
  c.header(
    "content-security-policy",
    [
      "default-src 'none'",
      `script-src 'nonce-${nonce}'`,
      `style-src 'nonce-${nonce}'`,
      "img-src 'self' data:",
      "connect-src 'self'",
      ["form-action 'self'", ...formTargets].join(" "),
      "base-uri 'none'",
      "frame-ancestors 'none'",
    ].join("; "),
  );
  return nonce;
}

/** CORS: allows pages of the configured origins to call the API, and no others. */
export function allowCorsOrigins({ config }: Services): MiddlewareHandler<AppEnv> {
  return cors({
    origin: [...config.corsOrigins],
    allowMethods: ["GET", "HEAD", "POST", "PATCH", "DELETE"],
    allowHeaders: ["Authorization", "Content-Type", "Idempotency-Key", "If-Match"],
    exposeHeaders: [
      "ETag",
      "Idempotency-Replayed",
      "Location",
      "RateLimit",
      "RateLimit-Policy",
      "Retry-After",
      "X-Request-Id",
    ],
    maxAge: 600,
  });
}

/**
 * Rejects forms that a page of another site sends with cookies of this one (CSRF).
 * A request without a cookie has no rights to abuse.
 */
export function checkCsrf({ config }: Services): MiddlewareHandler<AppEnv> {
  const guard = csrf({ origin: config.publicUrl });
  return async (c, next) => {
    if (c.req.header("cookie") === undefined) return await next();
    let isSameSite = false;
    await guard(c, () => {
      isSameSite = true;
      return Promise.resolve();
    }).catch(() => {});
    if (!isSameSite) {
      throw new AppError(
        "forbidden",
        "The form was sent from a page of another site. Open it on this site and send it again",
      );
    }
    await next();
  };
}

function isHealth({ req: { path } }: Context): boolean {
  return path === "/health" || path.startsWith("/health/");
}

function isHttps(c: Context, hops: number): boolean {
  if (hops === 0) return new URL(c.req.url).protocol === "https:";
  const protocols = (c.req.header("x-forwarded-proto") ?? "").split(",").map((part) => part.trim());
  return (protocols.at(-hops) ?? protocols[0]) === "https";
}
