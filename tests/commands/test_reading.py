"""Metrics, models, predictions and the doctor, on a real Valkey."""

from __future__ import annotations

import json

import numpy as np
import pytest
from confluent_kafka import Consumer, Producer

from clients.blocks import block, example_rows
from sendtide.clients import ClientPartition, ClientSettings
from sendtide.commands.deployment import create_missing, topic_specs
from sendtide.commands.readings import summed_events
from sendtide.events.creative import creative_of
from sendtide.events.records import CONTROL_FLAG, RECIPIENT_LAYOUT, RECIPIENT_RECORD, encode_scores
from sendtide.events.topics import MODELS
from sendtide.models.content_directory import ContentDirectory, subject_columns
from sendtide.models.registry import ModelState
from sendtide.models.subject import SubjectBank
from sendtide.pipeline import Pipeline
from sendtide.sinks import ClientLift, ModelSummary, Owner, RecipientRows, RedisSink, StateRow
from sendtide.stages import model_feed
from sendtide.stages.model_feed import ModelFeed

WHO = "0123456789abcdef0123456789abcdef"
NEWEST_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def url(cluster):
    """A Valkey that knows one model and one recipient of client acme."""
    sink, owner = RedisSink(cluster.redis), Owner("test", 0, 1)
    summary = ModelSummary(
        client_id="acme",
        model="open-propensity",
        as_of_ms=NEWEST_MS,
        newest_event_ms=NEWEST_MS,
        drift=0.31,
        events_per_s=12.5,
        best_hour=33,
    )
    sink.write_models(owner, [summary])
    lift = ClientLift(
        client_id="acme",
        metric="lift.open",
        verdict="no lift yet",
        lift=0.0025,
        low=-0.004,
        high=0.009,
        control_sends=12_031,
        since_ms=NEWEST_MS,
        as_of_ms=NEWEST_MS,
    )
    sink.write_lifts(owner, [lift])
    probabilities = np.full((1, 168), 0.1)
    probabilities[0, 33] = 0.5  # Tuesday 09:00
    scale, scores = encode_scores(probabilities)
    record = np.zeros(1, RECIPIENT_RECORD)
    record["layout"], record["best_hour"], record["open_probability"] = RECIPIENT_LAYOUT, 33, 0.5
    record["score_scale"], record["scores"] = scale, scores
    record["flags"] = CONTROL_FLAG
    record["event_time_ms"], record["sends"], record["opens"] = NEWEST_MS, 10, 5
    halves = np.array([[int(WHO[:16], 16), int(WHO[16:], 16)]], np.uint64)
    rows = RecipientRows(clients=["acme"], client_index=np.zeros(1, np.int64), recipients=halves)
    sink.write_recipients(owner, rows, record)
    sink.close()
    return cluster.redis


def test_metrics_are_objects_per_client_and_model(program, url):
    """Each object has the fixed keys, with what the store holds."""
    ended = program("metrics", "--redis", url, "--json", "-")
    assert ended.exit_code == 0, ended.stderr
    (row,) = json.loads(ended.stdout)
    assert (row["client"], row["model"]) == ("acme", "open-propensity")
    assert (row["drift"], row["events_per_s"], row["as_of_ms"]) == (0.31, 12.5, NEWEST_MS)
    assert row["freshness_s"] >= 0
    assert row["auc"] is None


def test_metrics_for_people_name_the_hour(program, url):
    """The table shows the best hour as a day and an hour."""
    shown = program("metrics", "--redis", url, "--client", "acme").stdout
    assert "acme" in shown
    assert "Tue" in shown


def test_metrics_tell_of_the_control_group(program, url):
    """In words for people, with every number for programs."""
    shown = program("metrics", "--redis", url).stdout
    says = "no lift yet: between -0.4 and +0.9 points, 12,031 control sends"
    assert says in " ".join(shown.replace("│", " ").split())
    (row,) = json.loads(program("metrics", "--redis", url, "--json", "-").stdout)
    told = row["lift"]["open"]
    assert (told["low"], told["high"], told["control_sends"]) == (-0.004, 0.009, 12_031)
    assert told["says"] == says


def test_json_goes_to_a_file_beside_the_table(program, url, tmp_path):
    """With a file, people still see the table on stdout."""
    file = tmp_path / "metrics.json"
    ended = program("metrics", "--redis", url, "--json", str(file))
    assert "acme" in ended.stdout
    assert json.loads(file.read_text())[0]["client"] == "acme"


def test_a_json_file_that_cannot_be_written_is_exit_2(program, url, tmp_path):
    """The sentence names the path."""
    ended = program("metrics", "--redis", url, "--json", str(tmp_path / "no" / "such.json"))
    assert ended.exit_code == 2
    assert "such.json" in ended.stderr


