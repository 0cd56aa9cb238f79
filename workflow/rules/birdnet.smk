# BirdNET's pseudo-labels of a recorder-day; they need no model of ours.
rule birdnet_day:
    input:
        recordings=ancient(RESULTS.recordings),
    output:
        RESULTS.detections_receipt(ANY_DAY),
    log:
        RESULTS.root / "logs" / "birdnet" / "{recorder}" / "{date}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "birdnet" / "{recorder}" / "{date}.tsv"
    conda:
        "../../envs/birdnet.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        recordings=recordings_of,
        settings=settings_of("birdnet", "audio.channel"),
    shell:
        "dawnchorus birdnet --settings {params.settings:q}"
        " --recorder {wildcards.recorder:q} --date {wildcards.date}"
        " --workers {threads} > {log:q} 2>&1"
