"""Hours are judged by opens per hour of waiting, of a recipient as one of its population."""

from __future__ import annotations

import numpy as np

from sendtide.events.hashing import hash_text
from sendtide.events.rhythm import BIN_HOURS, BINS, EVIDENCE, FRESHNESS, FRESHNESS_STEPS
from sendtide.models import ALL_CLIENTS, ModelDirectory, ModelState, SendTime, curves
from sendtide.models.curves import CURVES, LEVELS, SHAPES, TABLES, TYPES
from sendtide.models.rhythm import AT_ONCE, POPULATION, PRIOR, learn_populations, posterior
from sendtide.models.send_time import add_counts, day_factors, score_recipients, teach_rhythms


def state(client, exposures, opens, rhythms, correction=0.0, segments=()):
    return ModelState(
        client_id=client,
        model="send-time",
        kind="send_time",
        model_version=3,
        learned=int(exposures.sum()),
        newest_event_ms=0,
        columns={
            "exposures": exposures,
            "opens": opens,
            "rhythms": rhythms,
            "correction": np.array([correction]),
            "segment_corrections": np.array([s[4] for s in segments]),
            "segments": np.array([hash_text(s[0]) for s in segments], np.uint64),
            "segment_exposures": np.array([s[1] for s in segments]).reshape(-1, 168),
            "segment_opens": np.array([s[2] for s in segments]).reshape(-1, 168),
            "segment_rhythms": np.array([s[3] for s in segments]).reshape(-1, POPULATION),
        },
    )


def scored(evidence):
    """Scores and deviations of one recipient of an unknown population."""
    return score_recipients(
        np.array([evidence], np.float32),
        np.zeros(1, np.int64),
        np.log(PRIOR)[None].astype(np.float32),
        np.ones((1, 7), np.float32),
        TABLES,
    )


def test_the_compiled_model_equals_the_readable_one():
    """Taught in one go and asked through the directory, or row by row behind River's interface."""
    rng = np.random.default_rng(3)
    n, people = 60, 5  # all of them teach; of more, some
    rows = {
        "hour_of_week": rng.integers(0, 168, n),
        "opened": (rng.random(n) < 0.4).astype(np.uint8),
        "clicked": np.zeros(n, np.uint8),
        "converted": np.zeros(n, np.uint8),
        "open_delay_s": rng.integers(10, 40_000, n),
        "send_offset": np.arange(n),
        "evidence": np.zeros((n, EVIDENCE), np.uint16),
    }
    rows["open_delay_s"][rows["opened"] == 0] = -1
    who = rng.integers(0, people, n)
    model = SendTime()
    for i in range(n):
        x = {"client": "c", "segment": "s", "recipient": str(who[i])}
        known = model._recipients.get(("c", str(who[i])), np.zeros(EVIDENCE))
        steps = np.repeat([FRESHNESS_STEPS, 1], [BINS, EVIDENCE - BINS])
        rows["evidence"][i] = np.rint(known * steps)
        delay = {"hour_of_week": rows["hour_of_week"][i], "delay_s": rows["open_delay_s"][i]}
        model.learn_one(x | delay, bool(rows["opened"][i]))
    tables, population = np.zeros((2, 1, 168), np.int64), np.zeros((1, POPULATION))
    nobody = np.zeros(n, np.int32)
    add_counts(nobody, rows["hour_of_week"], rows["opened"], *tables)
    correction = np.zeros((1, 2))
    teach_rhythms(nobody, rows, np.zeros(1, np.int64), population, correction)
    directory = ModelDirectory()
    counts = tables[0, 0], tables[1, 0], population[0], correction[0, 0]
    assert abs(correction[0, 0]) > 0.1
    directory.apply(state("c", *counts, segments=[("s", *counts)]).to_bytes())
    clients, names = np.full(5, hash_text("c"), np.uint64), np.full(5, hash_text("s"), np.uint64)
    evidence = np.array([model._recipients["c", str(p)] for p in range(people)])

    found = directory.slots(clients, names, evidence)

    for person in range(people):
        for hour in range(0, 168, 13):
            x = {"client": "c", "segment": "s", "recipient": str(person), "hour_of_week": hour}
            assert abs(found.scores[person, hour] - model.predict_proba_one(x)[True]) < 1e-5
    assert found.tiers.tolist() == [0] * 5
    assert found.effective.sum() == n
    assert found.versions.tolist() == [3] * 5


