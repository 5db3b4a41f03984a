"""A person at the login pages: follows redirects, types the password, approves, and ends where the
client's redirect URI begins."""

from html.parser import HTMLParser
from urllib.parse import urljoin

import requests

STEPS = 10


class Form(HTMLParser):
    """The first form of a page: where it goes, and what it already says."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields, self.asks_for_password = None, {}, False
        self.is_open = False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        if tag == "form" and self.action is None:
            self.action, self.is_open = said.get("action", ""), True
        elif tag == "input" and self.is_open:
            if said.get("type") == "hidden":
                self.fields[said["name"]] = said.get("value", "")
            self.asks_for_password |= said.get("name") == "password"

    def handle_endtag(self, tag):
        self.is_open &= tag != "form"


def answer(url, redirect_uri, username, password, decision="approve"):
    """The URL that the browser ends at."""
    browser = requests.Session()
    page = browser.get(url, allow_redirects=False, timeout=10)
    for _ in range(STEPS):
        if page.is_redirect:
            target = urljoin(page.url, page.headers["location"])
            if target.startswith(redirect_uri):
                return target
            page = browser.get(target, allow_redirects=False, timeout=10)
            continue
        form = Form(page.text)
        assert form.action is not None, f"no form: {page.status_code} {page.text}"
        fields = dict(form.fields)
        if form.asks_for_password:
            fields |= {"username": username, "password": password}
        else:
            fields["decision"] = decision
        target = urljoin(page.url, form.action)
        page = browser.post(target, fields, allow_redirects=False, timeout=10)
    raise AssertionError("the login does not end")
