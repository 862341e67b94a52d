"""What the shared options mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from sendtide.commands.options import DEMO_PIPELINE, KafkaServers, servers_of, settings_of
from sendtide.events.errors import ConfigurationError
from sendtide.pipeline import load_pipeline


def test_settings_come_from_arguments_and_files_the_last_one_counting(tmp_path):
    """KEY=VALUE and files of such lines mix; comments and blank lines are skipped."""
    file = tmp_path / "secrets.conf"
    file.write_text("# secret\n\nsasl.password = a=b\nsasl.username=me\n")
    found = settings_of(["sasl.username=other", str(file), "security.protocol=SASL_SSL"])
    assert found == {
        "sasl.username": "me",
        "sasl.password": "a=b",
        "security.protocol": "SASL_SSL",
    }


def test_a_line_that_is_no_setting_is_told_with_its_number(tmp_path):
    """A wrong line of a settings file is named."""
    file = tmp_path / "wrong.conf"
    file.write_text("acks=all\nnonsense\n")
    with pytest.raises(ConfigurationError, match=r"wrong\.conf:2"):
        settings_of([str(file)])


def test_neither_setting_nor_file_is_refused():
    """A word that is no setting and no file is told as such."""
    with pytest.raises(ConfigurationError, match="neither KEY=VALUE"):
        settings_of(["nosuchfile"])


def test_the_brokers_given_cannot_be_overridden_by_a_setting():
    """`--kafka` decides, whatever --kafka-config says."""
    servers = servers_of("a:1", ["bootstrap.servers=b:2"])
    assert servers.client()["bootstrap.servers"] == "a:1"


def test_secrets_are_not_printed():
    """Settings do not appear in a representation, hence in no log."""
    assert "hush" not in repr(KafkaServers("a:1", {"sasl.password": "hush"}))


def test_the_demo_pipeline_is_the_one_among_the_pipelines():
    """The copy that travels with the program says what pipelines/demo.toml says."""
    original = Path(__file__).parents[2] / "pipelines" / "demo.toml"
    assert load_pipeline(DEMO_PIPELINE) == load_pipeline(original)
