"""Property 1, over a local folder and over a real S3 server: what is uploaded is there as it was."""

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

# Names as they come, and what a key may not have: backslashes and control characters, all legal on a disk.
_NAMES = st.one_of(
    st.sampled_from(
        ["Race 1", "R1_barber_lap_time.csv", "ü", "e\u0301", "\u00e9", "🏁", "100%#1?&=+", "%20", "...", "-"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
).filter(lambda name: name not in {".", ".."})
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map("/".join)
_TREES = st.dictionaries(_PATHS, st.binary(max_size=40), min_size=1, max_size=5)


@contextmanager
def _written(tree: dict[str, bytes]) -> Generator[tuple[Path, dict[str, bytes]]]:
    """Give a folder with these files, and the files without those whose name the others take for a folder."""
    root = Path(tempfile.mkdtemp(prefix="tree-"))
    made: dict[str, bytes] = {}
    try:
        for path, content in tree.items():
            try:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue
            made[path] = content
        yield root, made
    finally:
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    """Numbers that no two examples share: each has a lake of its own in one bucket or folder."""
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
def test_an_upload_preserves_the_structure(store: ObjectStore, numbers: Iterator[int], tree: dict[str, bytes]) -> None:
    """Feature: aws-s3-data-hosting, Property 1: Upload preserves structure."""
    prefix = f"{next(numbers)}/data"
    with _written(tree) as (root, files):
        report = upload_folder(root, store, prefix, fingerprints=DigestCache())
    legal = {path: content for path, content in files.items() if is_legal_key(f"{prefix}/{path}")}
    assert {file.path for file in report.of(UploadStatus.UPLOADED)} == set(legal)
    assert {file.path for file in report.of(UploadStatus.FAILED)} == {
        path if path.isprintable() else repr(path)[1:-1] for path in set(files) - set(legal)
    }
    assert {item.key for item in store.list(f"{prefix}/")} == {f"{prefix}/{path}" for path in legal}
    for path, content in legal.items():
        assert store.read_bytes(f"{prefix}/{path}") == content
