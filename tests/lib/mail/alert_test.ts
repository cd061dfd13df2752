/**
 * Alert mails: rendered from templates, and sent even if the store does not respond.
 */
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import type { AlertNotification } from "../../../lib/alerts/channels.ts";
import { renderAlertMail } from "../../../lib/mail/alert.ts";
import { putTemplate } from "../../../lib/mail/templates.ts";
import { startApp, TESTER } from "../../support/program/app.ts";
import { startMailApi } from "../../support/servers/mail_api.ts";
import { readMail, startMailTaker } from "../../support/servers/mail_taker.ts";

const NOTIFICATION: AlertNotification = {
  state: "raised",
  name: "job_failed:backup",
  severity: "critical",
  title: "The job backup\nfailed",
  detail: "Error: <no> space left",
  openedAt: "2026-06-15T09:00:00.000Z",
  durationMs: 0,
  count: 1,
};

const ENV = { MAIL_FROM: "shop@example.com", SHOP_EMAIL: "owner@example.com" };

Deno.test("an alert is mailed from its template, in both states", async () => {
  await using smtp = startMailTaker();
  await using app = await startApp({ env: { ...ENV, MAIL_URL: smtp.url } });
  const channel = `mail ${new URL(smtp.url).hostname}`;
  const { alerts } = app.services;

  const raised = await alerts.deliverThrough(channel, NOTIFICATION);
  const resolved = await alerts.deliverThrough(channel, {
    ...NOTIFICATION,
    state: "resolved",
    durationMs: 12 * 60_000,
  });

  deepEqual([raised, resolved], [{ isDelivered: true }, { isDelivered: true }]);
  const [first, second] = await Promise.all(smtp.taken.map(({ raw }) => readMail(raw)));
  equal(first!.subject, "[ALERT] The job backup failed");
  equal(first!.messageId, "<job_failed-backup.2026-06-15T09-00-00.000Z.raised@example.com>");
  match(first!.text ?? "", /Error: <no> space left\n\nSince 2026-06-15 09:00:00 UTC\ntest dev at /);
  match(first!.html ?? "", /Error: &lt;no&gt; space left/);
  equal(second!.subject, "[RECOVERED] The job backup failed");
  match(second!.text ?? "", /Recovered after 12 min\./);
  await alerts.close();
});

Deno.test("an alert is mailed by a configured API, from the shop's custom template", async () => {
  await using api = startMailApi("postmark", "token");
  const url = `postmark+http://:token@127.0.0.1:${api.port}`;
  await using app = await startApp({ env: { ...ENV, MAIL_URL: url, DEFAULT_LANGUAGE: "sw" } });
  const own = { subject: "Angalia: {{title}}", text: "{{detail}}", html: "" };
  await putTemplate(app.services, { kind: "operator_alert", language: "sw" }, own, { by: TESTER });

  const told = await app.services.alerts.deliverThrough(`mail 127.0.0.1:${api.port}`, NOTIFICATION);

  deepEqual(told, { isDelivered: true });
  equal(api.taken[0]!.body.Subject, "Angalia: The job backup failed");
  ok(!("HtmlBody" in api.taken[0]!.body));
  await app.services.alerts.close();
});

Deno.test("renderAlertMail() returns the default template within two seconds if the store does not respond", async () => {
  await using app = await startApp();
  const { config, store } = app.services;
  const answer = Promise.withResolvers<never>();
  const silent = Object.assign(Object.create(store), { get: () => answer.promise });
  const startedAt = performance.now();

  const words = await renderAlertMail({ config, store: silent }, NOTIFICATION, "test dev");

  equal(words.subject, "[ALERT] The job backup failed");
  ok(performance.now() - startedAt < 5_000);
  answer.reject(new Error("too late"));
  await app.services.alerts.close();
});
