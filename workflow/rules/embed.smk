# Every window of a recorder-day to its vector.
rule embed_day:
    input:
        model=ANY.model,
        spectrograms=RESULTS.spectrograms_receipt(ANY_DAY),
        birdnet=birdnet_of,
    output:
        ANY.embeddings_receipt(ANY_DAY),
    log:
        RESULTS.root / "logs" / "embed" / "{experiment}" / "{recorder}" / "{date}.log",
    benchmark:
        RESULTS.root
        / "benchmarks"
        / "embed"
        / "{experiment}"
        / "{recorder}"
        / "{date}.tsv"
    conda:
        "../../envs/learning.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=gpus_to_embed,
    params:
        settings=settings_of_experiment("spectrogram", "embedding"),
    shell:
        "dawnchorus embed --settings {params.settings:q}"
        " --experiment {wildcards.experiment} --recorder {wildcards.recorder:q}"
        " --date {wildcards.date} --workers {threads} > {log:q} 2>&1"
