/**
 * The default mail templates, in Swahili.
 *
 * @module
 */
import type { MailKind, MailTexts } from "../kv/mail_records.ts";
import { button, facts } from "./_parts.ts";

/** By kind. */
export const MAILS_SW: Readonly<Record<MailKind, MailTexts>> = {
  lead_received: {
    subject: "Tumepokea ombi lako",
    text: `Habari{{#clientName}} {{clientName}}{{/clientName}},

Asante kwa ombi lako. Tutakujibu hivi karibuni.
{{#invoiceNumber}}

Ankara yako {{invoiceNumber}} ya {{total}} iko tayari. Tafadhali lipa kufikia tarehe {{dueDay}}:
{{invoiceUrl}}
{{/invoiceNumber}}`,
    html: `<p>Habari{{#clientName}} {{clientName}}{{/clientName}},</p>
<p>Asante kwa ombi lako. Tutakujibu hivi karibuni.</p>
{{#invoiceNumber}}
<p>Ankara yako <b style="white-space:nowrap">{{invoiceNumber}}</b> ya <b>{{total}}</b> iko tayari. Tafadhali lipa kufikia tarehe <b>{{dueDay}}</b>.</p>
${button("invoiceUrl", "Tazama ankara")}
{{/invoiceNumber}}`,
  },
  lead_notice: {
    subject: "Ombi jipya kutoka kwa {{clientName}}",
    text: `{{clientName}} ametuma ombi ({{source}}):

{{message}}

Barua pepe: {{clientEmail}}
Simu: {{clientPhone}}
{{#invoiceNumber}}
Ankara: {{invoiceNumber}}, {{total}}
{{invoiceUrl}}
{{/invoiceNumber}}`,
    html: `<p><b>{{clientName}}</b> ametuma ombi ({{source}}):</p>
<p style="white-space:pre-wrap">{{message}}</p>
${
      facts([
        ["Barua pepe", "clientEmail"],
        ["Simu", "clientPhone"],
        ["Ankara", "invoiceNumber"],
        ["Jumla", "total"],
      ])
    }
{{#invoiceUrl}}
${button("invoiceUrl", "Tazama ankara")}
{{/invoiceUrl}}`,
  },
  invoice_sent: {
    subject: "Ankara {{invoiceNumber}} kutoka {{shopName}}",
    text: `Habari {{clientName}},

Hii ni ankara yako {{invoiceNumber}} ya {{total}}.

{{#lines}}
- {{description}}, {{quantity}} × {{unitPrice}}: {{amount}}
{{/lines}}
{{#owed}}

Tafadhali lipa {{owed}} kufikia tarehe {{dueDay}}. Tazama na ulipe ankara hapa:
{{/owed}}
{{^owed}}

Hakuna malipo yanayodaiwa. Tazama ankara hapa:
{{/owed}}
{{invoiceUrl}}
{{#notes}}

{{notes}}
{{/notes}}
{{#hasPdf}}

Ankara imeambatishwa kama PDF.
{{/hasPdf}}`,
    html: `<p>Habari {{clientName}},</p>
<p>Hii ni ankara yako <b style="white-space:nowrap">{{invoiceNumber}}</b> ya <b>{{total}}</b>.</p>
<table style="width:100%;border-collapse:collapse">
{{#lines}}
<tr><td style="padding:4px 8px 4px 0">{{description}} ({{quantity}} × {{unitPrice}})</td><td style="padding:4px 0;text-align:right;white-space:nowrap">{{amount}}</td></tr>
{{/lines}}
<tr><td style="padding:8px 8px 4px 0"><b>Jumla</b></td><td style="padding:8px 0 4px;text-align:right;white-space:nowrap"><b>{{total}}</b></td></tr>
</table>
{{#owed}}
<p>Tafadhali lipa <b>{{owed}}</b> kufikia tarehe <b>{{dueDay}}</b>.</p>
${button("invoiceUrl", "Lipa ankara")}
{{/owed}}
{{^owed}}
<p>Hakuna malipo yanayodaiwa.</p>
${button("invoiceUrl", "Tazama ankara")}
{{/owed}}
{{#notes}}
<p style="white-space:pre-wrap">{{notes}}</p>
{{/notes}}
{{#hasPdf}}
<p>Ankara imeambatishwa kama PDF.</p>
{{/hasPdf}}`,
  },
  invoice_reminder: {
    subject:
      "{{#isOverdue}}Muda wa kulipa ankara {{invoiceNumber}} umepita{{/isOverdue}}{{^isOverdue}}Ankara {{invoiceNumber}} inatakiwa kulipwa kufikia tarehe {{dueDay}}{{/isOverdue}}",
    text: `Habari {{clientName}},

{{#isOverdue}}
Ankara {{invoiceNumber}} ilitakiwa kulipwa kufikia tarehe {{dueDay}}. Salio linalodaiwa ni {{owed}}.
{{/isOverdue}}
{{^isOverdue}}
Ankara {{invoiceNumber}} inatakiwa kulipwa kufikia tarehe {{dueDay}}. Salio linalodaiwa ni {{owed}}.
{{/isOverdue}}

Tazama na ulipe ankara hapa:
{{invoiceUrl}}

Ikiwa tayari umelipa, tafadhali puuza ujumbe huu.`,
    html: `<p>Habari {{clientName}},</p>
{{#isOverdue}}
<p>Ankara <b style="white-space:nowrap">{{invoiceNumber}}</b> ilitakiwa kulipwa kufikia tarehe <b>{{dueDay}}</b>. Salio linalodaiwa ni <b>{{owed}}</b>.</p>
{{/isOverdue}}
{{^isOverdue}}
<p>Ankara <b style="white-space:nowrap">{{invoiceNumber}}</b> inatakiwa kulipwa kufikia tarehe <b>{{dueDay}}</b>. Salio linalodaiwa ni <b>{{owed}}</b>.</p>
{{/isOverdue}}
${button("invoiceUrl", "Lipa ankara")}
<p>Ikiwa tayari umelipa, tafadhali puuza ujumbe huu.</p>`,
  },
  payment_received: {
    subject: "Malipo ya ankara {{invoiceNumber}} yamepokelewa",
    text: `Habari {{clientName}},

Asante. Tumepokea malipo yako ya {{amount}} kwa ankara {{invoiceNumber}}.
{{#owed}}
Salio la {{owed}} linatakiwa kulipwa kufikia tarehe {{dueDay}}.
{{/owed}}
{{^owed}}
Hakuna salio linalodaiwa.
{{/owed}}

Tazama ankara hapa:
{{invoiceUrl}}`,
    html: `<p>Habari {{clientName}},</p>
<p>Asante. Tumepokea malipo yako ya <b>{{amount}}</b> kwa ankara <b style="white-space:nowrap">{{invoiceNumber}}</b>.</p>
{{#owed}}
<p>Salio la <b>{{owed}}</b> linatakiwa kulipwa kufikia tarehe <b>{{dueDay}}</b>.</p>
{{/owed}}
{{^owed}}
<p>Hakuna salio linalodaiwa.</p>
{{/owed}}
${button("invoiceUrl", "Tazama ankara")}`,
  },
  payment_notice: {
    subject: "Malipo ya {{amount}} kwa ankara {{invoiceNumber}}",
    text: `{{clientName}} amelipa {{amount}} kwa ankara {{invoiceNumber}} ({{channel}}).

Jumla: {{total}}
{{#owed}}
Salio linalodaiwa: {{owed}}
{{/owed}}

{{invoiceUrl}}`,
    html:
      `<p><b>{{clientName}}</b> amelipa <b>{{amount}}</b> kwa ankara <b style="white-space:nowrap">{{invoiceNumber}}</b> ({{channel}}).</p>
${facts([["Jumla", "total"], ["Salio linalodaiwa", "owed"]])}
${button("invoiceUrl", "Tazama ankara")}`,
  },
  payment_refunded: {
    subject: "Marejesho ya malipo ya ankara {{invoiceNumber}}",
    text: `Habari {{clientName}},

Tumekurejeshea {{amount}} kwa ankara {{invoiceNumber}}. Kulingana na njia uliyotumia kulipa, huenda pesa zikachukua siku chache kukufikia.

Tazama ankara hapa:
{{invoiceUrl}}`,
    html: `<p>Habari {{clientName}},</p>
<p>Tumekurejeshea <b>{{amount}}</b> kwa ankara <b style="white-space:nowrap">{{invoiceNumber}}</b>. Kulingana na njia uliyotumia kulipa, huenda pesa zikachukua siku chache kukufikia.</p>
${button("invoiceUrl", "Tazama ankara")}`,
  },
  operator_alert: {
    subject:
      "[{{#isResolved}}IMETATULIWA{{/isResolved}}{{^isResolved}}{{#isCritical}}DHARURA{{/isCritical}}{{^isCritical}}TAHADHARI{{/isCritical}}{{/isResolved}}] {{title}}",
    text: `{{title}}
{{#isResolved}}
Hali imerejea kawaida baada ya {{duration}}.
{{/isResolved}}
{{#detail}}

{{detail}}
{{/detail}}

Tangu {{since}} UTC
{{system}}`,
    html: `<p><b>{{title}}</b></p>
{{#isResolved}}
<p>Hali imerejea kawaida baada ya {{duration}}.</p>
{{/isResolved}}
{{#detail}}
<p style="white-space:pre-wrap">{{detail}}</p>
{{/detail}}
<p>Tangu {{since}} UTC<br>{{system}}</p>`,
  },
  news: {
    subject: "Habari mpya kutoka {{shopName}}",
    text: `Habari {{clientName}},

Kuna habari mpya kutoka {{shopName}}. Zisome hapa:
{{shopUrl}}`,
    html: `<p>Habari {{clientName}},</p>
<p>Kuna habari mpya kutoka {{shopName}}.</p>
${button("shopUrl", "Soma habari")}`,
  },
};
