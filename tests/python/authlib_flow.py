"""A web application with Authlib, from its metadata to the end of its tokens.

Authorization code with PKCE, the ID token (signature, issuer, audience, nonce, hash), userinfo, refresh,
introspection, revocation, logout, and a client that signs assertions in the place of a secret. The last line of
the output is a JSON summary.

  ISSUER         the token service
  CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, AFTER_LOGOUT
  KEYS_ID, KEYS_JWK      a client with `private_key_jwt`, and its private key
  SERVER_ID, SERVER_SECRET  a resource server
  USERNAME, PASSWORD
"""

import json
import os
import time
from urllib.parse import parse_qs, urlsplit

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.base_client.sync_app import BaseApp, OAuth2Mixin
from authlib.integrations.base_client.sync_openid import OpenIDMixin
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from requests.exceptions import HTTPError

import person

SCOPE = "openid profile email offline_access records:read"


class Application(OAuth2Mixin, OpenIDMixin, BaseApp):
    """What Authlib's integrations for web frameworks are made of, without a framework."""

    client_cls = OAuth2Session

    def _on_update_token(self, token, refresh_token=None, access_token=None):
        self.updated = token


def setting(name):
    return os.environ[name]


def application(secret=None):
    return Application(
        None,
        client_id=setting("CLIENT_ID"),
        client_secret=secret or setting("CLIENT_SECRET"),
        server_metadata_url=setting("ISSUER") + "/.well-known/openid-configuration",
        client_kwargs={"scope": SCOPE, "code_challenge_method": "S256", "timeout": 10},
    )


def code_flow(app):
    """Tokens that Authlib has verified, and the claims of the ID token."""
    asked, arrived = ask(app)
    token = redeem(app, asked, arrived)
    claims = app.parse_id_token(token, asked["nonce"])
    assert claims["aud"] == setting("CLIENT_ID"), claims
    assert token["expires_at"] > time.time() and token["token_type"] == "Bearer", token
    assert "." not in token["access_token"], "the access token is opaque"
    return token, claims


def ask(app, decision="approve", **more):
    redirect = setting("REDIRECT_URI")
    asked = app.create_authorization_url(redirect, **more)
    who = (setting("USERNAME"), setting("PASSWORD"))
    return asked, person.answer(asked["url"], redirect, *who, decision)


def redeem(app, asked, arrived):
    # RFC 9207: Authlib leaves this check to the application.
    assert parse_qs(urlsplit(arrived).query)["iss"] == [setting("ISSUER")], arrived
    return app.fetch_access_token(
        setting("REDIRECT_URI"),
        authorization_response=arrived,
        state=asked["state"],
        code_verifier=asked["code_verifier"],
    )


def refused(error, run):
    """That something ends with an OAuth error."""
    try:
        run()
    except OAuthError as refusal:
        assert refusal.error == error, f"{error}, not {refusal.error}: {refusal.description}"
    else:
        raise AssertionError(f"this must be {error}")


def refuses_what_is_wrong(app):
    """What the server refuses, and what Authlib itself does."""
    asked, arrived = ask(app)
    stranger = application("not the secret")
    refused("invalid_client", lambda: redeem(stranger, asked, arrived))
    # A refused secret uses nothing up; another verifier does.
    refused("invalid_grant", lambda: redeem(app, {**asked, "code_verifier": "v" * 50}, arrived))
    asked, arrived = ask(app)
    token = redeem(app, asked, arrived)
    for change in ({"nonce": "another"}, {"access_token": "another"}):
        nonce = change.get("nonce", asked["nonce"])
        try:
            app.parse_id_token({**token, **change}, nonce)
        except JoseError as error:
            assert error.error == "invalid_claim", error
        else:
            raise AssertionError(f"Authlib takes an ID token with {change}")
    asked, arrived = ask(app, "deny", prompt="consent")
    told = parse_qs(urlsplit(arrived).query)
    assert "code" not in told and told["error"] == ["access_denied"], arrived
    assert (told["state"], told["iss"]) == ([asked["state"]], [setting("ISSUER")]), arrived


