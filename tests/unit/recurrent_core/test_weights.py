"""Artifacts: saved, loaded, refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recurrent_core.errors import ArtifactError, ConfigError
from recurrent_core.models.elinformer.model import Elinformer, Known
from recurrent_core.weights import load_model, save_model
from tests.support.models import with_history, with_series_nets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(Elinformer.untrained(name="mine", version="7"), tmp_path / "artifact", {"made_by": "a test"})
    return tmp_path / "artifact"


def test_saved_and_loaded_is_the_same_model(folder: Path) -> None:
    model, first = load_model(folder), Elinformer.untrained()
    assert (model.name, model.version, model.layout_id) == ("mine", "7", first.layout_id)
    assert model.config == first.config
    assert torch.equal(model.tensors["readout_prior"], first.tensors["readout_prior"])
    assert json.loads((folder / "card.json").read_text())["facts"] == {"made_by": "a test"}
    assert not list(folder.glob("*.part"))


def test_a_trained_dress_knows_its_series_again(tmp_path: Path) -> None:
    model = with_series_nets(5, Known(("s-1", "s-2"), "speed"))
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert (again.known, again.layout_id) == (model.known, model.layout_id)
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in model.tensors.items())
    assert [again.number_of(*key) for key in (("s-2", "speed"), ("s-2", ""), ("s-2", "count"), ("s-3", ""))] == [
        2,
        2,
        0,
        0,
    ]


@pytest.mark.parametrize("rules", [("entropy_equality",), ("gla", "conv+softmax_window")])
def test_rules_of_attention_are_kept_in_the_artifact(rules: tuple[str, ...], tmp_path: Path) -> None:
    model = with_history(5, Known(("s-1", "s-2")), 0.1, *rules)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    assert again.config.attention == rules
    assert again.layout_id == model.layout_id
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in model.tensors.items())


def test_states_and_weights_of_another_rule_are_foreign(tmp_path: Path) -> None:
    known = Known(("s-1",))
    models = [with_history(5, known, 0.1, rule) for rule in ("gla", "lightning", "gated_delta", "conv+gla")]
    assert len({model.layout_id for model in models}) == 4
    gla, lightning = models[:2]
    with pytest.raises(ConfigError, match="do not fit"):
        Elinformer(replace(lightning.config, attention=("gla",)), lightning.tensors, "x", "1", known)
    with pytest.raises(ConfigError, match="unknown mechanism 'gls'; did you mean gla"):
        Elinformer(replace(gla.config, attention=("gls",)), gla.tensors, "x", "1", known)


def test_states_of_other_series_are_foreign() -> None:
    layouts = {with_series_nets(5, Known(names)).layout_id for names in (("a", "b"), ("b", "a"), ("a", "b", "c"))}
    assert len(layouts) == 3


def test_networks_that_know_series_want_their_names() -> None:
    model = with_series_nets(5, Known(("s-1",)))
    with pytest.raises(ConfigError, match="do not fit"):
        Elinformer(model.config, model.tensors, "x", "1")


def test_the_default_ships_with_the_package() -> None:
    model = load_model("default")
    assert model.name == "default"
    assert load_model().layout_id == model.layout_id


def test_a_name_that_is_not_there_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="did you mean 'default'"):
        load_model("defualt")
    with pytest.raises(ArtifactError, match="name one of default, or an artifact's folder"):
        load_model(tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "card.json"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(ArtifactError, match=f"lacks {file}"):
        load_model(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_changed_byte_is_noticed(folder: Path, file: str) -> None:
    content = bytearray((folder / file).read_bytes())
    content[-2] ^= 1
    (folder / file).write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        load_model(folder)


def test_a_torn_card_is_noticed(folder: Path) -> None:
    (folder / "card.json").write_text('{"name":')
    with pytest.raises(ArtifactError, match="damaged"):
        load_model(folder)
    (folder / "card.json").write_text("[]")
    with pytest.raises(ArtifactError, match="wanted a JSON object"):
        load_model(folder)


@pytest.mark.parametrize(
    ("fact", "value", "sentence"),
    [
        ("layout_id", "elinformer.0-000", "state layout"),
        ("format_version", 99, "format 99"),
        ("checksum", "", "damaged"),
    ],
)
def test_a_foreign_card_is_refused(folder: Path, fact: str, value: object, sentence: str) -> None:
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, fact: value}))
    with pytest.raises(ArtifactError, match=sentence):
        load_model(folder)


def test_tensors_that_do_not_fit_are_refused() -> None:
    whole = Elinformer.untrained()
    with pytest.raises(ConfigError, match="readout_prior"):
        Elinformer(whole.config, {"readout_prior": torch.zeros(3)}, "x", "1")
    with pytest.raises(ConfigError, match="readout_prior"):
        Elinformer(whole.config, {}, "x", "1")
