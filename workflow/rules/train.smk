# One experiment's backbone, each under its own resources. Checkpoints and log.jsonl lie beside the model
# and are not outputs: Snakemake removes outputs before it runs a job again, and the training must go
# on from them. A job whose time is nearly up saves and ends with status 75: the next try goes on.
rule train_experiment:
    input:
        windows=RESULTS.training_windows,
        spectrograms=ancient([RESULTS.spectrograms_receipt(day) for day in POOL]),
        weights=own_weights,
    output:
        ANY.model,
    log:
        RESULTS.root / "logs" / "train" / "{experiment}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "train" / "{experiment}.tsv"
    # Not inside a job that was sent away: it would go on in the same allocation, whose time is up.
    retries: 3 if workflow.is_main_process else 0
    conda:
        "../../envs/learning.yaml"
    threads: of_training("threads")
    resources:
        mem_mb=of_training("memory_mb"),
        runtime=of_training("runtime_minutes"),
        nodes=of_training("nodes"),
        gpu=of_training("all_gpus"),
        # Of one node; 0 is one per GPU. On a machine without: one per core trains fastest.
        processes=0,
    params:
        settings=settings_of_experiment(
            "spectrogram", without=settings_reader.CHOSEN_LATER
        ),
    shell:
        "dawnchorus train --settings {params.settings:q}"
        " --experiment {wildcards.experiment}"
        " --processes {resources.processes} --nodes {resources.nodes}"
        " --time-limit {resources.runtime} > {log:q} 2>&1"
