/** readConfig() turns the environment into a configuration with documented defaults. */
import {
  deepStrictEqual as deepEqual,
  match,
  notDeepStrictEqual as notDeepEqual,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import { describeVariables, environment, readConfig } from "../../../lib/config/mod.ts";
import { RATE_RULES } from "../../../lib/config/rate_rules.ts";
import { blamed, KEY, PRODUCTION } from "./_environments.ts";

Deno.test("readConfig() needs nothing in development", () => {
  const config = readConfig({});

  const { secretKey, ...rest } = config;
  equal(secretKey.length, 32);
  deepEqual(rest, {
    appEnv: "development",
    isDeploy: false,
    appVersion: "dev",
    host: "127.0.0.1",
    port: 8000,
    publicUrl: "http://localhost:8000",
    allowedHosts: ["localhost", "127.0.0.1", "[::1]"],
    corsOrigins: [],
    trustedProxyHops: 0,
    rateRules: RATE_RULES,
    kvPath: ".data/wetech.kv",
    secretKeyPrevious: undefined,
    bootstrapApiKey: "dev-bootstrap-api-key-000",
    defaultCurrency: "TZS",
    defaultRegion: "TZ",
    timeZone: "Africa/Dar_es_Salaam",
    invoiceSeries: "INV",
    invoiceDueDays: 14,
    reminderDays: [],
    storageUrl: "file:.data/backups",
    s3: undefined,
    backupEncryptionKey: undefined,
    backupRetention: { dailies: 30, weeklies: 8, monthlies: 12 },
    logLevel: "info",
    logFormat: "pretty",
    slowRequestMs: 1000,
    sentryDsn: undefined,
    sentrySampleRate: 0.1,
    alertWebhooks: [],
    heartbeats: [],
    errorsMax: 10,
    mailServer: "log",
    attachesPdf: true,
    shopName: "WeTech",
    shopAddress: [],
    shopTaxId: undefined,
    shopPhone: undefined,
    defaultLanguage: "en",
    pesapal: undefined,
    azampay: undefined,
    mailFrom: "shop@dev.example",
    shopEmail: undefined,
  });
});

Deno.test("readConfig() keeps tests in memory", () => {
  const { appEnv, kvPath, host } = readConfig({ APP_ENV: "test" });

  deepEqual([appEnv, kvPath, host], ["test", ":memory:", "127.0.0.1"]);
});

Deno.test("readConfig() reads every variable from the environment", () => {
  const config = readConfig({
    ...PRODUCTION,
    APP_VERSION: "2026.11.0",
    HOST: "::",
    PORT: "9000",
    PUBLIC_URL: "https://shop.example.com:8443/",
    ALLOWED_HOSTS: "www.example.com, Other.example.com,",
    CORS_ORIGINS: "https://example.com,http://localhost:3000,https://example.com",
    TRUSTED_PROXY_HOPS: "2",
    SECRET_KEY_PREVIOUS: KEY.toUpperCase(),
    BOOTSTRAP_API_KEY: "k".repeat(24),
    DEFAULT_CURRENCY: "KES",
    DEFAULT_REGION: "KE",
    TIME_ZONE: "Africa/Nairobi",
    INVOICE_SERIES: "KEN",
    INVOICE_DUE_DAYS: "30",
    REMINDER_DAYS: "14, -3,1,-3",
    LOG_LEVEL: "debug",
    LOG_FORMAT: "pretty",
    SLOW_REQUEST_MS: "250",
    RATE_LIMITS: "lead_post=20/2m",
    STORAGE_URL: "s3://wetech-backups/production",
    S3_ENDPOINT: "https://s3.example.com",
    S3_REGION: "eu-west-1",
    S3_ACCESS_KEY_ID: "AK",
    S3_SECRET_ACCESS_KEY: "SK",
    BACKUP_ENCRYPTION_KEY: KEY,
    SENTRY_DSN: "https://key@sentry.example.com/42",
    SENTRY_SAMPLE_RATE: "0.5",
    ALERT_WEBHOOK_URLS: "https://hooks.slack.com/services/T/B/x,discord+https://chat.example.com/y",
    HEARTBEAT_URLS: "backup=https://hc.example.com/x, ship_log=http://10.0.0.1:8000/ping/y",
    ALERT_ERRORS_MAX: "3",
    MAIL_URL: "smtps://user:password@mail.example.com",
    MAIL_FROM: "Billing@example.com",
    MAIL_ATTACH_PDF: "off",
    SHOP_EMAIL: "owner@example.com",
    PESAPAL_BASE_URL: "https://pay.pesapal.com/v3/",
    PESAPAL_CONSUMER_KEY: " key ",
    PESAPAL_CONSUMER_SECRET: "secret\n",
    AZAMPAY_AUTH_URL: "https://authenticator.azampay.co.tz/",
    AZAMPAY_CHECKOUT_URL: "https://checkout.azampay.co.tz",
    AZAMPAY_APP_NAME: "WeTech Shop",
    AZAMPAY_CLIENT_ID: "client",
    AZAMPAY_CLIENT_SECRET: "c2VjcmV0/+==\n",
    AZAMPAY_API_KEY: "callback-token",
    SHOP_NAME: "Duka la Kahawa Ltd",
    SHOP_ADDRESS: "Samora Avenue 12; Dar es Salaam;",
    SHOP_TAX_ID: "100-200-300",
    SHOP_PHONE: "+255 712 345 678",
    DEFAULT_LANGUAGE: "sw",
  });

  const { secretKey, secretKeyPrevious, backupEncryptionKey, ...rest } = config;
  equal(btoa(String.fromCharCode(...backupEncryptionKey!)), KEY);
  equal(btoa(String.fromCharCode(...secretKey)), KEY);
  notDeepEqual(secretKeyPrevious, secretKey);
  deepEqual(rest, {
    appEnv: "production",
    isDeploy: false,
    appVersion: "2026.11.0",
    host: "::",
    port: 9000,
    publicUrl: "https://shop.example.com:8443",
    allowedHosts: ["shop.example.com", "www.example.com", "other.example.com"],
    corsOrigins: ["https://example.com", "http://localhost:3000"],
    trustedProxyHops: 2,
    kvPath: "/var/lib/wetech/wetech.kv",
    bootstrapApiKey: "k".repeat(24),
    defaultCurrency: "KES",
    defaultRegion: "KE",
    timeZone: "Africa/Nairobi",
    invoiceSeries: "KEN",
    invoiceDueDays: 30,
    reminderDays: [-3, 1, 14],
    storageUrl: "s3://wetech-backups/production",
    s3: {
      endpoint: "https://s3.example.com",
      region: "eu-west-1",
      accessKeyId: "AK",
      secretAccessKey: "SK",
    },
    backupRetention: { dailies: 30, weeklies: 8, monthlies: 12 },
    logLevel: "debug",
    logFormat: "pretty",
    slowRequestMs: 250,
    rateRules: RATE_RULES.map((rule) =>
      rule.name === "lead_post" ? { ...rule, limit: 20, windowMs: 120_000 } : rule
    ),
    sentryDsn: "https://key@sentry.example.com/42",
    sentrySampleRate: 0.5,
    alertWebhooks: [
      { format: "slack", url: "https://hooks.slack.com/services/T/B/x" },
      { format: "discord", url: "https://chat.example.com/y" },
    ],
    heartbeats: [
      { job: "backup", url: "https://hc.example.com/x" },
      { job: "ship_log", url: "http://10.0.0.1:8000/ping/y" },
    ],
    errorsMax: 3,
    attachesPdf: false,
    mailServer: {
      host: "mail.example.com",
      port: 465,
      isImplicitTls: true,
      credentials: { user: "user", password: "password" },
    },
    shopName: "Duka la Kahawa Ltd",
    shopAddress: ["Samora Avenue 12", "Dar es Salaam"],
    shopTaxId: "100-200-300",
    shopPhone: "+255 712 345 678",
    defaultLanguage: "sw",
    pesapal: {
      baseUrl: "https://pay.pesapal.com/v3",
      consumerKey: "key",
      consumerSecret: "secret",
    },
    azampay: {
      authUrl: "https://authenticator.azampay.co.tz",
      checkoutUrl: "https://checkout.azampay.co.tz",
      appName: "WeTech Shop",
      clientId: "client",
      clientSecret: "c2VjcmV0/+==",
      apiKey: "callback-token",
    },
    mailFrom: "billing@example.com",
    shopEmail: "owner@example.com",
  });
});

Deno.test("readConfig() requires every S3 variable when backups go to S3", () => {
  deepEqual(blamed({ STORAGE_URL: "s3://backups", S3_REGION: "auto" }), [
    "S3_ENDPOINT",
    "S3_ACCESS_KEY_ID",
    "S3_SECRET_ACCESS_KEY",
  ]);
});

Deno.test("readConfig() refuses to disable rate limits in production", () => {
  deepEqual(readConfig({ RATE_LIMITS: "off" }).rateRules, []);
  deepEqual(blamed({ ...PRODUCTION, RATE_LIMITS: "off" }), ["RATE_LIMITS"]);
});

Deno.test("readConfig() treats a blank value as unset", () => {
  const blank = Object.fromEntries(describeVariables().map(({ name }) => [name, " "]));

  deepEqual(readConfig(blank), readConfig({}));
});

Deno.test("readConfig() returns a frozen configuration", () => {
  const config = readConfig({ CORS_ORIGINS: "https://example.com" });

  ok(Object.isFrozen(config));
  for (const value of Object.values(config)) {
    if (typeof value === "object" && !ArrayBuffer.isView(value)) ok(Object.isFrozen(value));
  }
});

Deno.test("readConfig() accepts each default that it describes", () => {
  for (const { name, fallback } of describeVariables()) {
    const shown = /^`([^`$]+)`/.exec(fallback)?.[1];
    if (shown !== undefined) deepEqual(readConfig({ [name]: shown }), readConfig({}), name);
  }
});

Deno.test("describeVariables() describes each variable once, in one line, section by section", () => {
  const variables = describeVariables();

  equal(new Set(variables.map(({ name }) => name)).size, variables.length);
  for (const { section, name, meaning, fallback } of variables) {
    match(section, /^[A-Z][a-z, ]+$/);
    match(name, /^[A-Z][A-Z_0-9]*$/);
    match(meaning, /^.+\.$/);
    match(fallback, /^.+$/);
  }
  const sections = variables.map(({ section }) => section);
  const headings = sections.filter((section, index) => section !== sections[index - 1]);
  equal(new Set(headings).size, headings.length);
});

Deno.test("environment() returns the environment of the process", () => {
  equal(environment().PATH, Deno.env.get("PATH"));
});
