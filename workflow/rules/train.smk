# One experiment's backbone. Checkpoints and log.jsonl lie beside the model and are not outputs:
# Snakemake removes outputs before it runs a job again, and the training must go on from them.
rule train_experiment:
    input:
        windows=RESULTS.training_windows,
        spectrograms=ancient([RESULTS.spectrograms_receipt(day) for day in POOL]),
    output:
        ANY.model,
    log:
        RESULTS.root / "logs" / "train" / "{experiment}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "train" / "{experiment}.tsv"
    conda:
        "../../envs/learning.yaml"
    threads: 16
    resources:
        mem_mb=24000,
        runtime=720,
        gpu=1,
        # Of one node; 0 is one per GPU. On a machine without: one per core trains fastest.
        processes=0,
    params:
        settings=settings_of_experiment("spectrogram"),
    shell:
        "dawnchorus train --settings {params.settings:q}"
        " --experiment {wildcards.experiment}"
        " --processes {resources.processes} > {log:q} 2>&1"
