"""Conducts one run under faults: servers, workers, a feed, a schedule; then a serial run, then the account."""

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import redis
from confluent_kafka import KafkaException

from deploy.examples.end_to_end import Place, stored_states
from tests.chaos.account import Account, check_forecasts, check_letters, check_states, name_of, sort_out
from tests.chaos.feed import Feed
from tests.chaos.fleet import Fleet, Member
from tests.chaos.plan import CLIENTS, Fault
from tests.chaos.site import NUM_LINES, Line, Site
from tests.support.topics import committed_offsets, consume_all, create_topic
from tests.support.waiting import poll_for

NUM_PARTITIONS = 6
NUM_SENSORS = 40
FIRST_TICKS = 150
"""Ticks that wait when the workers start, so that there is something to catch up with."""
SESSION_S = 3.0
MOST_WORKERS, FEWEST_WORKERS = 4, 2
DIES_WITHIN_S = 12.0
SETTLES_WITHIN_S = 90.0


class Chaos:
    """One run, from its topics to its account; the servers are the caller's."""

    def __init__(self, site: Site, folder: Path, topic: str, delivery: str) -> None:
        self.site, self.folder, self.topic, self.delivery = site, folder, topic, delivery
        self.kafka, self.store = site.kafka, site.redis
        self._place = Place(self.kafka.servers, self.store.url, folder)
        create_topic(self.kafka.servers, topic, NUM_PARTITIONS)

    def _fleet(self, group: str, delivery: str) -> Fleet:
        """Workers of one group, with a sink and a store prefix of its name; each place has its own line."""
        folder = self.folder / group
        folder.mkdir()
        configs = []
        for number, line in enumerate(self.site.lines):
            configs.append(folder / f"engine-{number}.yaml")
            configs[-1].write_text(self._config(line, group, delivery))
        return Fleet(configs, folder)

    def _config(self, line: Line, group: str, delivery: str) -> str:
        return (
            f"source: kafka://{line.kafka_servers}/{self.topic}?group={group}\n"
            f"sink: kafka://{line.kafka_servers}/{group}\n"
            f"store: {{url: '{line.redis_url}', prefix: {group}}}\n"
            f"model: {{name: default, device: cpu, threads: 1}}\n"
            f"delivery: {delivery}\n"
            "commit_interval: 300ms\ncheckpoint_interval: 1s\n"
            f"kafka: {{options: {{session.timeout.ms: {int(SESSION_S * 1000)}, heartbeat.interval.ms: 300}}}}\n"
        )

    def run(self, seed: int, faults: Iterable[Fault]) -> Account:
        """Everything, in order; what the workers said is in the error where one comes."""
        account, began_s = Account(self.delivery, seed), time.monotonic()
        group = f"{self.topic}-chaos"
        feed = Feed(self.kafka.servers, self.topic, NUM_SENSORS, seed)
        feed.send(FIRST_TICKS)
        fleet = self._fleet(group, self.delivery)
        try:
            for client in (*CLIENTS, CLIENTS[0]):
                fleet.add(client)
            feed.start()
            for fault in faults:
                fleet.watch(fault.pause_s)
                self._carry_out(fault, fleet, account)
            feed.stop()
            self._settle(fleet, group)
            fleet.stop()
            account.ended, account.phases = fleet.ended, fleet.died_of
        except AssertionError as error:
            raise AssertionError(f"{error}\n{fleet.said()}") from error
        finally:
            fleet.close()
        self._close(account, fleet, group)
        account.seconds = time.monotonic() - began_s
        return account

    def _carry_out(self, fault: Fault, fleet: Fleet, account: Account) -> None:
        """Let one thing go wrong, and end."""
        account.faults[fault.kind] += 1
        running = fleet.running
        if running:
            member = running[int(fault.chance * len(running))]
            self._hit_a_worker(fault, fleet, member)
            self._hit_a_line(fault, fleet, self.site.lines[member.number % NUM_LINES])
        self._hit_a_server(fault, fleet)

    def _hit_a_worker(self, fault: Fault, fleet: Fleet, member: Member) -> None:
        if fault.kind == "kill":
            fleet.kill(member)
        elif fault.kind == "phase":
            fleet.kill(member, (fault.phase, fault.count))
            doomed = member.process
            fleet.watch(DIES_WITHIN_S, lambda: member.process is not doomed)
            if member.process is doomed:  # too slow to come to that phase: it must not die of it while it is stopped
                fleet.kill(member)
        elif fault.kind == "freeze":
            fleet.freeze(member)
            fleet.watch(fault.length_s)
            fleet.wake(member)
        elif fault.kind == "add" and len(fleet.running) < MOST_WORKERS:
            fleet.add(fault.client)
        elif fault.kind == "remove" and len(fleet.running) > FEWEST_WORKERS:
            fleet.retire(member)

    def _hit_a_line(self, fault: Fault, fleet: Fleet, line: Line) -> None:
        ways = {"kafka line": line.kafka, "redis line": line.redis}
        way = next((way for name, way in ways.items() if fault.kind.startswith(name)), None)
        if way is None:
            return
        if "pause" in fault.kind:
            way.pause()
        else:
            way.cut()
        fleet.watch(fault.length_s)
        way.mend()

    def _hit_a_server(self, fault: Fault, fleet: Fleet) -> None:
        if fault.kind == "redis restart":
            self.store.kill()
            fleet.watch(fault.length_s)
            self.store.start()
        elif fault.kind == "redis pause":
            self.store.pause()
            fleet.watch(fault.length_s)
            self.store.resume()
        elif fault.kind == "redis flush":
            with redis.Redis.from_url(self.store.url) as client:
                client.flushall()
        elif fault.kind == "broker restart":
            self.kafka.kill()
            fleet.watch(fault.length_s)
            self.kafka.start()
        elif fault.kind == "broker pause":
            self.kafka.pause()
            fleet.watch(fault.length_s)
            self.kafka.resume()

    def _settle(self, fleet: Fleet, group: str) -> None:
        """Wait until everything sent is committed."""
        total = len(consume_all(self.kafka.servers, self.topic))

        def is_done() -> bool:
            fleet.tend()
            with suppress(KafkaException):  # of a transaction that is being completed
                return sum(committed_offsets(self.kafka.servers, group, self.topic).values()) == total
            return False

        poll_for(is_done, SETTLES_WITHIN_S, 0.3, what=f"the commit of all {total} records")

    def _close(self, account: Account, fleet: Fleet, group: str) -> None:
        """Read what came out, run the same serially, and compare."""
        servers = self.kafka.servers
        wanted, bad = sort_out(account, consume_all(servers, self.topic))
        with suppress(AssertionError):  # what is missing then is counted below
            poll_for(lambda: wanted <= set(map(name_of, consume_all(servers, group))), 60.0, 1.0)
        check_letters(account, bad, consume_all(servers, f"{self.topic}.dlq"))
        logs = [fleet.log(member).read_text(errors="replace") for member in fleet.members]
        account.tracebacks = sum(log.count("Traceback") for log in logs)
        account.taken_back = sum(log.count("are taken back") for log in logs)
        serial = f"{self.topic}-serial"
        self._run_serially(serial)
        check_forecasts(account, wanted, consume_all(servers, group), consume_all(servers, serial))
        check_states(account, stored_states(self._place, group), stored_states(self._place, serial))

    def _run_serially(self, group: str) -> None:
        """The same readings, by one worker whom nothing happens to."""
        fleet = self._fleet(group, "at_least_once")
        try:
            fleet.add(CLIENTS[0])
            self._settle(fleet, group)
            fleet.stop()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{fleet.said()}") from error
        finally:
            fleet.close()
