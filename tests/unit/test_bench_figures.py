"""What the bench says of its samples."""

from __future__ import annotations

from tests.bench.figures import Claim, figure, percentile, times_as_long, times_faster


def test_percentiles_are_samples() -> None:
    samples = [float(n) for n in range(1, 101)]
    assert [percentile(samples, p) for p in (1, 10, 50, 99, 100)] == [1, 10, 50, 99, 100]
    assert percentile([7.0], 99) == 7


def test_a_figure_reads_in_its_own_unit() -> None:
    assert str(figure("a", [0.0025, 0.0015, 0.0035])) == "a 2.5 ms (1.5-3.5)"
    assert str(figure("b", [2e-6])) == "b 2 us"
    assert str(figure("c", [300.0], "MiB/s")) == "c 300 MiB/s"
    assert figure("d", [1.0] * 20).p99 == 1.0
    assert figure("d", [1.0] * 19).p99 is None


def test_a_claim_that_is_missed_says_so() -> None:
    slow, fast = figure("slow", [4.0]), figure("fast", [1.0])
    assert times_faster("x", fast, slow, 4).kept
    assert not times_faster("x", fast, slow, 5).kept
    assert times_as_long("x", fast, slow, 1.3).kept
    assert not times_as_long("x", slow, fast, 1.3).kept
    assert str(Claim("ms more", 60, 50, at_least=False)) == "ms more 60 (<= 50, MISSED)"
