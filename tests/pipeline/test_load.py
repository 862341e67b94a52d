"""A pipeline file loads whole, or every mistake in it is named with its line."""

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from sendtide.events.errors import ConfigurationError
from sendtide.events.topics import EXAMPLES, SENDS, TOPICS
from sendtide.pipeline import Model, Pipeline, RiverModel, load_pipeline

PIPELINES = Path(__file__).parents[2] / "pipelines"
DEFAULT = PIPELINES / "default.toml"
TWO_MODELS = """[[models]]
kind = "send_time"
name = "a"
[[models]]
kind = "open_propensity"
name = "b"
"""


def sections(model, path=()):
    """Every (path, key) a file may hold, members of `models` under their kind."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield (*path, key)
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from sections(kind, (*path, key))


def mistakes(tmp_path, text):
    """The messages for a file of this text, without its name, and their lines."""
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline(file)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{file}: {len(rest)} mistake{'s' if len(rest) > 1 else ''}"
    found = [re.fullmatch(rf"{re.escape(str(file))}:(\d+): (.*)", line) for line in rest]
    return [(int(match[1]), match[2]) for match in found]


def test_default_toml_loads_to_the_defaults():
    """The documentation of the defaults is the defaults."""
    assert load_pipeline(DEFAULT) == Pipeline()


@pytest.mark.parametrize("path", sorted(PIPELINES.glob("*.toml")), ids=lambda path: path.name)
def test_every_pipeline_we_ship_loads(path):
    """All of them, and each says its own name."""
    assert load_pipeline(path).name == path.stem


def test_default_toml_documents_every_key():
    """A key nobody can find does not exist; optional ones may stand in a comment."""
    text = DEFAULT.read_text()
    content = tomllib.loads(text)
    for path in sections(Pipeline):
        here = content
        for step in path[:-1]:
            here = here[step]
        assert path[-1] in here or f"\n# {path[-1]} = " in text, path
    for kind in get_args(get_args(Model)[0]):
        for path in sections(kind):
            assert re.search(rf"^(# )?{path[-1]} = ", text, re.MULTILINE), path


def test_the_examples_in_comments_load_too(tmp_path):
    """Uncommenting the River model gives a valid file."""
    text = DEFAULT.read_text()
    block = re.search(r"(# \[\[models\]\]\n(?:# .*\n)+)", text)
    text = text.replace(block[1], re.sub(r"^# ", "", block[1], flags=re.MULTILINE))
    file = tmp_path / "p.toml"
    file.write_text(text)
    pipeline = load_pipeline(file)
    assert isinstance(pipeline.models[2], RiverModel)
    assert pipeline.models[2].class_path == "tree.HoeffdingTreeClassifier"
    assert pipeline.models[2].clients == ["acme", "globex"]


def test_the_demonstration_is_over_within_a_minute():
    """Horizon, lateness and windows of the demo are seconds."""
    demo = load_pipeline(PIPELINES / "demo.toml")
    assert demo.join.horizon_ms == 30_000
    assert demo.sends.allowed_lateness_ms == demo.engagements.allowed_lateness_ms == 5_000
    assert demo.windows.size_ms == 5_000


def test_an_empty_file_is_the_default_pipeline(tmp_path):
    """Every key has a default."""
    file = tmp_path / "p.toml"
    file.write_text("")
    assert load_pipeline(file) == Pipeline()


@pytest.mark.parametrize(
    ("text", "inputs", "clients"),
    [
        ("partitions = 4", 4, 4),
        ("partitions = 64", 64, 8),
        ("partitions = 64\nclient_partitions = 32", 64, 32),
        ("partitions = 2\nclient_partitions = 3", 2, 3),
    ],
)
def test_clients_have_partitions_of_their_own(tmp_path, text, inputs, clients):
    """As many as the others, at most eight, unless the file says how many."""
    file = tmp_path / "p.toml"
    file.write_text(f"[topics]\n{text}\n")
    topics = load_pipeline(file).topics
    assert {topic: topics.partitions_of(topic) for topic in TOPICS} == {
        **dict.fromkeys(TOPICS, inputs),
        EXAMPLES: clients,
    }


def test_a_prefix_stands_before_topic_names(tmp_path):
    """Several deployments can share a broker."""
    file = tmp_path / "p.toml"
    file.write_text('[topics]\nprefix = "staging."\n')
    assert load_pipeline(file).topics.full_name(SENDS) == "staging.email.sends"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("nope = 1", 1, ["nope: unknown key", "allowed here: name, topics"]),
        ("[sends]\nallowed_latenes = 1", 2, ['did you mean "allowed_lateness"?', "max_future"]),
        ("[sends]\nallowed_lateness_ms = 1", 2, ['did you mean "allowed_lateness"?']),
        ("[sends]\nmax_future = 5", 2, ["sends.max_future: 5 is not a duration", '"30s"']),
        ('[sends]\nmax_future = "5 s"', 2, ["'5 s' is not a duration"]),
        ('\n\n[join]\nhorizon = "90d"', 4, ['"90d" is out of range', '"1s" to "30d"']),
        ("[join]\ndedupe_window = 1.5", 2, ["join.dedupe_window", ">= 1000 and <= 100000000"]),
        ("[join]\ndedupe_window = true", 2, ["valid integer"]),
        ("[join]\ndedupe_window = 10", 2, [">= 1000 and <= 100000000"]),
        ("[topics]\nreplication = 0", 1, ["allowed: -1 (the broker's default) or 1 to 16"]),
        ("name = 'a b'", 1, ["'a b' is not a name", "letters, digits"]),
        ("sends = 3", 1, ["sends: is not a table"]),
        ("models = []", 1, ["models: List should have at least 1 item"]),
        ('[[models]]\nname = "a"\nkind = "rivver"', 3, ['"river"', "did you mean", "send_time"]),
        ('[[models]]\nname = "a"', 1, ["models[0]: has no kind", '"open_propensity"']),
        ('[[models]]\nname = "a"\nkind = "river"', 1, ["models[0].class: is missing"]),
        (
            TWO_MODELS + "l2 = -1",
            7,
            ["models[1].l2", ">= 0 and <= 10"],
        ),
        (
            '[[models]]\nname = "a"\nkind = "send_time"\nlearning_rate = 0.1',
            4,
            ["models[0].learning_rate: unknown key", "prior_strength"],
        ),
        (
            '[clients]\nwith_models = [\n"x",\n3]',
            2,
            ["clients.with_models[1]: Input should be a valid string"],
        ),
        (
            2 * '[[models]]\nname = "a"\nkind = "river"\nclass = "tree.SGTClassifier"\n',
            1,
            ["model names must differ; used twice: a"],
        ),
        (
            "".join(f'[[models]]\nname = "{name}"\nkind = "send_time"\n' for name in "ab"),
            1,
            ["two models of kind send_time; allowed: one, and any number of river"],
        ),
        (
            '[[models]]\nname = "a"\nkind = "river"\nclass = "os; rm"',
            4,
            ["models[0].class: 'os; rm' is not classes below", "HoeffdingTreeClassifier"],
        ),
        ('[drift]\ndetectors = ["psi", "ks"]', 2, ["drift.detectors[1]", "'psi' or 'adwin'"]),
        ("[drift]\nalpha = nan", 2, ["drift.alpha", "finite"]),
        ("[drift]\npsi_critical = 0.01", 1, ["below psi_floor"]),
        ('["snapshots"]\n"keep" = 0', 2, ["snapshots.keep", ">= 1 and <= 100"]),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_is_allowed(tmp_path, text, line, says):
    """One mistake, one message."""
    [(found, message)] = mistakes(tmp_path, text)
    assert found == line
    for words in says:
        assert words in message


def test_all_mistakes_are_reported_at_once_in_the_order_of_lines(tmp_path):
    """Nobody should have to start the program five times to mend a file."""
    text = 'name = 3\n[sends]\nlate = "1s"\n[join]\nhorizon = "x"\n[redis]\nttl = 5\nttll = 6\n'
    assert [line for line, _ in mistakes(tmp_path, text)] == [1, 3, 5, 7, 8]


@pytest.mark.parametrize(
    ("text", "line"), [("name = ", 1), ("[sends]\n[sends]\n", 2), ("a = 1\nb = [1,\n", 2)]
)
def test_a_file_that_is_not_toml_is_named_with_the_line(tmp_path, text, line):
    """The parser's own words, behind file and line."""
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"p\.toml:{line}: not TOML"):
        load_pipeline(file)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """Missing, or not UTF-8."""
    with pytest.raises(ConfigurationError, match=r"none\.toml: cannot be read"):
        load_pipeline(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigurationError, match=r"bad\.toml: cannot be read"):
        load_pipeline(tmp_path / "bad.toml")
