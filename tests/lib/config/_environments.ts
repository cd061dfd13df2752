/** Environments for tests, and the variables that readConfig() refuses in them. */
import { ok } from "node:assert/strict";
import { ConfigError, readConfig } from "../../../lib/config/mod.ts";

export type Env = Record<string, string | undefined>;

/** 32 random bytes, the same in every run. */
export const KEY = "q83vEjRWeJCrze8SNFZ4kLkP0nH1sQ5tYb7mZx2cDfE=";

export const PRODUCTION: Env = {
  APP_ENV: "production",
  PUBLIC_URL: "https://shop.example.com",
  KV_PATH: "/var/lib/wetech/wetech.kv",
  SECRET_KEY: KEY,
};

export function problemsOf(env: Env): readonly string[] {
  try {
    readConfig(env);
  } catch (error) {
    ok(error instanceof ConfigError, String(error));
    return error.problems;
  }
  return [];
}

/** The variables that have problems. */
export function blamed(env: Env): string[] {
  return problemsOf(env).map((problem) => problem.split(" ")[0]!);
}
