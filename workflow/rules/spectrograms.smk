# One recorder-day to one spectrogram store. The receipt beside the store is what is tracked.
rule spectrograms_day:
    input:
        recordings=ancient(RESULTS.recordings),
    output:
        RESULTS.spectrograms_receipt(ANY_DAY),
    log:
        RESULTS.root / "logs" / "spectrograms" / "{recorder}" / "{date}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "spectrograms" / "{recorder}" / "{date}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recordings=recordings_of,
        settings=settings_of("spectrogram", "audio.channel"),
    shell:
        "dawnchorus spectrograms --settings {params.settings:q}"
        " --recorder {wildcards.recorder:q} --date {wildcards.date}"
        " --workers {threads} > {log:q} 2>&1"
