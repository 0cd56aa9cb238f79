# The 2-D map: the projection is fitted on the frozen pool, then every window finds its place.
rule map_fit:
    input:
        model=ANY.model,
        windows=RESULTS.training_receipt,
        embeddings=ancient([ANY.embeddings_receipt(day) for day in POOL]),
    output:
        ANY.projection,
    log:
        RESULTS.root / "logs" / "map_fit" / "{experiment}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "map_fit" / "{experiment}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=240,
    params:
        embedded_as=embedded_as,
        settings=settings_of("map"),
    shell:
        "dawnchorus map --fit --settings {params.settings:q}"
        " --experiment {wildcards.experiment} > {log:q} 2>&1"


rule map:
    input:
        projection=ANY.projection,
        embeddings=[ANY.embeddings_receipt(day) for day in DAYS],
    output:
        ANY.map_receipt,
    log:
        RESULTS.root / "logs" / "map" / "{experiment}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "map" / "{experiment}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        days=listed(DAYS),
        settings=settings_of("map"),
    shell:
        "dawnchorus map --settings {params.settings:q} --days {params.days:q}"
        " --experiment {wildcards.experiment} --workers {threads} > {log:q} 2>&1"
