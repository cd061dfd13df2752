/**
 * The sweep finds damage of webhook endpoints.
 */
import { deepStrictEqual as deepEqual } from "node:assert/strict";
import { sweep } from "../../../lib/integrity/mod.ts";
import * as keys from "../../../lib/kv/keys.ts";
import { changeWebhook, createWebhook, removeWebhook } from "../../../lib/webhooks/mod.ts";
import { TESTER } from "../../support/program/app.ts";
import { type Books, openBooks } from "../../support/program/books.ts";
import { alter, line, NOBODY } from "../../support/store/damage.ts";
import { WEBHOOK } from "../../support/program/webhook_samples.ts";

/** Two endpoints, the second changed once, and a deleted one. */
async function addWebhooks({ services }: Books): Promise<{ id: string; goneId: string }> {
  const add = async () => {
    const { endpoint } = await createWebhook(services, { ...WEBHOOK, isEnabled: true }, TESTER);
    return endpoint.id;
  };
  const [goneId, , id] = [await add(), await add(), await add()];
  await removeWebhook(services, goneId, { by: TESTER });
  await changeWebhook(services, id, { eventTypes: ["*"] }, { by: TESTER });
  return { id, goneId };
}

/** Each kind of damage with its findings. */
const DAMAGE: Record<string, (books: Books, id: string, goneId: string) => Promise<string[]>> = {
  "nothing wrong with what is whole": () => Promise.resolve([]),
  "an endpoint that the directory has otherwise": async (books, id) => {
    const directory = await books.get(keys.webhookDirectory);
    const [first, second] = directory!.subscriptions;
    const subscriptions = [first!, { ...second!, isEnabled: false }];
    await books.put(keys.webhookDirectory, { subscriptions });
    return [line("webhook.directory_wrong", keys.webhook(id))];
  },
  "an entry of the directory without an endpoint": async (books) => {
    const directory = await books.get(keys.webhookDirectory);
    const [first, second] = directory!.subscriptions;
    const subscriptions = [first!, second!, { ...second!, id: NOBODY }];
    await books.put(keys.webhookDirectory, { subscriptions });
    return [line("webhook.endpoint_missing", keys.webhookDirectory)];
  },
  "an endpoint without a secret": async (books, id) => {
    await books.remove(keys.webhookSecrets(id));
    return [line("webhook.secret_missing", keys.webhook(id))];
  },
  "a secret that a deleted endpoint left": async (books, id, goneId) => {
    const secrets = await books.get(keys.webhookSecrets(id));
    await books.put(keys.webhookSecrets(goneId), secrets!);
    return [line("webhook.secret_left", keys.webhookSecrets(goneId))];
  },
  "an endpoint that was altered": async (books, id) => {
    await alter(books, keys.webhook(id), { url: "https://elsewhere.example.com/" });
    return [line("audit.chain_broken", keys.webhook(id))];
  },
};

for (const [name, damage] of Object.entries(DAMAGE)) {
  Deno.test(`a sweep finds ${name}`, async () => {
    await using books = await openBooks();
    const { id, goneId } = await addWebhooks(books);
    const expected = await damage(books, id, goneId);

    const { findings } = await sweep(books.services);

    deepEqual(findings.map(({ check, key }) => `${check} ${key}`), expected);
  });
}
