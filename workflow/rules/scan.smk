# What is on the cards, and what is wrong with it.
rule scan:
    output:
        recordings=RESULTS.recordings,
        faults=report(
            RESULTS.faults,
            category="1. Inventory",
            labels={"table": "faults"},
            caption="../report/faults.rst",
        ),
        calendar=report(
            RESULTS.calendar,
            category="1. Inventory",
            labels={"page": "calendar"},
            caption="../report/calendar.rst",
        ),
    log:
        RESULTS.root / "logs" / "scan.log",
    benchmark:
        RESULTS.root / "benchmarks" / "scan.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        season=season_fingerprint(),
        settings=settings_of("audio"),
    shell:
        "dawnchorus scan --settings {params.settings:q} > {log:q} 2>&1"
