# How good the output spaces are, beside their baselines.
rule evaluate:
    input:
        recordings=RESULTS.recordings,
        windows=RESULTS.training_receipt,
        spectrograms=[RESULTS.spectrograms_receipt(day) for day in DAYS],
        detections=[RESULTS.detections_receipt(day) for day in DAYS],
        assignments=[
            RESULTS.experiment(name).assignment_receipt(day)
            for name in EXPERIMENTS
            for day in DAYS
        ],
        attention=[RESULTS.experiment(name).attention_receipt for name in EXPERIMENTS],
    output:
        EVALUATION_RECEIPT,
    log:
        RESULTS.root / "logs" / "evaluate.log",
    benchmark:
        RESULTS.root / "benchmarks" / "evaluate.tsv"
    conda:
        "../../envs/learning.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        days=listed(DAYS),
        settings=settings_of(
            "spectrogram",
            "clustering",
            "birdnet",
            "evaluation",
            experiments=EXPERIMENTS,
        ),
    shell:
        "dawnchorus evaluate --settings {params.settings:q}"
        " --days {params.days:q} --workers {threads} > {log:q} 2>&1"
