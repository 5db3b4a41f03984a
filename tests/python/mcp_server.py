"""A server of the Model Context Protocol that knows nothing of OAuth: the gateway in front of it does.

It has one tool, which says who calls: by the JWT that has come, once that is verified.

  LISTEN    HOST:PORT
  ISSUER    the token service, whose keys sign the JWT
  AUDIENCE  whom the JWT must be for
"""

import os
from typing import Any

import jwt
import uvicorn
from mcp.server.mcpserver import Context, MCPServer

ISSUER = os.environ["ISSUER"]
KEYS = jwt.PyJWKClient(ISSUER + "/jwks.json")

server = MCPServer("notes")


@server.tool()
def who_am_i(ctx: Context) -> dict[str, Any]:
    """The claims of whoever calls."""
    scheme, _, token = ctx.headers["authorization"].partition(" ")
    assert scheme == "Bearer", scheme
    key = KEYS.get_signing_key_from_jwt(token).key
    return jwt.decode(token, key, ["ES256"], audience=os.environ["AUDIENCE"], issuer=ISSUER)


def at_any_path(app):
    """Which paths there are, the gateway says."""

    async def serve(scope, receive, send):
        here = {**scope, "path": "/mcp"} if scope["type"] == "http" else scope
        await app(here, receive, send)

    return serve


def main():
    host, _, port = os.environ["LISTEN"].partition(":")
    app = server.streamable_http_app(host=host)
    uvicorn.run(at_any_path(app), host=host, port=int(port))


main()
