"""E-mail addresses: one person's address, however it was typed or pasted, becomes one text.

| written | becomes |
|---|---|
| blanks at the ends, of any kind; a dot after the domain | left out |
| what cannot be seen (zero width, soft hyphen, byte order mark, marks of direction and tags), anywhere | left out |
| upper case | lower case |
| decomposed letters (`e` and an accent), full-width and half-width forms | composed (NFC) and of normal width |
| a domain beyond ASCII (`bücher.de`) | its A-label (`xn--bcher-kva.de`), the form that mail is routed by |

RFC 8265 compares user names like this (width, case, NFC), IDNA 2008 with the mapping of UTS #46 compares domains.
NFKC in front of the `@` would go further and make one address of two, so what it would still change is refused there.
What cannot be told from another address for certain is refused as well: joiners in scripts that use them, capitals
whose small letter is a matter of language or place (U+0130, U+03A3), an `i` with a second dot, a letter that was lost
on the way (U+FFFD), controls and blanks within.
Nothing else is guessed: dots and plus signs are part of an address.
"""

import re
import unicodedata

MAX_BYTES = 254
"""The longest address that mail can be sent to, in UTF-8 (RFC 5321, 4.5.3.1.3, less the angle brackets)."""

_LONGEST = 4 * MAX_BYTES
"""Characters, with all that is left out."""

_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Unicode's Default_Ignorable_Code_Point and the marks of interlinear annotation, to stand in a character class."""
_UNSEEN = re.compile(f"[{_INVISIBLE}]")
# The empty Braille pattern is a symbol, but nothing is seen of it.
_ENDS = re.compile(rf"\A[\s\u2800{_INVISIBLE}]+|[\s\u2800{_INVISIBLE}]+\Z")
_JOINERS = re.compile("[\u200c\u200d]")
_DOTS = re.compile("[\u3002\uff0e\uff61]")
"""Full stops that stand for the dot between labels (UTS #46)."""
_AM = {"\u0e4d\u0e32": "\u0e33", "\u0ecd\u0eb2": "\u0eb3"}
"""Thai and Lao AM as two characters and as one, which look the same. Of all that NFKC changes only they are everyday
letters."""
_UNCERTAIN = re.compile("i\u0307|[\u0130\u03a3\u2800\ufffd]")
_UNPRINTABLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zs", "Zl", "Zp"}

# https://help.activecampaign.com/hc/en-us/articles/360017846539-Use-the-Bulk-Contact-Importer-API lists what an address
# may not hold in front of the @. Behind it stands a host name.
_LOCAL = r"[^\s\x00-\x1f\x7f\"(),:;<>@\[\\\]]+"
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_ADDRESS = re.compile(rf"(?!.*\.\.){_LOCAL}@(?:{_LABEL}\.)+(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{1,59}})", re.DOTALL)


def normal_address(text: str) -> str | None:
    """Return an address in its one form; None when it is none, or cannot be told from another for certain.

    What is returned is in its one form: normalising it again changes nothing.
    """
    if len(text) > _LONGEST:
        return None
    spelled = text.strip() if text.isascii() else _in_one_spelling(_ENDS.sub("", text))
    if spelled is None:
        return None
    address = spelled.lower().removesuffix(".")
    if len(address.encode()) > MAX_BYTES or _ADDRESS.fullmatch(address) is None:
        return None
    return address


def _in_one_spelling(text: str) -> str | None:
    """Return a text beyond ASCII with case, width and composition settled and the domain in ASCII."""
    seen = _UNSEEN.sub("", text)
    if seen.isascii():
        return seen
    if _JOINERS.search(text) is not None:
        return None
    composed = _composed("".join(map(_of_normal_width, seen)))
    if any(unicodedata.category(letter) in _UNPRINTABLE for letter in composed):
        return None
    local, at, domain = composed.rpartition("@")
    if _UNCERTAIN.search(local) is not None:
        return None
    # A small letter may compose with what follows it where the capital did not.
    local = _composed(local.lower())
    host = _host(_DOTS.sub(".", domain))
    return f"{local}{at}{host}" if host is not None and _is_stable(local) else None


def _of_normal_width(letter: str) -> str:
    is_other = unicodedata.decomposition(letter).startswith(("<wide>", "<narrow>"))
    return unicodedata.normalize("NFKC", letter) if is_other else letter


def _composed(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    for two, one in _AM.items():
        text = text.replace(two, one)
    return text


def _is_stable(local: str) -> bool:
    """Whether NFKC would leave a text as it is, but for the everyday letters."""
    rest = local
    for letter in _AM.values():
        rest = rest.replace(letter, "")
    return unicodedata.normalize("NFKC", rest) == rest


def _host(domain: str) -> str | None:
    if domain.isascii():
        return domain
    # Few domains need its tables, which take some 15 ms to load.
    import idna

    try:
        return idna.encode(domain, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        return None
