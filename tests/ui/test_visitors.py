"""Who a visitor is: the token in the cookie, over HTTP and by itself."""

from __future__ import annotations

import urllib.request
from http.cookies import SimpleCookie

import pytest
from starlette.requests import Request

from faceinsight.ui.visitors import KEY, Tokens, visitor_of
from tests.serving import served


def request(cookie: str = "", host: str = "10.0.0.1", port: int = 7860, scheme: str = "http") -> dict:
    headers = [(b"cookie", cookie.encode())] if cookie else []
    return {"type": "http", "headers": headers, "client": (host, 1), "server": ("0.0.0.0", port), "scheme": scheme}


def cookies_of(url: str, **headers: str) -> list[str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
        return answer.headers.get_all("Set-Cookie") or []


def test_the_page_gives_a_token_that_no_script_reads_and_no_other_page_sends(app):
    (cookie,) = cookies_of(app.url)
    given, *rules = cookie.split("; ")
    assert rules == ["Path=/", "HttpOnly", "SameSite=Lax"]
    assert len(bytes.fromhex(given.split("=")[1].split(".")[0])) == 16
    assert cookies_of(app.url, Cookie=given) == []
    assert cookies_of(app.url) != [cookie]
    # What was not opened is no page: its style, what programs ask for.
    assert cookies_of(f"{app.url}/theme.css") == cookies_of(f"{app.url}/config") == []
    name = given.split("=")[0]
    (another,) = cookies_of(app.url, Cookie=f"{name}={'0' * 32}.{'0' * 64}")
    assert another.startswith(name)


def test_a_hosted_space_gets_its_cookie_inside_the_frame(toy_pack, tmp_path):
    with served(tmp_path, "--pack", toy_pack, SPACE_ID="someone/faces", SYSTEM="spaces") as app:
        (cookie,) = cookies_of(app.url)
        assert cookie.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=None", "Secure", "Partitioned"]


def test_over_https_the_cookie_stays_there():
    assert Tokens().cookie(request(scheme="https")).endswith("; SameSite=Lax; Secure")


def test_a_browser_is_known_by_its_token_wherever_it_is():
    tokens = Tokens()
    ann, bob = (f"{tokens.cookie_name(request())}={tokens.new()}" for _ in range(2))
    at_home, away = (tokens.visitor(request(ann, host)) for host in ("10.0.0.1", "10.0.0.2"))
    assert at_home.id == away.id
    assert at_home.browser
    assert at_home.id != tokens.visitor(request(bob)).id
    # Those of one address are counted together.
    assert at_home.address != away.address
    assert at_home == tokens.visitor(request(f"other=1; {ann}; more=2"))


def test_programs_are_known_by_their_address():
    tokens = Tokens()
    assert tokens.visitor(request(host="10.0.0.1")) == tokens.visitor(request(host="10.0.0.1"))
    assert tokens.visitor(request(host="10.0.0.1")) != tokens.visitor(request(host="10.0.0.2"))
    assert not tokens.visitor(request()).browser
    # A provider gives a household 2 ** 64 addresses of IPv6.
    one, another, elsewhere = (
        tokens.visitor(request(host=host)) for host in ("2001:db8::1", "2001:db8::2", "2001:db9::1")
    )
    assert one == another != elsewhere


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: f"0{t[1:]}" if t[0] != "0" else f"1{t[1:]}", lambda t: ""]
)
def test_a_token_that_the_server_did_not_make_is_none(change):
    tokens = Tokens()
    token = change(tokens.new())
    assert not tokens.knows(token)
    assert not tokens.visitor(request(f"{tokens.cookie_name(request())}={token}")).browser


@pytest.mark.parametrize("token", ["", ".", ".\udcff", "é", "\udcff", "a.b.c", "0" * 32])
def test_nonsense_is_no_token(token):
    assert not Tokens().knows(token)


def test_a_token_of_an_earlier_run_is_none():
    assert not Tokens().knows(Tokens().new())


def test_two_pages_on_two_ports_of_a_host_do_not_take_each_others_cookie():
    tokens = Tokens()
    names = {next(iter(SimpleCookie(tokens.cookie(request(port=port))))) for port in (7860, 7861)}
    assert len(names) == 2


def test_the_id_tells_nobody_the_token():
    tokens = Tokens()
    token = tokens.new()
    scope = request(f"{tokens.cookie_name(request())}={token}")
    scope[KEY] = tokens.visitor(scope)
    assert visitor_of(scope).id not in token
    assert len(bytes.fromhex(visitor_of(scope).id)) == 16
    assert visitor_of(Request(scope)) == visitor_of(scope)
