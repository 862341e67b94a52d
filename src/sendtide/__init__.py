"""Sendtide: real-time machine learning for e-mail.

The way of an event, room by room::

    events       the words: messages, column batches, topics, errors
    connectors   files and logs from outside, made into events
    transport    Faust on librdkafka: chunks of a partition in, acknowledged outputs out
    gate         bytes -> column batch; what cannot be read goes to the dead letters
    state        what a partition remembers: index, watermark, snapshots tied to offsets
    recipients   stage A: joins sends and engagements, labels them, scores recipients
    models       River estimators and their compiled multi-client bank
    schedule     when each of many messages goes out, under all rules at once
    windows      event-time windows of integer counts
    monitoring   drift, freshness: judgements over windows
    clients      stage B: learns, counts and judges for each client
    sinks        Redis, topics, Prometheus: where results are read
    endpoint     one HTTP endpoint for every model of every client
    dashboard    pages over what the sinks hold
    stages       the wiring of all this as Faust agents
    pipeline     the deployment file: topics, models, windows, thresholds
    lab          a simulated provider, evaluation
    local        the embedded broker and Redis
    chaos        faults on purpose, and a judge of what they cost
    commands     the command line

Imports run one way, down this list; `tests/test_tidy.py` holds the table.
"""
