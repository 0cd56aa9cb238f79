"""The configuration: defaults, bounds, messages, and the schema that editors read."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dawnchorus import config
from dawnchorus.config import reference
from dawnchorus.errors import DawnChorusError

REPOSITORY = Path(__file__).parents[1]


def test_defaults_are_the_reference_season():
    settings = config.load()
    assert settings.spectrogram.window_samples == 132_300
    assert settings.training_set.windows == 230_000
    experiment = settings.experiment("dino_vits16")
    assert (experiment.backbone, experiment.epochs) == ("vit_small", 50)
    assert (settings.clustering.k, settings.clustering.fit_windows) == (100, 50_000)


def test_commented_config_says_the_defaults():
    """config/config.yaml promises that a key left out takes the value shown there."""
    shown = config.read_values(REPOSITORY / "config" / "config.yaml")
    defaults = config.Settings().model_dump(mode="json")
    chosen_there = {
        ("audio", "deployments"),
        ("audio", "timezone"),
        ("birdnet", "use_place"),
    }
    for section, values in shown.items():
        if not isinstance(values, dict) or section == "experiments":
            continue
        for key, value in values.items():
            if (section, key) not in chosen_there:
                assert defaults[section][key] == value, f"{section}.{key}"
    experiment = config.Experiment().model_dump(mode="json")
    for key, value in shown["experiments"]["dino_vits16"].items():
        assert experiment[key] == value, key


@pytest.mark.parametrize("name", ["config.yaml", "demo.yaml"])
def test_shipped_configs_are_valid(name):
    assert config.load([REPOSITORY / "config" / name]).experiments


def test_schema_file_is_the_one_of_the_classes():
    written = json.loads((REPOSITORY / "workflow/schemas/config.schema.json").read_text())
    assert written == config.schema(), "run `make schema`"
    page = (REPOSITORY / "docs/configuration.md").read_text()
    assert page == reference.page(), "run `make schema`"
    for key in ("`clustering`", "| `k` | `100` | int >= 2 |", "`vit_small`"):
        assert key in page


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"spectogram": {}}, ["spectogram", "unknown key", "did you mean 'spectrogram'"]),
        ({"spectrogram": {"n_ftt": 5}}, ["spectrogram.n_ftt", "did you mean 'n_fft'"]),
        ({"experiments": {"a": {"epoch": 3}}}, ["experiments.a.epoch", "'epochs'"]),
        ({"experiments": {"a": {"dino": {"outdim": 3}}}}, ["experiments.a.dino.outdim", "out_dim"]),
        ({"clustering": {"k": "many"}}, ["clustering.k", "integer", "'many'"]),
        ({"clustering": {"k": 1}}, ["clustering.k", "2", "got 1"]),
        ({"training_set": 5}, ["training_set", "got 5"]),
        ({"experiments": {"training": {}}}, ["training", "folder of the results"]),
        ({"experiments": {"a/b": {}}}, ["a/b", "letters"]),
        ({"audio": {"timezone": "Mars/Olympus"}}, ["audio.timezone", "IANA"]),
        ({"audio": {"pattern": "(?P<year>"}}, ["audio.pattern", "regular expression"]),
        ({"audio": {"pattern": "(?P<year>x)"}}, ["audio.pattern", "day, hour, minute, month"]),
        ({"spectrogram": {"frames": 400}}, ["frames", "fewer frames or a longer window"]),
        ({"spectrogram": {"f_max": 30000}}, ["f_max", "sample_rate / 2"]),
        ({"spectrogram": {"shard_windows": 5}}, ["shard_windows", "multiple of chunk_windows"]),
        ({"experiments": {"a": {"method": "simclr"}}}, ["experiments.a.method", "dino"]),
    ],
)
def test_a_wrong_key_or_value_is_one_line_that_helps(values, words):
    with pytest.raises(DawnChorusError) as caught:
        config.validate(values)
    line = str(caught.value)
    assert "\n" not in line
    for word in words:
        assert word in line


def test_later_files_json_and_overrides_win_key_by_key(tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("clustering: {k: 7, seed: 3}\nresults: one\n")
    second.write_text("clustering: {k: 8}\n")
    settings = config.load(
        [first, second], ["clustering.k=10"], ['{"clustering":{"k":9,"restarts":2}}']
    )
    assert settings.clustering == config.Clustering(k=10, seed=3, restarts=2)
    assert settings.results == Path("one")


@pytest.mark.parametrize(
    ("text", "word"),
    [("a: [1", "not YAML"), ("- a\n", "not a mapping")],
)
def test_a_broken_file_is_one_line(tmp_path, text, word):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(DawnChorusError, match=word):
        config.load([path])
    with pytest.raises(DawnChorusError, match="No such file"):
        config.load([tmp_path / "missing.yaml"])


def test_settings_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        config.load().clustering.k = 5


@given(
    k=st.integers(2, 500),
    root=st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=20),
    shares=st.tuples(st.floats(0.01, 0.5), st.floats(0.5, 1.0)),
)
def test_json_and_yaml_round_trips(k, root, shares):
    settings = config.validate(
        {
            "clustering": {"k": k},
            "audio": {"root": root},
            "experiments": {"a": {"augmentation": {"global_time": shares}}},
        }
    )
    dumped = settings.model_dump(mode="json")
    assert config.load(handed=[json.dumps(dumped)]) == settings
    assert config.validate(yaml.safe_load(yaml.safe_dump(dumped))) == settings
