"""Describes routes for ``/openapi.json``: their parameters, the forms of their answers, and the problems."""

from typing import Any, Final

from apex_pipeline.api.lake.forms import MEDIA_TYPES, Form
from apex_pipeline.api.lake.limits import DEFAULT_ROWS, MAX_POINTS, MAX_ROWS
from apex_pipeline.api.lake.problems import MEDIA_TYPE, Problem
from apex_pipeline.api.lake.service import Takes

_TEXT: Final = {"type": "string", "maxLength": 1_000}
_NAMES: Final = {"type": "string", "maxLength": 1_000, "examples": ["car_number,lap_time_s"]}
# Schema and description of each parameter, by name.
_PARAMETERS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "snapshot": (
        {"type": "string", "pattern": "^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$"},
        "Answer from the snapshot with this id; by default from the published one.",
    ),
    "format": ({"type": "string"}, "Form of the answer; by default as `Accept` says, else JSON."),
    "track": (_TEXT, "Only this track, by any of its names."),
    "session": (_TEXT, "Only sessions of this name."),
    "has": (_TEXT, "Only sessions whose table of this name has rows, like telemetry."),
    "car": (_TEXT, "Only this car: its number, or its vehicle_id."),
    "columns": (_NAMES, "Columns of the answer; by default all."),
    "sort": (_NAMES, "Order of the rows: columns like -is_valid,lap_time_s; - is for descending."),
    "limit": (
        {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": DEFAULT_ROWS},
        "Most rows of the answer; `next` leads to the rest.",
    ),
    "cursor": (_TEXT, "`next` of the page before."),
    "since": (
        {"type": "string", "pattern": "^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$"},
        "Id of the snapshot to compare with.",
    ),
    "channels": (_NAMES, "Channels of the answer; by default all that have readings in the lap."),
    "max_points": (
        {"type": "integer", "minimum": 2, "maximum": MAX_POINTS},
        "Most points of each channel: lowest and highest of each stretch; by default every sample.",
    ),
    "x": ({"type": "string", "enum": ["time", "distance"]}, "What the channels are given along."),
    "a": (_TEXT, "A lap: track/session/car/lap."),
    "b": (_TEXT, "The lap it is compared with."),
    "step_m": ({"type": "number", "exclusiveMinimum": 0}, "Distance between two points, in metres."),
}
_REQUIRED: Final = frozenset({"since", "a", "b"})
_COMPARISONS: Final = (
    "Columns can be compared in the query, as in `?lap_time_s<=98&is_valid=true&car_number!=13`: with `=`, `!=`, `<`, "
    "`<=`, `>`, `>=`; `null` stands for a missing value, and the same column given several times with `=` for any of "
    "the values."
)
_PROBLEMS: Final = {
    400: "The request cannot be understood, or goes beyond a limit.",
    401: "The token is missing or wrong.",
    403: "Only programs on the server's machine may ask.",
    404: "Nothing has this name.",
    406: "None of the accepted forms is offered.",
    410: "The snapshot of the cursor has been removed.",
    414: "The address is too long.",
    503: "The lake cannot be read at the moment.",
}


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of the problems that every route can have, or of some of them."""
    return {
        code: {"description": text, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
        for code, text in _PROBLEMS.items()
        if not codes or code in codes
    }


def documented(takes: Takes, *, is_list: bool = False) -> dict[str, Any]:
    """Return the arguments that describe a route for FastAPI, which also keep it from touching the answer.

    Args:
        takes: What the route takes.
        is_list: The JSON is an array, not an object.
    """
    content = {MEDIA_TYPES[form].partition(";")[0]: {"schema": _schema(form, is_list=is_list)} for form in takes.forms}
    extra: dict[str, Any] = {"parameters": [_parameter(name, takes) for name in takes.parameters]}
    return {
        "response_model": None,
        "responses": {
            200: {"description": _COMPARISONS if takes.compares else "The answer.", "content": content},
            **problems(),
        },
        "openapi_extra": extra,
    }


def _parameter(name: str, takes: Takes) -> dict[str, Any]:
    schema, description = _PARAMETERS[name]
    if name == "format":
        schema = {**schema, "enum": [str(form) for form in takes.forms]}
    return {"name": name, "in": "query", "required": name in _REQUIRED, "schema": schema, "description": description}


def _schema(form: Form, *, is_list: bool) -> dict[str, Any]:
    if form is Form.JSON:
        return {"type": "array", "items": {"type": "string"}} if is_list else {"type": "object"}
    return {"type": "string", "contentMediaType": MEDIA_TYPES[form]}
