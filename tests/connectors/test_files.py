"""Lines become records or rejects; none is lost."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sendtide.connectors import EventReader, Pseudonyms, RejectFile, files
from sendtide.events.errors import ConfigurationError

PSEUDONYMS = Pseudonyms(bytes(range(32)))
WHO = {"source": "shop", "client_id": "c1", "recipient_id": "0" * 32}
SEND = {**WHO, "id": "m1", "event_time_ms": 1_700_000_000_000}
OPEN = {**SEND, "id": "e1", "message_id": "m1", "kind": "open"}
ASK = {**SEND, "id": "r1", "window_start_ms": 1_700_000_000_000, "window_end_ms": 1_700_000_060_000}
CSV_HEADER = "source,id,client_id,recipient_id,event_time_ms,kind,message_id,machine,words\n"
CSV_REST = f"shop,{{id}},c1,{'0' * 32},1700000000000,"


def ndjson(*lines):
    return b"".join(
        (ln if isinstance(ln, bytes) else json.dumps(ln).encode()) + b"\n" for ln in lines
    )


def read(data, form="ndjson", **options):
    reader = EventReader(pseudonyms=PSEUDONYMS, **options)
    readings = list(reader.read(io.BytesIO(data), form))
    records = [record for reading in readings for record in reading.records]
    rejects = [reject for reading in readings for reject in reading.rejects]
    return records, rejects, reader.tally


def test_topic_is_told_by_the_fields_and_bytes_are_kept():
    """A send, an engagement and a request find their topics; good lines travel unaltered."""
    odd = b'{ "note": 1.50, ' + json.dumps(SEND).encode()[1:]
    records, rejects, tally = read(ndjson(odd, OPEN, ASK))

    assert [r[0] for r in records] == ["email.sends", "email.engagements", "email.requests"]
    assert records[0][1:] == (b"c1:" + b"0" * 32, odd, 1_700_000_000_000)
    assert not rejects
    assert tally.lines == sum(tally.taken.values()) == 3


def test_a_topic_given_holds_for_every_line():
    """With a topic given, a line of another kind is rejected."""
    records, rejects, _ = read(ndjson(OPEN, SEND), topic="email.engagements")

    assert len(records) == 1
    assert "message_id" in rejects[0].problem


def test_an_address_is_hashed_and_gone():
    """`address` becomes `recipient_id`; other fields stay, even unknown ones."""
    line = {**SEND, "address": "Ann@Example.com", "note": "x"}
    del line["recipient_id"]
    records, _, _ = read(ndjson(line))
    body = json.loads(records[0][2])

    assert body["recipient_id"] == PSEUDONYMS.of_address("c1", "ann@example.com")
    assert records[0][1].decode() == f"c1:{body['recipient_id']}"
    assert "address" not in body
    assert body["note"] == "x"


@pytest.mark.parametrize(
    ("address", "told"),
    [
        *(("ann@GoogleMail.com", "gmail.com"), ("b@hotmail.co.uk", "outlook.com")),
        *(("c@web.de", "web.de"), ("ann@jones-family.example", "other")),
    ],
)
@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_a_send_tells_its_mailbox_provider_and_no_domain_of_a_person(address, told, form):
    """Derived before the address is hashed; engagements and requests tell none."""
    who = {name: text for name, text in SEND.items() if name != "recipient_id"}
    line = {**who, "address": address}
    data = ndjson(line)
    if form == "csv":
        data = "\n".join(",".join(map(str, part)) for part in zip(*line.items(), strict=True))
        data = data.encode()
    (record,), rejects, _ = read(data, form)

    assert not rejects
    assert json.loads(record[2])["mailbox_provider"] == told
    assert b"jones" not in record[2]
    if form == "ndjson":
        opened = {**OPEN, "address": address}
        del opened["recipient_id"]
        assert b"mailbox_provider" not in read(ndjson(opened))[0][0][2]


def test_a_provider_that_is_told_becomes_one_of_the_list():
    """A line that tells a listed name keeps its bytes; an address in its place is rejected."""
    listed, odd, personal = (
        {**SEND, "mailbox_provider": name} for name in ("gmail.com", "hotmail.de", "ann.example")
    )
    records, _, _ = read(ndjson(listed, odd, personal))
    assert records[0][2] == json.dumps(listed).encode()
    told = [json.loads(record[2])["mailbox_provider"] for record in records]
    assert told == ["gmail.com", "outlook.com", "other"]
    _, (reject,), _ = read(ndjson({**SEND, "mailbox_provider": "ann@gmail.com"}))
    assert "mailbox_provider" in reject.problem
    assert "ann@" not in reject.problem


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{", "not JSON"),
        (b"[1]", "where an object"),
        (b"\xff\xfe", "not JSON"),
        (b'{"id": NaN}', "not JSON"),
        ({**SEND, "event_time_ms": "soon"}, "event_time_ms"),
        ({**SEND, "event_time_ms": 1_700_000_000}, "event_time_ms"),
        ({k: v for k, v in SEND.items() if k != "id"}, "`id`"),
        ({**SEND, "version": "2.0"}, "version 2.0"),
        ({**SEND, "recipient_id": "ann@example.com"}, "recipient_id"),
        ({**SEND, "address": "ann@example.com"}, "both"),
        ({**SEND, "note": "x" * 70_000}, "largest record"),
        ({"address": "ann", "client_id": "c1"}, "not an address"),
        ({"address": 5, "client_id": "c1"}, "text"),
    ],
)
def test_a_bad_line_is_reported_with_number_problem_and_bytes(line, said):
    """The reject says where, what and keeps the bytes; the lines around it pass."""
    bad = line if isinstance(line, bytes) else json.dumps(line).encode()
    records, rejects, tally = read(ndjson(SEND, b"", bad, OPEN))

    assert len(records) == 2
    assert [(r.line, r.content) for r in rejects] == [(3, bad + b"\n")]
    assert said in rejects[0].problem
    assert "@" not in rejects[0].problem
    assert (tally.lines, tally.blank, tally.rejected) == (4, 1, 1)


def test_csv_rows_become_typed_events():
    """Cells are read by the field's type; empty cells are absent fields."""
    data = CSV_HEADER + CSV_REST.format(id="m1") + ",,,312\n"
    data += CSV_REST.format(id="e1") + "open,m1,true,\n"
    records, rejects, _ = read(data.encode(), "csv")
    sent, opened = (json.loads(record[2]) for record in records)

    assert not rejects
    assert sent == {**SEND, "version": "1.2", "words": 312}
    assert opened == {**OPEN, "version": "1.1", "machine": True}


