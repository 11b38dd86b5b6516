import pytest
from pydantic import ValidationError

from relevo.settings import Settings, parse_listen


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8000", "127.0.0.1", 8000),
        (":8000", "0.0.0.0", 8000),
        ("8000", "0.0.0.0", 8000),
        (" localhost:0 ", "localhost", 0),
        ("[::1]:1883", "::1", 1883),
    ],
)
def test_a_listen_address_is_host_and_port(text: str, host: str, port: int) -> None:
    assert parse_listen(text) == (host, port)
    assert parse_listen(str(parse_listen(text))) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "host:65536", "host:-1", "::1:80", "http://x:80", "a b:80", "x:٣"]
)
def test_other_text_is_no_listen_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|brackets"):
        parse_listen(text)


def test_a_port_from_toml_may_be_a_number() -> None:
    assert Settings.model_validate({"http": 8001}).http_port == 8001


@pytest.mark.parametrize(
    ("values", "open_"),
    [
        ({"http": "127.0.0.1:8000"}, True),
        ({"http": "[::1]:8000"}, True),
        ({"http": "localhost:8000", "http_extra": ["127.0.0.2:5000"]}, True),
        ({"http": "localhost:8000", "http_extra": [":5000"]}, False),
        ({"http": ":8000"}, False),
        ({"http": ":8000", "open_reads": True}, True),
        ({"http": "localhost:8000", "open_reads": False}, False),
    ],
)
def test_reads_are_open_by_default_only_on_loopback(values: dict, open_: bool) -> None:
    assert Settings.model_validate(values).reads_open is open_


def test_mqtts_listens_only_with_a_certificate() -> None:
    assert Settings().mqtts_listen is None
    assert Settings.model_validate({"tls_cert": "a", "tls_key": "b"}).mqtts_listen == ("0.0.0.0", 8883)


def test_values_do_not_change_and_names_are_checked() -> None:
    with pytest.raises(ValidationError):
        Settings().http = "1"
    with pytest.raises(ValidationError):
        Settings.model_validate({"htp": "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("database_url", "oracle://x"),
        ("broker_url", "http://x"),
        ("anonymous_topics", ["a/#/b"]),
        ("anonymous_topics", ["a+"]),
        ("anonymous_topics", [""]),
    ],
)
def test_values_without_a_meaning_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({name: value})


def test_the_password_stays_out_of_the_representation() -> None:
    assert "hunter2" not in repr(Settings(admin_password="hunter2"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("https://relevo.example.org", "https://relevo.example.org"),
        ("https://Relevo.Example.org:443/", "https://relevo.example.org"),
        (" http://10.0.0.5:8000/ ", "http://10.0.0.5:8000"),
        ("http://hub:80", "http://hub"),
        ("https://hub:80", "https://hub:80"),
        ("http://[2001:DB8::1]:8000", "http://[2001:db8::1]:8000"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
    ],
)
def test_a_public_address_is_kept_as_browsers_write_it(text: str, kept: str) -> None:
    assert Settings(public_url=text).public_url == kept


@pytest.mark.parametrize(
    "text",
    [
        "relevo.example.org", "ftp://x.example", "https://", "https:///ui", "https://x.example/relevo", "https://x?y",
        "https://x#y", "https://u@x.example", "https://u:p@x.example", "https://x:0", "https://x:65536", "https://x:y",
        "https://a b", "https://münchen.example", "javascript://x", "https://-x.example",
        'https://x.example"', "//x.example",
    ],
)  # fmt: skip
def test_other_text_is_no_public_address(text: str) -> None:
    with pytest.raises(ValidationError, match="must be http"):
        Settings(public_url=text)


def test_the_host_of_the_public_address_is_answered() -> None:
    given = Settings(public_url="https://relevo.example.org:8443", trusted_hosts=["hub.example"])
    assert given.answered_hosts == ["hub.example", "relevo.example.org"]
    assert Settings(trusted_hosts=["hub.example"]).answered_hosts == ["hub.example"]
