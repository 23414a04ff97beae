"""Keys to machines and services: found by the beginnings that their issuers gave them."""

import re
from collections.abc import Iterator

_API_KEY = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}"  # Amazon
    r"|AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}"  # Google
    r"|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{22,255}"
    r"|glpat-[A-Za-z0-9_-]{20,64}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{16,255}"  # Slack
    r"|[sr]k_live_[A-Za-z0-9]{20,247}"  # Stripe
    # OpenAI, Anthropic: plain words with dashes have no capital and no digit
    r"|sk-(?=[A-Za-z0-9_-]{0,200}[0-9])(?=[A-Za-z0-9_-]{0,200}[A-Z])[A-Za-z0-9_-]{20,255}"
    r"|hf_[A-Za-z0-9]{30,64}|gsk_[A-Za-z0-9]{48,64}|r8_[A-Za-z0-9]{37}"  # Hugging Face, Groq, …
    r"|npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,255}"
    r"|dop_v1_[a-f0-9]{64}|dapi[a-f0-9]{32}"  # DigitalOcean, Databricks
    r"|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"  # Shopify
    # a JSON Web Token: two objects that begin with {" and a signature
    r"|eyJ[A-Za-z0-9_-]{17,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{20,1000}"
    r")(?![A-Za-z0-9_])"
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN ((?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?)-----.*?(?:-----END \1-----|\Z)", re.S
)


def api_keys(text: str) -> Iterator[tuple[int, int]]:
    """Keys and tokens of well-known services."""
    return (match.span() for match in _API_KEY.finditer(text))


def private_keys(text: str) -> Iterator[tuple[int, int]]:
    """Private keys in PEM and OpenPGP armour, to their end or to the end of the text."""
    return (match.span() for match in _PRIVATE_KEY.finditer(text))
