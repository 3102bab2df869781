"""Refuses what does not come from the page itself, so that no other web page can use the server."""

from urllib.parse import urlsplit

from speechvq.extras import needed_for

with needed_for("the page", "serve"):
    from starlette.datastructures import Headers, MutableHeaders
    from starlette.responses import JSONResponse
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self' ws://127.0.0.1:* ws://localhost:*; "  # of WebSockets, some browsers do not know 'self'
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: requests must name this computer as their host, and come from the page if from any.

    app: what answers the other requests.

    A name of this computer that a foreign domain resolves to is no loopback name, and a page on another port is another
    origin; a forwarded port (`ssh -L`) works.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        reason = refusal(Headers(scope=scope), scope["path"])
        if reason is None:
            await self.app(scope, receive, self._with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await JSONResponse({"error": reason}, 403)(scope, receive, self._with_headers(send))

    @staticmethod
    def _with_headers(send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        return sending


def refusal(headers: Headers, path: str) -> str | None:
    """Why a request is refused; None if it is not."""
    host = headers.get("host", "")
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        name = None
    if name not in LOOPBACK:
        return "This page is for the computer that it runs on: open it as 127.0.0.1 or localhost."
    own = headers.get("origin", f"http://{host}") == f"http://{host}"
    # A link on another page may lead here; everything else on it may not.
    if not own or (path != "/" and headers.get("sec-fetch-site", "none") not in ("same-origin", "none")):
        return "Another web page may not use this one."
    return None
