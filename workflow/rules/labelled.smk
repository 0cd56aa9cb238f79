# Labelled data sets, if the configuration names some: their sound is read once, then every experiment is measured on
# them. They depend on models and clusters, never on the season's days: a new recorder-day runs neither job.
SETS = list(SETTINGS.labelled_sets)
LABELLED = [labelled_results(RESULTS, name).evaluation_receipt for name in SETS]
ANY_SET = labelled_results(RESULTS, "{labelled}")


if SETS:
    FILES_OF_SETS = {name: set_fingerprint(SETTINGS, name) for name in SETS}

    wildcard_constraints:
        labelled="|".join(map(re.escape, SETS)),

    rule labelled_sound:
        output:
            ANY_SET.sound_receipt,
        log:
            RESULTS.root / "logs" / "labelled_sound" / "{labelled}.log",
        benchmark:
            RESULTS.root / "benchmarks" / "labelled_sound" / "{labelled}.tsv"
        conda:
            "../../envs/birdnet.yaml"
        threads: 2
        resources:
            mem_mb=4000,
            runtime=240,
        params:
            files=lambda wildcards: FILES_OF_SETS[wildcards.labelled],
            settings=settings_on_set("spectrogram", "birdnet", "audio.channel"),
        shell:
            "dawnchorus labelled --sound --settings {params.settings:q} {wildcards.labelled:q}"
            " --workers {threads} > {log:q} 2>&1"

    rule labelled_set:
        input:
            sound=ANY_SET.sound_receipt,
            models=[RESULTS.experiment(name).model for name in EXPERIMENTS],
            clusters=[RESULTS.experiment(name).centroids for name in EXPERIMENTS],
        output:
            ANY_SET.evaluation_receipt,
        log:
            RESULTS.root / "logs" / "labelled" / "{labelled}.log",
        benchmark:
            RESULTS.root / "benchmarks" / "labelled" / "{labelled}.tsv"
        conda:
            "../../envs/learning.yaml"
        threads: 4
        resources:
            mem_mb=8000,
            runtime=240,
            gpu=1,
        params:
            settings=settings_on_set(
                "spectrogram",
                "embedding",
                "clustering",
                "attention",
                "birdnet",
                "evaluation",
                "audio.channel",
                experiments=EXPERIMENTS,
            ),
        shell:
            "dawnchorus labelled --settings {params.settings:q} {wildcards.labelled:q}"
            " --workers {threads} > {log:q} 2>&1"
