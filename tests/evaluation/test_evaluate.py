"""The whole evaluation over a season with planted answers."""

from __future__ import annotations

import json

import polars as pl
import pytest

from dawnchorus.birdnet.detections import COLUMNS
from dawnchorus.errors import DawnChorusError
from dawnchorus.evaluation import tables
from dawnchorus.evaluation.attentive import BESIDE
from dawnchorus.evaluation.coverage_table import lost_windows
from dawnchorus.evaluation.evaluate import evaluate
from dawnchorus.evaluation.labels import probed_confidence
from dawnchorus.results import OK, SET_ASIDE, Results, write_receipt

from .season import EXPERIMENT, SPECIES, Season

SPACES = [
    EXPERIMENT,
    "log-mel",
    "log-mel, floor subtracted",
    "pca of log-mel",
    "untrained vit_nano/16 cls",
    "birdnet",
]


def table(season: Season, name: str) -> pl.DataFrame:
    return pl.read_parquet(season.results.evaluation / f"{name}.parquet")


def run(season: Season, **more):
    return evaluate(season.settings, season.results, season.all_days, device="cpu", **more)


@pytest.fixture(scope="module")
def evaluated(planted, tmp_path_factory):
    import shutil

    root = tmp_path_factory.mktemp("evaluated") / "season"
    shutil.copytree(planted.root, root)
    season = Season(root)
    season.changes = {
        "evaluation": {
            "windows": 59,
            "groups": ["recorder_day", "recorder"],
            "folds": 2,
            "shots": [2],
            "attentive_windows": 30,
        }
    }
    return season, run(season, workers=1)


def pick(frame: pl.DataFrame, **values) -> pl.DataFrame:
    for name, value in values.items():
        column = pl.col(name)
        frame = frame.filter(column.is_null() if value is None else column == value)
    return frame


def one(frame: pl.DataFrame, **values) -> dict[str, object]:
    found = pick(frame, **values)
    assert len(found) == 1, found
    return found.row(0, named=True)


def test_receipt(evaluated):
    season, receipt = evaluated
    assert receipt["verdict"] == OK
    assert (receipt["windows"], receipt["windows_available"]) == (59, 60)
    assert receipt["spaces"] == SPACES
    assert json.loads((season.results.evaluation / "evaluation.json").read_text()) == receipt
    for name, count in receipt["tables"].items():
        assert len(table(season, name)) == count
        assert list(table(season, name).columns) == list(tables.COLUMNS[name])


def test_planted_clusters_agree_wholly_with_the_truth(evaluated):
    season, _ = evaluated
    frame = pick(table(season, "agreement"), space=EXPERIMENT, labels="annotations")
    for clustering in ("assigned", "fitted"):
        for unlabelled in ("left out", "class"):
            rows = pick(frame, clustering=clustering, unlabelled=unlabelled)
            assert rows["value"].to_list() == pytest.approx([1.0] * 8), (clustering, unlabelled)
            assert one(rows, metric="ami")["shuffled"] < 0.15
            assert one(rows, metric="multilabel_purity")["shuffled"] < 0.7
    labelled = one(frame, clustering="assigned", unlabelled="left out", metric="ami")
    silent = one(frame, clustering="assigned", unlabelled="class", metric="ami")
    assert (labelled["classes"], silent["classes"]) == (3, 4)
    assert labelled["windows"] < silent["windows"] == 59
    assert labelled["coverage"] == silent["coverage"] == pytest.approx(labelled["windows"] / 59)


def test_agreement_has_every_space_label_and_confidence(evaluated):
    season, _ = evaluated
    frame = table(season, "agreement")
    keys = frame.select("space", "clustering", "labels", "confidence", "unlabelled", "metric")
    # 7 clusterings x (3 confidences + annotations) x 2 x 8 metrics, each once; and silhouettes: of
    # the clusterings, and of the labels in 6 spaces.
    assert len(keys.unique()) == len(frame) == 7 * 4 * 2 * 8 + 7 + 6 * 4
    assert set(frame["space"]) == set(SPACES)
    with_value = frame.filter(pl.col("value").is_not_null())
    assert with_value["value"].is_finite().all()
    assert not frame["value"].is_nan().any()
    sure = pick(frame, space=EXPERIMENT, clustering="assigned", labels="birdnet", metric="ami")
    coverage = pick(sure, unlabelled="class").sort("confidence")["coverage"].to_list()
    assert coverage[0] == coverage[1] > coverage[2]


