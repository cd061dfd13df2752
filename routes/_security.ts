/**
 * What stands between the internet and the routes: which host is asked for, over
 * what, from which page, what a browser may do with the answer, and for how long.
 *
 * @module
 */
import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { csrf } from "hono/csrf";
import { secureHeaders } from "hono/secure-headers";
import { AppError } from "../lib/errors.ts";
import { newSecret } from "../lib/ids.ts";
import type { Services } from "../lib/app/services.ts";
import type { AppEnv } from "./_env.ts";

/** How long browsers are told to insist on HTTPS: a year, in seconds. */
const HSTS_MAX_AGE_S = 365 * 24 * 3_600;
/** Beyond the store's own deadlines; what takes longer is stuck. In milliseconds. */
const REQUEST_MS = 20_000;

/**
 * Answers only for hosts that are ours, so that nothing made from a request can
 * point elsewhere. Health is answered to pingers that use an address.
 */
export function expectHost({ config }: Services): MiddlewareHandler<AppEnv> {
  const hosts = new Set(config.allowedHosts);
  return async (c, next) => {
    if (!isHealth(c) && !hosts.has(new URL(c.req.url).hostname)) {
      throw new AppError("misdirected", "This host is not served here");
    }
    await next();
  };
}

/**
 * Sends plain HTTP on to the public address, in production. What a request came
 * over is the socket's to say, or the outermost proxy's of ours; where it is
 * sent comes from the configuration.
 */
export function expectHttps({ config }: Services): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    if (config.appEnv !== "production" || isHealth(c) || isHttps(c, config.trustedProxyHops)) {
      return await next();
    }
    const { pathname, search } = new URL(c.req.url);
    return c.redirect(config.publicUrl + pathname + search, 308);
  };
}

/** Headers that tell browsers what not to do. */
export function protectBrowsers({ config }: Services): MiddlewareHandler<AppEnv> {
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
    // Pages have a policy of their own; anything else has nothing to load.
    if (!c.res.headers.has("content-security-policy")) {
      c.header("content-security-policy", "default-src 'none'; frame-ancestors 'none'");
    }
  };
}

/**
 * The policy of a page of ours: only what it marks with the nonce runs or styles.
 *
 * @param formTargets Where answers to its forms may send the browser on to, beside us.
 * @returns The nonce, new for each answer.
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

/** Lets the pages of configured origins call the API, and nobody else's. */
export function allowOrigins({ config }: Services): MiddlewareHandler<AppEnv> {
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
 * Refuses forms that a page of another site sends with the cookies of ours. What
 * carries no cookie has no rights to abuse.
 */
export function refuseForgery({ config }: Services): MiddlewareHandler<AppEnv> {
  const guard = csrf({ origin: config.publicUrl });
  return async (c, next) => {
    if (c.req.header("cookie") === undefined) return await next();
    let isOurs = false;
    await guard(c, () => {
      isOurs = true;
      return Promise.resolve();
    }).catch(() => {});
    if (!isOurs) {
      throw new AppError(
        "forbidden",
        "This form came from a page of another site; open it on ours and send it again",
      );
    }
    await next();
  };
}

/** Answers for what is stuck; the deadlines of what it waits for end the rest. */
export const limitTime: MiddlewareHandler<AppEnv> = async (c, next) => {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeUp = new Promise<never>((_, reject) => {
    // What was to be written may be, after this.
    const kind = c.req.method === "GET" ? "unavailable" : "outcome_unknown";
    const error = new AppError(kind, "It took too long", { retryAfterMs: 1_000 });
    timer = setTimeout(() => reject(error), REQUEST_MS);
  });
  try {
    await Promise.race([next(), timeUp]);
  } finally {
    clearTimeout(timer);
  }
};

function isHealth({ req: { path } }: Context): boolean {
  return path === "/health" || path.startsWith("/health/");
}

function isHttps(c: Context, hops: number): boolean {
  if (hops === 0) return new URL(c.req.url).protocol === "https:";
  const said = (c.req.header("x-forwarded-proto") ?? "").split(",").map((part) => part.trim());
  return (said.at(-hops) ?? said[0]) === "https";
}
