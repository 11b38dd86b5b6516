from pathlib import Path

import pytest

from relevo.errors import ConfigurationError
from relevo.settings import SWITCHES, load


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "relevo.toml").write_text(
        '# a comment\nhttp = "127.0.0.1:9000"\nopen_control = true\n\n[limits]\nbatch_items = 7\n', "utf-8"
    )
    return tmp_path


def refusal(options: dict | None = None, env: dict | None = None, config: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(options, env or {}, config)
    return str(caught.value)


def test_defaults_need_no_source(tmp_path: Path) -> None:
    settings = load({"data": tmp_path}, {})
    assert (settings.http_port, settings.mqtt_port, settings.profile) == (8000, 1883, "secure")
    assert settings.limits.packet_bytes == 262_144
    assert settings.origins == {"data": "option --data"}


def test_a_later_source_wins_and_each_value_knows_its_origin(data: Path) -> None:
    env = {"RELEVO_DATA": str(data), "RELEVO_HTTP": "127.0.0.1:9001", "RELEVO_MQTT": ":2000", "OTHER": "x"}
    settings = load({"http": "9002", "mqtt": None}, env)
    assert settings.http == "0.0.0.0:9002"
    assert settings.mqtt == "0.0.0.0:2000"
    assert settings.limits.batch_items == 7
    assert settings.origins == {
        "data": "environment RELEVO_DATA",
        "http": "option --http",
        "mqtt": "environment RELEVO_MQTT",
        "open_control": f"{data}/relevo.toml:3",
        "limits.batch_items": f"{data}/relevo.toml:6",
    }


def test_a_named_file_replaces_that_of_the_data_directory(data: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(f'data = "{tmp_path}/elsewhere"\n', "utf-8")
    settings = load({}, {"RELEVO_CONFIG": str(other)})
    assert settings.data == tmp_path / "elsewhere"
    assert settings.open_control is False


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    assert refusal({"config": tmp_path / "no.toml"}) == (
        f"settings file {tmp_path}/no.toml (option --config) cannot be read: No such file or directory"
    )


def test_a_broken_file_is_named_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text("http = \n", "utf-8")
    assert "relevo.toml cannot be read: Invalid value (at line 1, column 8)" in refusal({"data": tmp_path})


def test_the_data_directory_cannot_be_moved_by_its_own_file(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text('data = "/elsewhere"\n', "utf-8")
    assert "relevo.toml:1: data cannot be set by a file inside the data directory" in refusal({"data": tmp_path})


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("RELEVO_HTP", "RELEVO_HTTP"),
        ("RELEVO_LIMITS_PACKET_BYTES", "RELEVO_LIMITS__PACKET_BYTES"),
        ("RELEVO_ADMIN_PASWORD", "RELEVO_ADMIN_PASSWORD"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(key: str, nearest: str) -> None:
    assert refusal(env={key: "x"}) == f"environment {key}: no such setting; did you mean {nearest}?"


def test_an_unknown_key_in_the_file_is_refused_with_line_and_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text("[limits]\npacket_byte = 5\n", "utf-8")
    assert refusal({"data": tmp_path}) == (
        f"{tmp_path}/relevo.toml:2: no setting is called limits.packet_byte; did you mean limits.packet_bytes?"
    )


def test_a_group_given_as_a_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "relevo.toml").write_text("limits = 5\n", "utf-8")
    assert "no setting is called limits" in refusal({"data": tmp_path})


def test_a_bad_value_names_setting_value_limit_and_origin() -> None:
    text = refusal(env={"RELEVO_LIMITS__PACKET_BYTES": "12", "RELEVO_LOG_LEVEL": "loud"})
    assert text.splitlines() == [
        "log_level = 'loud' from environment RELEVO_LOG_LEVEL: should be 'debug', 'info', 'warning' or 'error'",
        "limits.packet_bytes = '12' from environment RELEVO_LIMITS__PACKET_BYTES: "
        "should be greater than or equal to 1024",
    ]


def test_a_bad_secret_is_not_repeated() -> None:
    text = refusal(env={"RELEVO_ADMIN_PASSWORD": "hunter2" * 200, "RELEVO_BROKER_URL": "http://u:hunter2@x"})
    assert "hunter2" not in text
    assert "admin_password = (hidden) from environment RELEVO_ADMIN_PASSWORD" in text
    assert "broker_url = (hidden)" in text


def test_certificate_and_key_belong_together(tmp_path: Path) -> None:
    assert refusal({"data": tmp_path, "tls_cert": tmp_path}) == "tls_cert and tls_key must be set together"


def test_the_lab_profile_opens_every_switch_not_set_otherwise(data: Path) -> None:
    env = {"RELEVO_PROFILE": "lab", "RELEVO_OPEN_REGISTRATION": "off"}
    settings = load({"data": data}, env)
    assert [name for name in SWITCHES if not getattr(settings, name)] == ["open_registration"]
    assert settings.origins["anonymous_mqtt"] == "profile lab"
    assert settings.origins["open_control"].endswith("relevo.toml:3")


def test_an_empty_variable_counts_as_absent(data: Path) -> None:
    assert load({"data": data}, {"RELEVO_HTTP": ""}).http == "127.0.0.1:9000"


def test_names_of_the_contract_count_only_without_ours(tmp_path: Path) -> None:
    env = {"HISTORY_LIMIT": "50", "MQTT_TOPIC_DADOS": "agua/dados", "RELEVO_HIDROMETRO__HISTORY_LIMIT": "60"}
    settings = load({"data": tmp_path}, env)
    assert settings.hidrometro.history_limit == 60
    assert settings.hidrometro.topic_dados == "agua/dados"
    assert settings.origins["hidrometro.topic_dados"] == "environment MQTT_TOPIC_DADOS"


def test_a_bad_value_under_a_contract_name_is_blamed_on_that_name() -> None:
    assert "from environment HISTORY_LIMIT" in refusal(env={"HISTORY_LIMIT": "many"})


@pytest.mark.parametrize("text", ["sensors/#, +/status", '["sensors/#", "+/status"]'])
def test_lists_are_separated_by_commas_or_json(tmp_path: Path, text: str) -> None:
    settings = load({"data": tmp_path}, {"RELEVO_ANONYMOUS_TOPICS": text})
    assert settings.anonymous_topics == ["sensors/#", "+/status"]


def test_a_bracketed_address_in_a_list_is_not_json(tmp_path: Path) -> None:
    settings = load({"data": tmp_path}, {"RELEVO_HTTP_EXTRA": "[::1]:5000,8081"})
    assert [(x.host, x.port) for x in settings.http_extra_listen] == [("::1", 5000), ("0.0.0.0", 8081)]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"BACKEND_HOST": "127.0.0.1", "BACKEND_PORT": "5001"}, {"http": "127.0.0.1:5001"}),
        ({"BACKEND_HOST": "::1"}, {"http": "[::1]:5000"}),
        ({"BACKEND_PORT": "5000"}, {"http": "0.0.0.0:5000"}),
        ({"BACKEND_PORT": "5000", "RELEVO_HTTP": ":80"}, {"http": "0.0.0.0:80"}),
        ({"PUBLIC_BACKEND_URL": "http://192.168.1.10:5000/"}, {"public_url": "http://192.168.1.10:5000"}),
        ({"MQTT_BROKER_URL": "localhost", "MQTT_BROKER_PORT": "1884"}, {"mqtt": "0.0.0.0:1884", "broker_url": ""}),
        ({"MQTT_BROKER_PORT": "8884", "MQTT_TLS_ENABLED": "true"}, {"mqtts": "0.0.0.0:8884", "mqtt": "0.0.0.0:1883"}),
        ({"MQTT_BROKER_URL": "broker.lan"}, {"broker_url": "mqtt://broker.lan:1883"}),
        ({"MQTT_BROKER_URL": "broker.lan", "MQTT_TLS_ENABLED": "1"}, {"broker_url": "mqtts://broker.lan:8883"}),
        ({"MQTT_BROKER_URL": "", "MQTT_TLS_ENABLED": "false"}, {"broker_url": "", "mqtt": "0.0.0.0:1883"}),
        ({"SQLALCHEMY_DATABASE_URI": "sqlite:///app.db"}, {"database_url": "sqlite"}),
        (
            {"SQLALCHEMY_DATABASE_URI": "postgresql+psycopg2://u:p@db/x"},
            {"database_url": "postgresql://u:p@db/x"},
        ),
        ({"SECRET_KEY": "dev", "MQTT_KEEPALIVE": "60"}, {"http": "0.0.0.0:8000", "mqtt": "0.0.0.0:1883"}),
    ],
)
def test_names_of_contract_alchemy_are_taken(env: dict[str, str], expected: dict[str, str], tmp_path: Path) -> None:
    settings = load({"data": tmp_path}, env)
    assert {name: getattr(settings, name) for name in expected} == expected


def test_a_wrong_value_under_a_name_of_contract_alchemy_is_told_with_that_name() -> None:
    assert "from environment BACKEND_HOST, BACKEND_PORT: " in refusal(
        env={"BACKEND_HOST": "127.0.0.1", "BACKEND_PORT": "five"}
    )
