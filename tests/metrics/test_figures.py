"""Are figures added up as they should be, and does nothing get lost on the way to another process or to Prometheus?"""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from sseproxy.metrics import table
from sseproxy.metrics.exposition import Form, exposition, wanted_form
from sseproxy.metrics.figures import Figures
from sseproxy.metrics.table import METRICS, Kind, Labels, Metric, Over

#: Sums of halves are exact, in whatever order they are made.
amounts = st.one_of(
    st.integers(0, 2**20).map(lambda number: number / 2),
    st.sampled_from([bound for metric in METRICS for bound in metric.buckets if bound % 0.5 == 0]),
)
labels = st.sampled_from(("a", "b", 'c"\n\\'))


@st.composite
def counted(draw: st.DrawFn) -> tuple[Metric, Labels, float]:
    metric = draw(st.sampled_from(METRICS))
    return metric, tuple(draw(labels) for _ in metric.labels), draw(amounts)


counts = st.lists(counted(), max_size=30)


def figures_of(counts: list[tuple[Metric, Labels, float]]) -> Figures:
    figures = Figures()
    for metric, names, amount in counts:
        if metric.kind is Kind.HISTOGRAM:
            figures.observe(metric, names, amount)
        else:
            figures.add(metric, names, amount)
    return figures


def scraped(figures: Figures) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    page, content_type = exposition(figures, Form.TEXT)
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


@given(counts)
def test_nothing_is_lost_between_processes(counts: list[tuple[Metric, Labels, float]]) -> None:
    figures = figures_of(counts)
    assert Figures.load(figures.dump()) == figures
    assert figures.copy() == figures


@given(counts, counts)
def test_two_workers_are_one_that_did_the_work_of_both(
    one: list[tuple[Metric, Labels, float]], another: list[tuple[Metric, Labels, float]]
) -> None:
    summed = [[count for count in part if count[0].over is Over.SUM] for part in (one, another)]
    merged = figures_of(summed[0])
    merged.merge(figures_of(summed[1]))
    assert merged == figures_of(summed[0] + summed[1])


def test_what_is_no_sum() -> None:
    figures, other = Figures(), Figures()
    for found, is_up in ((figures, 1), (other, 0)):
        found.add(table.REDIS_UP, ("redis",), is_up)
        found.add(table.BUILD_INFO, ("1", "3"), 1)
    figures.merge(other)
    assert figures.values == {(table.REDIS_UP, ("redis",)): 0, (table.BUILD_INFO, ("1", "3")): 1}


@given(counts)
def test_a_copy_can_be_counted_on(counts: list[tuple[Metric, Labels, float]]) -> None:
    figures, same = figures_of(counts), figures_of(counts)
    copy = figures.copy()
    for metric, names, amount in counts:
        if metric.kind is Kind.HISTOGRAM:
            copy.observe(metric, names, amount)
        else:
            copy.add(metric, names, amount + 1)
    assert figures == same


@given(counts)
def test_a_scraper_reads_what_was_counted(counts: list[tuple[Metric, Labels, float]]) -> None:
    found = scraped(figures_of(counts))
    for metric, names, _ in counts:
        given = tuple(sorted(zip(metric.labels, names, strict=True)))
        values = [amount for known, other, amount in counts if (known, other) == (metric, names)]
        if metric.kind is not Kind.HISTOGRAM:
            assert found[metric.name, given] == sum(values)
            continue
        assert Fraction(found[metric.name + "_sum", given]) == Fraction(sum(values))
        assert found[metric.name + "_count", given] == len(values)
        for bound in metric.buckets:
            bucket = tuple(sorted((*given, ("le", str(bound)))))
            assert found[metric.name + "_bucket", bucket] == sum(value <= bound for value in values)


def test_openmetrics_for_those_who_want_it() -> None:
    page, content_type = exposition(Figures(), Form.OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert page.endswith(b"# EOF\n")


@given(counts)
def test_what_only_holds_now_is_not_kept(counts: list[tuple[Metric, Labels, float]]) -> None:
    kept = figures_of(counts).without_gauges()
    assert kept == figures_of([count for count in counts if count[0].kind is not Kind.GAUGE])


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.TEXT),
        ("*/*", Form.TEXT),
        ("text/plain;version=0.0.4", Form.TEXT),
        ("application/openmetrics-text;version=0.0.1", Form.TEXT),
        ("application/openmetrics-text", Form.OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2", Form.OPENMETRICS),
        ("application/openmetrics-text; version=1.7.3; escaping=dots", Form.OPENMETRICS),
    ],
)
def test_a_scraper_gets_one_of_two_forms(accept: str, form: Form) -> None:
    """However it asks: each form is made once for all that wait, so a client must not be able to make more of them."""
    assert wanted_form(accept) is form
    assert choose_encoder(accept)[1].startswith("application/openmetrics-text") is (form is Form.OPENMETRICS)
