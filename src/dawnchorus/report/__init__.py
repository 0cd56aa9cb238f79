"""Figures, pages and the report that people look at.

In: the results of all steps. Out: figures of each experiment, figures across experiments, and
Snakemake's report that holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence

from dawnchorus.config import Settings
from dawnchorus.report.snakemake_report import write_report
from dawnchorus.results import RecorderDay, Results

__all__ = ["draw_comparison", "draw_experiment", "write_report"]


def draw_experiment(
    settings: Settings, results: Results, experiment: str, days: Sequence[RecorderDay]
) -> None:
    """Draw maps, statistics, cluster cards, ecology's pictures, attention and training curves of one experiment."""
    from dawnchorus.clustering.cards import cards
    from dawnchorus.clustering.season_counts import count_season
    from dawnchorus.report.attention import draw_attention
    from dawnchorus.report.cards import draw_cards
    from dawnchorus.report.ecology import draw_ecology
    from dawnchorus.report.maps import draw_maps
    from dawnchorus.report.points import read_points
    from dawnchorus.report.space import draw_statistics
    from dawnchorus.report.training import draw_training, read_log

    paths = results.experiment(experiment)
    settings.experiment(experiment)
    points = read_points(settings, results, experiment, days)
    draw_maps(
        points,
        settings.map.method,
        by_cluster=paths.figure("map_cluster.png"),
        by_species=paths.figure("map_species.png"),
        by_recorder=paths.figure("map_recorder.png"),
        by_hour=paths.figure("map_hour.png"),
        species_source="annotations" if settings.evaluation.annotations else "BirdNET",
    )
    draw_statistics(results, experiment, paths.figure("statistics.png"))
    counts = count_season(results, experiment, days, settings.spectrogram.window_seconds)
    described = cards(settings, results, experiment, days, counts)
    draw_cards(settings, results, described, counts, points, paths.figure("cards.html"))
    draw_ecology(settings, described, counts, paths.figure)
    draw_attention(results, experiment, paths.figure("attention.png"))
    draw_training(read_log(paths.log), paths.figure("training.png"))


def draw_comparison(settings: Settings, results: Results) -> None:
    """Draw the evaluation's figures, tables and page across experiments and baselines."""
    from dawnchorus.report.comparison import (
        draw_agreement,
        draw_nuisance,
        draw_probes,
        write_tables,
    )
    from dawnchorus.report.comparison_page import write_page

    draw_agreement(results, results.comparison("agreement.png"))
    draw_probes(results, results.comparison("probes.png"))
    draw_nuisance(results, results.comparison("nuisance.png"))
    write_tables(results, results.comparison("tables.html"))
    write_page(settings, results)
