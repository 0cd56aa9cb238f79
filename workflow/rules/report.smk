# Figures of each experiment and across them, then Snakemake's own report of everything.
rule experiment_figures:
    input:
        model=ANY.model,
        map=ANY.map_receipt,
        attention=ANY.attention_receipt,
        statistics=ANY.statistics_receipt,
        assignments=[ANY.assignment_receipt(day) for day in DAYS],
        detections=[RESULTS.detections_receipt(day) for day in DAYS],
        recordings=RESULTS.recordings,
    output:
        facts=ANY.cards,
        facts_to_read=ANY.cards.with_suffix(".tsv"),
        tables=[ANY.figure(table) for table in ECOLOGY_TABLES],
        cluster=report(
            ANY.figure("map_cluster.png"),
            category="2. Output spaces",
            subcategory="{experiment}",
            labels={"figure": "map by cluster"},
            caption="../report/map.rst",
        ),
        species=report(
            ANY.figure("map_species.png"),
            category="2. Output spaces",
            subcategory="{experiment}",
            labels={"figure": "map by species"},
            caption="../report/map.rst",
        ),
        recorder=report(
            ANY.figure("map_recorder.png"),
            category="2. Output spaces",
            subcategory="{experiment}",
            labels={"figure": "map by recorder"},
            caption="../report/map.rst",
        ),
        hour=report(
            ANY.figure("map_hour.png"),
            category="2. Output spaces",
            subcategory="{experiment}",
            labels={"figure": "map by hour"},
            caption="../report/map.rst",
        ),
        statistics=report(
            ANY.figure("statistics.png"),
            category="2. Output spaces",
            subcategory="{experiment}",
            labels={"figure": "spectrum and drift"},
            caption="../report/statistics.rst",
        ),
        cards=report(
            ANY.figure("cards.html"),
            category="2. Output spaces",
            subcategory="{experiment}",
            labels={"figure": "cluster cards"},
            caption="../report/cards.rst",
        ),
        hours=report(
            ANY.figure("ecology_hours.png"),
            category="3. Ecology",
            subcategory="{experiment}",
            labels={"figure": "hours of clusters"},
            caption="../report/ecology_hours.rst",
        ),
        heard=report(
            ANY.figure("ecology_species.png"),
            category="3. Ecology",
            subcategory="{experiment}",
            labels={"figure": "hours of species"},
            caption="../report/ecology_species.rst",
        ),
        sites=report(
            ANY.figure("ecology_recorders.png"),
            category="3. Ecology",
            subcategory="{experiment}",
            labels={"figure": "recorders and clusters"},
            caption="../report/ecology_recorders.rst",
        ),
        habitats=report(
            ANY.figure("ecology_habitats.png"),
            category="3. Ecology",
            subcategory="{experiment}",
            labels={"figure": "habitats"},
            caption="../report/ecology_habitats.rst",
        ),
        dawn=report(
            ANY.figure("ecology_dawn.png"),
            category="3. Ecology",
            subcategory="{experiment}",
            labels={"figure": "dawn chorus"},
            caption="../report/ecology_dawn.rst",
        ),
        attention=report(
            ANY.figure("attention.png"),
            category="2. Output spaces",
            subcategory="{experiment}",
            labels={"figure": "attention"},
            caption="../report/attention.rst",
        ),
        training=report(
            ANY.figure("training.png"),
            category="4. Training",
            subcategory="{experiment}",
            labels={"figure": "training curves"},
            caption="../report/training.rst",
        ),
    log:
        RESULTS.root / "logs" / "figures" / "{experiment}.log",
    benchmark:
        RESULTS.root / "benchmarks" / "figures" / "{experiment}.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        days=listed(DAYS),
        settings=settings_of_experiment("spectrogram", "map", "birdnet", "evaluation"),
    shell:
        "dawnchorus report --settings {params.settings:q} --days {params.days:q}"
        " --experiment {wildcards.experiment} > {log:q} 2>&1"


rule comparison_figures:
    input:
        EVALUATION_RECEIPT,
        LABELLED,
    output:
        table=RESULTS.comparison_table,
        table_to_read=RESULTS.comparison_table.with_suffix(".tsv"),
        page=report(
            RESULTS.comparison_page,
            category="5. Evaluation",
            labels={"figure": "comparison"},
            caption="../report/comparison.rst",
        ),
        agreement=report(
            RESULTS.comparison("agreement.png"),
            category="5. Evaluation",
            labels={"figure": "clusters and labels"},
            caption="../report/agreement.rst",
        ),
        probes=report(
            RESULTS.comparison("probes.png"),
            category="5. Evaluation",
            labels={"figure": "probes"},
            caption="../report/probes.rst",
        ),
        nuisance=report(
            RESULTS.comparison("nuisance.png"),
            category="5. Evaluation",
            labels={"figure": "recorder and time"},
            caption="../report/nuisance.rst",
        ),
        few_shot=report(
            RESULTS.comparison("few_shot.png"),
            category="5. Evaluation",
            labels={"figure": "few labels"},
            caption="../report/few_shot.rst",
        ),
        coverage=report(
            RESULTS.comparison("coverage.png"),
            category="5. Evaluation",
            labels={"figure": "coverage and agreement"},
            caption="../report/coverage.rst",
        ),
        confusion=report(
            RESULTS.comparison("confusion.png"),
            category="5. Evaluation",
            labels={"figure": "clusters and species"},
            caption="../report/confusion.rst",
        ),
        calibration=report(
            RESULTS.comparison("calibration.png"),
            category="5. Evaluation",
            labels={"figure": "trust in BirdNET"},
            caption="../report/calibration.rst",
        ),
        cost=report(
            RESULTS.comparison("cost.png"),
            category="5. Evaluation",
            labels={"figure": "cost and quality"},
            caption="../report/cost.rst",
        ),
        learning=report(
            RESULTS.comparison("learning.png"),
            category="5. Evaluation",
            labels={"figure": "trainings"},
            caption="../report/learning.rst",
        ),
        tables=report(
            RESULTS.comparison("tables.html"),
            category="5. Evaluation",
            labels={"figure": "all tables"},
            caption="../report/tables.rst",
        ),
    log:
        RESULTS.root / "logs" / "comparison_figures.log",
    benchmark:
        RESULTS.root / "benchmarks" / "comparison_figures.tsv"
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=settings_of("evaluation", "labelled_sets", experiments=EXPERIMENTS),
    shell:
        "dawnchorus report --comparison --settings {params.settings:q}"
        " > {log:q} 2>&1"


# The report reads what the other jobs left behind, so it is made where Snakemake itself runs.
rule snakemake_report:
    input:
        faults=RESULTS.faults,
        calendar=RESULTS.calendar,
        experiments=[
            RESULTS.experiment(name).figure(figure)
            for name in EXPERIMENTS
            for figure in EXPERIMENT_FIGURES
        ],
        outliers=[
            RESULTS.experiment(name).figure("outliers.html") for name in EXPERIMENTS
        ],
        comparison=[RESULTS.comparison(figure) for figure in COMPARISON_FIGURES],
    output:
        RESULTS.report,
    log:
        RESULTS.root / "logs" / "report.log",
    benchmark:
        RESULTS.root / "benchmarks" / "report.tsv"
    localrule: True
    conda:
        "../../envs/core.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        snakefile=workflow.main_snakefile,
        settings=settings_of(*SECTIONS, experiments=EXPERIMENTS),
    shell:
        "dawnchorus report --settings {params.settings:q} --snakefile {params.snakefile:q}"
        " > {log:q} 2>&1"
