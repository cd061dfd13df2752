/** readConfig() reports all problems of an environment at once, by variable. */
import {
  deepStrictEqual as deepEqual,
  doesNotMatch,
  match,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import fc from "fast-check";
import { describeVariables, readConfig } from "../../../lib/config/mod.ts";
import { blamed, type Env, KEY, problemsOf, PRODUCTION } from "./_environments.ts";

/** Both gateways, configured completely. */
const GATEWAYS: Env = {
  PESAPAL_BASE_URL: "https://pay.pesapal.com/v3",
  PESAPAL_CONSUMER_KEY: "key",
  PESAPAL_CONSUMER_SECRET: "secret",
  AZAMPAY_AUTH_URL: "https://authenticator.azampay.co.tz",
  AZAMPAY_CHECKOUT_URL: "https://checkout.azampay.co.tz",
  AZAMPAY_APP_NAME: "WeTech",
  AZAMPAY_CLIENT_ID: "client",
  AZAMPAY_CLIENT_SECRET: "secret",
  AZAMPAY_API_KEY: "key",
};

const DEPLOY: Env = {
  DENO_DEPLOYMENT_ID: "abc123",
  PUBLIC_URL: "https://shop.example.com",
  SECRET_KEY: KEY,
};

Deno.test("readConfig() lists every variable that production requires, at once", () => {
  deepEqual(blamed({ APP_ENV: "production" }), ["PUBLIC_URL", "KV_PATH", "SECRET_KEY"]);
});

Deno.test("readConfig() refuses every development default in production", () => {
  const development = readConfig({});

  const problems = blamed({
    APP_ENV: "production",
    PUBLIC_URL: development.publicUrl,
    KV_PATH: development.kvPath,
    SECRET_KEY: btoa(String.fromCharCode(...development.secretKey)),
    SECRET_KEY_PREVIOUS: btoa(String.fromCharCode(...development.secretKey)).replace("=", ""),
    BOOTSTRAP_API_KEY: development.bootstrapApiKey,
  });

  deepEqual(problems, [
    "PUBLIC_URL",
    "KV_PATH",
    "SECRET_KEY",
    "SECRET_KEY_PREVIOUS",
    "BOOTSTRAP_API_KEY",
  ]);
});

Deno.test("readConfig() refuses a store in memory and a typed key in production", () => {
  const SECRET_KEY = btoa("a".repeat(32));

  deepEqual(blamed({ ...PRODUCTION, KV_PATH: ":memory:", SECRET_KEY }), ["KV_PATH", "SECRET_KEY"]);
});

Deno.test("readConfig() listens on all addresses and logs JSON in production", () => {
  const { host, logFormat, bootstrapApiKey, allowedHosts } = readConfig(PRODUCTION);

  deepEqual([host, logFormat, bootstrapApiKey], ["0.0.0.0", "json", undefined]);
  deepEqual(allowedHosts, ["shop.example.com"]);
});

Deno.test("readConfig() implies production, the assigned database and the revision on Deno Deploy", () => {
  const { appEnv, kvPath, appVersion } = readConfig(DEPLOY);

  deepEqual([appEnv, kvPath, appVersion], ["production", undefined, "abc123"]);
  equal(readConfig(DEPLOY).isDeploy, true);
  equal(readConfig({ ...DEPLOY, DENO_DEPLOY_BUILD_ID: "build-7" }).appVersion, "build-7");
  equal(readConfig({ ...DEPLOY, APP_VERSION: "2.0" }).appVersion, "2.0");
  equal(readConfig({ ...DEPLOY, DENO_DEPLOYMENT_ID: "", DENO_DEPLOY: "1" }).kvPath, undefined);
  deepEqual(blamed({ DENO_DEPLOY: "1", APP_ENV: "development" }), ["APP_ENV"]);
});

Deno.test("readConfig() requires a token for a KV Connect server, and does not keep it", () => {
  const env = { KV_PATH: "https://kv.example.com/db" };

  deepEqual(blamed(env), ["DENO_KV_ACCESS_TOKEN"]);
  const config = readConfig({ ...env, DENO_KV_ACCESS_TOKEN: "t0ken-of-the-store" });

  equal(config.kvPath, env.KV_PATH);
  doesNotMatch(JSON.stringify(config), /t0ken/);
});

Deno.test("readConfig() refuses invalid values and names the valid ones, without secrets", () => {
  const bad: Record<string, string[]> = {
    APP_ENV: ["prod", "Production"],
    APP_VERSION: ["a b", "x".repeat(65)],
    HOST: ["a host", "http://x"],
    PORT: ["http", "-1", "65536", "80.5", "0x50", "8e1"],
    PUBLIC_URL: [
      "shop.example.com",
      "ftp://shop.example.com",
      "https://shop.example.com/shop",
      "https://shop.example.com/?",
      "https://shop.example.com/#",
      "https://user:hunter2@shop.example.com",
    ],
    ALLOWED_HOSTS: ["example.com:80", "https://example.com", "a b", "*"],
    CORS_ORIGINS: ["*", "https://example.com/", "example.com", "https://*.example.com", "null"],
    TRUSTED_PROXY_HOPS: ["true", "11"],
    KV_PATH: ["postgres://localhost/db", "file:///tmp/kv"],
    SECRET_KEY: ["hunter2", btoa("x".repeat(31)), "?".repeat(64)],
    SECRET_KEY_PREVIOUS: ["hunter2"],
    BOOTSTRAP_API_KEY: ["x".repeat(23), "hunter2 hunter2 hunter2 hunter2"],
    DEFAULT_CURRENCY: ["tzs", "JPY", "constructor"],
    DEFAULT_REGION: ["tz", "QX", "TZA"],
    TIME_ZONE: ["Africa/Dodoma", "GMT+3"],
    INVOICE_SERIES: ["inv", "INVOICING", "INV-"],
    INVOICE_DUE_DAYS: ["0", "366", "14d"],
    REMINDER_DAYS: ["366", "1.5", "1;7", "+1", "daily"],
    SHOP_NAME: ["a\nb", "x".repeat(81)],
    SHOP_ADDRESS: ["a\nb", "x".repeat(201)],
    SHOP_TAX_ID: ["a\tb", "x".repeat(41)],
    SHOP_PHONE: ["ring us", "+"],
    DEFAULT_LANGUAGE: ["sw-TZ", "EN", "fr"],
    LOG_LEVEL: ["warning", "INFO"],
    LOG_FORMAT: ["text"],
    SLOW_REQUEST_MS: ["0", "1s"],
    RATE_LIMITS: ["none", "lead_post=0/1m", "lead_post=10", "nothing=10/1m", "lead_post=10/1y"],
    STORAGE_URL: ["backups", "s4://bucket", "https://s3.example.com/bucket"],
    S3_ENDPOINT: ["s3.example.com", "https://s3.example.com/bucket"],
    S3_REGION: ["eu west"],
    S3_ACCESS_KEY_ID: ["hunter2 hunter2"],
    S3_SECRET_ACCESS_KEY: ["hunter2 hunter2"],
    BACKUP_ENCRYPTION_KEY: ["hunter2", btoa("x".repeat(33))],
    SENTRY_DSN: ["hunter2", "https://sentry.example.com/42", "https://key@sentry.example.com/"],
    SENTRY_SAMPLE_RATE: ["10%", "1.1", "-0.1"],
    ALERT_WEBHOOK_URLS: ["hunter2", "https://example.com/hunter2", "slack+ftp://example.com/x"],
    HEARTBEAT_URLS: [
      "https://hc.example.com/hunter2",
      "backup=hunter2",
      "backup=https://hc.example.com/1,backup=https://hc.example.com/hunter2",
    ],
    ALERT_ERRORS_MAX: ["-1", "many"],
    MAIL_URL: [
      "hunter2",
      "http://mail.example.com",
      "smtp://user@mail.example.com",
      "resend+http://:hunter2@api.resend.com",
    ],
    MAIL_FROM: ["example.com", "a b@example.com"],
    MAIL_ATTACH_PDF: ["yes", "ON"],
    SHOP_EMAIL: ["owner"],
    PESAPAL_BASE_URL: [
      "pay.pesapal.com",
      "http://pay.pesapal.com/v3",
      "https://x.com/?a",
      "https://hunter2@x.com",
    ],
    PESAPAL_CONSUMER_KEY: ["hunter2 key"],
    PESAPAL_CONSUMER_SECRET: ["hunter2\u00e9"],
    AZAMPAY_AUTH_URL: ["authenticator.azampay.co.tz", "http://authenticator.azampay.co.tz"],
    AZAMPAY_CHECKOUT_URL: ["ftp://checkout.azampay.co.tz", "https://hunter2@x.com"],
    AZAMPAY_APP_NAME: ["a\nb", "x".repeat(101)],
    AZAMPAY_CLIENT_ID: ["hunter2 id"],
    AZAMPAY_CLIENT_SECRET: ["hunter2 secret"],
    AZAMPAY_API_KEY: ["hunter2\u00e9"],
  };

  for (const [name, values] of Object.entries(bad)) {
    for (const value of values) {
      const problems = problemsOf(
        name === "APP_ENV" ? { ...PRODUCTION, [name]: value } : { ...GATEWAYS, [name]: value },
      );
      equal(problems.length, 1, `${name}=${value}`);
      match(problems[0]!, new RegExp(`^${name} must be .+ \\(.+\\)$`));
      doesNotMatch(problems[0]!, /hunter2/);
    }
  }
  const checked = [...Object.keys(bad), "DENO_KV_ACCESS_TOKEN"].sort();
  deepEqual(checked, describeVariables().map(({ name }) => name).sort());
});

Deno.test("readConfig() refuses a partly configured gateway, and plain http in production", () => {
  const local = { ...GATEWAYS, PESAPAL_BASE_URL: "http://127.0.0.1:8010/pesapalv3" };

  deepEqual(blamed({ PESAPAL_CONSUMER_KEY: "key" }), [
    "PESAPAL_BASE_URL",
    "PESAPAL_CONSUMER_SECRET",
  ]);
  deepEqual(blamed({ AZAMPAY_APP_NAME: "WeTech", AZAMPAY_API_KEY: "key" }), [
    "AZAMPAY_AUTH_URL",
    "AZAMPAY_CHECKOUT_URL",
    "AZAMPAY_CLIENT_ID",
    "AZAMPAY_CLIENT_SECRET",
  ]);
  const near = { ...GATEWAYS, AZAMPAY_CHECKOUT_URL: "http://localhost:8021" };
  deepEqual(blamed(near), []);
  deepEqual(blamed({ ...PRODUCTION, ...near }), ["AZAMPAY_CHECKOUT_URL"]);
  deepEqual(blamed(local), []);
  deepEqual(blamed({ ...PRODUCTION, ...local }), ["PESAPAL_BASE_URL"]);
  deepEqual(blamed({ ...PRODUCTION, ...GATEWAYS }), []);
});

Deno.test("readConfig() lists all problems in one message", () => {
  throws(
    () => readConfig({ PORT: "http", TIME_ZONE: "Mars", SECRET_KEY: "c2hvcnQ=" }),
    {
      name: "ConfigError",
      message: `The configuration has 3 problems:
  - PORT must be a whole number from 0 to 65535, not "http" (for example PORT=8080)
  - SECRET_KEY must be at least 32 bytes in base64 (openssl rand -base64 32)
  - TIME_ZONE must be a time zone of the IANA database, not "Mars" (for example TIME_ZONE=Africa/Nairobi)`,
    },
  );
});

Deno.test("readConfig() never throws anything but a ConfigError, and shows no secret", () => {
  const names = describeVariables().map(({ name }) => name);
  const secret = fc.string({ minLength: 6, maxLength: 30 }).map((text) => `s3cret${text}`);
  const secrets = fc.dictionary(
    fc.constantFrom(
      "SECRET_KEY",
      "SECRET_KEY_PREVIOUS",
      "BOOTSTRAP_API_KEY",
      "DENO_KV_ACCESS_TOKEN",
    ),
    secret,
  );

  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...names), fc.string()), secrets, (env, hidden) => {
      const problems = problemsOf({ ...env, ...hidden }).join("\n");

      doesNotMatch(problems, /s3cret/);
    }),
  );
});
