"""`connectors.kafka_settings`: URLs, options under either spelling, nothing secret shown."""

import pytest

from connectors.errors import AddressError
from connectors.kafka_settings import KafkaSettings, missing_topic, require_group


def test_a_url_says_servers_topic_and_group():
    settings = KafkaSettings.from_url("kafka://a:1,b:2,c/readings?group=g")
    assert settings.servers == ("a:1", "b:2", "c:9092")
    assert (settings.topic, settings.group) == ("readings", "g")
    assert settings.address == "kafka://a:1,b:2,c:9092/readings"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("kafka://a:1", "not of the form"),
        ("kafka:///t", "not of the form"),
        ("kafka://a:1/t/u", "not of the form"),
        ("kafka://a:x/t", "no port number"),
        ("kafka://a:1/t?grup=g", "unknown setting 'grup'"),
        ("kafka://user:hush@a:1/t", "kafka.options"),
    ],
)
def test_a_malformed_url_is_refused_without_showing_secrets(url: str, says: str):
    with pytest.raises(AddressError, match=says) as caught:
        KafkaSettings.from_url(url)
    assert "hush" not in str(caught.value)


def test_a_source_needs_a_group():
    with pytest.raises(AddressError, match=r"write kafka://a:1/t\?group=name"):
        require_group(KafkaSettings.from_url("kafka://a:1/t"))


def test_options_may_be_spelt_as_either_client_spells_them():
    dotted = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.password": "x", "ssl.ca.location": "ca"}
    under = {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_plain_password": "x", "ssl_cafile": "ca"}
    for options in (dotted, under):
        settings = KafkaSettings.from_url("kafka://a:1/t", options)
        assert settings.python_options() == under
        assert settings.librdkafka_options() == dotted


def test_what_the_promises_rest_on_cannot_be_overridden():
    for name in ("enable.auto.commit", "auto_offset_reset", "group.id", "acks"):
        with pytest.raises(AddressError, match=f"must not set '{name}'"):
            KafkaSettings.from_url("kafka://a:1/t", {name: "x"})


def test_secrets_are_masked():
    options = {"sasl.password": "hush-1", "ssl_password": "hush-2", "ssl.key.pem": "hush-3", "sasl.username": "me"}
    shown = repr(KafkaSettings.from_url("kafka://a:1/t", options))
    assert "hush" not in shown
    assert "'sasl.username': 'me'" in shown


def test_a_missing_topic_names_address_and_nearest():
    settings = KafkaSettings.from_url("kafka://a:1/readngs")
    text = str(missing_topic(settings, ["readings", "forecasts", "__consumer_offsets"]))
    assert "'readngs' does not exist at a:1" in text
    assert "did you mean 'readings'?" in text
