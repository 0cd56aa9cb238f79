# Acoustic indices and the false-colour picture of a recorder-day. Where they are wanted from the start, the
# pass for the spectrograms has brought them along and this job only finds them; wanted later, it
# makes them, and nothing else runs again.
rule indices_day:
    input:
        recordings=ancient(RESULTS.recordings),
        spectrograms=ancient(RESULTS.spectrograms_receipt(ANY_DAY)),
    output:
        RESULTS.indices_receipt(ANY_DAY),
    log:
        RESULTS.root / "logs" / "indices" / "{recorder}" / "{date}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "indices" / "{recorder}" / "{date}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recordings=recordings_of,
        settings=settings_of("spectrogram", "audio.channel", "indices"),
    shell:
        "dawnchorus indices --settings {params.settings:q}"
        " --recorder {wildcards.recorder:q} --date {wildcards.date}"
        " --workers {threads} > {log:q} 2>&1"
