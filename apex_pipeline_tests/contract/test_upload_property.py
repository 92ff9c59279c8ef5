"""Correctness property 1, on a local folder and on a real S3 server: an upload keeps paths and content."""

import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from apex_pipeline.storage.base import ObjectStore
from apex_pipeline.storage.digest_cache import DigestCache
from apex_pipeline.storage.keys import is_legal_key
from apex_pipeline.storage.local import LocalStore
from apex_pipeline.upload import UploadStatus, upload_folder
from apex_pipeline_tests.examples import at_least
from apex_pipeline_tests.servers.seaweed import S3Bucket
from apex_pipeline_tests.storage.s3.harness import connect, store_of

# Typical file names, and names that are legal on a disk but not in a key: with backslashes or control characters.
_NAMES = st.one_of(
    st.sampled_from(
        ["Race 1", "R1_barber_lap_time.csv", "ü", "e\u0301", "\u00e9", "🏁", "100%#1?&=+", "%20", "...", "-"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
).filter(lambda name: name not in {".", ".."})
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)
_TREES = st.dictionaries(_PATHS, st.binary(max_size=40), min_size=1, max_size=5)


@contextmanager
def _written_tree(tree: dict[str, bytes]) -> Generator[tuple[Path, dict[str, bytes]]]:
    """Yield a folder with these files, and the files written; a path that is also a folder of another is skipped."""
    root = Path(tempfile.mkdtemp(prefix="tree-"))
    written: dict[str, bytes] = {}
    try:
        for path, content in tree.items():
            try:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
            written[path] = content
        yield root, written
    finally:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """Unique numbers, one per example, so that each uses a separate lake in the same bucket or folder."""
    return iter(range(1_000_000))


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return LocalStore(tmp_path / "lake", DigestCache())
    bucket: S3Bucket = request.getfixturevalue("s3_bucket")
    return store_of(connect(bucket))


@pytest.mark.req("A-041", "A-061", "A-155")
@given(tree=_TREES)
@at_least(100, HealthCheck.function_scoped_fixture)
def test_an_upload_preserves_paths_and_content(
    store: ObjectStore, numbers: Iterator[int], tree: dict[str, bytes]
) -> None:
    """Feature: aws-s3-data-hosting, Property 1: Upload preserves structure."""
    prefix = f"{next(numbers)}/data"
    with _written_tree(tree) as (root, files):
        report = upload_folder(root, store, prefix, digests=DigestCache())
    legal = {path: content for path, content in files.items() if is_legal_key(f"{prefix}/{path}")}
    assert {file.path for file in report.of(UploadStatus.UPLOADED)} == set(legal)
    assert {file.path for file in report.of(UploadStatus.FAILED)} == {
        path if path.isprintable() else repr(path)[1:-1] for path in set(files) - set(legal)
    }
    assert {item.key for item in store.list(f"{prefix}/")} == {f"{prefix}/{path}" for path in legal}
    for path, content in legal.items():
        assert store.read_bytes(f"{prefix}/{path}") == content
