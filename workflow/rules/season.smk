# What the rules ask about the season: its settings, its recorder-days, its frozen training pool.
# Functions only. Nothing is written here: a dry run leaves no trace.
import gc
import json
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

# The checkout's own package serves where none is installed (conda environments hold only libraries).
# The workflow may be called by the Snakefile at the top or by the one in workflow/.
SOURCE = next(
    top / "src"
    for top in (Path(workflow.basedir), Path(workflow.basedir).parent)
    if (top / "src" / "dawnchorus").is_dir()
)
if not any(Path(folder, "dawnchorus").is_dir() for folder in sys.path if folder):
    sys.path.append(str(SOURCE))

from dawnchorus import config as settings_reader
from dawnchorus import packs, rerun_reasons
from dawnchorus.errors import DawnChorusError
from dawnchorus.evaluation.labelled_files import set_fingerprint
from dawnchorus.labelled_results import labelled_results
from dawnchorus.overview import dry_run
from dawnchorus.recordings.handover import cards_of_start, hand_over
from dawnchorus.results import (
    COMPARISON_FIGURES,
    ECOLOGY_TABLES,
    EXPERIMENT_FIGURES,
    RecorderDay,
    Results,
    fingerprint,
)
from dawnchorus.stub_run import stub_jobs

# Environments and images hold the libraries; the command itself comes from the checkout.
if {"conda", "apptainer"} & {
    str(method) for method in workflow.deployment_settings.deployment_method
}:
    shell.prefix(
        f"export PYTHONPATH={shlex.quote(str(SOURCE))}; "
        'dawnchorus() {{ python -m dawnchorus "$@"; }}; '
    )


def one_line(read, *arguments, **options):
    """Call ``read``; a person's mistake ends the workflow with its one line."""
    try:
        return read(*arguments, **options)
    except DawnChorusError as error:
        raise WorkflowError(str(error)) from None


# A graph of a few thousand jobs is many objects and no garbage: looking for some, over and over, would take
# a fifth of a dry run.
gc.set_threshold(200_000, 50, 1000)

SETTINGS = one_line(settings_reader.validate, config, "config")
RESULTS = Results(SETTINGS.results)
EXPERIMENTS = list(SETTINGS.experiments)
CARDS = one_line(
    cards_of_start, SETTINGS.audio, RESULTS, is_main=workflow.is_main_process
)
ON_CARDS = {indexed.day: indexed for indexed in CARDS.days}
# A recorder-day whose recordings are all gone stays in the season, with nothing in it.
DAYS = sorted(set(ON_CARDS) | set(RESULTS.days_with_receipts()))
SECTIONS = [
    key
    for key in type(SETTINGS).model_fields
    if key not in ("results", "container", "experiments")
]
EVALUATION_RECEIPT = RESULTS.evaluation / "evaluation.json"

# These change where or how fast a step works, never what it makes: they reach the command, but are
# no parameter that could make it run again.
PACE = {
    "audio": ("root", "deployments", "min_age_hours", "fingerprint"),
    "embedding": ("batch_size",),
    "birdnet": ("batch_size",),
    "dask": ("scheduler", "workers", "job"),
}
LOCATIONS = ("audio", "labels")  # of a labelled set, likewise
# The indices are a parameter of their own step alone; the spectrograms' command sees them, to make both
# in one pass. They are only valid beside the spectrograms' settings, so no command sees them without.
PASSED_ON = ("indices", "spectrogram")


def as_json(sections):
    return json.dumps(sections, sort_keys=True, separators=(",", ":"))


def pace():
    """The settings that are no parameters, for every command."""
    everything = SETTINGS.model_dump(mode="json")
    sections = {
        section: {key: everything[section][key] for key in keys}
        for section, keys in PACE.items()
    }
    sections.update({section: everything[section] for section in PASSED_ON})
    sections["results"] = everything["results"]
    sections["labelled_sets"] = {
        name: {key: one[key] for key in LOCATIONS}
        for name, one in everything["labelled_sets"].items()
    }
    sections["experiments"] = {
        name: {key: experiment[key] for key in settings_reader.PACE}
        for name, experiment in everything["experiments"].items()
    }
    return as_json(sections)


# Snakemake inside a cluster job reads this file again, so the jobs there have it too.
os.environ.update(DAWNCHORUS_SETTINGS=pace())