def test_silhouettes_of_clusters_and_labels(evaluated):
    season, _ = evaluated
    frame = pick(table(season, "agreement"), space=EXPERIMENT, metric="silhouette")
    clusters = one(frame, clustering="assigned")
    labels = one(frame, clustering="labels", labels="annotations")
    # Unit vectors of planted directions with a little noise: far apart, and shuffled not at all.
    assert clusters["value"] > 0.8
    assert labels["value"] > 0.8
    assert abs(clusters["shuffled"]) < 0.2
    assert clusters["low"] <= clusters["value"] <= clusters["high"]
    assert (clusters["classes"], labels["classes"]) == (4, 3)
    assert (clusters["windows"], labels["windows"]) == (59, 59 - 12)
    assert clusters["labels"] is None


def test_species_and_clusters(evaluated):
    season, _ = evaluated
    best = pick(
        table(season, "species"), space=EXPERIMENT, clustering="assigned", labels="annotations"
    )
    assert best["species"].to_list() == ["Parus major", "Strix aluco", "Turdus merula"]
    assert best["f1"].to_list() == [1.0, 1.0, 1.0]
    assert best["cluster"].to_list() == [1, 2, 0]
    heard = pick(
        table(season, "clusters"),
        space=EXPERIMENT,
        clustering="assigned",
        labels="birdnet",
        confidence=0.5,
    ).sort("cluster")
    # At 0.5, BirdNET has one of three great tits, one of two owls, and no blackbird.
    assert heard["detection_rate"].to_list() == pytest.approx([0, 1 / 3, 1 / 2, 0], abs=0.05)
    assert heard["species"].to_list() == [None, "Parus major", "Strix aluco", None]


def test_confusion_counts_the_planted_clusters(evaluated):
    season, _ = evaluated
    frame = table(season, "confusion")
    mine = pick(frame, space=EXPERIMENT, clustering="assigned", labels="annotations")
    cells = {(row["cluster"], row["species"]): row["windows"] for row in mine.iter_rows(named=True)}
    assert list(cells) == [
        (0, "Turdus merula"), (1, "Parus major"), (2, "Strix aluco"), (3, "none"),
    ]  # fmt: skip
    assert sum(cells.values()) == 59
    # Of BirdNET's labels only those of the middle confidence: a window in two has none.
    assert set(frame["confidence"]) == {None, 0.25}
    heard = pick(frame, space=EXPERIMENT, clustering="assigned", confidence=0.25)
    assert heard["windows"].sum() == 59
    # Each cluster holds its own species or, where BirdNET was silent, none.
    assert set(zip(heard["cluster"], heard["species"], strict=True)) == {
        *((number, name) for number, name in enumerate(SPECIES)), *((at, "none") for at in range(4)),
    }  # fmt: skip


def test_calibration_of_the_pseudo_labels_against_the_truth(evaluated):
    season, _ = evaluated
    frame = table(season, "calibration")
    assert set(frame["labels"]) == {"birdnet", "birdnet, any species"}
    for labels in ("birdnet", "birdnet, any species"):
        rows = pick(frame, labels=labels)
        assert rows["confidence_low"].to_list() == pytest.approx([0.1 * step for step in range(10)])
        filled = rows.filter(pl.col("detections") > 0)
        # The planted detections have 0.3 (blackbirds) or 0.8, and all of them are right.
        assert filled["confidence_low"].to_list() == pytest.approx([0.3, 0.8])
        assert filled["mean_confidence"].to_list() == pytest.approx([0.3, 0.8])
        assert filled["correct_share"].to_list() == filled["low"].to_list() == [1.0, 1.0]
        assert set(rows.filter(pl.col("detections") == 0)["note"]) == {
            "no detection of this confidence"
        }
    found = pick(table(season, "coverage"), what="birdnet", name="labelled", confidence=0.1)
    assert pick(frame, labels="birdnet")["detections"].sum() == found["windows"].item()


