"""One race through everything: HTTP, PostgreSQL, Redis, RQ and S3 as processes of their own."""

import base64
import io
import time
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest

from apex_pipeline_tests.api.conftest import running_api, started, wait_for
from apex_pipeline_tests.races_service.conftest import LAP_TIMES_S, two_laps
from apex_pipeline_tests.servers.redis_server import RedisServer
from apex_pipeline_tests.servers.s3_server import S3Bucket


@pytest.mark.slow
@pytest.mark.req("C-001", "C-003", "C-004", "C-005", "C-007", "C-008", "C-009", "C-010", "C-011", "C-017")
def test_a_race_goes_all_the_way(
    postgres_url: str, redis_server: RedisServer, s3_bucket: S3Bucket, tmp_path: Path
) -> None:
    environment = {
        **s3_bucket.environment,
        **redis_server.environment,
        "AMS2_BUCKET_NAME": s3_bucket.name,
        "DATABASE_URL": postgres_url,
    }
    with running_api(environment, tmp_path) as api:
        body = {"data": base64.b64encode(two_laps()).decode()}
        begun = time.monotonic()
        answer = api.post("/race/upload", json=body).json()
        assert answer["status"] == "Processing"
        assert time.monotonic() - begun < 5  # under a second on a quiet machine
        race = answer["race_id"]
        with redis_server.client() as client:
            assert client.llen("rq:queue:race_processing") == 1
        # The seed's own command; ours is the same worker with shorter waits.
        with started(["rq.cli", "worker", "race_processing", "--with-scheduler"], environment, tmp_path / "rq.log"):
            found = wait_for(api, race, "Ready")
        laps = api.get(f"/race/{race}/laps").json()
        assert found["laps_count"] == len(laps)
        timed = [lap for lap in laps if lap["lap_time_s"]]
        assert [lap["lap_time_s"] for lap in timed] == pytest.approx(LAP_TIMES_S, abs=0.1)
        with psycopg.connect(postgres_url) as connection:
            rows = connection.execute("SELECT race_id, status, created_at FROM races;").fetchall()
            assert (str(rows[0][0]), rows[0][1]) == (race, "Ready")
            assert len(connection.execute("SELECT lap_uuid, race_id, lap_number FROM laps;").fetchall()) == len(laps)
        uuid, number = timed[0]["lap_uuid"], timed[0]["lap_number"]
        stored = s3_bucket.client.get_object(Bucket=s3_bucket.name, Key=f"races/{race}/laps/{uuid}.npy")
        array = np.load(io.BytesIO(stored["Body"].read()))
        arrow = api.get(f"/race/{race}/laps/{number}", params={"format": "arrow"}).content
        assert pa.ipc.open_stream(arrow).read_all().num_rows == len(array)
        csv = api.get(f"/race/{race}/laps/{number}", params={"format": "csv"}).text
        assert len(csv.splitlines()) == len(array) + 1
        compared = api.get(f"/race/{race}/compare/{number}/{timed[1]['lap_number']}").json()
        difference = timed[1]["lap_time_s"] - timed[0]["lap_time_s"]
        assert compared["delta_s"][-1] == pytest.approx(difference, abs=0.001)
        assert api.get(f"/race/{race}/fuel/{number}").json()["used_l"] > 0
        assert api.get(f"/race/{race}/download").content[:2] == b"PK"
        assert api.delete(f"/race/{race}").status_code == 204
        assert [key for key in s3_bucket.object_keys() if race in key] == []
        with psycopg.connect(postgres_url) as connection:
            assert connection.execute("SELECT count(*) FROM races").fetchone() == (0,)
            assert connection.execute("SELECT count(*) FROM laps").fetchone() == (0,)
