"""Defines the columns shared by several tables, so a quantity has the same name and meaning everywhere."""

from apex_pipeline.tables.model import Column

TRACK = Column("track", "category", "Track slug, for example barber_motorsports_park.", required=True)

SESSION = Column(
    "session", "category", "Session as the files say it (R1, practice), with the season if known.", required=True
)

VEHICLE_ID = Column(
    "vehicle_id", "category", "GR86-{chassis}-{car number}, as written by the car's unit.", required=True
)

CHASSIS = Column(
    "chassis", "category", "Chassis number out of vehicle_id: the key of a car within a session.", required=True
)

CAR_NUMBER = Column("car_number", "string", "Official start number as text: 03 and 3 are different cars.")

SOURCE_FILE = Column("source_file", "category", "Path of the raw file, relative to data/ in the lake.", required=True)

SOURCE_ROW = Column("source_row", "integer", "Line of the raw file, the header being line 1.", minimum=2)

RACE_ID = Column("race_id", "category", "The uploaded race, a UUID.", required=True)

SESSION_INDEX = Column(
    "session_index", "integer", "0, 1, 2 … for the sessions of a recording.", required=True, minimum=0
)

LAP_INDEX = Column("lap_index", "integer", "lap_index of race_laps.", required=True, minimum=0)