def test_csv_rejects_keep_their_lines():
    """Bad rows, quoted line breaks and wrong encodings keep number and bytes."""
    good = CSV_REST.format(id="m1").encode() + b",,,5\n"
    lines = [good, b"too,few\n", b'"a\nb",x,c1,0,1,,,,\n', b"caf\xe9" + good, good]
    records, rejects, tally = read(CSV_HEADER.encode() + b"".join(lines), "csv")

    assert len(records) == 2
    assert [(r.line, r.content) for r in rejects] == [(3, lines[1]), (4, lines[2]), (6, lines[3])]
    assert tally.lines == 5


@pytest.mark.parametrize("header", ["", "id,id,source\n", "a,b,c\n1,2,3\n"])
def test_csv_without_a_usable_header_is_an_error_at_once(header):
    """Thousands of rejects would not help; one sentence does."""
    with pytest.raises(ConfigurationError, match="first line"):
        read(header.encode(), "csv")


def test_addresses_without_a_key_are_an_error_that_says_how_to_give_one(monkeypatch):
    """Nothing is hashed with a key that is not there."""
    monkeypatch.delenv("SENDTIDE_PSEUDONYM_KEY", raising=False)
    monkeypatch.delenv("SENDTIDE_PSEUDONYM_KEY_FILE", raising=False)
    line = ndjson({"address": "ann@example.com", "client_id": "c1"})

    with pytest.raises(ConfigurationError, match="openssl rand"):
        list(EventReader().read(io.BytesIO(line), "ndjson"))


def test_arrival_times_can_be_given():
    """With a clock, records carry the arrival instead of the event's time."""
    records, _, _ = read(ndjson(SEND), arrival_ms=lambda: 1_800_000_000_000)

    assert records[0][3] == 1_800_000_000_000


def test_overlong_lines_are_rejected_in_pieces_that_add_up(monkeypatch):
    """A line beyond the limit does not fill memory, and its bytes are all in the rejects."""
    monkeypatch.setattr(files, "_MAX_LINE_BYTES", 1_000)
    data = ndjson(SEND, b"x" * 2_500, OPEN)
    records, rejects, _ = read(data)

    assert len(records) == 2
    assert b"".join(r.content for r in rejects) == b"x" * 2_500 + b"\n"


@settings(max_examples=60)
@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([SEND, OPEN, ASK])), max_size=12))
def test_every_byte_is_accounted_for(lines):
    """Whatever the bytes: taken + rejected + blank lines are all lines, and nothing raises."""
    data = ndjson(*lines)
    records, rejects, tally = read(data)

    assert tally.lines == data.count(b"\n")
    assert len(records) == sum(tally.taken.values())
    assert len(rejects) == tally.rejected
    assert tally.lines == tally.blank + tally.rejected + len(records)


def test_an_unknown_topic_is_refused():
    """Only input topics can be produced to."""
    with pytest.raises(ConfigurationError, match=r"email\.sends"):
        EventReader(topic="ml.metrics")


def test_rejects_can_be_kept_corrected_and_read_again(tmp_path):
    """The file of rejects is a readable CSV of exactly the bad lines, private to its owner."""
    path = tmp_path / "rejects.csv"
    keeper = RejectFile(path)
    assert not path.exists()
    reader = EventReader()
    data = CSV_HEADER + "too,few\n" + CSV_REST.format(id="m1") + ",,,many\n"
    for reading in reader.read(io.BytesIO(data.encode()), "csv"):
        keeper.keep(reading.rejects, reader.header)
    keeper.close()

    assert keeper.kept == 2
    assert path.read_bytes() == data.encode()
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_unwritable_reject_file_is_a_sentence(tmp_path):
    """Rejects that cannot be kept stop the reading instead of vanishing."""
    _, rejects, _ = read(b"{\n")

    with pytest.raises(ConfigurationError, match="cannot keep"):
        RejectFile(tmp_path / "no" / "folder").keep(rejects)
