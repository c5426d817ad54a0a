"""The shapes of well-known keys: how each begins, which characters follow, and a sample that tests walk through."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_WORD = "A-Za-z0-9"
_URL64 = "A-Za-z0-9_-"
_NOT_USERINFO = r"""^\s/:@?#"'<>\\"""

MAX_HEAD = 1200
"""Characters, at most, after which it is certain that a key of any shape here is one; its tail has no bound."""


class Run(NamedTuple):
    """Characters of one class: at least `least`, at most `most` (None: without bound, in the last part only)."""

    chars: str
    least: int
    most: int | None = None

    def pattern(self, least: int) -> str:
        """The regular expression of the run from `least` characters on."""
        return f"[{self.chars}]{{{least},{'' if self.most is None else self.most}}}"


@dataclass(frozen=True)
class KeyShape:
    """A key of one issuer: literal texts and runs; its first part is a literal.

    `keep` leaves the first part (and a run and a literal after it, up to the last run) in sight, `until` is a text
    that has to follow and stays in sight too.
    """

    issuer: str
    sample: str
    parts: tuple[str | Run, ...]
    keep: bool = False
    until: str = ""
    word: str = "A-Za-z0-9_"
    """Characters that do not stand right before such a key."""

    def whole(self) -> str:
        """The regular expression of such a key; what is kept is its only group."""
        texts = [part.pattern(part.least) if isinstance(part, Run) else re.escape(part) for part in self.parts]
        texts[0] = self._begin(str(self.parts[0]))
        kept = f"({''.join(texts[:-1])})" if self.keep else "".join(texts[:-1])
        return kept + texts[-1] + (f"(?={re.escape(self.until)})" if self.until else "")

    def begun(self) -> str:
        """The regular expression of the beginning of such a key that reaches the end of the text."""
        rest = r"\Z"
        for part in reversed(self.parts[1:]):
            rest = part.pattern(0) + f"(?:\\Z|{rest})" if isinstance(part, Run) else _letters(part, rest)
        first = str(self.parts[0])
        return f"{self._begin(first[0])}(?:\\Z|{_letters(first[1:], rest)})"

    def _begin(self, text: str) -> str:
        """The text at the beginning of a word; its first letter comes first, which lets `re` skip quickly."""
        first, others = re.escape(text[0]), re.escape(text[1:])
        if not text[0].isalnum():
            return first + others
        # The n of an escaped line break, as in JSON, is no part of a word.
        return rf"{first}(?:(?<![{self.word}]{first})|(?<=\\[nrt]{first})){others}"


def _letters(text: str, rest: str) -> str:
    for letter in reversed(text):
        rest = f"{re.escape(letter)}(?:\\Z|{rest})"
    return rest


def _simple(issuer: str, prefix: str, least: int, sample: str, chars: str = _URL64) -> KeyShape:
    return KeyShape(issuer, sample, (prefix, Run(chars, least)))


PEM_BEGIN = r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
PEM_END = r"-----END [A-Z ]{0,30}PRIVATE KEY-----"
PEM_SAMPLE = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7v\nq4Jd==\n-----END RSA PRIVATE KEY-----"

_N = "0123456789abcdef"

