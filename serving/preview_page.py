"""The preview page: one file without any other, the same bytes for every model.

It holds nothing of a model; what it shows it asks for, with the key that its user has.
"""

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class PreviewPage:
    """The page's bytes, and headers that let it run its own script and no other."""

    content: bytes
    headers: dict[str, str]

    @classmethod
    def build(cls) -> Self:
        """Put the page together from its template, style and script."""
        page, style, script = (_read(f"preview.{kind}") for kind in ("html", "css", "js"))
        policy = "; ".join(
            (
                "default-src 'none'",
                f"style-src '{_digest(style)}'",
                f"script-src '{_digest(script)}'",
                "connect-src 'self'",
                "img-src data:",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        )
        headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
        }
        whole = page.replace("{style}", style).replace("{script}", script)
        return cls(whole.encode(), headers)


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
