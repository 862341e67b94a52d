"""Which user agents are machines, and that a book of them marks rows as each is judged alone."""

import numpy as np
import pytest

from sendtide.events import user_agents
from sendtide.events.hashing import hash_text
from sendtide.events.user_agents import AgentBook, is_machine
from sendtide.lab.agents import AGENTS, agent_of

PREFETCH = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/42.0.2311.135 Safari/537.36 Edge/12.246"
)
MACHINES = [
    "Mozilla/5.0",
    " Mozilla/5.0 ",
    f"{PREFETCH} Mozilla/5.0",
    "Barracuda Sentinel (EE)",
    "Mozilla/5.0 (compatible; MSIE 9.0; Mimecast)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "python-requests/2.32.4",
    "curl/8.5.0",
    "Go-http-client/1.1",
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/100 "
        "Safari/537.36"
    ),
]
PEOPLE = [
    "",
    " ",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
    PREFETCH,
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
        "Gecko) Mobile/15E148"
    ),
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.12026; Pro)",
    "Outlook-iOS/709.2226530.prod.iphone (3.24.0)",
    "Mozilla/5.0 (X11; Linux x86_64; rv:102.0) Gecko/20100101 Thunderbird/102.3.0",
    "Mozilla/5.0 (Linux; Android 13; CUBOT X30)",
    "Dalvik/2.1.0 (Linux; U; Android 11; SM-G973F)",
    "Airmail 5.0",
]


@pytest.mark.parametrize("agent", MACHINES)
def test_prefetches_scanners_and_robots_are_machines(agent):
    """Each says of itself that no person made the request."""
    assert is_machine(agent)


@pytest.mark.parametrize("agent", PEOPLE)
def test_mail_programs_browsers_and_image_proxies_are_people(agent):
    """And whatever says nothing; the proxies fetch when a person opens."""
    assert not is_machine(agent)


def test_a_book_marks_the_rows_of_machines_and_no_others():
    """However many there are of both; a row without an agent keeps what it had."""
    book = AgentBook()
    texts = [f"curl/{n}" for n in range(300)] + [f"Airmail {n}" for n in range(300)]
    for text in texts:
        book.learn(hash_text(text), text)
    rng = np.random.default_rng(5)
    which = rng.permutation(np.repeat(np.arange(-1, 600), 3))
    codes = np.array([0, *map(hash_text, texts)], np.uint64)[which + 1]
    out = np.where(which % 7 == 0, 1, 0).astype(np.uint8)
    before = out.copy()
    book.mark(codes, 2, out)
    machine = (which >= 0) & (which < 300)
    assert (out[machine] == 2).all()
    assert (out[~machine] == before[~machine]).all()


def test_a_book_reads_an_agent_as_it_stands_in_json():
    """PHP escapes every slash."""
    book, out = AgentBook(), np.zeros(2, np.uint8)
    codes = np.array([3, 4], np.uint64)
    book.learn(3, r"Mozilla\/5.0")
    book.learn(4, r"Airmail \"5\"")
    book.mark(codes, 2, out)
    assert out.tolist() == [2, 0]


def test_a_full_book_begins_anew(monkeypatch):
    """Agents are of any number."""
    monkeypatch.setattr(user_agents, "_REMEMBERED", 3)
    book, out = AgentBook(), np.zeros(1, np.uint8)
    for n in range(3):
        assert not book.is_full
        book.learn(hash_text(f"curl/{n}"), f"curl/{n}")
    assert book.is_full
    book.forget()
    assert not book.is_full
    book.mark(np.array([hash_text("curl/0")], np.uint64), 2, out)
    assert out.tolist() == [0]


def test_simulated_machines_are_known_by_their_agents_but_for_those_in_disguise():
    """And no simulated person is."""
    recipient = np.arange(1_000)
    told = [is_machine(AGENTS[i]) for i in agent_of(recipient, machine=True)]
    assert np.mean(told) == 0.75
    for click in (False, True):
        assert not any(is_machine(AGENTS[i]) for i in agent_of(recipient, click=click))
