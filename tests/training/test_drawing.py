import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tests.scoring.small_release import publish_small
from training.curves import draw_release, learning_of, ranking_curves
from training.drawing import Line, draw_lines


def drawn(lines, **options):
    return ET.fromstring(draw_lines(lines, label='a "b" <c>', x_title="x & y", y_title="share", **options))


def lines_of(svg):
    return svg.findall("{http://www.w3.org/2000/svg}polyline")


def test_a_drawing_is_whole_and_says_what_it_shows():
    svg = drawn([Line("<first>", [(0, 0), (1, 1)]), Line("second", [(0, 1), (1, 0)], dashed=True)])
    assert svg.get("aria-label") == 'a "b" <c>'
    first, second = lines_of(svg)
    assert (first.get("stroke-dasharray"), second.get("stroke-dasharray")) == (None, "5 4")
    assert first.get("stroke") != second.get("stroke")
    assert {"<first>", "second", "x & y", "share"} <= {text.text for text in svg.iter() if text.text}


def test_a_line_spans_the_axes_and_rises_upwards():
    (line,) = lines_of(drawn([Line("a", [(0, 0), (1, 1)])]))
    (x0, y0), (x1, y1) = [tuple(map(float, at.split(","))) for at in line.get("points").split()]
    assert (x0, y0, x1, y1) == (56, 256, 504, 30)


def test_powers_of_ten_are_equally_far_apart_on_a_logarithmic_axis():
    (line,) = lines_of(drawn([Line("a", [(0.01, 0), (0.1, 0.5), (1, 1)])], log_x=True, y_range=(0, 1)))
    xs = [float(at.split(",")[0]) for at in line.get("points").split()]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])


def test_a_flat_line_is_drawn_too():
    assert len(lines_of(drawn([Line("a", [(0, 5), (1, 5)])]))) == 1


@pytest.mark.parametrize("at", [0.001, 1.0])
def test_one_point_is_drawn_in_the_middle_of_a_logarithmic_axis(at):
    (line,) = lines_of(drawn([Line("a", [(at, 0.5)])], log_x=True))
    assert line.get("points").split(",")[0] == "280.0"


def test_ranking_curves_run_from_none_to_all():
    labels, scores = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0.9, 0.8, 0.8, 0.1])
    roc, precision = ranking_curves(labels, scores)
    assert roc == [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]
    assert precision == [(0.5, 1.0), (1.0, 2 / 3), (1.0, 0.5)]


def test_a_release_without_hold_out_or_learning_has_nothing_to_draw(tmp_path):
    release = publish_small(tmp_path)
    assert draw_release(release) == learning_of(release) == {}
