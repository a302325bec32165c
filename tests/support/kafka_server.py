"""One real Apache Kafka broker (KRaft) on loopback, fetched by its Maven coordinates; knows nothing of the engine.

The jars are kept in `.servers/` in the repository root, so that only the first start needs the network.
"""

import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from tests.support.processes import ServerProcess, ServerStartError, fetching, free_port, new_folder
from tests.support.waiting import poll_for

KAFKA_VERSION = "4.1.1"
MAIN_CLASS = "kafka.Kafka"

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>stream-engine</groupId><artifactId>servers</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""

_PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/logs
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=300
group.consumer.heartbeat.interval.ms=500
num.partitions=1
"""


def kafka_jars() -> Path:
    """The folder with Kafka's jars, fetched by Maven if it is not there yet."""
    _require_java()
    with fetching() as cache:
        jars = cache / f"kafka-{KAFKA_VERSION}"
        if not jars.is_dir():
            _fetch_jars(cache / "fetch", jars)
    return jars


def _require_java() -> None:
    if shutil.which("java") is None:
        raise ServerStartError(
            "the tests start a real Apache Kafka, which needs Java 17 or newer; "
            "install it (Debian, Ubuntu: apt-get install openjdk-17-jre-headless)"
        )


def _fetch_jars(work: Path, jars: Path) -> None:
    if shutil.which("mvn") is None:
        raise ServerStartError(
            f"Apache Kafka {KAFKA_VERSION} is fetched by Maven and mvn is missing; "
            f"install it (Debian, Ubuntu: apt-get install maven), or put the jars in {jars}"
        )
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    (work / "pom.xml").write_text(_POM)
    goal = ["-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={work / 'jars'}"]
    done = subprocess.run(["mvn", *goal], cwd=work, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ServerStartError(
            f"mvn could not fetch org.apache.kafka:kafka_2.13:{KAFKA_VERSION}; "
            f"is a Maven repository reachable?\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    (work / "jars").rename(jars)
    shutil.rmtree(work)


class KafkaServer:
    """A broker and controller in one JVM with its own folder; owned by one test session, may be killed and restarted.

    Args:
        extra_properties: of the plain listener's and the controller's ports -> lines that add to, or stand for, ours.
        format_arguments: more for the tool that formats its folder.

    Attributes:
        servers: its address, "127.0.0.1:port", the same after a restart.
    """

    def __init__(
        self,
        port: int | None = None,
        extra_properties: Callable[[int, int], str] = lambda port, controller_port: "",
        format_arguments: Sequence[str] = (),
    ) -> None:
        self.port = port or free_port()
        self.servers = f"127.0.0.1:{self.port}"
        self._extra = extra_properties
        self._format_arguments = format_arguments
        self._folder: Path | None = None
        self._process: ServerProcess | None = None

    def start(self, timeout_s: float = 120.0) -> "KafkaServer":
        """Start (again, with the same logs) and wait until groups and transactions are served."""
        if self._folder is None:
            self._folder = self._formatted_folder()
        config = self._folder / "server.properties"
        self._process = ServerProcess(_java(MAIN_CLASS, str(config)), self._folder / "kafka.log")
        poll_for(self._is_ready, timeout_s, every_s=0.1, what=f"Kafka at {self.servers}")
        return self

    def _formatted_folder(self) -> Path:
        folder = new_folder("kafka")
        config = folder / "server.properties"
        controller_port = free_port()
        text = _PROPERTIES.format(port=self.port, controller_port=controller_port, folder=folder)
        config.write_text(text + self._extra(self.port, controller_port))
        where = ["--standalone", "-t", "c3RyZWFtLWVuZ2luZS10Zw", "-c", str(config)]
        tool = _java("kafka.tools.StorageTool", "format", *where, *self._format_arguments)
        done = subprocess.run(tool, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerStartError(f"Kafka could not format its folder:\n{done.stdout}{done.stderr}")
        return folder

    def _is_ready(self) -> bool:
        process = self._running_process()
        if not process.is_running:
            raise ServerStartError(f"Kafka ended while starting:\n{process.log_tail()}")
        if "Kafka Server started" not in process.log_path.read_text(errors="replace"):
            return False
        return _serves_groups(self.servers) and _serves_transactions(self.servers)

    def _running_process(self) -> ServerProcess:
        if self._process is None:
            raise ServerStartError("Kafka was not started; call start() first")
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether the broker's process lives."""
        return self._process is not None and self._process.is_running

    def kill(self) -> None:
        """kill -9; the logs stay for the next start."""
        self._running_process().kill()
        self._running_process().log_path.unlink(missing_ok=True)

    def cut_log(self, topic: str, partition: int, share: float) -> None:
        """Keep this share of the bytes of a killed broker's partition; at its start it drops a torn batch, too."""
        assert self._folder is not None
        (segment,) = (self._folder / "logs" / f"{topic}-{partition}").glob("*.log")
        with segment.open("r+b") as file:
            file.truncate(int(segment.stat().st_size * share))

    def pause(self) -> None:
        """Freeze the broker (SIGSTOP): connections stay open and nothing answers."""
        self._running_process().signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen broker go on."""
        self._running_process().signal(signal.SIGCONT)

    def close(self) -> None:
        """End the broker and remove its folder."""
        if self._process is not None:
            self._process.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._process = self._folder = None


def _java(main_class: str, *arguments: str) -> list[str]:
    heap = ["-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:-UsePerfData"]
    log = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=info", "-Djava.awt.headless=true"]
    return ["java", *heap, *log, "-cp", f"{kafka_jars()}/*", main_class, *arguments]


def _quiet(servers: str, **more: object) -> dict[str, object]:
    return {"bootstrap.servers": servers, "log_level": 0, "error_cb": lambda _error: None, **more}


def _serves_groups(servers: str) -> bool:
    consumer = Consumer(_quiet(servers, **{"group.id": "readiness"}))
    try:
        consumer.committed([TopicPartition("readiness", 0)], timeout=5)
    except KafkaException:
        return False
    finally:
        consumer.close()
    return True


def _serves_transactions(servers: str) -> bool:
    producer = Producer(_quiet(servers, **{"transactional.id": "readiness"}))
    try:
        producer.init_transactions(5)
    except KafkaException:
        return False
    return True
