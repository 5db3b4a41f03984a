"""A service that goes on for whoever called it, with google-auth's client for token exchange (RFC 8693).

Its credentials fetch a token for each call by themselves, as they do at Google's token service; here they
ask ours, and call the protected service through the gateway. The last line of the output is a JSON summary.

  ISSUER         the token service
  REDIRECT_URI   of the public client CLIENT_ID, whose person the subject is
  BILLING_ID, BILLING_SECRET, BILLING_RESOURCE    the service that exchanges
  RESOURCE, RESOURCE_URL    what it may call, and a GET of it through the gateway
  SERVER_ID, SERVER_SECRET  a resource server
  USERNAME, PASSWORD
"""

import json
import os
from calendar import timegm

import requests
from authlib.integrations.requests_client import OAuth2Session
from google.auth import exceptions, identity_pool
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import sts, utils

import person

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


def setting(name):
    return os.environ[name]


def subject():
    """What the person's application holds: tokens for the billing service."""
    redirect = setting("REDIRECT_URI")
    verifier = "v" * 50
    client = OAuth2Session(
        setting("CLIENT_ID"),
        scope="openid records:read",
        redirect_uri=redirect,
        code_challenge_method="S256",
    )
    url, state = client.create_authorization_url(
        setting("ISSUER") + "/authorize",
        code_verifier=verifier,
        resource=setting("BILLING_RESOURCE"),
    )
    return client.fetch_token(
        setting("ISSUER") + "/token",
        authorization_response=person.answer(url, redirect, setting("USERNAME"), setting("PASSWORD")),
        state=state,
        code_verifier=verifier,
    )


class Caller(identity_pool.SubjectTokenSupplier):
    """The token that a request came with."""

    def __init__(self, token):
        self.token = token

    def get_subject_token(self, context, request):
        return self.token


def credentials(token, audience, scope="records:read"):
    return identity_pool.Credentials(
        audience=audience,
        subject_token_type=ACCESS_TOKEN,
        token_url=setting("ISSUER") + "/token",
        subject_token_supplier=Caller(token),
        client_id=setting("BILLING_ID"),
        client_secret=setting("BILLING_SECRET"),
        scopes=[scope],
    )


def goes_on(token):
    """The credentials exchange, and the gateway takes what they got."""
    billing = credentials(token, setting("RESOURCE"))
    answer = AuthorizedSession(billing).get(setting("RESOURCE_URL"), timeout=10)
    assert answer.status_code == 200, answer.text
    assert billing.valid and billing.token != token, "another token, with a time that ends"
    told = introspect(billing.token)
    assert told["act"]["sub"] == setting("BILLING_ID"), told
    assert told["sub"] == setting("USERNAME") and told["scope"] == "records:read", told
    # google-auth's clock is the answer's `expires_in`.
    assert abs(told["exp"] - timegm(billing.expiry.timetuple())) <= 2, (told, billing.expiry)
    return billing.token


def refused(error, run):
    try:
        run()
    except exceptions.OAuthError as refusal:
        assert f"Error code {error}" in str(refusal), refusal
    else:
        raise AssertionError(f"this must be {error}")


def refuses(tokens):
    """No other audience, no more scope, no other kind of token, nobody else."""
    token = tokens["access_token"]
    wrong = [
        ("invalid_target", {"audience": setting("BILLING_RESOURCE")}),
        ("invalid_target", {"resource": "https://elsewhere.example"}),
        ("invalid_scope", {"scopes": ["records:write"]}),
        ("invalid_request", {"subject_token": tokens["id_token"], "subject_token_type": ID_TOKEN}),
        ("invalid_request", {"subject_token": "garbage"}),
    ]
    for error, change in wrong:
        refused(error, lambda change=change: exchange(token, **change))
    refused("invalid_client", lambda: exchange(token, secret="not the secret"))


def exchange(token, secret=None, **change):
    client = sts.Client(
        setting("ISSUER") + "/token",
        utils.ClientAuthentication(
            utils.ClientAuthType.request_body, setting("BILLING_ID"), secret or setting("BILLING_SECRET")
        ),
    )
    asked = {
        "grant_type": EXCHANGE,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        "requested_token_type": ACCESS_TOKEN,
        "scopes": ["records:read"],
    }
    return client.exchange_token(Request(), **{**asked, **change})


def introspect(token):
    server = (setting("SERVER_ID"), setting("SERVER_SECRET"))
    answer = requests.post(setting("ISSUER") + "/introspect", {"token": token}, auth=server, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()


def main():
    tokens = subject()
    exchanged = goes_on(tokens["access_token"])
    plain = exchange(tokens["access_token"], audience=setting("RESOURCE"))
    assert (plain["issued_token_type"], plain["token_type"]) == (ACCESS_TOKEN, "Bearer"), plain
    refuses(tokens)
    # What was exchanged dies with what it came from.
    form = {"token": tokens["access_token"], "client_id": setting("CLIENT_ID")}
    requests.post(setting("ISSUER") + "/revoke", form, timeout=10).raise_for_status()
    assert introspect(exchanged) == {"active": False}
    refused("invalid_request", lambda: exchange(tokens["access_token"]))
    print(json.dumps({"exchanged": True, "expires_in": plain["expires_in"]}))


main()
