"""Training in several processes, as torchrun starts them; on CPUs, over gloo."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from recurrent_core.weights import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, load_card, load_model
from stream_engine.training.ranks import ALONE
from tests.unit.stream_engine.training import together
from tests.unit.stream_engine.training.histories import tide, write_wide

ROOT = Path(__file__).parents[4]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ARTIFACT = (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Two processes of a program, to their end."""
    done = subprocess.run([*TORCHRUN, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_two_processes_learn_the_same_networks_also_after_a_kill(tmp_path: Path) -> None:
    write_wide(tmp_path / "tide.csv", *tide())
    torchrun("-m", together.__name__, str(tmp_path))
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["size"] == 2
    assert told["is_same"], "their networks have gone apart"
    assert not told["is_same_as_alone"], "each drew the same origins as one process does"
    assert "choose: 6 steps" not in told["again"], "it did not go on where it was"
    for name in ARTIFACT:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_command_trains_under_torchrun_and_tells_once(tmp_path: Path) -> None:
    history = write_wide(tmp_path / "tide.csv", *tide())
    program = str(Path(sys.executable).with_name("stream-engine"))
    command = ["--no-python", program, "train", str(history), "--device", "cpu", "--steps", "30"]
    done = torchrun(*command, "--train-end", "216", "--valid-end", "264", "--out", str(tmp_path / "model"))
    assert done.stdout.count("written:") == 1
    assert load_model(tmp_path / "model").network is not None
    assert load_card(tmp_path / "model")["facts"]["validation_to_mix"]["mae"] < 1.05


def test_one_process_shares_with_nobody() -> None:
    network = torch.nn.Linear(2, 1)
    network(torch.ones(1, 2)).sum().backward()
    before = [weight.grad.clone() for weight in network.parameters() if weight.grad is not None]
    ALONE.share_gradients(network)
    assert all(torch.equal(*pair) for pair in zip(before, (w.grad for w in network.parameters()), strict=True))
    assert ALONE.gathered(torch.arange(2)).tolist() == [[0, 1]]
    assert ALONE.agreed({"mae": np.float64(1)}) == {"mae": 1}
