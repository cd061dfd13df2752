/** Starts one real S3 server for all tests of the file that imports this module. */
import type { ObjectStorage, S3Options, StorageOptions } from "../../../lib/storage/mod.ts";
import {
  type FaultProxy,
  type ProxyFault,
  startFaultProxy,
} from "../../support/servers/fault_proxy.ts";
import {
  hasS3Server,
  S3_SERVER_INSTALL,
  type S3Server,
  startS3Server,
} from "../../support/servers/s3_server.ts";
import { type Opened, openPlace } from "./_storage.ts";

const isIgnored = !hasS3Server();
/** Started once for all tests. */
export let server: S3Server;

if (!isIgnored) {
  Deno.test.beforeAll(async () => {
    server = await startS3Server();
  });
  Deno.test.afterAll(async () => {
    await server[Symbol.asyncDispose]();
  });
}

export async function openS3(): Promise<
  Opened & { prefix: string; proxy: FaultProxy; proxied: ObjectStorage }
> {
  const prefix = crypto.randomUUID();
  const proxy = startFaultProxy(server.endpoint);
  const storage = await open({ prefix });
  const proxied = await open({ prefix, s3: { endpoint: proxy.url } });
  return {
    prefix,
    storage,
    other: await open({ prefix }),
    proxy,
    proxied,
    spoil(_, at) {
      proxy.fault = () => ({ spoilAnswerAt: at });
      return Promise.resolve(proxied);
    },
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}

/** Opens the server's bucket, or what `url` says; waits between attempts are short. */
export function open(
  { prefix = "", s3 = {}, ...options }:
    & { prefix?: string; s3?: Partial<S3Options> }
    & Partial<Omit<StorageOptions, "s3">>,
): Promise<ObjectStorage> {
  return openPlace({
    url: `s3://${server.bucket}/${prefix}`,
    s3: { ...server, ...s3 },
    ...options,
  });
}

/** A fault for the first `times` calls that it is meant for. */
export function firstly(
  times: number,
  fault: ProxyFault,
  isMeant: (method: string, target: string) => boolean = () => true,
): FaultProxy["fault"] {
  let left = times;
  return ({ method, target }) => isMeant(method, target) && left-- > 0 ? fault : {};
}

export const UNAVAILABLE: ProxyFault = {
  answer: { status: 503, body: "<Error><Code>SlowDown</Code></Error>" },
};

export function s3Test(name: string, run: () => Promise<void>): void {
  Deno.test({
    name: isIgnored ? `${name} (needs: ${S3_SERVER_INSTALL})` : name,
    ignore: isIgnored,
    fn: run,
  });
}
