"""Mailbox providers by name: a closed list of large ones, and "other" for everything else.

A domain can be a person: that of somebody's own mail names its owner. So only domains of providers
with millions of mailboxes have a name here, and a code; whatever else an event tells is "other"
from the gate on, in every state, topic, page and figure. Connectors look a domain up before the
address it came from is hashed, and send nothing but these names.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from sendtide.events.hashing import find_slot, hash_text

__all__ = ["MAILBOX_PROVIDERS", "NOT_TOLD", "OTHER_PROVIDER", "PROVIDER_SLOTS"]
__all__ += ["provider_code", "provider_of"]

_NAMED: Final = (
    *("gmail.com", "outlook.com", "yahoo.com", "aol.com", "icloud.com", "proton.me", "zoho.com"),
    *("comcast.net", "att.net", "btinternet.com", "gmx.net", "web.de", "t-online.de"),
    *("orange.fr", "free.fr", "laposte.net", "libero.it", "wp.pl", "seznam.cz", "mail.ru"),
    *("yandex.ru", "qq.com", "163.com", "naver.com", "docomo.ne.jp", "uol.com.br"),
)
MAILBOX_PROVIDERS: Final = ("not told", "other", *_NAMED)
"""Names; position is the code, which travels and is stored: new names go to the end."""
NOT_TOLD: Final = 0
OTHER_PROVIDER: Final = 1

_COUNTRIES: Final = ("fr", "de", "it", "es", "co.uk", "co.jp", "nl", "be", "se", "dk", "no", "gr")
_ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "gmail.com": ("googlemail.com", "gmail", "google"),
    "outlook.com": (
        *("msn.com", "passport.com", "windowslive.com", "live.ca", "live.com.au", "live.cn"),
        *(f"hotmail.{end}" for end in ("com", "ca", "ch", "com.br", "com.ar", *_COUNTRIES)),
        *(f"live.{end}" for end in ("com", *_COUNTRIES)),
        *(f"outlook.{end}" for end in ("com.br", "com.ar", "pt", "jp", *_COUNTRIES)),
        *("outlook", "hotmail", "microsoft"),
    ),
    "yahoo.com": (
        *("ymail.com", "rocketmail.com", "myyahoo.com"),
        *(f"yahoo.{end}" for end in ("ca", "in", "co.in", "com.br", "com.ar", "com.mx", "com.au")),
        *(f"yahoo.{end}" for end in ("com.tw", "com.hk", "co.id", "com.vn", "com.ph", "ie", "ro")),
        *(f"yahoo.{end}" for end in _COUNTRIES),
        "yahoo",
    ),
    "aol.com": (*(f"aol.{end}" for end in ("fr", "de", "it", "co.uk")), "aim.com", "aol"),
    "icloud.com": ("me.com", "mac.com", "icloud", "apple"),
    "proton.me": ("protonmail.com", "protonmail.ch", "pm.me", "proton"),
    "zoho.com": ("zohomail.com", "zoho.eu", "zoho.in", "zohomail.eu"),
    "comcast.net": ("xfinity.com",),
    "att.net": ("sbcglobal.net", "bellsouth.net", "pacbell.net", "ameritech.net"),
    "btinternet.com": ("btopenworld.com", "talk21.com"),
    "gmx.net": ("gmx.de", "gmx.com", "gmx.at", "gmx.ch", "gmx.fr", "gmx.us", "gmx.co.uk", "gmx"),
    "t-online.de": ("magenta.de",),
    "orange.fr": ("wanadoo.fr",),
    "libero.it": ("iol.it", "inwind.it", "giallo.it", "blu.it"),
    "seznam.cz": ("email.cz", "post.cz"),
    "mail.ru": ("inbox.ru", "list.ru", "bk.ru", "internet.ru"),
    "yandex.ru": ("yandex.com", "ya.ru", "yandex.by", "yandex.kz", "narod.ru"),
    "qq.com": ("foxmail.com", "vip.qq.com"),
    "163.com": ("126.com", "yeah.net"),
    "uol.com.br": ("bol.com.br",),
}
"""Other domains of the same mailboxes, and the names by which people call them."""
_CODES: Final = {
    **{name: code for code, name in enumerate(MAILBOX_PROVIDERS) if code > OTHER_PROVIDER},
    **{a: MAILBOX_PROVIDERS.index(name) for name, every in _ALIASES.items() for a in every},
}


def provider_code(name: str | None) -> int:
    """Code of a provider's name or domain in lower case; NOT_TOLD for None."""
    return NOT_TOLD if name is None else _CODES.get(name, OTHER_PROVIDER)


def provider_of(address: str) -> str:
    """The name for an address's or a domain's mailboxes; "other" where the list has none."""
    domain = address.rpartition("@")[2].strip().rstrip(".").lower()
    return MAILBOX_PROVIDERS[provider_code(domain)]


def _slots() -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
    keys, codes = np.zeros(1024, np.uint64), np.full(1024, OTHER_PROVIDER, np.uint8)
    for name, code in _CODES.items():
        slot = find_slot(keys, np.uint64(hash_text(name)))
        keys[slot], codes[slot] = hash_text(name), code
    return keys, codes


PROVIDER_SLOTS: Final = _slots()
"""Open-addressed hashes of all names that have a code, and the codes; for compiled readers."""