def test_probes(evaluated):
    season, _ = evaluated
    frame = table(season, "probes")
    nuisance = {"recorder", "hour", "week", "month"}
    birds = {"species", "birdnet species at 0.25"}
    targets = {*birds, "species or none", "birdnet species or none at 0.25", *nuisance}
    assert set(frame["target"]) == targets
    # Per target: 6 spaces x 2 probes x (2 groupings + leaky) x 2 metrics, and the majority's 2 per
    # grouping. Of birds: 6 spaces and one number of shots, and the attentive probe, with the linear one beside it
    # where there are more windows than 30 (two spaces have tokens).
    curves = len(birds) * 6 * 2
    attentive = len(birds) * 6 * 2 + 2 * 2
    assert len(frame) == len(targets) * (6 * 2 * 3 * 2 + 2 * 2) + curves + attentive
    whole = frame.filter(pl.col("shots").is_null())
    mine = pick(whole, space=EXPERIMENT, target="species or none", split="grouped")
    for group in ("recorder_day", "recorder"):
        of_group = pick(mine, group=group, metric="accuracy")
        assert one(of_group, probe="linear")["value"] == 1.0
        assert one(of_group, probe="5-nearest neighbours")["value"] > 0.9
    assert one(mine, probe="linear", group="recorder", metric="accuracy")["folds"] == 2
    majority = pick(frame, probe="majority", target="species", metric="accuracy")
    for row in majority.iter_rows(named=True):
        assert row["value"] == pytest.approx(18 / row["windows"])
    # The planted embeddings know nothing of the recorder, the log-mel level knows all.
    recorder = pick(
        whole, target="recorder", split="grouped", probe="linear", metric="accuracy",
        group="recorder_day",
    )  # fmt: skip
    assert one(recorder, space="log-mel")["value"] == 1.0
    assert one(recorder, space=EXPERIMENT)["value"] < 0.8
    elsewhere = pick(frame, target="recorder", group="recorder", split="grouped")
    assert elsewhere["value"].is_null().all()


def test_shuffled_labels_stand_beside_the_first_grouping_and_give_chance(evaluated):
    season, _ = evaluated
    frame = table(season, "probes").filter(
        pl.col("shots").is_null() & pl.col("value").is_not_null() & (pl.col("probe") != "majority")
    )
    computed = frame.filter(pl.col("shuffled").is_not_null())
    assert set(computed["group"]) == {"recorder_day"}
    assert set(computed["split"]) == {"grouped"}
    beside = frame.filter((pl.col("split") == "grouped") & (pl.col("group") == "recorder_day"))
    assert len(beside) - len(computed) == 4  # linear, on the attentive probe's windows
    chance = pick(computed, target="species", metric="balanced_accuracy", probe="linear")
    assert chance["shuffled"].mean() == pytest.approx(1 / 3, abs=0.12)
    best = pick(table(season, "species"), clustering="assigned", labels="annotations")
    assert (best["shuffled"] < best["f1"]).all()
    heard = pick(
        table(season, "clusters"), space=EXPERIMENT, clustering="assigned", labels="annotations"
    )
    assert heard["detection_rate"].to_list() == [1.0, 1.0, 1.0, 0.0]
    assert ((heard["shuffled"] > 0.4) & (heard["shuffled"] < 1)).all()


def test_few_shot_curves_and_the_attentive_probe_of_birds(evaluated):
    season, _ = evaluated
    frame = table(season, "probes")
    curve = pick(frame, space=EXPERIMENT, target="species", metric="accuracy").filter(
        pl.col("shots").is_not_null()
    )
    assert curve["shots"].to_list() == [2]
    assert curve["value"].item() > 0.6
    assert set(curve["group"]) == {"recorder_day"}
    attentive = pick(frame, probe="attentive", target="species", metric="accuracy")
    assert attentive["space"].to_list() == SPACES
    with_tokens = attentive.filter(pl.col("value").is_not_null())
    # The planted embeddings are not the network's: both spaces have the same network's tokens.
    assert with_tokens["space"].to_list() == [EXPERIMENT, "untrained vit_nano/16 cls"]
    assert with_tokens["windows"].to_list() == [30, 30]
    assert (with_tokens["shuffled"] < with_tokens["value"]).all()
    assert set(attentive.filter(pl.col("value").is_null())["note"]) == {
        "its vectors come from no network with patch tokens"
    }
    beside = pick(frame, probe=BESIDE, target="species", metric="accuracy", space=EXPERIMENT)
    assert beside["windows"].item() == 30
    assert beside["value"].item() > 0.8


def test_what_cannot_be_probed_says_why(evaluated):
    season, _ = evaluated
    probes = table(season, "probes")
    for target in ("hour", "week", "month"):
        rows = pick(probes, target=target)
        assert rows["value"].is_null().all()
        assert set(rows["note"]) == {"of 1 classes, 1 occur in two groups or more; it takes two"}


def test_no_figure_is_missing_without_a_reason(evaluated):
    season, _ = evaluated
    for name in ("agreement", "probes", "attention"):
        assert not table(season, name)["value"].is_nan().any()
        without = table(season, name).filter(pl.col("value").is_null())
        assert without["note"].is_not_null().all(), name


