# Copyright (c) 2026, the vtchat.maintenance authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The dashboard as a document that Grafana imports: classic JSON of the 11.6 line, which newer releases migrate on their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Union

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common, dashboard, units

from . import queries

TYPE = "grafana-postgresql-datasource"
SOURCE = dashboard.DataSourceRef(type_val=TYPE, uid="${datasource}")
WIDTH = 24  # of the whole page, in columns of Grafana's grid
SERIES, ROWS = "time_series", "table"  # the formats of an answer

GREEN, YELLOW, ORANGE, RED, BLUE, GREY, PURPLE = "green", "yellow", "orange", "red", "blue", "#808080", "purple"
# The same word has the same colour everywhere.
COLORS = {
    **dict.fromkeys(("ok", "done"), GREEN),
    **dict.fromkeys(("partial", "warning", "contended"), YELLOW),
    **dict.fromkeys(("failed", "critical"), RED),
    **dict.fromkeys(("abandoned", "deferred"), ORANGE),
    **dict.fromkeys(("running", "unchanged"), BLUE),
    **dict.fromkeys(("skipped", "info"), GREY),
    "unknown": PURPLE,
}
SECONDS, BYTES, PERCENT, SHORT = units.Seconds, units.BytesIEC, units.Percent, units.Short


@dataclass(frozen=True)
class Query(Dataquery):
    """A query as the data source has it."""

    sql: str
    format: str

    def to_json(self) -> dict[str, object]:
        """What stands in the document."""
        about = {"refId": "A", "datasource": SOURCE, "editorMode": "code", "format": self.format, "rawQuery": True}
        return {**about, "rawSql": self.sql.strip()}


@dataclass(frozen=True)
class Asks(Builder[Dataquery]):
    """Makes a query, as the builders of panels want it."""

    query: Query

    def build(self) -> Dataquery:
        """The query."""
        return self.query


@dataclass(frozen=True)
class Panel:
    """A panel.

    units   of single columns of a table
    limits  values from which on there is another colour
    words   whether the lines are named by words that have a colour, and not by tables and the like
    """

    title: str
    description: str
    sql: str
    width: int
    unit: str = SHORT
    units: dict[str, str] = field(default_factory=dict)
    limits: tuple[tuple[float, str], ...] = ()
    calm: str = GREEN
    words: bool = False


class Number(Panel):
    """One number."""


class Rows(Panel):
    """A table. Columns whose words have a colour: Status, Level, Outcome."""


class Bars(Panel):
    """Counts over time, one on top of the other."""


class Lines(Panel):
    """Measurements over time."""


AnyPanel = Union[stat.Panel, table.Panel, timeseries.Panel]

FROZEN = ((2e8, YELLOW), (2**30, ORANGE), (3 * 2**29, RED))
CONTENT: dict[str, tuple[Panel, ...]] = {
    "Is it well": (
        Rows("About", "Which database this is, and since when there is a history.", queries.ABOUT, 24),
        Number(
            "Success",
            "Runs that did their work, of those that ended; what a check has found is no failure of the maintenance.",
            queries.SUCCESS,
            4,
            PERCENT,
            limits=((90, ORANGE), (99, GREEN)),
            calm=RED,
        ),
        Number("Runs", "Runs that began in this time.", queries.COUNT, 4, calm=BLUE),
        Number("Failed", "Runs that failed, or whose process died.", queries.FAILED, 4, limits=((1, RED),)),
        Number(
            "Findings now", "What the latest run of each plan has found.", queries.BAD_NOW, 4, limits=((1, ORANGE),)
        ),
        Number("Rows purged", "In this time.", queries.PURGED_SUM, 4, calm=BLUE),
        Number("Won back", "Bytes that vacuum and reindex have won back.", queries.WON_SUM, 4, BYTES, calm=BLUE),
        Rows(
            "Plans",
            "Overdue: for how long it should have done its work, once that is longer than a period (six hours at most); "
            "of a plan that never has, since it ran first. Empty without a schedule that is understood. By the server's clock.",
            queries.PLANS_NOW,
            24,
            units={"Age of the success": SECONDS, "Overdue": SECONDS},
        ),
        Rows(
            "Findings now",
            "What the latest run of each plan has found, the worst first, each once.",
            queries.FINDINGS_NOW,
            24,
        ),
    ),
    "Did it run when it should": (
        Bars("Runs by status", "How many began, by how they ended.", queries.STATUSES, 12, words=True),
        Lines(
            "Duration",
            "Median and 95th percentile, against the budget. Without runs whose process died.",
            queries.DURATIONS,
            12,
            SECONDS,
        ),
        Rows(
            "Latest runs",
            "The fifty latest of this time.",
            queries.LATEST,
            24,
            units={"Duration": SECONDS, "Budget": SECONDS},
        ),
    ),
    "What it has done": (
        Bars("Rows purged a day", "Expired rows that were deleted, by table. Days of UTC.", queries.PURGED, 12),
        Bars(
            "Won back a day",
            "Bytes by which indexes and tables became smaller. Days of UTC.",
            queries.RECLAIMED,
            12,
            BYTES,
        ),
        Bars("Targets by outcome", "What became of the targets of all steps.", queries.OUTCOMES, 12, words=True),
        Rows(
            "Since the history began",
            "All runs together; this is never pruned.",
            queries.COUNTERS,
            12,
            units={"Won back": BYTES},
        ),
        Rows(
            "Not done, and why",
            "Skipped, contended, deferred, failed or abandoned in this time, the latest first.",
            queries.UNDONE,
            24,
        ),
    ),
    "How the database grows": (
        Lines("Size of the database", "Of all files, and of the indexes of the tables.", queries.SIZE, 12, BYTES),
        Lines(
            "Size of tables",
            "With indexes; the ten largest of today, or those that are chosen. As the last VACUUM or ANALYZE has counted.",
            queries.TABLES,
            12,
            BYTES,
        ),
        Lines("Dead rows", "As the server's statistics have them.", queries.DEAD, 12),
        Lines(
            "Freeze age",
            "Age of the oldest transaction ID. Autovacuum freezes from 200 million on; writes are refused at 2.1 billion.",
            queries.FREEZE,
            12,
            limits=FROZEN,
        ),
        Bars("Findings", "Warnings and what is critical, as runs found them.", queries.FINDINGS, 24, words=True),
        Rows(
            "Largest tables",
            "Of the last time that tables were counted, so without those that were dropped.",
            queries.LARGEST,
            24,
            units={"Size": BYTES, "Indexes": BYTES, "Dead": PERCENT},
        ),
    ),
}


