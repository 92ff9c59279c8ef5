"""Explains in readable text how a file was identified."""

from apex_pipeline.sources.base import FileIdentity


def explain_identity(identity: FileIdentity) -> str:
    """Return the identity of one file and its evidence as readable text."""
    lines = [
        identity.path,
        f"  status      {identity.status}" + (f": {identity.reason}" if identity.reason else ""),
        f"  kind        {identity.kind}" + (f" ({identity.version})" if identity.version else ""),
        f"  track       {identity.track or 'unknown'}" + (f" ({identity.track_name})" if identity.track_name else ""),
        f"  session     {identity.session or 'none'}",
        f"  event       {identity.event_code or 'unknown'}",
        f"  rule        {identity.rule}",
        f"  confidence  {identity.confidence:.2f}",
        "  evidence",
        *(f"    - {sentence}" for sentence in identity.evidence),
    ]
    return "\n".join(lines)
