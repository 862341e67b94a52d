"""What the URL scheme gives, and what it refuses."""

from __future__ import annotations

from importlib.metadata import entry_points

import faust
import pytest
from faust.transport import by_url

from sendtide.transport import Settings, configure
from sendtide.transport.driver import Transport
from sendtide.transport.errors import ConfigurationError
from sendtide.transport.settings import consumer_config, producer_config, settings_of

TLS = {"security.protocol": "SASL_SSL", "sasl.username": "ada", "sasl.password": "hunter2"}


def new_app(broker="rdkafka://kafka-1:9093;rdkafka://kafka-2", **conf):
    return faust.App("driver-test", broker=broker, **conf)


def test_the_scheme_leads_to_this_transport():
    """An app with an rdkafka URL gets this consumer and producer."""
    assert by_url("rdkafka://localhost") is Transport
    assert isinstance(new_app().transport, Transport)


def test_an_installed_package_announces_the_scheme():
    """The entry point names the class Faust instantiates."""
    found = [e for e in entry_points(group="faust.transports") if e.name == "rdkafka"]
    if not found:
        pytest.skip("the package is not installed here, only on the path")
    assert found[0].load() is Transport


def test_web_is_off_unless_the_app_itself_turns_it_on():
    """Faust's command line default, --with-web, does not turn it on."""
    app = new_app()
    app.conf.web_enabled = True  # what --with-web does
    assert app.transport is not None
    assert not app.boot_strategy._should_enable_web()
    wanted = new_app()
    wanted.boot_strategy.enable_web = True
    assert wanted.transport is not None
    assert wanted.boot_strategy._should_enable_web()


def test_all_brokers_of_the_url_are_used():
    """Several URLs or several hosts in one make one bootstrap list."""
    app = new_app()
    config = consumer_config(app, app.transport.url, Settings())
    assert config["bootstrap.servers"] == "kafka-1:9093,kafka-2:9092"


def test_client_options_pass_through_but_not_over_the_commit_rule():
    """TLS and SASL reach every client; what acknowledgements stand on cannot be changed."""
    app = new_app()
    settings = Settings(
        rdkafka=TLS,
        consumer={"enable.auto.commit": True, "fetch.min.bytes": 7},
        producer={"acks": 1, "max.in.flight.requests.per.connection": 5},
    )
    consumer = consumer_config(app, app.transport.url, settings)
    producer = producer_config(app, app.transport.url, settings)
    assert TLS.items() <= consumer.items()
    assert TLS.items() <= producer.items()
    assert consumer["fetch.min.bytes"] == 7
    assert consumer["enable.auto.commit"] is False
    assert "fetch.min.bytes" not in producer
    assert producer["acks"] == 1
    assert producer["max.in.flight.requests.per.connection"] == 1


def test_secrets_are_never_shown():
    """Printing the settings shows no client option."""
    app = new_app()
    settings = Settings(rdkafka=TLS, producer=TLS, consumer=TLS)
    configure(app, settings)
    assert "hunter2" not in repr(settings_of(app))
    assert settings_of(app) is settings


def test_secrets_in_the_url_are_refused():
    """Faust prints broker URLs when it starts."""
    with pytest.raises(ConfigurationError, match=r"sasl\.username") as error:
        assert new_app("rdkafka://ada:hunter2@kafka").transport
    assert "hunter2" not in str(error.value)


def test_fausts_own_credentials_are_refused_rather_than_ignored():
    """A connection without the TLS somebody asked for would be worse than none."""
    with pytest.raises(ConfigurationError, match="broker_credentials"):
        assert new_app(
            broker_credentials=faust.SASLCredentials(username="a", password="b")
        ).transport
