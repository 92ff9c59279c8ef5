"""Writes what a page may run and load: its own script and style, known by their hashes, and nothing else."""

import base64
import hashlib
from collections.abc import Sequence


def content_policy(style: str, scripts: Sequence[str] = (), *, form_action: str = "'none'") -> str:
    """Return the element that limits a page, for its head.

    Args:
        style: The content of its style element.
        scripts: The content of each of its scripts.
        form_action: Where its forms may be sent.
    """
    allowed = " ".join(map(_digest, scripts)) or "'none'"
    rules = (
        f"default-src 'none'; script-src {allowed}; style-src {_digest(style)}; img-src data:; base-uri 'none'; "
        f"form-action {form_action}"
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{rules}">'


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