def evidence_of(waited=(), opened=(), sends=1):
    """Hours of the day to hours waited, and hours of the day in which a message was opened."""
    evidence = np.zeros(EVIDENCE)
    for hour, long in waited:
        evidence[hour // BIN_HOURS] += long
    for hour in opened:
        evidence[BINS + hour // BIN_HOURS] += 1
    evidence[2 * BINS] = sends
    return evidence


def test_the_posterior_is_bayes_rule_over_the_grid():
    """Against a plain double-precision sum over every type and the never-opener."""
    evidence = evidence_of([(6, 5), (18, 4)], [18, 18, 19], 5).astype(np.float32)
    weights = np.empty(TYPES, np.float32)
    never = posterior(evidence, np.log(PRIOR).astype(np.float32), TABLES, weights)

    rates = np.minimum(curves._rates(), curves._MOST).reshape(TYPES, BINS, BIN_HOURS).mean(axis=2)
    waited, opened = evidence[:BINS], evidence[BINS : 2 * BINS]
    chance = np.exp((opened * np.log(1 - np.exp(-rates)) - waited * rates).sum(axis=1))
    some = np.outer(PRIOR[: LEVELS - 1], PRIOR[LEVELS:]).ravel() * chance
    rate = -float(TABLES.never[1])
    none = PRIOR[LEVELS - 1] * ((1 - np.exp(-rate)) ** 3 * np.exp(-9 * rate))
    total = some.sum() + none

    assert np.allclose(weights, some / total, atol=2e-3)
    assert abs(never - none / total) < 2e-3


def test_a_curve_is_the_survival_of_a_message_through_its_hours():
    """P(open) of a send is one less the product of not being opened in each hour after it."""
    rates = np.minimum(curves._rates(), curves._MOST).reshape(-1, 24)
    for kind in (0, 5, SHAPES * 4 + 30):
        for hour in (0, 9, 23):
            unopened = 1.0
            for age, steps in enumerate(FRESHNESS):
                unopened *= np.exp(-rates[kind, (hour + age) % 24] * steps / FRESHNESS_STEPS)
            assert abs(CURVES[kind, hour] - (1 - unopened)) < 1e-5
            assert abs(TABLES.missed[hour, kind] - unopened) < 1e-5
            assert abs(TABLES.missed[24 + hour, kind] - unopened**2) < 1e-5


def test_a_score_does_not_depend_on_who_else_is_scored():
    """Recipients are scored several at a time: alone or among others."""
    rng = np.random.default_rng(5)
    n, populations = 23, 3
    evidence = rng.random((n, EVIDENCE)).astype(np.float32) * rng.integers(0, 9, (n, 1))
    evidence = evidence.astype(np.float32)
    rows = rng.integers(0, populations, n)
    shares = np.log(rng.dirichlet(np.ones(POPULATION), populations)).astype(np.float32)
    factors = rng.uniform(0.5, 2, (populations, 7)).astype(np.float32)
    together = score_recipients(evidence, rows, shares, factors, TABLES)
    assert (evidence.any(axis=1).sum() < n) & (len(np.unique(together[0], axis=0)) > n // 2)
    for i in range(n):
        alone = score_recipients(evidence[i : i + 1], rows[i : i + 1], shares, factors, TABLES)
        assert np.allclose(alone[0][0], together[0][i], rtol=1e-5, atol=0)
        assert np.allclose(alone[1][0], together[1][i], rtol=1e-3, atol=0)


def test_the_loops_that_take_four_at_a_time_leave_nothing_out():
    """Bins, types, recipients."""
    assert (BINS % 4, TYPES % 4, AT_ONCE) == (0, 0, 4)


def test_an_hour_does_not_look_good_for_being_used_often():
    """Sixty sends at nine with three opens lose against three in the evening with two."""
    evidence = evidence_of([(9, 58), (19, 1.5)], [9, 9, 9, 19, 19], 63)
    scores, deviations = scored(evidence)
    assert scores[0, 19] > 2 * scores[0, 9]
    assert deviations[0, 19] > deviations[0, 9]


def test_a_late_open_speaks_for_its_own_hour():
    """Sent in the morning, opened in the evening: the evening is the better time."""
    waiting = [(hour, 1.0) for hour in range(8, 20)]
    scores, _ = scored(evidence_of(waiting, [20, 20], 6))
    assert scores[0, 19] > 1.3 * scores[0, 8]


def test_who_never_opens_is_told_so():
    """Thirty silent sends leave little hope, and little doubt."""
    scores, _ = scored(evidence_of([(hour, 3.2) for hour in range(24)], (), 32))
    assert scores.max() < 0.05


def test_other_clients_help_only_if_asked_to():
    """Nothing known: the assumed population; pooled, what all partitions' clients do."""
    nobody = np.array([1], np.uint64), np.array([0], np.uint64), np.zeros((1, EVIDENCE), np.float32)
    rhythms = 100 * PRIOR
    rhythms[LEVELS - 1] = 1_000
    for pool, tier in ((False, 4), (True, 3)):
        directory = ModelDirectory(pool_clients=pool)
        flat = directory.slots(*nobody).scores
        for origin in (0, 1):
            totals = state(ALL_CLIENTS, np.full(168, 100), np.full(168, 9), rhythms)
            totals.origin = origin
            directory.apply(totals.to_bytes())
        found = directory.slots(*nobody)
        assert found.tiers[0] == tier
        assert (found.scores.mean() < 0.5 * flat.mean()) == pool


def test_weekday_factors_are_per_send():
    """Mondays with twice the odds, sent twice as much to."""
    exposures = np.repeat([20_000] + 6 * [10_000], 24) // 24
    opens = np.round(exposures * np.repeat([1 / 3] + 6 * [0.2], 24))
    factors = day_factors(exposures, opens)
    assert abs(factors[0] / factors[1] - 2) < 0.1
    assert np.ptp(factors[1:]) < 0.01


def test_a_population_that_has_had_enough_learns_from_one_label_in_sixteen():
    """The others change nothing, and that one counts for all of them."""
    rows = {
        "hour_of_week": np.full(64, 20),
        "opened": np.ones(64, np.uint8),
        "clicked": np.zeros(64, np.uint8),
        "converted": np.zeros(64, np.uint8),
        "open_delay_s": np.full(64, 60),
        "send_offset": np.arange(64),
        "evidence": np.zeros((64, EVIDENCE), np.uint16),
    }
    weights, correction = [], np.zeros((1, 2))
    for i in range(64):
        one = {name: column[i : i + 1] for name, column in rows.items()}
        few, many = np.zeros((2, 1, POPULATION))
        teach_rhythms(np.zeros(1, np.int32), one, np.zeros(1, np.int64), few, correction)
        teach_rhythms(np.zeros(1, np.int32), one, np.full(1, 1_000), many, correction)
        weights.append(float(many.sum() / few.sum()))
    assert {round(weight) for weight in weights} == {0, 16}
    assert 1 <= sum(weight > 1 for weight in weights) <= 12


def test_what_the_curves_get_wrong_for_everybody_is_corrected():
    """People who open at odds three times those told: the offset is found, block by block or not.

    The population is held as it is, so that only the correction can make it good.
    """
    rng, n = np.random.default_rng(5), 4_000
    hours, evidence = rng.integers(0, 24, n), np.zeros((n, EVIDENCE), np.float32)
    told = scored(evidence[0])[0][0, hours].astype(float)
    opened = (rng.random(n) < 3 * told / (1 + 2 * told)).astype(np.int64)
    corrections = np.zeros((3, 2))
    for row, parts in enumerate((1, 400)):
        for part in np.array_split(np.arange(n), parts):
            learn_populations(
                np.full(len(part), row, np.int32),
                np.zeros(len(part), np.float32),
                evidence[part],
                evidence[part],
                hours[part],
                opened[part],
                PRIOR,
                1e9,
                TABLES,
                np.zeros((3, POPULATION)),
                corrections,
            )
    assert abs(corrections[0, 0] - np.log(3)) < 0.1
    assert corrections[0].tolist() == corrections[1].tolist()
    assert corrections[2].tolist() == [0, 0]
    assert 0.001 < 1 / (4 + corrections[0, 1]) < 0.01, "it stays able to move"
