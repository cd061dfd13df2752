/**
 * Security of all routes: host check, HTTPS, security headers, CORS, CSRF and the time
 * limit of a request.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { csrf } from "hono/csrf";
import { secureHeaders } from "hono/secure-headers";
import { AppError } from "../lib/errors.ts";
import { newSecret } from "../lib/ids.ts";
import { withDeadline } from "../lib/time.ts";
import type { Services } from "../lib/app/mod.ts";
import type { AppEnv } from "./_env.ts";

/** How long browsers insist on HTTPS: a year, in seconds. */
const HSTS_MAX_AGE_S = 365 * 24 * 3_600;
/** Time limit of a request, in milliseconds: longer than the store's own deadlines. */
const REQUEST_MS = 20_000;

/**
 * Serves only the configured hosts, so that no link made from a request can point
 * elsewhere. Health routes are exempt: monitors may use an IP address.
 */
export function checkHost({ config }: Services): MiddlewareHandler<AppEnv> {
  const hosts = new Set(config.allowedHosts);
  return async (c, next) => {
    if (!isHealth(c) && !hosts.has(new URL(c.req.url).hostname)) {
      throw new AppError("misdirected", "This server does not serve the requested host");
    }
    await next();
  };
}

/**
 * Redirects plain HTTP to the public address, in production. The scheme comes from the
 * socket or the outermost trusted proxy; the target comes from the configuration.
 */
export function redirectToHttps({ config }: Services): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    if (config.appEnv !== "production" || isHealth(c) || isHttps(c, config.trustedProxyHops)) {
      return await next();
    }
    const { pathname, search } = new URL(c.req.url);
    return c.redirect(config.publicUrl + pathname + search, 308);
  };
}

/** Security headers of every response. */
export function sendSecurityHeaders({ config }: Services): MiddlewareHandler<AppEnv> {
  const isPublic = config.appEnv === "production";
  const protect = secureHeaders({
    crossOriginResourcePolicy: "same-origin",
    referrerPolicy: "no-referrer",
    strictTransportSecurity: isPublic ? `max-age=${HSTS_MAX_AGE_S}; includeSubDomains` : false,
    xFrameOptions: "DENY",
    xXssProtection: false,
  });
  return async (c, next) => {
    await protect(c, next);
    // Pages set their own policy; other responses load nothing.
    if (!c.res.headers.has("content-security-policy")) {
      c.header("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    }
  };
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

/** Answers a request that takes too long. The deadlines of what it waits for end the rest. */
export const limitTime: MiddlewareHandler<AppEnv> = async (c, next) => {
  await withDeadline(next(), REQUEST_MS, () => {
    // A write may still complete after this.
    const kind = c.req.method === "GET" ? "unavailable" : "outcome_unknown";
    throw new AppError(kind, `The request took longer than ${REQUEST_MS / 1_000} seconds`, {
      retryAfterMs: 1_000,
    });
  });
};

function isHealth({ req: { path } }: Context): boolean {
  return path === "/health" || path.startsWith("/health/");
}

function isHttps(c: Context, hops: number): boolean {
  if (hops === 0) return new URL(c.req.url).protocol === "https:";
  const protocols = (c.req.header("x-forwarded-proto") ?? "").split(",").map((part) => part.trim());
  return (protocols.at(-hops) ?? protocols[0]) === "https";
}
