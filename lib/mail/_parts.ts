/**
 * HTML fragments that old and new mail programs render alike: inline styles, no
 * scripts, nothing loaded. Double braces are left for the template.
 *
 * @module
 */

/** A link in the form of a button. */
export function button(variable: string, label: string): string {
  const style = "display:inline-block;padding:12px 20px;border-radius:6px;" +
    "background:#0b57d0;color:#ffffff;text-decoration:none;font-weight:bold";
  return `<p><a href="{{${variable}}}" style="${style}">${label}</a></p>`;
}

/** Labelled values, a line each; empty values are left out. */
export function facts(rows: readonly (readonly [label: string, variable: string])[]): string {
  return rows.map(([label, variable]) =>
    `{{#${variable}}}
<p style="margin:4px 0">${label}: {{${variable}}}</p>
{{/${variable}}}`
  ).join("\n");
}

/** The HTML document of every mail; `title`, `content` and `footer` are HTML. */
export function frame(
  { language, title, content, footer }: {
    language: string;
    title: string;
    content: string;
    footer: string;
  },
): string {
  const card = "max-width:600px;margin:0 auto;padding:24px;background:#ffffff;color:#1a1a1a;" +
    "font:16px/1.5 Arial,Helvetica,sans-serif";
  return `<!DOCTYPE html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${title}</title>
</head>
<body style="margin:0;padding:16px;background:#f1f3f4">
<div style="${card}">
${content}
<p style="margin-top:32px;border-top:1px solid #dadce0;padding-top:12px;color:#5f6368;font-size:13px">${footer}</p>
</div>
</body>
</html>
`;
}
