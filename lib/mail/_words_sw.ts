/**
 * The usual words of mails, in Swahili.
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

asante kwa kutuandikia. Tutakujibu hivi karibuni.
{{#invoiceNumber}}

Ankara yako {{invoiceNumber}} ya {{total}} iko hapa, na unaweza kuilipa hapo hadi {{dueDay}}:
{{invoiceUrl}}
{{/invoiceNumber}}`,
    html: `<p>Habari{{#clientName}} {{clientName}}{{/clientName}},</p>
<p>asante kwa kutuandikia. Tutakujibu hivi karibuni.</p>
{{#invoiceNumber}}
<p>Ankara yako <b>{{invoiceNumber}}</b> ya <b>{{total}}</b> inaweza kulipwa hadi {{dueDay}}.</p>
${button("invoiceUrl", "Tazama ankara")}
{{/invoiceNumber}}`,
  },
  lead_notice: {
    subject: "Ombi jipya la {{clientName}}",
    text: `{{clientName}} ({{source}}) ameandika:

{{message}}

Barua pepe: {{clientEmail}}
Simu: {{clientPhone}}
{{#invoiceNumber}}
Ankara: {{invoiceNumber}}, {{total}}
{{invoiceUrl}}
{{/invoiceNumber}}`,
    html: `<p><b>{{clientName}}</b> ({{source}}) ameandika:</p>
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
    subject: "Ankara {{invoiceNumber}} ya {{shopName}}",
    text: `Habari {{clientName}},

hii ni ankara yako {{invoiceNumber}} ya {{total}}.
{{#lines}}
- {{description}}, {{quantity}} × {{unitPrice}}: {{amount}}
{{/lines}}
{{#owed}}

Tafadhali lipa {{owed}} kabla ya mwisho wa {{dueDay}}. Hapa unaweza kuona jinsi ya kulipa, na kulipa:
{{/owed}}
{{^owed}}

Hudaiwi chochote. Unaweza kuiona hapa:
{{/owed}}
{{invoiceUrl}}
{{#notes}}

{{notes}}
{{/notes}}
{{#hasPdf}}

Ankara imeambatishwa kama PDF.
{{/hasPdf}}`,
    html: `<p>Habari {{clientName}},</p>
<p>hii ni ankara yako <b>{{invoiceNumber}}</b>.</p>
<table style="width:100%;border-collapse:collapse">
{{#lines}}
<tr><td style="padding:4px 8px 4px 0">{{description}} ({{quantity}} × {{unitPrice}})</td><td style="padding:4px 0;text-align:right;white-space:nowrap">{{amount}}</td></tr>
{{/lines}}
<tr><td style="padding:8px 8px 4px 0"><b>Jumla</b></td><td style="padding:8px 0 4px;text-align:right;white-space:nowrap"><b>{{total}}</b></td></tr>
</table>
{{#owed}}
<p>Tafadhali lipa <b>{{owed}}</b> kabla ya mwisho wa <b>{{dueDay}}</b>.</p>
${button("invoiceUrl", "Lipa ankara")}
{{/owed}}
{{^owed}}
<p>Hudaiwi chochote.</p>
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
      "{{#isOverdue}}Muda wa kulipa ankara {{invoiceNumber}} umepita{{/isOverdue}}{{^isOverdue}}Ankara {{invoiceNumber}} inapaswa kulipwa kufikia {{dueDay}}{{/isOverdue}}",
    text: `Habari {{clientName}},

{{#isOverdue}}
ankara yako {{invoiceNumber}} ilipaswa kulipwa kufikia {{dueDay}}, na {{owed}} bado hazijalipwa.
{{/isOverdue}}
{{^isOverdue}}
ankara yako {{invoiceNumber}} inapaswa kulipwa kufikia {{dueDay}}, na {{owed}} bado hazijalipwa.
{{/isOverdue}}

Unaweza kuiona na kuilipa hapa:
{{invoiceUrl}}

Ikiwa tayari umelipa, tafadhali puuza ujumbe huu.`,
    html: `<p>Habari {{clientName}},</p>
{{#isOverdue}}
<p>ankara yako <b>{{invoiceNumber}}</b> ilipaswa kulipwa kufikia {{dueDay}}, na <b>{{owed}}</b> bado hazijalipwa.</p>
{{/isOverdue}}
{{^isOverdue}}
<p>ankara yako <b>{{invoiceNumber}}</b> inapaswa kulipwa kufikia {{dueDay}}, na <b>{{owed}}</b> bado hazijalipwa.</p>
{{/isOverdue}}
${button("invoiceUrl", "Lipa ankara")}
<p>Ikiwa tayari umelipa, tafadhali puuza ujumbe huu.</p>`,
  },
  payment_received: {
    subject: "Malipo yako ya ankara {{invoiceNumber}}",
    text: `Habari {{clientName}},

asante: tumepokea malipo yako ya {{amount}} kwa ankara {{invoiceNumber}}.
{{#owed}}
Bado unadaiwa {{owed}}, ilipe kabla ya mwisho wa {{dueDay}}.
{{/owed}}
{{^owed}}
Hudaiwi chochote tena.
{{/owed}}

{{invoiceUrl}}`,
    html: `<p>Habari {{clientName}},</p>
<p>asante: tumepokea malipo yako ya <b>{{amount}}</b> kwa ankara <b>{{invoiceNumber}}</b>.</p>
{{#owed}}
<p>Bado unadaiwa <b>{{owed}}</b>, ilipe kabla ya mwisho wa {{dueDay}}.</p>
{{/owed}}
{{^owed}}
<p>Hudaiwi chochote tena.</p>
{{/owed}}
${button("invoiceUrl", "Tazama ankara")}`,
  },
  payment_notice: {
    subject: "{{amount}} zimelipwa kwa ankara {{invoiceNumber}}",
    text: `{{clientName}} amelipa {{amount}} kwa ankara {{invoiceNumber}} ({{channel}}).
Jumla: {{total}}
{{#owed}}
Bado hazijalipwa: {{owed}}
{{/owed}}

{{invoiceUrl}}`,
    html:
      `<p><b>{{clientName}}</b> amelipa <b>{{amount}}</b> kwa ankara <b>{{invoiceNumber}}</b> ({{channel}}).</p>
${facts([["Jumla", "total"], ["Bado hazijalipwa", "owed"]])}
${button("invoiceUrl", "Tazama ankara")}`,
  },
  payment_refunded: {
    subject: "Umerudishiwa pesa za ankara {{invoiceNumber}}",
    text: `Habari {{clientName}},

tumekurudishia {{amount}} za ankara {{invoiceNumber}}. Kulingana na jinsi ulivyolipa, huenda zikachukua siku kadhaa kufika.

{{invoiceUrl}}`,
    html: `<p>Habari {{clientName}},</p>
<p>tumekurudishia <b>{{amount}}</b> za ankara <b>{{invoiceNumber}}</b>. Kulingana na jinsi ulivyolipa, huenda zikachukua siku kadhaa kufika.</p>
${button("invoiceUrl", "Tazama ankara")}`,
  },
  operator_alert: {
    subject:
      "[{{#isResolved}}IMETENGAMAA{{/isResolved}}{{^isResolved}}{{#isCritical}}DHARURA{{/isCritical}}{{^isCritical}}TAHADHARI{{/isCritical}}{{/isResolved}}] {{title}}",
    text: `{{title}}
{{#isResolved}}
Hali ni nzuri tena, baada ya {{duration}}.
{{/isResolved}}
{{#detail}}

{{detail}}
{{/detail}}

Tangu {{since}} UTC
{{system}}`,
    html: `<p><b>{{title}}</b></p>
{{#isResolved}}
<p>Hali ni nzuri tena, baada ya {{duration}}.</p>
{{/isResolved}}
{{#detail}}
<p style="white-space:pre-wrap">{{detail}}</p>
{{/detail}}
<p>Tangu {{since}} UTC<br>{{system}}</p>`,
  },
  news: {
    subject: "Habari mpya za {{shopName}}",
    text: `Habari {{clientName}},

kuna kitu kipya {{shopName}}:
{{shopUrl}}`,
    html: `<p>Habari {{clientName}},</p>
<p>kuna kitu kipya {{shopName}}.</p>
${button("shopUrl", "Tazama")}`,
  },
};