KEY_SHAPES: tuple[KeyShape, ...] = (
    _simple("OpenAI, Anthropic, DeepSeek, OpenRouter", "sk-", 16, "sk-proj-Ab12Cd34Ef56Gh78"),
    _simple("Stripe", "sk_live_", 16, "sk_live_51Ab12Cd34Ef56Gh", _WORD),
    _simple("Stripe, for tests", "sk_test_", 16, "sk_test_51Ab12Cd34Ef56Gh", _WORD),
    _simple("Stripe, restricted", "rk_live_", 16, "rk_live_51Ab12Cd34Ef56Gh", _WORD),
    _simple("Stripe webhooks", "whsec_", 16, "whsec_Ab12Cd34Ef56Gh78", _WORD),
    _simple("NVIDIA", "nvapi-", 16, "nvapi-Ab12Cd34Ef56Gh78Ij90"),
    _simple("Groq", "gsk_", 20, "gsk_Ab12Cd34Ef56Gh78Ij90Kl12", _WORD),
    _simple("xAI", "xai-", 20, "xai-Ab12Cd34Ef56Gh78Ij90Kl12", _WORD),
    _simple("Perplexity", "pplx-", 20, "pplx-Ab12Cd34Ef56Gh78Ij90Kl12", _WORD),
    _simple("Hugging Face", "hf_", 20, "hf_AbCdEfGhIjKlMnOpQrStUvWxYz", _WORD),
    _simple("Replicate", "r8_", 20, "r8_Ab12Cd34Ef56Gh78Ij90Kl12", _WORD),
    _simple("Tavily", "tvly-", 16, "tvly-dev-Ab12Cd34Ef56Gh78"),
    _simple("LangSmith", "lsv2_", 20, f"lsv2_pt_{_N * 2}", _WORD + "_"),
    _simple("Pinecone", "pcsk_", 20, "pcsk_Ab12Cd_34Ef56Gh78Ij90Kl12", _WORD + "_"),
    _simple("Databricks", "dapi", 32, f"dapi{_N * 2}", "a-f0-9"),
    _simple("Google", "AIza", 30, "AIzaSyAb12Cd34Ef56Gh78Ij90Kl12Mn34Op56"),
    _simple("Google OAuth", "ya29.", 20, "ya29.a0Ab12Cd34Ef56Gh78Ij90Kl12"),
    _simple("Google OAuth clients", "GOCSPX-", 20, "GOCSPX-Ab12Cd34Ef56Gh78Ij90Kl12"),
    _simple("AWS", "AKIA", 16, "AKIAIOSFODNN7EXAMPLE", "A-Z0-9"),
    _simple("AWS, temporary", "ASIA", 16, "ASIAIOSFODNN7EXAMPLE", "A-Z0-9"),
    *(_simple("GitHub", f"gh{kind}_", 20, f"gh{kind}_Ab12Cd34Ef56Gh78Ij90", _WORD) for kind in "pousr"),
    _simple("GitHub, fine-grained", "github_pat_", 20, "github_pat_11Ab12Cd34Ef56Gh78Ij_90Kl", _WORD + "_"),
    _simple("GitLab", "glpat-", 16, "glpat-Ab12Cd34Ef56Gh78Ij90"),
    *(_simple("Slack", f"xox{kind}-", 10, f"xox{kind}-123456789012-Ab12Cd34") for kind in "abeprs"),
    _simple("Slack apps", "xapp-", 10, "xapp-1-A012345-6789-abcdef"),
    KeyShape(
        "Slack webhooks",
        "https://hooks.slack.com/services/T0123/B0123/Ab12Cd34Ef56",
        ("hooks.slack.com/services/", Run(_WORD + "/", 10)),
        keep=True,
    ),
    KeyShape(
        "Azure storage",
        "AccountKey=Ab12Cd34Ef56Gh78Ij90Kl12Mn34Op56Qr78St90+/==",
        ("AccountKey=", Run(_WORD + "+/=", 20)),
        keep=True,
    ),
    KeyShape(
        "Azure Service Bus",
        "SharedAccessKey=Ab12Cd34Ef56Gh78Ij90Kl12Mn34=",
        ("SharedAccessKey=", Run(_WORD + "+/=", 20)),
        keep=True,
    ),
    KeyShape(
        "Azure shared access signatures", "sig=Ab12%2FCd34Ef56Gh78%3D", ("sig=", Run(_WORD + "%+/=_-", 20)), keep=True
    ),
    _simple("npm", "npm_", 20, "npm_Ab12Cd34Ef56Gh78Ij90Kl12Mn34Op56Qr78", _WORD),
    _simple("PyPI", "pypi-", 20, "pypi-AgEIcHlwaS5vcmcCAb12Cd34"),
    _simple("Docker", "dckr_pat_", 16, "dckr_pat_Ab12Cd34Ef56Gh78Ij90"),
    _simple("SendGrid", "SG.", 30, "SG.Ab12Cd34Ef56Gh78.Ij90Kl12Mn34Op56Qr78", "." + _URL64),
    _simple("Shopify", "shpat_", 20, f"shpat_{_N * 2}", _WORD),
    _simple("Linear", "lin_api_", 20, "lin_api_Ab12Cd34Ef56Gh78Ij90Kl", _WORD),
    _simple("Notion", "ntn_", 20, "ntn_Ab12Cd34Ef56Gh78Ij90Kl12", _WORD),
    _simple("DigitalOcean", "dop_v1_", 20, f"dop_v1_{_N * 2}", _WORD),
    _simple("Grafana", "glsa_", 20, "glsa_Ab12Cd34Ef56Gh78Ij90Kl12_abcdef", _WORD + "_"),
    _simple("Supabase", "sbp_", 20, f"sbp_{_N * 2}", _WORD),
    _simple("HashiCorp Vault", "hvs.", 20, "hvs.Ab12Cd34Ef56Gh78Ij90Kl12"),
    _simple("Atlassian", "ATATT3", 20, "ATATT3xFfGF0Ab12Cd34Ef56Gh78", "=" + _URL64),
    _simple("age", "AGE-SECRET-KEY-1", 20, "AGE-SECRET-KEY-1AB12CD34EF56GH78IJ90", "A-Z0-9"),
    KeyShape(
        "JSON web tokens",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
        ("eyJ", Run(_URL64, 10, 1024), ".", Run(_URL64, 10, 10), Run("." + _URL64, 0)),
        word=_URL64,
    ),
    *(
        KeyShape(f"{word} tokens", f"{word} Ab12Cd34Ef56Gh78Ij90", (f"{word} ", Run(_WORD + "._~+/=-", 16)), keep=True)
        for word in ("Bearer", "bearer", "BEARER")
    ),
    KeyShape(
        "passwords in URLs",
        "://app:Ab12Cd34@db.example.org/sales",
        ("://", Run(_NOT_USERINFO, 0, 64), ":", Run(_NOT_USERINFO, 1, 256)),
        keep=True,
        until="@",
    ),
)
"""Keys that are told by their looks; private keys in PEM, which have no bound, are told by `PEM_BEGIN`."""


def whole_keys() -> list[str]:
    """The regular expressions of keys; the only groups are what stays in sight."""
    return [*(shape.whole() for shape in KEY_SHAPES), rf"{PEM_BEGIN}[\s\S]*?(?:{PEM_END}|\Z)"]


def begun_keys() -> list[str]:
    """The regular expressions of what may become a key, or a longer one, if more text follows."""
    begin = _letters("----BEGIN ", r"[A-Z ]{0,48}(?:\Z|-{1,5}\Z)")
    body = rf"{PEM_BEGIN[1:]}(?:(?!{PEM_END})[\s\S])*\Z"
    return [*(shape.begun() for shape in KEY_SHAPES), f"-(?:\\Z|{begin}|{body})"]


def beginnings() -> list[str]:
    """Texts one of which stands in, or right behind, every key: a text without any has no key."""
    return [*(shape.until or str(shape.parts[0]) for shape in KEY_SHAPES), "-----BEGIN "]
