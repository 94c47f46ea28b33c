"""The demo's closing table: what happened, in words a person understands."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

_ROWS: tuple[tuple[str, str, str], ...] = (
    (
        "Will it be late? AUC, Oct-Dec",
        "{auc:.3f}",
        "logistic {auc_logistic:.3f}, static features only {auc_static:.3f}",
    ),
    ("  log loss / calibration error", "{log_loss:.3f} / {ece:.3f}", "on the same rows"),
    (
        "How late? mean absolute error",
        "{mae_minutes:.1f} min",
        "always the median: {mae_minutes_median:.1f} min",
    ),
    (
        "The served day's AUC",
        "{served_auc:.3f}",
        "offline frame of the same {labelled_flights} flights: {offline_auc:.3f}",
    ),
    ("Requests answered", "{requests:,}", "{labels:,} labels posted as they became known"),
    ("Online rows advanced", "{steps} times", "every 15 simulated minutes"),
    (
        "Latency of a request",
        "{latency_ms_p50:.1f} ms",
        "99th percentile {latency_ms_p99:.1f} ms, one client",
    ),
    ("Served values compared", "{values_compared:,}", "each with its offline recomputation"),
    ("  of which different", "{mismatches}", "largest difference of a score: {max_score_difference:.1e}"),
    ("Took", "{seconds:.0f} s", ""),
)


def print_table(console: Console, report: Mapping[str, object]) -> None:
    """Print the demo's report as a table."""
    table = Table(title="What was proven on 15 October 2013", show_header=False)
    for what, number, beside in _ROWS:
        table.add_row(what, number.format(**report), beside.format(**report))
    console.print(table)
    console.print(f"Open {report['report']} in a browser; the same numbers are in reports/demo.json.")
