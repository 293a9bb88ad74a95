"""Calibration of confidence, without a database."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from llm_center.calibration import Calibration, Observation, brier_score, fit

levels = st.sampled_from([Decimal(n) / 20 for n in range(1, 21)])
observation_lists = st.lists(
    st.tuples(levels, st.integers(1, 500), st.floats(0, 1)).map(lambda t: Observation(t[0], t[1], round(t[1] * t[2]))),
    max_size=20,
)


@given(observation_lists)
def test_a_calibration_is_monotonic_between_0_and_1(observations):
    calibration = fit(observations)
    values = [calibration.apply(Decimal(n) / 100) for n in range(101)]
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)


@given(observation_lists)
def test_confidence_is_raised_only_as_far_as_proven(observations):
    calibration = fit(observations)
    for row in observations:
        raised = calibration.apply(row.confidence)
        if raised > row.confidence:
            mine = [o for o in observations if o.confidence <= row.confidence]
            # Some level at or below was right at least that often.
            assert (
                max(
                    sum(o.right for o in mine if o.confidence == level)
                    / sum(o.answers for o in mine if o.confidence == level)
                    for level in {o.confidence for o in mine}
                )
                >= float(raised) - 0.0001
            )


def test_little_evidence_changes_little_and_much_changes_much():
    assert fit([]).apply(Decimal("0.9")) == Decimal("0.9")
    after_one_error = fit([Observation(Decimal("0.9"), 1, 0)]).apply(Decimal("0.9"))
    assert Decimal("0.85") < after_one_error < Decimal("0.9")
    after_many_errors = fit([Observation(Decimal("0.9"), 1000, 500)]).apply(Decimal("0.9"))
    assert Decimal("0.5") < after_many_errors < Decimal("0.52")
    assert fit([Observation(Decimal("0.6"), 3, 3)]).apply(Decimal("0.6")) == Decimal("0.6000")
    assert fit([Observation(Decimal("0.6"), 3000, 3000)]).apply(Decimal("0.6")) > Decimal("0.98")


def test_calibrated_confidence_is_closer_to_the_truth():
    observations = [
        Observation(Decimal("0.4"), 124, 21),
        Observation(Decimal("0.9"), 100, 70),
        Observation(Decimal("0.98"), 500, 500),
    ]
    assert (brier_score(observations, fit(observations)) or 1) < (brier_score(observations, Calibration()) or 0)
    assert brier_score([], Calibration()) is None


def test_confidence_between_observed_levels_is_not_raised():
    calibration = fit([Observation(Decimal("0.8"), 10, 8), Observation(Decimal("0.93"), 5000, 5000)])
    assert calibration.apply(Decimal("0.93")) > Decimal("0.99")
    assert calibration.apply(Decimal("0.89")) == Decimal("0.8900")
