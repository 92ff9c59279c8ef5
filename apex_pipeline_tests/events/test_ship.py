"""One pass over a folder, against a real server: keys, metadata, order, and what becomes of the files."""

import hashlib

import pytest

from apex_pipeline.events.ship import ship_once
from apex_pipeline_tests.events.harness import KEY, NAME, XML, Harness


@pytest.mark.req("B-007", "B-008", "B-020")
def test_a_file_is_in_the_bucket_unchanged_and_then_in_done(harness: Harness) -> None:
    harness.write(NAME)
    report = harness.ship()
    assert report
    assert report.exit_code == 0
    assert harness.objects() == {KEY: XML}
    assert harness.left() == []
    assert harness.done() == {f"2025/07/29/{NAME}": XML}


def test_the_object_says_where_it_is_from(harness: Harness) -> None:
    harness.write(NAME)
    ship_once(harness.config(event_source="pit-wall"), run_id="run-7")
    metadata = harness.metadata(KEY)
    assert metadata["source"] == "pit-wall"
    assert metadata["sha256"] == hashlib.sha256(XML).hexdigest()
    assert metadata["original_name"] == NAME
    assert metadata["pipeline_run_id"] == "run-7"
    assert metadata["wellformed"] == "true"
    assert metadata["uploaded_at"].endswith("Z")
    assert harness.bucket.client.head_object(Bucket=harness.bucket.name, Key=KEY)["ContentType"] == "application/xml"
