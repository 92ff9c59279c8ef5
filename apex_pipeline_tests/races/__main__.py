"""Prints the verdicts on many races: ``python -m apex_pipeline_tests.races [seeds]``, 500 without an argument."""

import sys

from apex_pipeline_tests.races.verdicts import table, tally

if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    sys.stdout.write(table(tally(range(seeds))))
