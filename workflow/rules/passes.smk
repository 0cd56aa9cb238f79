# Only if the configuration names passes, or asks for the sweep: the first clusters without some of them, fitted
# on the frozen pool; then every recorder-day, once the first clusters have it.
PASSES = list(SETTINGS.passes)
WITH_PASSES = [
    RESULTS.experiment(name).clustering(named).assignment_receipt(day)
    for name in EXPERIMENTS
    for named in PASSES
    for day in DAYS
]
SWEEPS = (
    [RESULTS.experiment(name).sweep for name in EXPERIMENTS]
    if SETTINGS.sweep.enabled
    else []
)
ANY_PASS = ANY.clustering("{named}")
BY_DETECTIONS = any(one.detected_below is not None for one in SETTINGS.passes.values())


if PASSES:

    wildcard_constraints:
        named="|".join(map(re.escape, PASSES)),

    rule cluster_pass:
        input:
            first=ANY.clusters_receipt,
            windows=RESULTS.training_receipt,
            assignments=ancient([ANY.assignment_receipt(day) for day in POOL]),
            detections=(
                ancient([RESULTS.detections_receipt(day) for day in POOL])
                if BY_DETECTIONS
                else []
            ),
        output:
            centroids=ANY_PASS.centroids,
            members=ANY_PASS.members,
            receipt=ANY_PASS.receipt,
        log:
            RESULTS.root / "logs" / "passes" / "{experiment}" / "{named}.log",
        benchmark:
            RESULTS.root / "benchmarks" / "passes" / "{experiment}" / "{named}.tsv"
        conda:
            "../../envs/core.yaml"
        threads: 4
        resources:
            mem_mb=8000,
            runtime=120,
        params:
            settings=settings_of_pass,
        shell:
            "dawnchorus cluster --settings {params.settings:q} --pass {wildcards.named:q}"
            " --experiment {wildcards.experiment} --workers {threads} > {log:q} 2>&1"

    rule assign_pass:
        input:
            clusters=ANY_PASS.receipt,
            centroids=ANY_PASS.centroids,
            first=ANY.assignment_receipt(ANY_DAY),
        output:
            ANY_PASS.assignment_receipt(ANY_DAY),
        log:
            RESULTS.root
            / "logs"
            / "passes_assign"
            / "{experiment}"
            / "{named}"
            / "{recorder}"
            / "{date}.log",
        benchmark:
            (
                RESULTS.root
                / "benchmarks"
                / "passes_assign"
                / "{experiment}"
                / "{named}"
                / "{recorder}"
                / "{date}.tsv"
            )
        conda:
            "../../envs/core.yaml"
        threads: 1
        resources:
            mem_mb=2000,
            runtime=30,
        shell:
            "dawnchorus assign --experiment {wildcards.experiment} --pass {wildcards.named:q}"
            " --recorder {wildcards.recorder:q} --date {wildcards.date} > {log:q} 2>&1"


if SWEEPS:

    rule sweep:
        input:
            model=ANY.model,
            windows=RESULTS.training_receipt,
            embeddings=ancient([ANY.embeddings_receipt(day) for day in POOL]),
        output:
            ANY.sweep,
        log:
            RESULTS.root / "logs" / "sweep" / "{experiment}.log",
        benchmark:
            RESULTS.root / "benchmarks" / "sweep" / "{experiment}.tsv"
        conda:
            "../../envs/core.yaml"
        threads: 4
        resources:
            mem_mb=8000,
            runtime=240,
        params:
            settings=settings_of("sweep", "clustering.seed"),
        shell:
            "dawnchorus sweep --settings {params.settings:q}"
            " --experiment {wildcards.experiment} --workers {threads} > {log:q} 2>&1"
