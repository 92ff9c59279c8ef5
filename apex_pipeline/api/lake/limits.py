"""The limits of the lake's HTTP interface, each with its reason; docs/http.md lists them for callers."""

from typing import Final

# Rows of one answer: a season of laps in one Arrow stream (about 40 MB), which the server can hold several times.
MAX_ROWS: Final = 200_000
# Of an answer without `limit`: every table of a session except telemetry is smaller, so most answers are whole.
DEFAULT_ROWS: Final = 10_000
# A page of JSON ends earlier when it gets this long; `next` leads on. Four may be in work at once.
MAX_JSON_BYTES: Final = 16 * 2**20
# Rows that are turned into JSON at a time: as Python objects they take 40 times the room of Arrow.
JSON_ROWS: Final = 1_000

# Points of one channel of one lap: a screen has 2,000 to 4,000 pixels, and a lap about 2,200 samples.
MAX_POINTS: Final = 20_000
# Channels of one answer: the sources have 12, and a car can send its own.
MAX_CHANNELS: Final = 64

# A query of people or programs has a dozen parameters and some hundred characters.
MAX_QUERY_CHARACTERS: Final = 8_000
MAX_PARAMETERS: Final = 100
MAX_VALUE_CHARACTERS: Final = 1_000
# Track slugs have up to 80 characters, cars and sessions fewer.
MAX_NAME_CHARACTERS: Final = 200
# Each comparison reads its column once.
MAX_COMPARISONS: Final = 20
# The body of the one POST route is four numbers.
MAX_BODY_BYTES: Final = 65_536
# It fits into one packet, which is sent again after 1, 2 and 4 s.
BODY_TIMEOUT_S: Final = 10.0

# Snapshots listed in one answer: each is a document of its own to read.
MAX_SNAPSHOTS: Final = 1_000

# Answers kept in memory: some 300 races of laps with their compressed forms.
KEPT_BYTES: Final = 64 * 2**20
# One answer must not push out all others.
KEPT_ANSWER_BYTES: Final = KEPT_BYTES // 8
# A shorter answer fits into one packet, compressed or not.
LEAST_COMPRESSED_BYTES: Final = 1_400

# Answers made at the same time; more threads only compete for the interpreter.
WORKERS: Final = 4
# Different answers that may wait for a worker; at 3 ms each the last waits a fraction of a second.
MAX_WAITING: Final = 400
# The slowest answers read a few hundred tables over S3.
ANSWER_TIMEOUT_S: Final = 60.0

# A new snapshot is looked for at least this often while requests arrive, beside them …
LOOK_EVERY_S: Final = 0.5
# … and a request waits for the look if the last one is older than this: seen within 2 s, whatever a look takes.
LOOK_WAITED_FOR_AFTER_S: Final = 1.5
# How long requests wait for a look at a store that does not answer; they get what was published before.
LOOK_TIMEOUT_S: Final = 5.0
# Catalogs of earlier snapshots kept open: cursors and links of a few readers.
EARLIER_CATALOGS: Final = 4
