/**
 * The usual words of mails, in English.
 *
 * @module
 */
import type { MailKind, MailTexts } from "../kv/mail_records.ts";
import { button, facts } from "./_parts.ts";

/** By kind. */
export const MAILS_EN: Readonly<Record<MailKind, MailTexts>> = {
  lead_received: {
    subject: "We have your enquiry",
    text: `Hello{{#clientName}} {{clientName}}{{/clientName}},

thank you for writing to us. We will answer soon.
{{#invoiceNumber}}

Your invoice {{invoiceNumber}} over {{total}} is here, and can be paid there until {{dueDay}}:
{{invoiceUrl}}
{{/invoiceNumber}}`,
    html: `<p>Hello{{#clientName}} {{clientName}}{{/clientName}},</p>
<p>thank you for writing to us. We will answer soon.</p>
{{#invoiceNumber}}
<p>Your invoice <b>{{invoiceNumber}}</b> over <b>{{total}}</b> can be paid until {{dueDay}}.</p>
${button("invoiceUrl", "See the invoice")}
{{/invoiceNumber}}`,
  },
  lead_notice: {
    subject: "A new enquiry of {{clientName}}",
    text: `{{clientName}} ({{source}}) has written:

{{message}}

E-mail: {{clientEmail}}
Phone: {{clientPhone}}
{{#invoiceNumber}}
Invoice: {{invoiceNumber}}, {{total}}
{{invoiceUrl}}
{{/invoiceNumber}}`,
    html: `<p><b>{{clientName}}</b> ({{source}}) has written:</p>
<p style="white-space:pre-wrap">{{message}}</p>
${
      facts([
        ["E-mail", "clientEmail"],
        ["Phone", "clientPhone"],
        ["Invoice", "invoiceNumber"],
        ["Total", "total"],
      ])
    }
{{#invoiceUrl}}
${button("invoiceUrl", "See the invoice")}
{{/invoiceUrl}}`,
  },
  invoice_sent: {
    subject: "Invoice {{invoiceNumber}} of {{shopName}}",
    text: `Hello {{clientName}},

here is your invoice {{invoiceNumber}} over {{total}}.
{{#lines}}
- {{description}}, {{quantity}} × {{unitPrice}}: {{amount}}
{{/lines}}
{{#owed}}

Please pay {{owed}} by {{dueDay}}. Here you can see how, and pay:
{{/owed}}
{{^owed}}

Nothing is owed. Here you can see it:
{{/owed}}
{{invoiceUrl}}
{{#notes}}

{{notes}}
{{/notes}}
{{#hasPdf}}

The invoice is attached as a PDF.
{{/hasPdf}}`,
    html: `<p>Hello {{clientName}},</p>
<p>here is your invoice <b>{{invoiceNumber}}</b>.</p>
<table style="width:100%;border-collapse:collapse">
{{#lines}}
<tr><td style="padding:4px 8px 4px 0">{{description}} ({{quantity}} × {{unitPrice}})</td><td style="padding:4px 0;text-align:right;white-space:nowrap">{{amount}}</td></tr>
{{/lines}}
<tr><td style="padding:8px 8px 4px 0"><b>Total</b></td><td style="padding:8px 0 4px;text-align:right;white-space:nowrap"><b>{{total}}</b></td></tr>
</table>
{{#owed}}
<p>Please pay <b>{{owed}}</b> by <b>{{dueDay}}</b>.</p>
${button("invoiceUrl", "Pay the invoice")}
{{/owed}}
{{^owed}}
<p>Nothing is owed.</p>
${button("invoiceUrl", "See the invoice")}
{{/owed}}
{{#notes}}
<p style="white-space:pre-wrap">{{notes}}</p>
{{/notes}}
{{#hasPdf}}
<p>The invoice is attached as a PDF.</p>
{{/hasPdf}}`,
  },
  invoice_reminder: {
    subject:
      "{{#isOverdue}}Invoice {{invoiceNumber}} is overdue{{/isOverdue}}{{^isOverdue}}Invoice {{invoiceNumber}} is due on {{dueDay}}{{/isOverdue}}",
    text: `Hello {{clientName}},

{{#isOverdue}}
your invoice {{invoiceNumber}} was due on {{dueDay}}, and {{owed}} of it is not paid yet.
{{/isOverdue}}
{{^isOverdue}}
your invoice {{invoiceNumber}} is due on {{dueDay}}, and {{owed}} of it is not paid yet.
{{/isOverdue}}

Here you can see it, and pay:
{{invoiceUrl}}

If you have paid in the meantime, please ignore this mail.`,
    html: `<p>Hello {{clientName}},</p>
{{#isOverdue}}
<p>your invoice <b>{{invoiceNumber}}</b> was due on {{dueDay}}, and <b>{{owed}}</b> of it is not paid yet.</p>
{{/isOverdue}}
{{^isOverdue}}
<p>your invoice <b>{{invoiceNumber}}</b> is due on {{dueDay}}, and <b>{{owed}}</b> of it is not paid yet.</p>
{{/isOverdue}}
${button("invoiceUrl", "Pay the invoice")}
<p>If you have paid in the meantime, please ignore this mail.</p>`,
  },
  payment_received: {
    subject: "Your payment for invoice {{invoiceNumber}}",
    text: `Hello {{clientName}},

thank you: your payment of {{amount}} for invoice {{invoiceNumber}} has arrived.
{{#owed}}
{{owed}} is still to be paid, by {{dueDay}}.
{{/owed}}
{{^owed}}
Nothing is owed any more.
{{/owed}}

{{invoiceUrl}}`,
    html: `<p>Hello {{clientName}},</p>
<p>thank you: your payment of <b>{{amount}}</b> for invoice <b>{{invoiceNumber}}</b> has arrived.</p>
{{#owed}}
<p><b>{{owed}}</b> is still to be paid, by {{dueDay}}.</p>
{{/owed}}
{{^owed}}
<p>Nothing is owed any more.</p>
{{/owed}}
${button("invoiceUrl", "See the invoice")}`,
  },
  payment_notice: {
    subject: "{{amount}} paid for invoice {{invoiceNumber}}",
    text: `{{clientName}} has paid {{amount}} for invoice {{invoiceNumber}} ({{channel}}).
Total: {{total}}
{{#owed}}
Still to be paid: {{owed}}
{{/owed}}

{{invoiceUrl}}`,
    html:
      `<p><b>{{clientName}}</b> has paid <b>{{amount}}</b> for invoice <b>{{invoiceNumber}}</b> ({{channel}}).</p>
${facts([["Total", "total"], ["Still to be paid", "owed"]])}
${button("invoiceUrl", "See the invoice")}`,
  },
  payment_refunded: {
    subject: "Your money back for invoice {{invoiceNumber}}",
    text: `Hello {{clientName}},

we have paid back {{amount}} for invoice {{invoiceNumber}}. Depending on how you paid it may take some days to arrive.

{{invoiceUrl}}`,
    html: `<p>Hello {{clientName}},</p>
<p>we have paid back <b>{{amount}}</b> for invoice <b>{{invoiceNumber}}</b>. Depending on how you paid it may take some days to arrive.</p>
${button("invoiceUrl", "See the invoice")}`,
  },
  operator_alert: {
    subject:
      "[{{#isResolved}}RECOVERED{{/isResolved}}{{^isResolved}}{{#isCritical}}ALERT{{/isCritical}}{{^isCritical}}WARNING{{/isCritical}}{{/isResolved}}] {{title}}",
    text: `{{title}}
{{#isResolved}}
It is well again, after {{duration}}.
{{/isResolved}}
{{#detail}}

{{detail}}
{{/detail}}

Since {{since}} UTC
{{system}}`,
    html: `<p><b>{{title}}</b></p>
{{#isResolved}}
<p>It is well again, after {{duration}}.</p>
{{/isResolved}}
{{#detail}}
<p style="white-space:pre-wrap">{{detail}}</p>
{{/detail}}
<p>Since {{since}} UTC<br>{{system}}</p>`,
  },
  news: {
    subject: "News of {{shopName}}",
    text: `Hello {{clientName}},

there is something new at {{shopName}}:
{{shopUrl}}`,
    html: `<p>Hello {{clientName}},</p>
<p>there is something new at {{shopName}}.</p>
${button("shopUrl", "Have a look")}`,
  },
};
