"""Reads the file that says who drove which car, for the column ``Driver`` of the loaders.

Raw files name no drivers, so that column is the car's ``vehicle_id`` unless ``APEX_DRIVERS_FILE`` gives names. The file
is the user's own: nothing of it is written to a lake, and no message quotes a name.
"""

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from apex_pipeline.errors import SettingFileError
from apex_pipeline.yaml_files import load_yaml

_FORMAT = 'Write one line for each car, by its number or vehicle_id: "13": NAME'
_DRIVERS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])


def read_drivers(path: Path | None) -> Mapping[str, str]:
    """Return the names by car number or vehicle_id; empty without a file.

    Args:
        path: A YAML file with a mapping. Numbers are text and need quotes: 03 is another car than 3.

    Raises:
        SettingFileError: The file cannot be read, or is no such mapping.
    """
    if path is None:
        return {}
    try:
        content = load_yaml(path)
        return _DRIVERS.validate_python({} if content is None else content, strict=True)
    except OSError as error:
        raise SettingFileError(
            f"APEX_DRIVERS_FILE: {path} cannot be read: {error.strerror}.", "Correct the path, or unset the variable."
        ) from error
    except (yaml.YAMLError, ValidationError):
        # The cause would show lines of the file, which are names.
        raise SettingFileError(f"APEX_DRIVERS_FILE: {path} is not a list of drivers.", _FORMAT) from None
