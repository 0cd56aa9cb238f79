# Where the heads look in the most central windows of each cluster.
rule attend:
    input:
        model=ANY.model,
        members=ANY.members,
        clusters=ANY.clusters_receipt,
        spectrograms=ancient([RESULTS.spectrograms_receipt(day) for day in POOL]),
    output:
        ANY.attention_receipt,
    log:
        RESULTS.root / "logs" / "attend" / "{experiment}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "attend" / "{experiment}.tsv"
    conda:
        "../../envs/learning.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=30,
        gpu=1,
    params:
        settings=settings_of_experiment("spectrogram", "attention"),
    shell:
        "dawnchorus attend --settings {params.settings:q}"
        " --experiment {wildcards.experiment} > {log:q} 2>&1"
