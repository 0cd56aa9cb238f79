"""Recipes: what they propose at each size, what stands above them, and that they say why."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dawnchorus import config
from dawnchorus.cli import app
from dawnchorus.config import Experiment, recipes

SIZED = recipes._book()["sized"]


def experiment(**values) -> Experiment:
    return config.validate({"experiments": {"toy": values}}).experiments["toy"]


def test_names_in_the_configuration_are_those_of_the_book():
    names = get_args(Experiment.model_fields["recipe"].annotation)
    assert set(names) == {"auto", "none", *recipes.SIZES, *recipes.presets()}


def test_every_entry_sets_a_key_there_is_at_every_decade_and_says_where_it_comes_from():
    known = set(dict(recipes._leaves(Experiment().model_dump())))
    known |= {"augmentation.photographic.global_area", "augmentation.photographic.local_area"}
    book = recipes._book()
    assert {key for group in book["sized"].values() for key in group} <= known
    assert {key for group in book["presets"].values() for key in group} <= known
    for method, book in SIZED.items():
        assert method in get_args(Experiment.model_fields["method"].annotation)
        for key, entry in book.items():
            assert list(entry["at"]) == [1e3, 1e4, 1e5, 1e6, 1e7], (method, key)
            assert len(entry["from"]) > 10, (method, key)
    for name in recipes.presets():
        for entry in recipes._book()["presets"][name].values():
            assert set(entry) == {"is", "from"} and entry["from"]


@pytest.mark.parametrize("method", SIZED)
@given(windows=st.integers(1, 10**9))
def test_every_size_gives_valid_settings_between_its_neighbours(method, windows):
    resolved = recipes.resolve(experiment(method=method), windows).experiment
    for key, entry in SIZED[method].items():
        value = dict(recipes._leaves(resolved.model_dump()))[key]
        if isinstance(value, str | tuple):
            assert value in [
                tuple(one) if isinstance(one, list) else one for one in entry["at"].values()
            ]
        else:
            assert min(entry["at"].values()) <= value <= max(entry["at"].values())


def test_between_two_sizes_a_value_is_interpolated_as_it_says():
    at = {1e3: 1.0, 1e5: 100.0}
    assert recipes.interpolated(at, "line", 10_000) == pytest.approx(50.5)
    assert recipes.interpolated(at, "logarithm", 10_000) == pytest.approx(10.0)
    assert recipes.interpolated(at, "power_of_two", 10_000) == 8
    assert recipes.interpolated(at, "nearest", 9_999) == 1.0
    assert recipes.interpolated(at, "nearest", 10_001) == 100.0
    for between in ("line", "logarithm", "nearest"):
        assert recipes.interpolated(at, between, 10) == 1.0
        assert recipes.interpolated(at, between, 1000) == 1.0
        assert recipes.interpolated(at, between, 10**8) == 100.0


def test_the_reference_season_gets_what_the_literature_has_for_its_size():
    """230,000 windows: 32,768 prototypes, a momentum of .991 to .992 (lightly-train's scaling)."""
    found = recipes.resolve(experiment(method="dino"), 230_000).experiment
    assert found.dino.out_dim == 32_768
    assert 0.991 <= found.dino.teacher_momentum <= 0.9925
    assert 0.03 <= found.dino.teacher_temperature <= 0.055
    assert found.batch_size in (512, 1024)


def test_the_configuration_stands_above_the_recipe_and_every_source_is_named():
    written = experiment(method="dino", epochs=7, dino={"out_dim": 99})
    recipe = recipes.resolve(written, 1000)
    assert (recipe.experiment.epochs, recipe.experiment.dino.out_dim) == (7, 99)
    table = recipe.table()
    assert table["dino.out_dim"] == {"value": 99, "from": "the configuration"}
    assert table["epochs"]["from"] == "the configuration"
    assert table["dino.teacher_momentum"]["from"].startswith("recipe for 1,000 windows: ")
    assert table["seed"]["from"] == "the default at every size"
    every = dict(recipes._leaves(recipe.experiment.model_dump(mode="json")))
    others = ("vicreg.", "pca.", "weights.")
    assert set(table) == {key for key in every if not key.startswith(others)}


def test_a_named_size_is_taken_whatever_there_is_and_none_takes_nothing():
    named = recipes.resolve(experiment(recipe="1e7"), 40).experiment
    assert named.dino.out_dim == SIZED["dino"]["dino.out_dim"]["at"][1e7]
    none = recipes.resolve(experiment(recipe="none"), 40)
    assert none.experiment == experiment(recipe="none")
    assert set(none.sources.values()) == {"the default at every size", "the configuration"}


def test_the_posters_training_is_the_posters():
    found = recipes.resolve(experiment(recipe="seed2022"), 230_000).experiment
    photo = found.augmentation.photographic
    assert (found.backbone, found.epochs, found.batch_size) == ("vit_small", 50, 512)
    assert (found.dino.out_dim, found.dino.local_crops) == (65_536, 20)
    assert found.learning_rate * found.batch_size / 256 == pytest.approx(1e-4)
    assert (photo.reverse_probability, photo.global_area) == (0.5, (0.4, 1.0))
    assert (photo.blur_probability, photo.solarise_probability) == ((1, 0.1, 0.5), (0, 0.2, 0))
    assert found.augmentation.mix_probability == found.augmentation.gain_db == 0
    later = recipes.resolve(experiment(recipe="seed2022", epochs=15), 230_000).experiment
    assert later.epochs == 15


def test_writing_down_a_default_changes_nothing_but_a_recipes_key_counts():
    assert config.as_written(experiment()) == {}
    assert config.as_written(experiment(seed=0, dino={"student_temperature": 0.1})) == {}
    assert config.as_written(experiment(seed=1)) == {"seed": 1}
    out_dim = Experiment().dino.out_dim
    assert config.as_written(experiment(dino={"out_dim": out_dim})) == {
        "dino": {"out_dim": out_dim}
    }


@given(windows=st.sampled_from([800, 230_000]), name=st.sampled_from(["auto", "1e5", "seed2022"]))
def test_what_a_rule_hands_on_resolves_to_the_same(windows, name):
    """As JSON, and once more: a value of the recipe must not turn into one of the configuration."""
    written = experiment(recipe=name, seed=3, augmentation={"gain_db": 2.0})
    handed = json.dumps({"experiments": {"toy": config.as_written(written)}})
    read = config.load(handed=[handed])
    again = config.load(handed=[read.model_dump_json(exclude_unset=True)])
    for settings in (read, again):
        found = recipes.resolve(settings.experiments["toy"], windows)
        expected = recipes.resolve(written, windows)
        assert found.experiment == expected.experiment
        assert (
            found.sources["dino.out_dim"] == expected.sources["dino.out_dim"] != "the configuration"
        )


def test_the_command_prints_each_setting_with_its_reason(tmp_path):
    arguments = ["train", "--experiment", "dino_vits16", "--show-recipe"]
    arguments += ["--set", f"results={tmp_path}", "--set", "experiments.dino_vits16.epochs=9"]
    run = CliRunner().invoke(app, arguments)
    assert run.exit_code == 0, run.output
    lines = dict(line.split("\t", 1) for line in run.stdout.splitlines())
    assert lines["epochs"] == "9.0\tthe configuration"
    assert lines["dino.out_dim"].startswith("32768\trecipe for 230,000 windows: ")


def test_an_encoder_that_is_not_trained_has_only_what_it_uses():
    table = recipes.resolve(experiment(method="pca", pca={"components": 3}), 1000).table()
    keys = {key for key in table if not key.startswith("resources.")}
    assert keys == {"method", "input", "seed", "pca.components", "pca.windows"}