def test_models_say_kind_and_role_out_of_the_pipeline(program, url):
    """Live models are joined with what the pipeline declares."""
    found = json.loads(program("models", "--redis", url, "--json", "-").stdout)
    assert [model["name"] for model in found["declared"]] == ["send-time", "propensity"]
    (row,) = found["live"]
    assert (row["kind"], row["role"]) == ("propensity", "champion")


def test_a_prediction_is_explained_with_its_week(program, url):
    """People see the sentence and 7 days by 24 hours, programs every score."""
    shown = program("predict", "acme", WHO, "--redis", url).stdout
    assert "Best hour Tuesday 09:00" in shown
    assert all(day in shown for day in ("Mon", "Tue", "Sun"))
    found = json.loads(program("predict", "acme", WHO, "--redis", url, "--json", "-").stdout)
    assert "Of the control group" in shown
    assert found["control"] is True
    assert found["best_hour"] == 33
    assert len(found["scores"]) == 168
    assert found["scores"][33] == pytest.approx(0.5)


@pytest.fixture(scope="module")
def told(cluster):
    """Brokers of a cluster on whose ml.models client acme likes gifts."""
    create_missing(cluster.kafka, topic_specs(Pipeline()))
    bank, rows, codes = SubjectBank(), np.zeros(200, np.int64), np.arange(200) % 2
    bank.grow(1)
    made = np.concatenate([creative_of(subject=text) for text in ("gift for you", "terms")])
    bank.learn(rows, made, codes, np.full(200, 0.5), codes == 0)
    state = ModelState(
        client_id="acme",
        model="subject",
        kind="subject",
        model_version=200,
        learned=200,
        newest_event_ms=NEWEST_MS,
        columns=subject_columns(bank.weights[0]),
    )
    producer = Producer({"bootstrap.servers": cluster.kafka.brokers})
    producer.produce(MODELS.name, state.to_bytes(), state.key())
    assert producer.flush(30) == 0
    return cluster.kafka.brokers


def test_a_feed_waits_for_its_topic(cluster):
    """A server may start before the topics are created."""
    late = Pipeline.model_validate({"topics": {"prefix": "late."}})
    feed = ModelFeed(cluster.kafka.client(), late.topics.full_name(MODELS), ContentDirectory())
    feed.start()
    assert not feed.wait_caught_up(1.5)
    create_missing(cluster.kafka, topic_specs(late))
    assert feed.wait_caught_up(30.0)
    feed.stop()


def test_a_feed_fetches_after_it_has_asked_how_far_its_topic_goes(cluster, monkeypatch):
    """The other way round each question waits behind a fetch that waits for records."""
    done = []

    class Told(Consumer):
        def get_watermark_offsets(self, *arguments, **options):
            done.append("asked")
            return super().get_watermark_offsets(*arguments, **options)

        def assign(self, partitions):
            done.append("assigned")
            super().assign(partitions)

    monkeypatch.setattr(model_feed, "Consumer", Told)
    topics = Pipeline.model_validate({"topics": {"prefix": "asked."}})
    create_missing(cluster.kafka, topic_specs(topics))
    name = topics.topics.full_name(MODELS)
    feed = ModelFeed(cluster.kafka.client(), name, ContentDirectory())
    feed.start()
    assert feed.wait_caught_up(30.0)
    feed.stop()
    assert done == ["asked"] * topics.topics.partitions_of(MODELS) + ["assigned"]


def test_subjects_are_judged_for_the_recipient(program, url, told, tmp_path):
    """Against the recipient's own rate and the file's threshold, with the words that matter."""
    file = tmp_path / "p.toml"
    file.write_text("[subject]\nthreshold = 0.6\n")
    asked = ("predict", "acme", WHO, "--redis", url, "--kafka", told, "--pipeline", str(file))
    asked += ("--subject", "a gift", "--subject", "new terms")
    gift, terms = json.loads(program(*asked, "--json", "-").stdout)["subjects"]
    assert gift["open_probability"] > 0.6 > 0.4 > terms["open_probability"]
    assert (gift["engaging"], terms["engaging"]) == (True, False)
    assert max(gift["because"], key=gift["because"].get) in {"gift", "gif", "ift"}
    shown = program(*asked).stdout
    assert "not engaging" in shown
    refused = program("predict", "acme", WHO, "--redis", url, "--subject", "a gift")
    assert refused.exit_code == 2
    assert "--kafka" in refused.stderr


@pytest.fixture(scope="module")
def taught(url):
    """The states and summaries of acme after 1,500 labels."""
    partition, sink = ClientPartition(0, ClientSettings()), RedisSink(url)
    taught = block(example_rows(1_500, clients=1), "label")
    taught.clients[0] = "acme"
    partition.apply(taught)
    states = [s for s in partition.take_models() if s.client_id == "acme"]
    owner = Owner("test", 0, 1)
    rows = [StateRow(client_id="acme", kind=s.kind, value=s.to_bytes()) for s in states]
    sink.write_states(owner, rows)
    sink.close()
    return url


