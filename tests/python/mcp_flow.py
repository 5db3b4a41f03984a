"""A client of the Model Context Protocol that knows a URL and nothing else, by the protocol's own SDK.

The gateway refuses it. From there it finds the resource's metadata and the token service, registers itself,
sends its person there, and speaks with the server behind the gateway. Later its token is refreshed, is revoked,
and is not enough. The last line of the output is a JSON summary.

  SERVER, EDITOR    one MCP server at two URLs; the second wants more scope
  ELSEWHERE         another resource behind the same gateway
  REDIRECT_URI
  USERNAME, PASSWORD
"""

import asyncio
import json
import os
from urllib.parse import parse_qsl, urlsplit

import httpx2
import requests
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata, OAuthToken

import person

RESOURCE_METADATA = "GET /.well-known/oauth-protected-resource/mcp 200"
ALL = ["offline_access", "records:read", "records:write"]
SERVER_METADATA = "GET /.well-known/oauth-authorization-server 200"


class Application:
    """What it knows, what it has asked its person for, and what it has sent lately."""

    def __init__(self, server, tokens=None, client=None):
        self.server, self.tokens, self.client = server, tokens, client
        self.asked, self.sent = [], []
        about = OAuthClientMetadata(
            client_name="Notes reader", redirect_uris=[setting("REDIRECT_URI")]
        )
        self.login = OAuthClientProvider(server, about, self, self.ask, self.answer)

    # The SDK's storage.
    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client

    # The SDK's way to the person and back.
    async def ask(self, url):
        self.asked.append(query(url))
        who = (setting("USERNAME"), setting("PASSWORD"))
        self.arrived = await asyncio.to_thread(person.answer, url, setting("REDIRECT_URI"), *who)

    async def answer(self):
        return AuthorizationCodeResult(**query(self.arrived))

    async def note(self, response):
        path = urlsplit(str(response.url)).path
        self.sent.append(f"{response.request.method} {path} {response.status_code}")

    async def claims(self, mode="auto"):
        """Who the server says that this is."""
        self.sent.clear()
        async with httpx2.AsyncClient(
            auth=self.login, event_hooks={"response": [self.note]}
        ) as http:
            transport = streamable_http_client(self.server, http_client=http)
            async with Client(transport, mode=mode) as client:
                result = await client.call_tool("who_am_i", {})
        assert not result.is_error, result
        return result.structured_content

    def has_sent(self, *requests):
        assert self.sent[: len(requests)] == list(requests), self.sent


def setting(name):
    return os.environ[name]


def query(url):
    return dict(parse_qsl(urlsplit(url).query))


def scopes(text):
    return sorted(text.split())


async def finds_its_way(app):
    """From a refusal to an answer: every URL is the servers' own word."""
    claims = await app.claims("legacy")
    app.has_sent(
        "POST /mcp 401",
        RESOURCE_METADATA,
        SERVER_METADATA,
        "POST /register 201",
        "POST /token 200",
        "POST /mcp 200",
    )
    # With a session, a stream beside it, and its end.
    assert {"GET /mcp 200", "DELETE /mcp 200"} < set(app.sent), app.sent
    [asked] = app.asked
    assert asked["resource"] == setting("SERVER"), asked
    # All that the resource has: it registers with that, and could not ask for more than that later.
    assert scopes(asked["scope"]) == ALL, asked
    assert app.client.token_endpoint_auth_method == "none", app.client
    assert claims["aud"] == setting("SERVER") and claims["client_id"] == app.client.client_id
    assert scopes(claims["scope"]) == ALL[1:], "what the resource knows"
    return claims


async def needs_nobody(app):
    """The protocol without sessions, and a refreshed token, which is the person's business no more."""
    await app.claims()
    assert set(app.sent) == {"POST /mcp 200"}, app.sent
    before = app.tokens
    app.login.context.token_expiry_time = 1
    await app.claims()
    app.has_sent("POST /token 200", "POST /mcp 200")
    assert before.access_token != app.tokens.access_token
    assert before.refresh_token != app.tokens.refresh_token
    assert len(app.asked) == 1, app.asked


def is_good_nowhere_else(token):
    """It has the scope that is needed there, and is for another resource."""
    answer = requests.get(
        setting("ELSEWHERE"), headers={"Authorization": f"Bearer {token}"}, timeout=10
    )
    assert answer.status_code == 401, answer.status_code
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def comes_back(app):
    """Its tokens are revoked, and the person lets it in again; it is still the same client."""
    end = requests.post(
        str(app.login.context.oauth_metadata.revocation_endpoint),
        {"token": app.tokens.refresh_token, "client_id": app.client.client_id},
        timeout=10,
    )
    assert end.status_code == 200, end.text
    claims = await app.claims()
    app.has_sent(
        "POST /mcp 401", RESOURCE_METADATA, SERVER_METADATA, "POST /token 200", "POST /mcp 200"
    )
    assert len(app.asked) == 2 and claims["client_id"] == app.client.client_id, claims


async def asks_for_more(app):
    """The same application, started anew with less, where that is not enough."""
    answer = requests.post(
        str(app.login.context.oauth_metadata.token_endpoint),
        {
            "grant_type": "refresh_token",
            "refresh_token": app.tokens.refresh_token,
            "client_id": app.client.client_id,
            "scope": "records:read",
        },
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    less = OAuthToken.model_validate(answer.json())
    editor = Application(setting("EDITOR"), less, app.client)
    claims = await editor.claims()
    editor.has_sent(
        "POST /mcp/editor 403",
        RESOURCE_METADATA,
        SERVER_METADATA,
        "POST /token 200",
        "POST /mcp/editor 200",
    )
    [asked] = editor.asked
    assert asked["resource"] == setting("SERVER"), asked
    assert {"records:read", "records:write"} < set(asked["scope"].split()), asked
    assert scopes(claims["scope"]) == ALL[1:], claims


async def main():
    app = Application(setting("SERVER"))
    claims = await finds_its_way(app)
    await needs_nobody(app)
    is_good_nowhere_else(app.tokens.access_token)
    await comes_back(app)
    await asks_for_more(app)
    print(json.dumps({"sub": claims["sub"], "aud": claims["aud"]}))


asyncio.run(main())
