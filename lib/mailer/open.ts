/**
 * Opens the mailer for a mail server. Its client is loaded with the first mail.
 *
 * @module
 */
import type { MailApi, SmtpServer } from "../config/endpoints.ts";
import { safeMail } from "./_message.ts";
import type { Mailer } from "./mod.ts";

/** A mailer for an SMTP server or a mail API. Connects to nothing yet. */
export function openMailer(server: SmtpServer | MailApi): Mailer {
  return {
    name: "api" in server ? new URL(server.origin).host : server.host,
    async send(mail, timeoutMs) {
      const safe = safeMail(mail);
      if (!safe) return { isSent: false, isFinal: true, scope: "mail", reason: "no address" };
      if ("api" in server) {
        const { sendByApi } = await import("./http.ts");
        return await sendByApi(server, safe, timeoutMs);
      }
      const { sendMail } = await import("./smtp.ts");
      return await sendMail(server, safe, timeoutMs);
    },
  };
}
