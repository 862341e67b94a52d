"""`sendtide lab history`: foreign schemas, recounted; refusals; what other hours would do."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import histories
from histories import DAY_MS, HOUR_MS, START_MS
from sendtide.events.rhythm import BIN_HOURS

NEWSLETTERS = Path(
    os.environ.get("SENDTIDE_NEWSLETTERS")
    or Path(__file__).parents[3] / "shared" / "data" / "newsletters.parquet"
)
TOP = {
    *("file", "mapping", "horizon_ms", "rows", "refused", "remarks", "period", "recipients"),
    *("clients", "client_count", "labelled", "unfinished", "outcomes", "drawn_open_times", "open"),
    *("click", "drift", "send_time", "would_have", "seconds"),
}
MEASURES = {"auc", "log_loss", "ece"}


def any_hour(rng, n):
    """The sender varies its hours all day."""
    return rng.integers(0, 24, n)


def larks_and_owls(person, hour):
    """Half of the people open in the morning, half in the evening."""
    own = np.where(person % 2 == 0, (hour >= 6) & (hour < 12), (hour >= 18) & (hour < 24))
    return np.where(own, 0.7, 0.1)


def run(program, path, *options):
    """The result of a run that ended well."""
    ended = program("lab", "history", str(path), *options, "--json", "-")
    assert ended.exit_code == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_rees46_is_recognised_and_recounted(program, tmp_path, ending):
    """Counts, rates by month and the unfinished end are those of a recount of the frame."""
    log = histories.sends(1, 60, 50, any_hour, larks_and_owls)
    frame = histories.rees46(log)
    found = run(program, histories.write(frame, tmp_path / f"messages.{ending}"))
    assert set(found) == TOP
    assert found["mapping"] == "rees46"
    mail = frame.with_columns(sent=log["sent"]).filter(pl.col("channel") == "email")
    opened = mail.filter(pl.col("is_opened") == "t")
    assert found["rows"] == {
        "read": len(frame),
        "left_out": len(frame) - len(mail),
        "refused": 0,
        "used": len(mail),
    }
    bounced = mail["is_hard_bounced"] == "t"
    outcomes = found["outcomes"]
    assert outcomes["opened"] == len(opened)
    assert outcomes["bounced"] == int(bounced.sum())
    assert outcomes["converted"] == outcomes["clicked"] == int((mail["is_clicked"] == "t").sum())
    last_open = pl.Series(opened["opened_first_time_at"]).str.to_datetime(time_unit="ms").max()
    end_ms = max(int(mail["sent"].max()), int(last_open.timestamp() * 1000))
    final = mail.filter(~bounced & (mail["sent"] <= end_ms - 7 * DAY_MS))
    assert found["labelled"] == len(final)
    assert found["unfinished"] == int((~bounced).sum()) - len(final)
    assert found["open"]["rate"] == pytest.approx((final["is_opened"] == "t").mean())
    months = final.group_by(pl.col("sent_at").str.slice(0, 7).alias("month"), maintain_order=False)
    rates = months.agg(pl.len(), (pl.col("is_opened") == "t").mean().alias("rate")).sort("month")
    told = [(m["month"], m["rows"], m["rate"]) for m in found["open"]["months"]]
    assert told == [pytest.approx(row) if isinstance(row, float) else row for row in rates.rows()]
    for name in ("model", "at_send", "send_time", "beta_binomial", "client_rate"):
        assert set(found["open"][name]) == MEASURES


def test_hackerrank_is_recognised_with_its_offsets(program, tmp_path):
    """Seconds, truth in words and offsets in seconds: hours are the recipients' own."""
    log = histories.sends(2, 40, 40, lambda rng, n: np.full(n, 6), larks_and_owls)
    path = histories.write(histories.hackerrank(log), tmp_path / "training_dataset.csv")
    found = run(program, path)
    assert found["mapping"] == "hackerrank"
    assert found["rows"]["used"] == found["rows"]["read"] == len(log["sent"])
    assert found["recipients"] == 40
    hours = np.where(log["person"] % 2 == 0, log["sent"] + 19_800_000, log["sent"] - 25_200_000)
    wanted = np.bincount(hours // HOUR_MS % 24, minlength=24) / len(hours)
    assert found["send_time"]["used"] == pytest.approx(wanted.tolist())


def test_the_same_log_in_any_order_and_schema_gives_the_same_numbers(program, tmp_path):
    """Rows of one log, shuffled and under another schema, are one history."""
    log = histories.sends(3, 50, 40, any_hour, larks_and_owls)
    frame = histories.hackerrank(log).drop("hacker_timezone", "unsubscribe_time")
    one = histories.write(frame.sort("sent_time", "user_id"), tmp_path / "one.csv")
    own = pl.DataFrame(
        {
            "recipient": frame["user_id"],
            "sent_at": histories.times(log["sent"], "%d.%m.%Y %H:%M:%S"),
            "opened_at": histories.times(log["opened_at"], "%d.%m.%Y %H:%M:%S"),
            "clicked_at": histories.times(log["clicked_at"], "%d.%m.%Y %H:%M:%S"),
        }
    )
    other = histories.write(own.sort("recipient", "sent_at"), tmp_path / "other.parquet")
    mapping = tmp_path / "own.toml"
    fields = ("recipient", "sent_at", "opened_at", "clicked_at")
    lines = ["[columns]", *(f'{field} = "{field}"' for field in fields)]
    mapping.write_text("\n".join([*lines, "[times]", 'format = "%d.%m.%Y %H:%M:%S"', ""]))
    without = ("--column", "utc_offset=", "--column", "unsubscribed_at=")
    first = run(program, one, *without)
    second = run(program, other, "--mapping", str(mapping))
    for key in ("labelled", "open", "click", "send_time", "would_have"):
        assert first[key] == second[key], key


def test_an_effect_is_found_within_its_interval_and_a_page_is_written(program, tmp_path):
    """Hours that matter, and a sender that varied them: a gain, by the log, near the truth."""
    log = histories.sends(4, 480, 75, any_hour, larks_and_owls)
    path = histories.write(histories.rees46(log), tmp_path / "log.csv")
    page = tmp_path / "report.html"
    found = run(program, path, "--html", str(page))
    would = found["would_have"]
    assert would["verdict"] == "gain"
    low, high = would["by_log"]["lift_interval"]
    # By chance one in four sends is at its recipient's hours: 0.25. The best policy has 0.7.
    assert 0.1 < low < would["by_log"]["lift"] < high < 0.7 - 0.25 + 0.03
    assert would["by_log"]["interval"][1] < 0.7 + 0.03
    assert found["open"]["send_time"]["auc"] > found["open"]["beta_binomial"]["auc"] + 0.2
    assert found["send_time"]["recipients_with_sends"]["30"] > 0.9
    check_page(page.read_text(), found)


class Reader(HTMLParser):
    """Counts elements, and checks that each is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [v for k, v in attrs if k in {"src", "href", "srcset", "action", "data"}]
        if tag not in {"meta", "br", "link", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_page(text, found):
    """One file that needs nothing else, with a title for every picture and no broken number."""
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.links == []
    assert not re.search(r"https?:|url\(|@import|<script", text)
    assert reader.seen.count("svg") >= 12
    assert not re.search(r'="[^"]*\b(nan|inf|None)\b', text)
    assert "nan" not in re.sub(r"<[^>]*>", " ", text).lower().split()
    assert f"{found['rows']['used']:,}" in text
    assert f"{found['open']['at_send']['auc']:.4f}" in text
    assert found["would_have"]["sentence"] in text
    assert "1515915625" not in text


def test_no_effect_is_no_gain(program, tmp_path):
    """Where hours do not matter, the interval by the log holds no change."""
    log = histories.sends(5, 120, 60, any_hour, lambda person, hour: 0.1 + 0.5 * (person % 3 == 0))
    found = run(program, histories.write(histories.rees46(log), tmp_path / "log.parquet"))
    low, high = found["would_have"]["by_log"]["lift_interval"]
    assert low < 0 < high
    assert found["would_have"]["verdict"] == "no_gain"
    assert "no gain" in found["would_have"]["sentence"]


def test_a_fixed_slot_is_refused(program, tmp_path):
    """A sender with one slot is told why its log says nothing of other hours; the page too."""
    log = histories.sends(6, 80, 60, lambda rng, n: np.full(n, 10), larks_and_owls)
    page = tmp_path / "report.html"
    path = histories.write(histories.rees46(log), tmp_path / "log.csv")
    would = run(program, path, "--html", str(page))["would_have"]
    assert would["verdict"] == "cannot_tell"
    by_log = would["by_log"]
    assert by_log["refused"] is True
    assert "100.0% of the sends of 'history' go out in the usual slot" in by_log["reason"]
    begins = 10 // BIN_HOURS * BIN_HOURS
    assert f"{begins:02}:00 to {begins + BIN_HOURS:02}:00" in by_log["reason"]
    assert "drawn hours" in by_log["reason"]
    assert [by_log[name] for name in ("estimate", "lift", "lift_interval", "ips")] == [None] * 4
    assert would["by_model"]["lift"] is not None
    assert "cannot be told" in page.read_text()


def test_one_hour_a_day_is_no_evidence_of_hours(program, tmp_path):
    """All of a day's mail at one hour: few days are too few, however many the sends."""
    slots = np.random.default_rng(7).integers(0, 24, 40)
    log = histories.sends(7, 200, 40, any_hour, lambda person, hour: np.full(len(hour), 0.3))
    day = (log["sent"] - START_MS) // DAY_MS
    moved = (slots[day] - log["hour"]) * HOUR_MS
    for name in ("sent", "opened_at", "clicked_at"):
        log[name] = np.where(log[name] < 0, -1, log[name] + moved)
    found = run(program, histories.write(histories.rees46(log), tmp_path / "log.csv"))
    by_log = found["would_have"]["by_log"]
    assert (by_log["refused"], by_log["within_days"]) == (True, 0.0)
    assert "days" in by_log["reason"]
    assert by_log["effective_days"] < 20


BAD = """recipient,sent_at,opened_at,clicked,revenue
anna@shop.com,2024-01-01 10:00,2024-01-01 10:30,1,12.5
ANNA@shop.com,2024-01-02 10:00,,0,
bert@shop.com,2024-01-02 10:00,,no,
bert@,2024-01-02 10:00,,no,
,2024-01-02 10:00,,no,
carl@shop.com,noon,,no,
carl@shop.com,,,no,
carl@shop.com,1924-01-02 10:00,,no,
carl@shop.com,2024-01-03 10:00,2024-01-02 10:00,no,
carl@shop.com,2024-01-03 10:00,soon carl@shop.com,no,
dora@shop.com,2024-01-03 10:00,,perhaps,
dora@shop.com,2024-01-03 10:00,,yes,-3
emil@shop.com,2024-01-20 10:00,,yes,
"""


def test_bad_rows_are_counted_with_reasons_and_without_addresses(program, tmp_path):
    """Every row is used or has one reason; rows are named, addresses never."""
    path = tmp_path / "bad.csv"
    path.write_text(BAD)
    ended = program("lab", "history", str(path), "--json", "-")
    found = json.loads(ended.stdout)
    refused = {one["reason"]: one for one in found["refused"]}
    assert {name: one["rows"] for name, one in refused.items()} == dict.fromkeys(
        (
            *("recipient_empty", "recipient_address", "sent_empty", "sent_unreadable"),
            *("sent_range", "opened_at_early", "opened_at_unreadable", "clicked_unreadable"),
            "revenue",
        ),
        1,
    )
    rows = found["rows"]
    assert rows == {"read": 13, "left_out": 0, "refused": 9, "used": 4}
    assert found["recipients"] == 3
    assert refused["sent_unreadable"]["examples"] == ["row 6: sent_at holds 'noon'"]
    assert refused["opened_at_unreadable"]["examples"][0].startswith("row 10: ")
    assert "shop.com" not in ended.stdout + ended.stderr
    assert found["outcomes"]["revenue"] == 12.5


def test_missing_columns_are_told_with_what_is_there(program, tmp_path):
    """The file's columns, what is needed, and the option that names one; a usage error."""
    path = tmp_path / "log.csv"
    path.write_text("mail,when,seen\na,2024-01-01,1\n")
    ended = program("lab", "history", str(path))
    assert ended.exit_code == 2
    told = " ".join(ended.stderr.split())
    assert "columns: mail, when, seen" in told
    assert "needed: recipient, sent_at, and opened_at or opened" in told
    assert "--column recipient=COLUMN" in told
    ended = program("lab", "history", str(path), "--mapping", "rees46")
    assert ended.exit_code == 2
    assert "client_id" in ended.stderr
    assert "mail, when, seen" in " ".join(ended.stderr.split())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--column", "opened"), "no FIELD=COLUMN"),
        (("--column", "opend=x"), "the fields: message, recipient"),
        (("--mapping", "nosuch.toml"), "neither hackerrank nor rees46 nor a readable file"),
        (("--horizon", "soon"), "--horizon"),
        (("--horizon", "90d"), "up to 30d"),
        (("--timezone", "Paris"), "no IANA time zone"),
        (("--html", "/nosuch/folder/x.html"), "--html /nosuch/folder/x.html cannot be written"),
    ],
)
def test_wrong_usage_is_one_sentence(program, tmp_path, options, told):
    """What was seen and what is allowed, and exit code 2."""
    log = histories.sends(8, 5, 20, any_hour, larks_and_owls)
    path = histories.write(histories.hackerrank(log), tmp_path / "log.csv")
    ended = program("lab", "history", str(path), *options)
    assert ended.exit_code == 2
    assert told in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_a_log_shorter_than_the_horizon_is_refused(program, tmp_path):
    """Nothing is known for good: the message says what to do."""
    log = histories.sends(9, 20, 5, any_hour, larks_and_owls)
    path = histories.write(histories.rees46(log), tmp_path / "log.csv")
    ended = program("lab", "history", str(path))
    assert ended.exit_code == 2
    assert "shorter --horizon" in " ".join(ended.stderr.split())
    assert run(program, path, "--horizon", "1d")["labelled"] > 0


@pytest.mark.skipif(not NEWSLETTERS.exists(), reason="no newsletters file at hand")
def test_the_real_log(program, tmp_path):
    """The first months of real newsletters: predictions beat the rate, other hours are refused."""
    path = tmp_path / "first.parquet"
    pl.read_parquet(NEWSLETTERS).head(100_000).write_parquet(path)
    names = {
        "recipient": "subscriber",
        "sent_at": "sent_at_s",
        "opened": "opened_within_week",
        "clicked": "clicks",
    }
    options = [word for f, c in names.items() for word in ("--column", f"{f}={c}")]
    found = run(program, path, *options, "--client", "news")
    assert found["rows"]["used"] == found["labelled"] == 100_000
    assert found["drawn_open_times"] == 1.0
    assert found["open"]["model"]["auc"] > found["open"]["beta_binomial"]["auc"]
    assert found["open"]["at_send"]["log_loss"] < found["open"]["client_rate"]["log_loss"]
    assert found["would_have"]["verdict"] == "cannot_tell"
