"""A real SMTP server for tests: aiosmtpd on a free port, configured by one JSON line
on standard input. Writes each message as a JSON line to standard output."""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self, reply):
        self.reply = reply

    async def handle_DATA(self, server, session, envelope):
        if self.reply:
            return self.reply
        message = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode("utf-8"),
            "isTls": server.transport.get_extra_info("ssl_object") is not None,
            "isAuthenticated": session.authenticated,
        }
        print(json.dumps(message), flush=True)
        return "250 OK"


def authenticator_for(user, password):
    def authenticate(server, session, envelope, mechanism, data):
        is_good = data.login == user.encode() and data.password == password.encode()
        # Not handled: the server then answers 535 by itself.
        return AuthResult(success=is_good, handled=False)

    return authenticate


async def main():
    options = json.loads(sys.stdin.readline())
    context = None
    if options.get("certificate"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options["certificate"], options["key"])
    is_implicit = options["tls"] == "implicit"
    extra = {}
    if options.get("user"):
        extra["authenticator"] = authenticator_for(options["user"], options["password"])
        extra["auth_required"] = True
        extra["auth_require_tls"] = options["tls"] == "starttls"
    if options["tls"] == "starttls":
        extra["tls_context"] = context
        extra["require_starttls"] = True

    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Handler(options.get("reply")), hostname="localhost", **extra),
        "127.0.0.1",
        0,
        ssl=context if is_implicit else None,
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    # Until whoever started it closes the pipe, or ends.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
