import nodemailer from "nodemailer";
import { startSmtpServer } from "./support/smtp_server.ts";
await using server = await startSmtpServer({ tls: "implicit" });
for (const o of [{host:"127.0.0.1"},{host:"localhost"},{host:"127.0.0.1",tls:{ca:server.ca}},{host:"localhost",tls:{ca:server.ca}}, {host:"localhost",tls:{ca:server.ca,servername:"localhost"}},{host:"localhost",tls:{rejectUnauthorized:false}}]) {
  const t = nodemailer.createTransport({ ...o, port: server.port, secure: true, connectionTimeout: 3000, greetingTimeout: 3000, socketTimeout: 3000, debug:true, logger:false } as any);
  const t0=performance.now();
  const r = await t.sendMail({from:"a@example.com",to:"b@example.com",text:"x",subject:"y"}).then(()=> "sent", (e: any)=>`${e.code} ${e.message}`);
  console.log(JSON.stringify(o).slice(0,60), r, (performance.now()-t0)|0);
}
