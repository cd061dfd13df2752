/**
 * The default mail templates, in English.
 *
 * @module
 */
import type { MailKind, MailTexts } from "../kv/mail_records.ts";
import { button, facts } from "./_parts.ts";

/** By kind. */
export const MAILS_EN: Readonly<Record<MailKind, MailTexts>> = {
  lead_received: {
    subject: "We have received your enquiry",
    text: `Hello{{#clientName}} {{clientName}}{{/clientName}},

Thank you for your enquiry. We will reply soon.
{{#invoiceNumber}}

Your invoice {{invoiceNumber}} for {{total}} is ready. Please pay by {{dueDay}}:
{{invoiceUrl}}
{{/invoiceNumber}}`,
    html: `<p>Hello{{#clientName}} {{clientName}}{{/clientName}},</p>
<p>Thank you for your enquiry. We will reply soon.</p>
{{#invoiceNumber}}
<p>Your invoice <b style="white-space:nowrap">{{invoiceNumber}}</b> for <b>{{total}}</b> is ready. Please pay by <b>{{dueDay}}</b>.</p>
${button("invoiceUrl", "View invoice")}
{{/invoiceNumber}}`,
  },
  lead_notice: {
    subject: "New enquiry from {{clientName}}",
    text: `{{clientName}} sent an enquiry ({{source}}):

{{message}}

Email: {{clientEmail}}
Phone: {{clientPhone}}
{{#invoiceNumber}}
Invoice: {{invoiceNumber}}, {{total}}
{{invoiceUrl}}
{{/invoiceNumber}}`,
    html: `<p><b>{{clientName}}</b> sent an enquiry ({{source}}):</p>
<p style="white-space:pre-wrap">{{message}}</p>
${
      facts([
        ["Email", "clientEmail"],
        ["Phone", "clientPhone"],
        ["Invoice", "invoiceNumber"],
        ["Total", "total"],
      ])
    }
{{#invoiceUrl}}
${button("invoiceUrl", "View invoice")}
{{/invoiceUrl}}`,
  },
  invoice_sent: {
    subject: "Invoice {{invoiceNumber}} from {{shopName}}",
    text: `Hello {{clientName}},

Here is your invoice {{invoiceNumber}} for {{total}}.

{{#lines}}
- {{description}}, {{quantity}} × {{unitPrice}}: {{amount}}
{{/lines}}
{{#owed}}

Please pay {{owed}} by {{dueDay}}. View and pay the invoice here:
{{/owed}}
{{^owed}}

No payment is due. View the invoice here:
{{/owed}}
{{invoiceUrl}}
{{#notes}}

{{notes}}
{{/notes}}
{{#hasPdf}}

The invoice is attached as a PDF.
{{/hasPdf}}`,
    html: `<p>Hello {{clientName}},</p>
<p>Here is your invoice <b style="white-space:nowrap">{{invoiceNumber}}</b> for <b>{{total}}</b>.</p>
<table style="width:100%;border-collapse:collapse">
{{#lines}}
<tr><td style="padding:4px 8px 4px 0">{{description}} ({{quantity}} × {{unitPrice}})</td><td style="padding:4px 0;text-align:right;white-space:nowrap">{{amount}}</td></tr>
{{/lines}}
<tr><td style="padding:8px 8px 4px 0"><b>Total</b></td><td style="padding:8px 0 4px;text-align:right;white-space:nowrap"><b>{{total}}</b></td></tr>
</table>
{{#owed}}
<p>Please pay <b>{{owed}}</b> by <b>{{dueDay}}</b>.</p>
${button("invoiceUrl", "Pay invoice")}
{{/owed}}
{{^owed}}
<p>No payment is due.</p>
${button("invoiceUrl", "View invoice")}
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
Invoice {{invoiceNumber}} was due on {{dueDay}}. The balance due is {{owed}}.
{{/isOverdue}}
{{^isOverdue}}
Invoice {{invoiceNumber}} is due on {{dueDay}}. The balance due is {{owed}}.
{{/isOverdue}}

View and pay the invoice here:
{{invoiceUrl}}

If you have already paid, please ignore this message.`,
    html: `<p>Hello {{clientName}},</p>
{{#isOverdue}}
<p>Invoice <b style="white-space:nowrap">{{invoiceNumber}}</b> was due on <b>{{dueDay}}</b>. The balance due is <b>{{owed}}</b>.</p>
{{/isOverdue}}
{{^isOverdue}}
<p>Invoice <b style="white-space:nowrap">{{invoiceNumber}}</b> is due on <b>{{dueDay}}</b>. The balance due is <b>{{owed}}</b>.</p>
{{/isOverdue}}
${button("invoiceUrl", "Pay invoice")}
<p>If you have already paid, please ignore this message.</p>`,
  },
  payment_received: {
    subject: "Payment received for invoice {{invoiceNumber}}",
    text: `Hello {{clientName}},

Thank you. We have received your payment of {{amount}} for invoice {{invoiceNumber}}.
{{#owed}}
The balance of {{owed}} is due by {{dueDay}}.
{{/owed}}
{{^owed}}
No balance is due.
{{/owed}}

View the invoice here:
{{invoiceUrl}}`,
    html: `<p>Hello {{clientName}},</p>
<p>Thank you. We have received your payment of <b>{{amount}}</b> for invoice <b style="white-space:nowrap">{{invoiceNumber}}</b>.</p>
{{#owed}}
<p>The balance of <b>{{owed}}</b> is due by <b>{{dueDay}}</b>.</p>
{{/owed}}
{{^owed}}
<p>No balance is due.</p>
{{/owed}}
${button("invoiceUrl", "View invoice")}`,
  },
  payment_notice: {
    subject: "Payment of {{amount}} for invoice {{invoiceNumber}}",
    text: `{{clientName}} paid {{amount}} for invoice {{invoiceNumber}} ({{channel}}).

Total: {{total}}
{{#owed}}
Balance due: {{owed}}
{{/owed}}

{{invoiceUrl}}`,
    html:
      `<p><b>{{clientName}}</b> paid <b>{{amount}}</b> for invoice <b style="white-space:nowrap">{{invoiceNumber}}</b> ({{channel}}).</p>
${facts([["Total", "total"], ["Balance due", "owed"]])}
${button("invoiceUrl", "View invoice")}`,
  },
  payment_refunded: {
    subject: "Refund for invoice {{invoiceNumber}}",
    text: `Hello {{clientName}},

We have refunded {{amount}} for invoice {{invoiceNumber}}. Depending on your payment method, the refund may take a few days to arrive.

View the invoice here:
{{invoiceUrl}}`,
    html: `<p>Hello {{clientName}},</p>
<p>We have refunded <b>{{amount}}</b> for invoice <b style="white-space:nowrap">{{invoiceNumber}}</b>. Depending on your payment method, the refund may take a few days to arrive.</p>
${button("invoiceUrl", "View invoice")}`,
  },
  operator_alert: {
    subject:
      "[{{#isResolved}}RECOVERED{{/isResolved}}{{^isResolved}}{{#isCritical}}ALERT{{/isCritical}}{{^isCritical}}WARNING{{/isCritical}}{{/isResolved}}] {{title}}",
    text: `{{title}}
{{#isResolved}}
Recovered after {{duration}}.
{{/isResolved}}
{{#detail}}

{{detail}}
{{/detail}}

Since {{since}} UTC
{{system}}`,
    html: `<p><b>{{title}}</b></p>
{{#isResolved}}
<p>Recovered after {{duration}}.</p>
{{/isResolved}}
{{#detail}}
<p style="white-space:pre-wrap">{{detail}}</p>
{{/detail}}
<p>Since {{since}} UTC<br>{{system}}</p>`,
  },
  news: {
    subject: "News from {{shopName}}",
    text: `Hello {{clientName}},

There is news from {{shopName}}. Read it here:
{{shopUrl}}`,
    html: `<p>Hello {{clientName}},</p>
<p>There is news from {{shopName}}.</p>
${button("shopUrl", "Read the news")}`,
  },
};
