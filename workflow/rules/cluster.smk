# Clusters: fitted on the frozen pool, then every recorder-day is assigned.
rule cluster:
    input:
        model=ANY.model,
        windows=RESULTS.training_receipt,
        embeddings=ancient([ANY.embeddings_receipt(day) for day in POOL]),
    output:
        centroids=ANY.centroids,
        members=ANY.members,
        receipt=ANY.clusters_receipt,
    log:
        RESULTS.root / "logs" / "cluster" / "{experiment}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "cluster" / "{experiment}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        embedded_as=embedded_as,
        settings=settings_of("clustering"),
    shell:
        "dawnchorus cluster --settings {params.settings:q}"
        " --experiment {wildcards.experiment} --workers {threads} > {log:q} 2>&1"


rule assign_day:
    input:
        clusters=ANY.clusters_receipt,
        centroids=ANY.centroids,
        embeddings=ANY.embeddings_receipt(ANY_DAY),
    output:
        ANY.assignment_receipt(ANY_DAY),
    log:
        RESULTS.root / "logs" / "assign" / "{experiment}" / "{recorder}" / "{date}.log",
    benchmark:
        RESULTS.root
        / "benchmarks"
        / "assign"
        / "{experiment}"
        / "{recorder}"
        / "{date}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    shell:
        "dawnchorus assign --experiment {wildcards.experiment}"
        " --recorder {wildcards.recorder:q} --date {wildcards.date} > {log:q} 2>&1"


# What drifts is measured when a recorder-day arrives; the sums of the others are remembered.
rule statistics:
    input:
        clusters=ANY.clusters_receipt,
        members=ANY.members,
        assignments=[ANY.assignment_receipt(day) for day in DAYS],
    output:
        ANY.statistics_receipt,
    log:
        RESULTS.root / "logs" / "statistics" / "{experiment}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "statistics" / "{experiment}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        days=listed(DAYS),
        settings=settings_of("drift"),
    shell:
        "dawnchorus statistics --settings {params.settings:q} --days {params.days:q}"
        " --experiment {wildcards.experiment} --workers {threads} > {log:q} 2>&1"
