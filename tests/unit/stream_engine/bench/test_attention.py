"""The sweep of the rules of attention: what is measured, where it stops, and what is made of it."""

import json
import os
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from recurrent_core.errors import ConfigError
from recurrent_core.ops.registry import MECHANISMS
from stream_engine.bench.attention import Measured, check_device, exponents, one_pass, rules_over, sweep
from stream_engine.bench.memory import PeakMemory
from stream_engine.bench.picture import draw
from stream_engine.bench.process import KEEPING, Apart
from tests.support.program import run_program


def straight(rule: str, power: float) -> list[Measured]:
    """A rule whose time grows as a power of the length."""
    return [Measured(rule, "length", n, 1e-6 * n**power, 3, 100 * n) for n in (128, 256, 512, 1024, 2048)]


def test_exponents_are_those_of_the_longest_runs() -> None:
    flat_start = [Measured("elu", "length", n, 1.0, 3, None) for n in (16, 32, 64)]
    found = exponents([*flat_start, *straight("elu", 1.0), *straight("sdpa", 2.0)], "seconds")
    assert found == {"elu": pytest.approx(1.0), "sdpa": pytest.approx(2.0)}
    assert exponents(straight("elu", 1.0)[:2], "seconds") == {}, "two points are no fit"


@pytest.mark.parametrize("over", ["length", "sensors"])
def test_every_rule_makes_its_pass(over: str) -> None:
    names = rules_over(over)
    assert set(names) - {"sdpa"} == {
        name for name in MECHANISMS if over == "length" or not MECHANISMS[name].why_not_across
    }
    for name in names:
        one_pass(name, over, 48)()


def test_a_sweep_ends_before_what_would_take_too_long() -> None:
    lengths = (64, 128, 2**40)
    assert [one.length for one in sweep("elu", "length", lengths, 5.0, "cpu", None)] == [64, 128]


def test_peak_memory_of_a_matrix_is_seen() -> None:
    with PeakMemory() as memory:
        peaks = [memory.of("softmax", "length", n) for n in (512, 1024, 2048)]
    if None in peaks:
        pytest.skip("this system does not tell its peak memory")
    # Four heads' logits in float32 alone, and at most thirty such matrices.
    assert all(4 * 4 * n * n < peak < 30 * 4 * 4 * n * n for n, peak in zip((512, 1024, 2048), peaks, strict=True))
    assert all(3.0 < after / before < 5.0 for before, after in pairwise(peaks))


def test_a_measuring_process_that_is_ended_ends_the_sweep_of_its_rule_alone() -> None:
    with PeakMemory() as memory:
        if not memory.is_telling:
            pytest.skip("this system does not tell its peak memory")
        assert memory.of("elu", "length", 64) is not None
        (process,) = memory._pool._processes.values()
        process.kill()
        assert [one.peak_bytes for one in sweep("elu", "length", (64, 128), 5.0, "cpu", memory)] == [None]
        assert [one.length for one in sweep("relu", "length", (64, 128), 5.0, "cpu", memory)] == [64, 128]


def test_the_allocator_is_told_in_the_process_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=0")
    with Apart(KEEPING, threads=2) as apart:
        assert apart.call(os.getenv, "GLIBC_TUNABLES") == KEEPING
        assert apart.call(torch.get_num_threads) == 2
        assert apart.call(os.getpid) != os.getpid()
    assert os.environ["GLIBC_TUNABLES"] == "glibc.malloc.check=0"


def test_the_picture_has_a_line_and_a_name_for_each_rule() -> None:
    lines = {"sdpa": [(128, 1e-3), (256, 4e-3)], "elu": [(128, 2e-3), (256, 4e-3), (512, 8e-3)]}
    drawn = ElementTree.fromstring(draw("time", lines, {"sdpa": "sdpa  2.00", "elu": "elu  1.00"}, "s"))  # noqa: S314
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"sdpa  2.00", "elu  1.00", "128", "512", "1 ms", "time"} <= set(texts)


def test_the_command_writes_numbers_and_pictures(tmp_path: Path) -> None:
    done = run_program("bench", "attention", "entropy_equality", "sdpa", "--longest", "512", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "entropy_equality" in done.stdout
    facts = json.loads((tmp_path / "attention.json").read_text())
    assert {(one["rule"], one["over"], one["length"]) for one in facts["measured"]} == {
        (rule, over, length)
        for rule in ("entropy_equality", "sdpa")
        for over in ("length", "sensors")
        for length in (128, 256, 512)
    }
    assert {path.name for path in tmp_path.glob("*.svg")} >= {"length_seconds.svg", "sensors_seconds.svg"}


def test_an_unknown_rule_is_named_with_the_nearest(tmp_path: Path) -> None:
    done = run_program("bench", "attention", "entropy_equalty", "--out", str(tmp_path))
    assert done.returncode != 0
    assert "did you mean entropy_equality?" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no device 'tpu' here; this machine has cpu"):
        check_device("tpu")
