# The training set: drawn once from the recorder-days there are, then frozen.
rule sample:
    input:
        ancient([RESULTS.spectrograms_receipt(day) for day in POOL]),
    output:
        windows=RESULTS.training_windows,
        receipt=RESULTS.training_receipt,
    log:
        RESULTS.root / "logs" / "sample.log",
    benchmark:
        RESULTS.root / "benchmarks" / "sample.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        days=listed(POOL),
        settings=settings_of("spectrogram", "audio.channel", "training_set"),
    shell:
        "dawnchorus sample --settings {params.settings:q}"
        " --days {params.days:q} > {log:q} 2>&1"
