"""Secrets: given to whom they are for, and to nobody else."""

import pytest

from stream_engine.config.secrets import MASK, SecretText, SecretUrl, is_secret_name, redact_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:6379/0", f"redis://:{MASK}@h:6379/0"),
        ("redis://u:p@w@h/0?ssl_ca_certs=ca.pem", f"redis://u:{MASK}@h/0?ssl_ca_certs=ca.pem"),
        ("kafka://h:9092/t?group=g&sasl_plain_password=x", f"kafka://h:9092/t?group=g&sasl_plain_password={MASK}"),
        ("kafka://h:9092/t?group=a@b", "kafka://h:9092/t?group=a@b"),
        ("redis://u@h/0", "redis://u@h/0"),
        ("redis://u:${file:/run/s}@h/0?token=${file:/t}", "redis://u:${file:/run/s}@h/0?token=${file:/t}"),
        ("redis://u:a${file:/run/s}@h/0", f"redis://u:{MASK}@h/0"),
    ],
)
def test_addresses_are_shown_without_passwords(url, shown):
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    "name",
    [
        "sasl_plain_password",
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "sasl.jaas.config",
        "sasl.oauthbearer.client.secret",
        "ssl.key.pem",
        "sasl.oauthbearer.config",
        "SASL_PASSWORD",
        "token",
    ],
)
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "security.protocol",
        "sasl.mechanism",
        "sasl_plain_username",
        "ssl.ca.location",
        "ssl.key.location",
        "ssl_keyfile",
        "client.id",
        "key.serializer",
        "sasl.oauthbearer.token.endpoint.url",
        "partition.assignment.strategy",
    ],
)
def test_names_of_no_secret(name):
    assert not is_secret_name(name)


def test_files_are_read_once_and_quoted_in_addresses(tmp_path):
    file = tmp_path / "pw"
    file.write_text("p@ss/word\n")
    url = SecretUrl(f"redis://u:${{file:{file}}}@h/0")
    text = SecretText(f"${{file:{file}}}")
    file.unlink()
    assert url.get_secret_value() == "redis://u:p%40ss%2Fword@h/0"
    assert text.get_secret_value() == "p@ss/word"
    for shown in (str(url), repr(url), str(text), repr(text)):
        assert "word" not in shown
        assert str(file) in shown


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"x" * 100_000])
def test_a_file_that_cannot_be_used_is_named(tmp_path, content):
    file = tmp_path / "pw"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match="pw") as caught:
        SecretText(f"${{file:{file}}}")
    assert "xxx" not in str(caught.value)
