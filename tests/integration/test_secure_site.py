"""The program through TLS and passwords, as docs/configuration.md has it: forecasts come out, and no secret does."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.test_commands import Site, message
from tests.support.program import run_program
from tests.support.secure_servers import KAFKA_PASSWORD, POOR_USER, REDIS_PASSWORD, SecureServers
from tests.support.topics import consume_all, create_topic, produce

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
WRONG = "hush-wrong"


class SecureSite(Site):
    """The page's example with this site's addresses and files; the tests themselves go in by the plain listener."""

    def __init__(self, secure: SecureServers, folder: Path, topic: str) -> None:
        super().__init__(secure.kafka.servers, "redis://nowhere/0", folder, topic)
        self.secure = secure
        self.secrets = {"kafka": folder / "kafka.secret", "redis": folder / "redis.secret"}
        self.tell(KAFKA_PASSWORD, REDIS_PASSWORD)
        (example,) = (text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if "rediss://" in text)
        changes = {
            "127.0.0.1:9093": secure.kafka_secure,
            "127.0.0.1:6380": f"127.0.0.1:{secure.redis.port}",
            "readings?group=forecaster": f"{topic}?group={topic}",
            "/forecasts": f"/{topic}-forecasts",
            "/run/secrets/redis": str(self.secrets["redis"]),
            "/run/secrets/kafka": str(self.secrets["kafka"]),
            "/etc/ssl/engine/ca.pem": str(secure.ca),
        }
        for before, after in changes.items():
            assert before in example
            example = example.replace(before, after)
        self.config.write_text(example)

    def tell(self, kafka: str, redis: str) -> None:
        """Write the passwords into the files that the configuration names."""
        self.secrets["kafka"].write_text(kafka + "\n")
        self.secrets["redis"].write_text(redis + "\n")


@pytest.fixture
def site(secure: SecureServers, new_name: Callable[[], str], tmp_path: Path) -> SecureSite:
    return SecureSite(secure, tmp_path, create_topic(secure.kafka.servers, new_name(), 2))


def says_no_secret(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert "hush" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("client", ["librdkafka", "python"])
def test_readings_become_forecasts_through_tls_and_passwords(site: SecureSite, client: str) -> None:
    produce(site.kafka, site.topic, [message(f"s-{n}", tick, tick + n) for tick in range(3) for n in range(4)])
    chosen = ["--set", f"kafka.client={client}"]
    assert site.run_until(12, "-v", *chosen) == 0, site.log.read_text()
    assert "hush" not in site.log.read_text()
    assert len(consume_all(site.kafka, f"{site.topic}-forecasts")) == 12

    shown = says_no_secret(run_program("run", "-c", str(site.config), "--print-config"))
    assert "${file:" in shown.stdout
    plain = site.config.with_name("plain.yaml")
    redis = re.sub(r"rediss://\S+", site.secure.redis_url(), site.config.read_text())
    plain.write_text(re.sub(r"\$\{file:[^}]*kafka[^}]*\}", KAFKA_PASSWORD, redis))
    assert plain.read_text().count("hush") == 2
    shown = says_no_secret(run_program("run", "-c", str(plain), "--print-config"))
    assert shown.returncode == 0
    found = says_no_secret(run_program("doctor", "-c", str(site.config), *chosen, "--json"))
    assert found.returncode == 0, found.stdout
    findings = json.loads(found.stdout)["findings"]
    assert {one["level"] for one in findings} == {"ok"}, findings
    assert "4 sensors stored" in next(one["text"] for one in findings if one["check"] == "store")
    url = site.secure.redis_url()
    held = says_no_secret(run_program("inspect", "--store", url, "--group", site.topic, "--json"))
    assert sum(row["sensors"] for row in json.loads(held.stdout)["partitions"]) == 4


def ends_with_status_2(site: SecureSite, sentence: str, *more: str) -> None:
    ended = says_no_secret(run_program("run", "-c", str(site.config), *more))
    assert ended.returncode == 2, ended.stderr
    assert re.search(sentence, ended.stderr), ended.stderr


def test_what_a_server_refuses_ends_with_status_2_and_one_sentence(site: SecureSite) -> None:
    produce(site.kafka, site.topic, [message("a", 1, 1.0)])
    site.tell(WRONG, REDIS_PASSWORD)
    ends_with_status_2(site, "kafka://.* refused us")
    site.tell(KAFKA_PASSWORD, WRONG)
    ends_with_status_2(site, "rediss://.* refused us")
    site.tell(KAFKA_PASSWORD, REDIS_PASSWORD)
    ends_with_status_2(site, "run the 'evalsha' command", "--set", f"store={site.secure.redis_url(POOR_USER)}")
    sound = site.config.read_text()
    site.config.write_text(sound.replace(f"ca.location: {site.secure.ca}", f"ca.location: {site.secure.wrong_ca}"))
    ends_with_status_2(site, "certificate verify failed")
    site.config.write_text(sound)
    site.tell(WRONG, WRONG)
    found = says_no_secret(run_program("doctor", "-c", str(site.config)))
    assert found.returncode == 1
    assert "failure store" in found.stdout
    assert "failure source" in found.stdout


def test_a_listener_that_wants_tls_looks_like_one_that_is_away(site: SecureSite) -> None:
    plain = site.config.read_text().partition("kafka:\n")[0]
    site.config.write_text(plain)
    ended = says_no_secret(run_program("run", "-c", str(site.config), "--set", "store.timeout=2s"))
    assert ended.returncode == 1
    assert "security.protocol is PLAINTEXT" in ended.stderr
