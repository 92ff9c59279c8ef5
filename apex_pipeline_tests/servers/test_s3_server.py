"""The helpers that the servers share: a missing server fails in CI, and a bucket leaves nothing behind."""

import pytest

from apex_pipeline_tests.servers.s3_server import S3Server, do_without, find_binary, new_bucket


@pytest.mark.parametrize(
    ("ci", "must_run_in_ci", "outcome"),
    [
        ("", True, pytest.skip.Exception),
        ("true", True, pytest.fail.Exception),
        ("true", False, pytest.skip.Exception),
    ],
)
def test_a_missing_server_skips_the_test_but_fails_it_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException], *, must_run_in_ci: bool
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="install it"):
        do_without("install it", must_run_in_ci=must_run_in_ci)


def test_a_missing_binary_is_not_found() -> None:
    assert find_binary("no-such-server") is None


@pytest.mark.parametrize("server", ["s3_server", "old_server"])
def test_a_bucket_is_removed_with_its_content(request: pytest.FixtureRequest, server: str) -> None:
    running: S3Server = request.getfixturevalue(server)
    with new_bucket(running) as bucket:
        bucket.client.put_object(Bucket=bucket.name, Key="data/x.csv", Body=b"x")
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key="data/y.csv")
        assert bucket.object_keys() == ["data/x.csv"]
        assert [key for key, _ in bucket.uploads()] == ["data/y.csv"]
    names = [found.get("Name") for found in running.client().list_buckets().get("Buckets", [])]
    assert bucket.name not in names