def test_same_bytes_whatever_the_workers(evaluated, planted, tmp_path):
    season, receipt = evaluated
    import shutil

    shutil.copytree(planted.root, tmp_path / "again")
    again = Season(tmp_path / "again")
    again.changes = season.changes
    assert run(again, workers=3) == receipt
    files = sorted(path.name for path in season.results.evaluation.iterdir())
    assert len(files) == 2 * len(tables.COLUMNS) + 2
    for name in files:
        ours, theirs = season.results.evaluation / name, again.results.evaluation / name
        assert ours.read_bytes() == theirs.read_bytes(), name


def test_no_detections_and_no_annotations(season):
    """Simulated song: BirdNET finds nothing, and all rows say so."""
    season.changes = {
        "evaluation": {"annotations": None, "windows": 30},
        "audio": {"root": "/nowhere"},
    }
    for day in season.all_days:
        pl.DataFrame(schema=COLUMNS).write_parquet(season.results.detections(day))
    receipt = run(season)
    assert receipt["verdict"] == OK
    frame = table(season, "agreement")
    left_out = pick(frame, labels="birdnet", unlabelled="left out")
    assert left_out["value"].is_null().all()
    assert set(left_out["windows"]) == {0}
    assert set(left_out["coverage"]) == {0.0}
    assert set(pick(left_out, confidence=0.25)["note"]) == {"no detection at 0.25 or above"}
    as_class = pick(frame, labels="birdnet", unlabelled="class", metric="homogeneity")
    assert set(as_class["value"]) == {1.0}  # one class: trivially homogeneous
    assert set(as_class["classes"]) == {1}
    probes = pick(table(season, "probes"), target="birdnet species at 0.25")
    assert set(probes["note"]) == {"no window has a label"}
    assert set(table(season, "attention")["note"]) == {"there are no annotations"}
    calibration = table(season, "calibration")
    assert set(calibration["note"]) == {"evaluation.annotations is not set"}
    assert set(pick(table(season, "species"), labels="birdnet", confidence=0.1)["note"]) == {
        "no detection at 0.1 or above"
    }


def test_an_experiment_that_is_not_trained_is_a_row_with_the_reason(season):
    season.changes = {
        "experiments": {"later": {"backbone": "vit_nano"}},
        "evaluation": {"windows": 12},
    }
    receipt = run(season)
    assert receipt["verdict"] == "partial"
    assert receipt["experiments_left_out"] == {"later": "not trained"}
    assert receipt["experiments"] == [EXPERIMENT]
    for name in ("agreement", "probes"):
        assert one(table(season, name), space="later")["note"] == "not trained"


def test_nothing_to_evaluate(season):
    for day in season.all_days:
        aside = {"verdict": SET_ASIDE, "reason": "rain"}
        write_receipt(season.results.spectrograms_receipt(day), aside)
    receipt = run(season)
    assert (receipt["verdict"], receipt["windows"]) == (SET_ASIDE, 0)
    coverage = table(season, "coverage")
    assert len(pick(coverage, what="recorder-day left out")) == 6
    assert len(table(season, "agreement")) == 0
    assert set(table(season, "calibration")["note"]) == {"no annotated recording among the windows"}


def test_no_inventory(tmp_path, season):
    with pytest.raises(DawnChorusError, match="run `dawnchorus scan` first"):
        evaluate(season.settings, Results(tmp_path / "empty"), [])


def test_training_windows_that_lost_their_recording(season):
    assert len(lost_windows(season.results)) == 0  # no training set yet
    known, gone = season.name(season.all_days[0]), "R0/Data/gone.wav"
    rows = [
        {"recorder": "R0", "date": "2021-05-24", "recording": name, "offset": offset}
        for name in (known, gone)
        for offset in (0, 24_000)
    ]
    path = season.results.training_windows
    path.parent.mkdir(parents=True)
    pl.DataFrame(rows).write_parquet(path)
    season.changes = {"evaluation": {"windows": 10}}
    assert run(season)["lost_training_windows"] == 2
    text = (season.results.evaluation / "lost.tsv").read_text()
    assert text == f"recorder\tdate\trecording\twindows\nR0\t2021-05-24\t{gone}\t2\n"


@pytest.mark.parametrize(
    ("confidences", "middle"), [((0.1,), 0.1), ((0.5, 0.1, 0.25), 0.25), ((0.1, 0.5), 0.1)]
)
def test_the_middle_confidence_is_probed(confidences, middle):
    assert probed_confidence(confidences) == middle