def refresh_and_end(app, token):
    """Rotation, introspection before and after, and revocation."""
    metadata = app.load_server_metadata()
    with app._get_oauth_client(**metadata) as session:
        session.token = token
        fresh = session.refresh_token(metadata["token_endpoint"])
        assert fresh["access_token"] != token["access_token"]
        assert fresh["refresh_token"] != token["refresh_token"]
        told = introspect(metadata, fresh["access_token"])
        assert told["active"] and told["client_id"] == setting("CLIENT_ID"), told
        ended = session.revoke_token(metadata["revocation_endpoint"], fresh["refresh_token"])
        assert (ended.status_code, ended.text) == (200, ""), ended.text
        refused("invalid_grant", lambda: session.refresh_token(refresh_token=fresh["refresh_token"]))
    assert introspect(metadata, fresh["access_token"]) == {"active": False}
    try:
        app.userinfo(token=fresh)
    except HTTPError as error:
        assert error.response.status_code == 401, error
    else:
        raise AssertionError("userinfo after revocation")


def logs_out(app):
    """The browser comes back, and what the login has led to has ended."""
    asked, arrived = ask(app, scope="openid records:read")
    token = redeem(app, asked, arrived)
    metadata = app.load_server_metadata()
    assert introspect(metadata, token["access_token"])["active"]
    end = app.create_logout_url(setting("AFTER_LOGOUT"), id_token_hint=token["id_token"])
    answer = requests.get(end["url"], allow_redirects=False, timeout=10)
    assert answer.headers.get("location") == f"{setting('AFTER_LOGOUT')}?state={end['state']}", answer.text
    assert introspect(metadata, token["access_token"]) == {"active": False}


def introspect(metadata, token):
    server = OAuth2Session(setting("SERVER_ID"), setting("SERVER_SECRET"))
    answer = server.introspect_token(metadata["introspection_endpoint"], token)
    assert answer.status_code == 200, answer.text
    return answer.json()


def signs_assertions(metadata):
    """`private_key_jwt`, by Authlib's own signer: made out to the issuer, and for minutes."""
    key = ECKey.import_key(json.loads(setting("KEYS_JWK")))

    def session(audience, lasts, key=key):
        client = OAuth2Session(
            setting("KEYS_ID"),
            key,
            token_endpoint_auth_method="private_key_jwt",
            revocation_endpoint_auth_method="private_key_jwt",
        )
        claims = {"exp": int(time.time()) + lasts}
        client.register_client_auth_method(PrivateKeyJWT(audience, claims=claims, alg="ES256"))
        return client

    def token(*given, **more):
        endpoint = metadata["token_endpoint"]
        return session(*given, **more).fetch_token(endpoint, grant_type="client_credentials")

    good = token(metadata["issuer"], 60)
    assert introspect(metadata, good["access_token"])["sub"] == setting("KEYS_ID")
    refused("invalid_client", lambda: token(metadata["token_endpoint"], 60))
    refused("invalid_client", lambda: token(metadata["issuer"], 3600))
    refused("invalid_client", lambda: token(metadata["issuer"], 60, key=ECKey.generate_key("P-256")))
    # A signer of its own: Authlib's repeats the `jti` of its first assertion where claims are given, which
    # is a replay.
    session(metadata["issuer"], 60).revoke_token(
        metadata["revocation_endpoint"], good["access_token"]
    ).raise_for_status()
    assert introspect(metadata, good["access_token"]) == {"active": False}


def main():
    app = application()
    token, claims = code_flow(app)
    told = app.userinfo(token=token)
    assert told["sub"] == claims["sub"], told
    refuses_what_is_wrong(app)
    refresh_and_end(app, token)
    logs_out(app)
    signs_assertions(app.load_server_metadata())
    print(json.dumps({"sub": claims["sub"], "email": told["email"], "scope": token.get("scope")}))


main()
