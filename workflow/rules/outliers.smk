# Windows and recorder-days that lie far from everything else. A recorder-day that is scored already is not scored again.
rule outliers:
    input:
        windows=RESULTS.training_receipt,
        clusters=ANY.clusters_receipt,
        centroids=ANY.centroids,
        assignments=[ANY.assignment_receipt(day) for day in DAYS],
        detections=[RESULTS.detections_receipt(day) for day in DAYS],
        recordings=RESULTS.recordings,
    output:
        receipt=ANY.outliers_receipt,
        windows=ANY.outliers("windows"),
        days=ANY.outliers("days"),
        page=report(
            ANY.figure("outliers.html"),
            category="2. Output spaces",
            subcategory="{experiment}",
            labels={"figure": "outliers"},
            caption="../report/outliers.rst",
        ),
    log:
        RESULTS.root / "logs" / "outliers" / "{experiment}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "outliers" / "{experiment}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        days=listed(DAYS),
        settings=settings_of("outliers"),
    shell:
        "dawnchorus outliers --settings {params.settings:q} --days {params.days:q}"
        " --experiment {wildcards.experiment} --workers {threads} > {log:q} 2>&1"
