import pytest

from monitoring.units import unit_of


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        ("delay_means__origin_departure_delay_mean_min_3h", "min"),
        ("orders__order_value_eur_30d", "eur"),
        ("profile__age_days", "days"),
        ("weather__temperature_c", "°C"),
        ("orders__refund_share_30d", ""),
        ("orders__order_count_30d", ""),
        ("scheduled_departure_epoch_s", "s"),
        ("score", ""),
        ("s", ""),
    ],
)
def test_a_unit_is_the_last_word_before_the_window(column, unit):
    assert unit_of(column) == unit