def test_explained_parts_add_up_to_the_log_odds(program, taught):
    """Programs get every part, largest first; people a table with the average and the sum."""
    words = ("predict", "acme", WHO, "--redis", taught, "--explain")
    found = json.loads(program(*words, "--json", "-").stdout)["explained"]
    opens, parts = found["open_probability"], found["open_probability"]["contributions"]
    total = opens["baseline"] + opens["doubt"] + sum(part["contribution"] for part in parts)
    assert total == pytest.approx(opens["log_odds"], abs=1e-9)
    sizes = [abs(part["contribution"]) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert list(found["best_hour"]) == ["prior", "client", "segment", "recipient"]
    shown = program(*words).stdout
    assert "client's average" in shown
    assert f"{opens['log_odds']:+.3f}" in shown
    assert parts[0]["feature"] in shown


def test_what_has_no_state_yet_says_so(program, url):
    """A prediction is shown; its reasons are not known."""
    sink, halves = RedisSink(url), np.array([[1, 2]], np.uint64)
    record = np.zeros(1, RECIPIENT_RECORD)
    record["layout"] = RECIPIENT_LAYOUT
    rows = RecipientRows(clients=["young"], client_index=np.zeros(1, np.int64), recipients=halves)
    sink.write_recipients(Owner("test", 0, 1), rows, record)
    sink.close()
    who = f"{1:016x}{2:016x}"
    shown = program("predict", "young", who, "--redis", url, "--explain")
    assert shown.exit_code == 0, shown.stderr
    assert "not known yet" in shown.stdout


def test_a_card_is_written_in_three_forms(program, taught, tmp_path):
    """Page, Markdown and JSON of one moment; without a file people read Markdown."""
    card = ("models", "card", "acme", "open-propensity", "--redis", taught)
    page, text = tmp_path / "card.html", tmp_path / "card.md"
    ended = program(*card, "--html", str(page), "--markdown", str(text), "--json", "-")
    assert ended.exit_code == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert (found["client"], found["kind"]) == ("acme", "propensity")
    assert page.read_text().startswith("<!doctype html>")
    assert text.read_text().startswith("# open-propensity of acme")
    assert "## Fairness by mailbox provider" in program(*card).stdout
    assert program("models", "card", "acme", "nosuch", "--redis", taught).exit_code == 1


def test_an_unknown_recipient_is_exit_1(program, url):
    """Nothing known is told, and is null as JSON."""
    ended = program("predict", "acme", "f" * 32, "--redis", url, "--json", "-")
    assert ended.exit_code == 1
    assert json.loads(ended.stdout) is None
    assert "nothing is known" in ended.stderr


def test_an_address_needs_the_key(program, url):
    """An address is only looked up by its hash."""
    ended = program("predict", "acme", "someone@example.com", "--redis", url)
    assert ended.exit_code == 2
    assert "SENDTIDE_PSEUDONYM_KEY" in ended.stderr


def test_the_doctor_finds_a_machine_that_is_well(program, url, cluster, tmp_path):
    """Everything there: exit 0, every check with its detail."""
    pipeline = tmp_path / "p.toml"
    pipeline.write_text('[topics]\nprefix = "doctor."\npartitions = 2\nreplication = 1\n')
    servers = ["--kafka", cluster.kafka.brokers, "--pipeline", str(pipeline)]
    missing = program("doctor", *servers, "--redis", url, "--data", str(tmp_path), "--json", "-")
    assert missing.exit_code == 1
    wrong = {c["name"]: c["detail"] for c in json.loads(missing.stdout)["checks"] if not c["ok"]}
    assert list(wrong) == ["topics"]
    assert "missing" in wrong["topics"]
    program("topics", "create", *servers)
    well = program("doctor", *servers, "--redis", url, "--data", str(tmp_path), "--json", "-")
    assert well.exit_code == 0, well.stdout
    assert json.loads(well.stdout)["ok"] is True


def test_the_doctor_says_what_to_do(program, tmp_path):
    """What does not answer is a finding, not an end of the examination."""
    ended = program("doctor", "--redis", "redis://127.0.0.1:1/0", "--data", str(tmp_path))
    assert ended.exit_code == 1
    assert "check that it runs" in ended.stdout


def test_events_are_summed_over_the_input_topics_only():
    """Buckets add up to what was taken in; other topics' counts do not count."""
    totals = {
        "email.sends": {"applied": 7, "duplicate": 1, "in": 8},
        "email.engagements": {"applied": 2, "late": 1, "in": 3},
        "ml.examples": {"applied": 100, "in": 100},
    }
    found = summed_events(totals, Pipeline())
    assert found == {
        "in": 11, "applied": 9, "duplicate": 1, "late": 1, "dead_letter": 0, "erased": 0,
    }  # fmt: skip
