"""How a URL is read, once for saving and once for sending: each host in one form, and nothing that has two readings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.egress.policy import EgressPolicy
from core.egress.target import SETTING, foreseen, hidden_in, shown_url, target_of


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://example.com/hook?a=b", "example.com", 443),
        ("http://example.com", "example.com", 80),
        ("HTTPS://Example.COM:8443/", "example.com", 8443),
        ("http://example.com:/", "example.com", 80),
        ("http://my_service:9000/hook", "my_service", 9000),
        ("http://a-b.c_d.example/", "a-b.c_d.example", 80),
        ("http://3com.example/", "3com.example", 80),
        ("http://0x7f.example/", "0x7f.example", 80),
        ("http://203.0.113.7/", "203.0.113.7", 80),
        ("http://[2001:DB8:0::1]:8080/x", "[2001:db8::1]", 8080),
        ("http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1]", 80),
        ("https://münchen.example/ü", "xn--mnchen-3ya.example", 443),
        ("https://straße.example/", "xn--strae-oqa.example", 443),
        ("https://例え.テスト/", "xn--r8jz45g.xn--zckzah", 443),
        ("https://EXAMPLE。com/", "example.com", 443),
        ("https://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example", 443),
    ],
)
def test_a_url_is_read(url: str, host: str, port: int) -> None:
    target = target_of(url)
    assert (target.host, target.port) == (host, port)
    # what is sent is read as what was saved
    assert target_of(target.url) == target


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/run?sp=%2Ftriggers%2Fmanual&sig=a%2Bb%3d%41", "/run?sp=%2Ftriggers%2Fmanual&sig=a%2Bb%3d%41"),
        ("/%7Euser/a:b@c;v=1/%3a", "/%7Euser/a:b@c;v=1/%3a"),
        ("/a/../b/./c//d?", "/a/../b/./c//d?"),
        ("/ü?q=ü|{}", "/%C3%BC?q=%C3%BC%7C%7B%7D"),
        ("/100%?q=%zz", "/100%25?q=%25zz"),
        ("/x?q=\"<>^`'", "/x?q=%22%3C%3E%5E%60'"),
    ],
)
def test_path_and_query_stay_as_they_were_written(written: str, sent: str) -> None:
    target = target_of(f"https://example.com{written}")
    assert target.url == f"https://example.com{sent}"
    assert target_of(target.url) == target


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("https://example.com/hook?env=prod", []),
        ("https://example.com/?token=abc&env=prod&sig=a%2Bb", ["abc", "a%2Bb", "a+b"]),
        ("https://example.com/?abcdefghijklm", ["abcdefghijklm"]),
        ("https://user:pass@example.com/", []),
    ],
)
def test_what_is_not_shown_of_a_url_is_known(url: str, hidden: list[str]) -> None:
    assert hidden_in(url) == hidden


V4, V6, NAME, URL = "IPv4", "IPv6", "letters, digits and hyphens", "http or https URL"
CHARACTERS, USER, PORT, DOT, ASCII_FORM = "blanks", "user name", "a port from 1", "dot at the end", "ASCII form"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://0x7f.1/hook", V4),
        ("http://0x7f.0.0.1/", V4),
        ("http://0X7F000001/", V4),
        ("http://2130706433/", V4),
        ("http://017700000001/", V4),
        ("http://0177.0.0.1/", V4),
        ("http://127.1/", V4),
        ("http://127.0.0.01/", V4),
        ("http://127.0.0.1.5/", V4),
        ("http://127.0.0.256/", V4),
        ("http://example.0x/", V4),
        ("http://example.123/", V4),
        ("http://0/", V4),
        ("http://１２７.0.0.1/", V4),
        ("http://①②⑦.⓪.⓪.①/", V4),
        ("http://127.0.0.1./", DOT),
        ("http://localhost./", DOT),
        ("http://example.com./", DOT),
        ("http://example..com/", NAME),
        ("http://.example.com/", NAME),
        ("http://-a.example/", NAME),
        ("http://a-.example/", NAME),
        ("http://%31%32%37.0.0.1/", V4),
        ("http://exa%6dple.com/", NAME),
        ("http://exa$mple.com/", NAME),
        (f"http://{'a' * 64}.example/", NAME),
        (f"http://{'a.' * 127}example/", NAME),
        ("http://::1/", NAME),
        ("http://[::1/", NAME),
        ("http://[::1]x/", NAME),
        ("http://a[::1]/", NAME),
        ("http://[]/", V6),
        ("http://[fe80::1%eth0]/", V6),
        ("http://[fe80::1%25eth0]/", V6),
        ("http://[v1.x]/", V6),
        ("http://[127.0.0.1]/", V6),
        ("http://[::127.1]/", V6),
        ("http://user@example.com/", USER),
        ("http://user:pass@example.com/", USER),
        ("http://@example.com/", USER),
        ("http://example.com@127.0.0.1/", USER),
        ("http://example.com\\@127.0.0.1/", CHARACTERS),
        ("http:\\\\example.com/", CHARACTERS),
        ("http://exa mple.com/", CHARACTERS),
        (" http://example.com/", CHARACTERS),
        ("http://example.com/ ", CHARACTERS),
        ("http://example.com/a b", CHARACTERS),
        ("ht\ntp://example.com/", CHARACTERS),
        ("http://example.com/\r\nHost: other", CHARACTERS),
        ("http://exam\u200bple.com/", CHARACTERS),
        ("http://exam\u00adple.com/", CHARACTERS),
        ("http://example.com/ho\u00adok", CHARACTERS),
        ("http://example.com/\u2066hook\u2069", CHARACTERS),
        ("http://example.com/hook\ufe0f", CHARACTERS),
        ("http://example.com/\u3164", CHARACTERS),
        ("http://example.com/\U000e0041", CHARACTERS),
        ("http://example.com/\ud800", CHARACTERS),
        ("http://example.com:0/", PORT),
        ("http://example.com:65536/", PORT),
        ("http://example.com:000080/", PORT),
        ("http://example.com:８０/", NAME),
        ("http://example.com:-1/", NAME),
        ("http://example.com:80:80/", NAME),
        ("http://☃☃\u0378.example/", ASCII_FORM),
        ("ftp://example.com/", URL),
        ("//example.com/", URL),
        ("http:example.com", URL),
        ("http:/example.com", URL),
        ("example.com", URL),
        ("https://", URL),
        ("https:///x", URL),
        ("http://:80/", URL),
        ("", URL),
        ("file:///etc/passwd", URL),
        ("javascript:alert(1)", URL),
    ],
)
def test_what_could_be_read_in_two_ways_or_none_is_refused_with_what_would_be_right(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        target_of(url)
    assert (SETTING in str(refused.value)) == (why == V4)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1/hook", "127.0.0.1 is not public"),
        ("https://localhost/hook", "localhost is not public"),
        ("https://app.localhost/hook", "app.localhost is not public"),
        ("http://10.1.2.3:8080/", "10.1.2.3 is not public"),
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254 is not public"),
        ("http://[::1]/", "[::1] is not public"),
        ("http://[::ffff:127.0.0.1]/", "[::ffff:7f00:1] is not public"),
        ("http://[64:ff9b::7f00:1]/", "is not public"),
        ("https://93.184.216.34:8443/", "only ports 80 and 443"),
        ("https://example.com:8443/", "port 8443"),
        ("https://example.com/", None),
        ("http://93.184.216.34/", None),
    ],
)
def test_what_will_be_refused_is_foreseen_with_the_setting_that_allows_it(url: str, said: str | None) -> None:
    warned = foreseen(target_of(url), EgressPolicy())
    assert said is None if warned is None else (said and said in warned and SETTING in warned)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/", "http://localhost:9000/", "http://[::ffff:127.0.0.1]:9000/"])
def test_what_the_operator_allows_is_not_warned_of(url: str) -> None:
    assert foreseen(target_of(url), EgressPolicy.allowing(["127.0.0.0/8"])) is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/hook", "https://example.com/hook"),
        ("https://example.com/hook?env=prod&v=1.2", "https://example.com/hook?env=prod&v=1.2"),
        ("https://user:pass@example.com/hook", "https://***@example.com/hook"),
        ("https://user@example.com/a@b", "https://***@example.com/a@b"),
        ("https://a@b@example.com/", "https://***@example.com/"),
        ("https://example.com/?token=abc&env=prod", "https://example.com/?token=***&env=prod"),
        ("https://example.com/?Api-Key=1&sig=2;%74oken=3", "https://example.com/?Api-Key=***&sig=***;%74oken=***"),
        ("https://example.com/?x=abcdefghijklm", "https://example.com/?x=***"),
        ("https://example.com/?x=a==&y=", "https://example.com/?x=***&y="),
        ("https://example.com/?abcdefghijklm", "https://example.com/?***"),
        ("https://example.com/?a=user:pw@host", "https://example.com/?a=***"),
        ("https://example.com/sk-abcdefgh1234", "https://example.com/sk-***"),
        ("0x7f.1?key=1", "0x7f.1?key=***"),
    ],
)
def test_a_url_is_shown_without_credentials(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@given(st.text() | st.from_regex(r"\Ahttps?://[ -~]{1,40}\Z") | st.from_regex(r"\Ahttps?://[0-9a-fx.:\[\]%]{1,20}/\Z"))
def test_whatever_is_read_is_read_the_same_again(url: str) -> None:
    try:
        target = target_of(url)
    except ValueError:
        return
    assert target_of(target.url) == target
