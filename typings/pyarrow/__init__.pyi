# pyarrow ships no types and makes much of itself at import time, so a checker finds only part of it. Everything of it is
# therefore "any" to the checker; our own functions say what they take and give.
from typing import Any

def __getattr__(name: str) -> Any: ...