def settings_of(*sections, experiments=(), without=()):
    """The settings that a step depends on, as the JSON its command takes.

    A changed value changes this text, and the dry run says which job it concerns. A single key of
    a section is named ``section.key``. Of an experiment it is what the configuration says; the rest
    comes from its recipe, which does not change while the training set stands.
    """
    everything = SETTINGS.model_dump(mode="json")
    chosen = {}
    for name in sections:
        section, _, wanted = name.partition(".")
        chosen[section] = {
            key: value
            for key, value in everything[section].items()
            if (key == wanted if wanted else key not in PACE.get(section, ()))
        }
    if experiments:
        chosen["experiments"] = {
            name: {
                key: value
                for key, value in settings_reader.as_written(
                    SETTINGS.experiments[name]
                ).items()
                if key not in settings_reader.PACE and key not in without
            }
            for name in experiments
        }
    return as_json(chosen)


def settings_of_experiment(*sections, without=()):
    """As :func:`settings_of`, for a rule with the wildcard ``experiment``."""
    texts = {
        name: settings_of(*sections, experiments=[name], without=without)
        for name in EXPERIMENTS
    }
    return lambda wildcards: texts[wildcards.experiment]


def settings_on_set(*sections, experiments=()):
    """As :func:`settings_of`, by the wildcard ``labelled``; the set is among them, but not where it lies."""
    shared = json.loads(settings_of(*sections, experiments=experiments))
    texts = {
        name: as_json(
            {
                **shared,
                "labelled_sets": {
                    name: one.model_dump(mode="json", exclude=set(LOCATIONS))
                },
            }
        )
        for name, one in SETTINGS.labelled_sets.items()
    }
    return lambda wildcards: texts[wildcards.labelled]


def embedded_as(wildcards):
    """What decides an experiment's vectors beside its model, for steps whose inputs are ancient."""
    tokens = SETTINGS.experiments[wildcards.experiment].embedding
    chosen = tokens.model_dump(exclude_none=True)
    return as_json({**json.loads(settings_of("embedding")), "tokens": chosen})


def birdnet_of(wildcards):
    """BirdNET's receipt of a recorder-day, for an experiment that is made of its embeddings."""
    made_of_it = SETTINGS.experiments[wildcards.experiment].method == "birdnet"
    return RESULTS.detections_receipt(day_of(wildcards)) if made_of_it else []


def gpus_to_embed(wildcards):
    return int(SETTINGS.experiments[wildcards.experiment].has_network)


def own_weights(wildcards):
    """The user's weights, for an experiment that has some."""
    wanted = SETTINGS.experiments[wildcards.experiment]
    return str(wanted.weights.file) if wanted.method == "weights" else []


def settings_of_pass(wildcards):
    """What a named pass depends on, for a rule with the wildcard ``named``."""
    return settings_of("clustering", f"passes.{wildcards.named}")


def of_training(key):
    """What an experiment asks of the scheduler, for a rule with the wildcard ``experiment``."""
    return lambda wildcards: getattr(
        SETTINGS.experiments[wildcards.experiment].asked_of_scheduler, key
    )


def day_of(wildcards):
    return RecorderDay(wildcards.recorder, wildcards.date)


def recordings_of(wildcards):
    """Fingerprint of what lies on the cards for a recorder-day."""
    indexed = ON_CARDS.get(day_of(wildcards))
    return indexed.fingerprint if indexed else "no recordings left"


def season_fingerprint():
    return fingerprint(
        [[str(day), ON_CARDS[day].fingerprint] for day in sorted(ON_CARDS)]
    )


def training_pool():
    """The recorder-days the training set was, or will be, drawn from.

    Once drawn it is frozen: the input lists of training, clustering and map stay what they were, so
    new recorder-days do not start them again. ``training_set.edition`` thaws it, on purpose.
    """
    if RESULTS.training_receipt.exists():
        receipt = json.loads(RESULTS.training_receipt.read_text())
        if receipt["edition"] == SETTINGS.training_set.edition:
            return [RecorderDay(*day) for day in receipt["pool"]]
    return DAYS


POOL = training_pool()


def listed(days):
    """Recorder-days as the option --days takes them."""
    return ",".join(map(str, days))


# Paths with wildcards, from the same place as everybody else's.
ANY_DAY = RecorderDay("{recorder}", "{date}")
ANY = RESULTS.experiment("{experiment}")


wildcard_constraints:
    recorder=r"[^/]+",
    date=r"\d{4}-\d{2}-\d{2}",
    experiment="|".join(EXPERIMENTS),


# Receipts whose store somebody deleted: their jobs must run again. (A job that was sent away decides nothing.)
rerun_reasons.mend(
    one_line(RESULTS.receipts_without_data, DAYS, EXPERIMENTS, list(SETTINGS.passes))
    if workflow.is_main_process
    else []
)

packs.mend()

# A dry run ends with a summary of what would run, and why.
dry_run.register(workflow, SETTINGS, RESULTS, CARDS)