def document() -> str:
    """docs/monitoring/grafana-dashboard.json."""
    made = build.Dashboard("Maintenance of a database").uid("vtchat-maintenance").tags(["postgresql", "maintenance"])
    made.description("What vtchat.maintenance has done in a database and found there, from its schema maintenance.")
    made.timezone("browser").time("now-30d", "now").refresh("5m").tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
    for variable in _variables():
        made.with_variable(variable)
    number = 0
    for title, panels in CONTENT.items():
        number += 1
        made.with_row(build.Row(title).id(number))
        for panel in panels:
            number += 1
            made.with_panel(_panel(panel).id(number))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _variables() -> list[Builder[dashboard.VariableModel]]:
    source = build.DatasourceVariable("datasource").label("Database").type(TYPE)
    return [
        source.description("The data source, which is one database"),
        _choice("plan", "Plan", queries.PLANS),
        _choice("relation", "Table", queries.RELATIONS),
    ]


def _choice(name: str, label: str, sql: str) -> build.QueryVariable:
    everything = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])
    made = build.QueryVariable(name).label(label).datasource(SOURCE).query(sql.strip())
    made.multi(True).include_all(True).all_value(queries.ALL).current(everything).allow_custom_value(False)
    return made.refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(dashboard.VariableSort.DISABLED)


def _panel(panel: Panel) -> AnyPanel:
    kinds: dict[type[Panel], Callable[[Panel], AnyPanel]] = {
        Number: _number,
        Rows: _rows,
        Bars: _bars,
        Lines: _lines,
    }
    made = kinds[type(panel)](panel)
    made.title(panel.title).description(panel.description).datasource(SOURCE).span(panel.width)
    steps = [dashboard.Threshold(value=None, color=panel.calm)]
    steps += [dashboard.Threshold(value=value, color=color) for value, color in panel.limits]
    made.thresholds(build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps))
    return made


def _target(panel: Panel, form: str) -> Asks:
    return Asks(Query(panel.sql, form))


def _number(panel: Panel) -> stat.Panel:
    values = build_common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False)
    made = stat.Panel().with_target(_target(panel, ROWS)).unit(panel.unit).height(4).reduce_options(values)
    return (
        made.color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .decimals(1 if panel.unit == PERCENT else 0)
    )


def _rows(panel: Panel) -> table.Panel:
    made = (
        table.Panel().with_target(_target(panel, ROWS)).height(4 if panel.sql == queries.ABOUT else 8).filterable(True)
    )
    for column, unit in panel.units.items():
        made.override_by_name(column, [dashboard.DynamicConfigValue("unit", unit)])
    words = {word: dashboard.ValueMappingResult(color=color) for word, color in COLORS.items()}
    colored = [
        dashboard.DynamicConfigValue("mappings", [dashboard.ValueMap(options=words)]),
        dashboard.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
    ]
    made.override_by_regexp("/^(Status|Level|Outcome)$/", colored)
    late = {"mode": "absolute", "steps": [{"color": GREEN, "value": None}, {"color": RED, "value": 1}]}
    overdue = [dashboard.DynamicConfigValue("thresholds", late), colored[1]]
    return made.override_by_name("Overdue", overdue) if panel.sql == queries.PLANS_NOW else made


def _series(panel: Panel) -> timeseries.Panel:
    legend = build_common.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST).show_legend(True)
    legend.placement(common.LegendPlacement.BOTTOM).calcs([])
    tooltip = build_common.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
    made = timeseries.Panel().with_target(_target(panel, SERIES)).unit(panel.unit).height(9).legend(legend)
    return made.tooltip(tooltip).min(0)


def _bars(panel: Panel) -> timeseries.Panel:
    # Hourly runs at most: a bar for less would be empty most of the time.
    made = _series(panel).interval("1h").max_data_points(60).draw_style(common.GraphDrawStyle.BARS).fill_opacity(80)
    made.stacking(build_common.StackingConfig().mode(common.StackingMode.NORMAL).group("A")).line_width(0)
    for word, color in COLORS.items() if panel.words else ():
        fixed = {"mode": "fixed", "fixedColor": color}
        made.override_by_name(word, [dashboard.DynamicConfigValue("color", fixed)])
    return made


def _lines(panel: Panel) -> timeseries.Panel:
    made = _series(panel).interval("1h").draw_style(common.GraphDrawStyle.LINE).span_nulls(True).line_width(2)
    if panel.limits:
        style = build_common.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        made.thresholds_style(style)
    return made.show_points(common.VisibilityMode.AUTO)
