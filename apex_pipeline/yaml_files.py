"""Reads the YAML files that settings name; what their entries mean is up to the modules that use them."""

from pathlib import Path
from typing import Any

import yaml


def load_yaml(path: Path) -> Any:  # noqa: ANN401  -- whatever the file holds
    """Return the content of a YAML file of the user's.

    Raises:
        OSError: It cannot be opened.
        yaml.YAMLError: It is no YAML in UTF-8, or a value in it is none: the library lets other errors pass for a date
            with a thirteenth month, a number without digits, and a text nested too deeply.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise yaml.YAMLError(str(error)) from error
