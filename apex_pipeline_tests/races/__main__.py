"""Prints the verdicts on many races: ``python -m apex_pipeline_tests.races [first] [last]``; 0 to 499 by default."""

import sys

from apex_pipeline_tests.races.verdicts import table, tally

if __name__ == "__main__":
    first, last = (int(text) for text in sys.argv[1:]) if len(sys.argv) > 1 else (0, 499)
    sys.stdout.write(table(tally(range(first, last + 1))))
