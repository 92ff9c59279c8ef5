"""Says which free texts of official timing may be published: codes and words of the series, never a person's name.

A row whose cells are shifted puts a driver into the column of the class or the vehicle. See ``official_timing.py``.
"""

import re
from collections import defaultdict
from collections.abc import Sequence

from apex_pipeline.tables.model import Row

# Statuses of a classification: Classified, Not started, DNF, Disqualified …
_STATUS = re.compile(
    r"(not[ -]?|un|non[ -]?)?(classified|started|qualified|running|finished|starting|listed)"
    r"|dn[fsqc]|dsq|nc|ret\w*|withdrawn|excluded|disq\w*|accident|retired|ok|fin",
    re.IGNORECASE,
)
# Flags: GF, FCY, FF, SC, VSC, RF, C60, CODE60.
_FLAG = re.compile(r"[A-Z]{1,3}\d{0,2}|CODE ?60", re.IGNORECASE | re.ASCII)
# Words of class and group names, besides codes in capitals or with a digit (GT3, LMP2, TCR).
_CLASS_WORDS = frozenset(
    """
    am pro cup silver gold bronze platinum masters master women rookie rookies junior juniors hypercar daytona
    class challenge trophy invitational amateur professional experts touring sport sports prototype gt open grand
    touring toyota porsche ferrari lamborghini series championship guest overall legends legend and
    """.split()  # noqa: SIM905  -- a list of words is easier to read
)
_MAKES = frozenset(
    """
    acura alpine aston audi bmw bentley cadillac chevrolet corvette dallara ferrari ford ginetta glickenhaus honda
    hyundai isotta jaguar kia lamborghini lexus ligier lotus maserati mazda mclaren mercedes mini mitsubishi
    nissan oreca peugeot porsche radical renault subaru toyota vauxhall volkswagen
    """.split()  # noqa: SIM905  -- a list of words is easier to read
)
_LONGEST = 60
_MAX_WORDS = 8


def parse_status(text: str) -> str | None:
    """Return the status of a car; ``None`` for a text that is none."""
    return text if _STATUS.fullmatch(text) else None


def parse_flag(text: str) -> str | None:
    """Return the code of a flag; ``None`` for a text that is none."""
    return text if _FLAG.fullmatch(text) else None


def blank_names(rows: Sequence[Row], columns: Sequence[str]) -> dict[str, int]:
    """Set texts to null that may be names; return how many by column.

    A text is kept if it is made of codes and usual words, or if several cars share it, as they share a class.

    Args:
        rows: Rows of a file by published column, with ``car_number``.
        columns: Published columns of class, group and vehicle.
    """
    blanked: dict[str, int] = {}
    for column in columns:
        cars: defaultdict[str, set[str]] = defaultdict(set)
        for row in rows:
            if row.get(column):
                cars[row[column]].add(row["car_number"])
        private = {text for text, of_text in cars.items() if not _is_public(text, column, len(of_text))}
        for row in rows:
            if row.get(column) in private:
                row[column] = None
                blanked[column] = blanked.get(column, 0) + 1
    return blanked


def _is_public(text: str, column: str, cars: int) -> bool:
    words = re.findall(r"[^\W_]+", text)
    if len(text) > _LONGEST or len(words) > _MAX_WORDS:
        return False
    if column == "vehicle" and any(word.casefold() in _MAKES for word in words):
        return True
    return cars > 1 or all(_is_code(word) for word in words)


def _is_code(word: str) -> bool:
    is_short = len(word) <= 6 and (word.isupper() or any(map(str.isdigit, word)))  # noqa: PLR2004  -- LMGT3, LMGTE
    return is_short or word.casefold() in _CLASS_WORDS
