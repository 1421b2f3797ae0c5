"""Do runs in memory get over a restart, and is a file that is not exactly ours refused?"""

import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sseproxy.core.journal.gap import GapReason, Missing
from sseproxy.core.journal.image import RunImage, RunOwner
from sseproxy.core.journal.run import RunEnd, RunHead
from sseproxy.core.journal.window import Block, Break
from sseproxy.core.stream.transfer import CloseReason
from sseproxy.stores import snapshot
from sseproxy.stores.sealed_file import write_sealed
from sseproxy.stores.snapshot import Snapshot

DAY = 86_400.0

numbers = st.integers(0, 2**64 - 1)
marks = st.tuples(numbers, numbers)
seconds = st.floats(0, 1e9, allow_nan=False)
digests = st.binary(max_size=32)
reasons = st.sampled_from(GapReason)
blocks = st.builds(Block, marks, st.integers(1, 9), st.binary(max_size=40), st.booleans())
breaks = st.builds(Break, marks, marks, st.builds(Missing, reasons, st.one_of(st.none(), numbers)))
images = st.builds(
    RunImage,
    st.binary(max_size=22),
    st.builds(RunOwner, st.text(max_size=9), digests, digests, digests, st.booleans(), st.booleans()),
    numbers,
    numbers,
    st.one_of(
        st.none(),
        st.builds(
            RunHead,
            st.integers(200, 299),
            st.binary(max_size=9),
            st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=3),
        ),
    ),
    marks,
    marks,
    st.lists(st.tuples(st.one_of(blocks, breaks), seconds), max_size=6).map(tuple),
    st.lists(st.tuples(st.binary(max_size=9), marks), max_size=3).map(tuple),
    st.one_of(st.none(), st.binary(max_size=9)),
    st.booleans(),
    st.one_of(st.none(), st.builds(RunEnd, marks, st.sampled_from(CloseReason), st.booleans())),
    seconds,
)

OWNER = RunOwner("chat", b"\x00scope", b"login\xff", b"owner", is_answer=True, is_newest=True)
IMAGE = RunImage(
    b"run",
    OWNER,
    1,
    3,
    RunHead(200, b"OK", [(b"Content-Type", b"text/event-stream")]),
    (1, 0),
    (0, 0),
    ((Block((1, 1), 1, b"data: 1\n\n"), 2.0), (Break((1, 2), (1, 1), Missing(GapReason.UPSTREAM)), 1.0)),
    ((b"own", (1, 1)),),
    b"own",
    is_named=True,
    end=RunEnd((1, 3), CloseReason.STOPPED, is_clean=True),
    rested=5.0,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is; it has the runs of the process before."""
    path = tmp_path / "journal"
    assert snapshot.write(path, b"secret", [IMAGE, IMAGE], clock=lambda: 1000.0)
    return path


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def put(path: Path, data: bytes) -> None:
    """Write a file of ours."""
    path.touch(0o600)
    path.write_bytes(data)


def read(path: Path, *, now: float = 1000.0, max_age: float = DAY) -> Snapshot | None:
    return snapshot.read(path, max_age=max_age, clock=lambda: now)


@given(st.binary(max_size=40), st.lists(images, max_size=4))
def test_what_is_written_is_read(secret: bytes, runs: list[RunImage]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        assert snapshot.write(path, secret, runs)
        found = snapshot.read(path, max_age=DAY)
        assert found is not None
        assert (found.secret, found.images) == (secret, tuple(runs))


def test_it_is_read_once(path: Path) -> None:
    assert read(path, now=1060.0) == Snapshot(b"secret", (IMAGE, IMAGE), 60.0)
    assert names(path.parent) == []
    assert read(path) is None


def test_without_a_file_there_is_nothing_to_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path / "journal") is None
    assert read(tmp_path / "no folder" / "journal") is None
    assert caplog.text == ""


def test_it_takes_the_place_of_an_older_one(path: Path) -> None:
    assert snapshot.write(path, b"new", [], clock=lambda: 1000.0)
    assert read(path) == Snapshot(b"new", (), 0.0)


def test_a_clock_that_was_set_back_makes_nothing_younger(path: Path) -> None:
    found = read(path, now=10.0)
    assert found is not None
    assert found.elapsed == 0.0


def test_what_it_holds_is_in_no_description() -> None:
    assert "s3cret" not in repr(Snapshot(b"s3cret", (), 0.0))


# What other users could do.


def test_only_its_owner_can_read_it_from_its_creation_on(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    modes: list[int] = []

    def runs() -> Iterator[RunImage]:
        modes.extend(file.stat().st_mode & 0o777 for file in tmp_path.iterdir())
        yield IMAGE

    before = os.umask(0)
    try:
        assert snapshot.write(path, b"secret", runs())
    finally:
        os.umask(before)
    assert modes == [0o600]
    assert path.stat().st_mode & 0o777 == 0o600


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def linked_twice(path: Path) -> None:
    os.link(path, path.with_name("elsewhere"))


def readable_by_all(path: Path) -> None:
    path.chmod(0o644)


def writable_by_a_group(path: Path) -> None:
    path.chmod(0o620)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def a_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


def another_version(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"sseproxy journal 1\n", b"sseproxy journal 12\n"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (linked, "symbolic link"),
        (a_link_to_nothing, "symbolic link"),
        (linked_twice, "another name"),
        (readable_by_all, "others may read"),
        (writable_by_a_group, "others may read or write"),
        (a_folder, "no regular file"),
        (a_pipe, "no regular file"),
        (another_version, "another version"),
    ],
)
def test_what_is_not_ours_is_left_alone(
    path: Path, change: Callable[[Path], None], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    change(path)
    before = {file.name: file.lstat().st_mode for file in path.parent.iterdir()}
    assert read(path) is None
    assert {file.name: file.lstat().st_mode for file in path.parent.iterdir()} == before
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert reason in caplog.text
    assert "left as it is" in caplog.text


def test_a_file_of_another_user_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert read(path) is None
    assert path.exists()
    assert "another user" in caplog.text


def test_a_link_that_another_user_has_put_there_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("as it was")
    for name in ("journal", "journal.unfinished"):
        (tmp_path / name).symlink_to(target)
    assert snapshot.write(tmp_path / "journal", b"secret", [IMAGE])
    assert target.read_text() == "as it was"
    assert not (tmp_path / "journal").is_symlink()
    assert names(tmp_path) == ["journal", "target"]


# Damage.


def test_every_damaged_byte_is_noticed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = path.read_bytes()
    for index in range(len(whole)):
        for flipped in (0x01, 0x80):
            caplog.clear()
            damaged = bytearray(whole)
            damaged[index] ^= flipped
            put(path, bytes(damaged))
            assert read(path) is None, index
            assert "damaged" in caplog.text or "version" in caplog.text
    put(path, whole)
    assert read(path) is not None


def test_every_cut_is_noticed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = path.read_bytes()
    for data in (*(whole[:size] for size in range(len(whole))), whole + b"\n", whole * 2):
        caplog.clear()
        put(path, data)
        assert read(path) is None, len(data)
        assert "damaged" in caplog.text


def test_what_is_damaged_is_moved_aside(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    assert read(path) is None
    assert names(path.parent) == ["journal.damaged"]
    assert path.with_name("journal.damaged").read_bytes() == damaged
    assert "moved aside" in caplog.text
    assert str(path) in caplog.text
    assert read(path) is None


def test_what_cannot_be_moved_aside_is_left(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.with_name("journal.damaged").mkdir()
    path.write_bytes(b"x")
    assert read(path) is None
    assert path.read_bytes() == b"x"
    assert "left as it is" in caplog.text


def test_what_is_whole_and_makes_no_sense_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A defect of the process before must not keep this one from starting."""
    path = tmp_path / "journal"
    for nonsense in (
        b"",
        b"1\n",
        b"{}\n",
        b'{"saved": "1", "secret": ""}\n',
        b'{"saved": 1, "secret": ""}\n{}\n',
        b"\xff",
    ):
        write_sealed(path, "sseproxy journal", 1, [nonsense])
        assert read(path) is None
        assert not path.exists()
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_what_is_too_old_is_removed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(path, now=1601.0, max_age=600.0) is None
    assert names(path.parent) == []
    assert "601 seconds old" in caplog.text


def test_what_cannot_be_removed_is_not_used(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The next process would read it again, and give positions that clients have to other events."""

    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert read(path) is None
    assert "Permission denied" in caplog.text


def test_nothing_of_the_file_is_in_the_log(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = b'{"saved": 1000, "secret": "XYZ"}\n'
    write_sealed(path, "sseproxy journal", 1, [first, b'{"name": "XYZ", "digests": ["XYZ"]}\ndata: XYZ\n\n'])
    assert read(path) is None
    assert "damaged" in caplog.text
    assert "XYZ" not in caplog.text


# Writing that fails.


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may be larger than `size`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_what_was_there(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = path.read_bytes()
    with full_disk(len(before) // 2):
        assert not snapshot.write(path, b"secret", [IMAGE] * 100)
    assert path.read_bytes() == before
    assert names(path.parent) == ["journal"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "too large" in caplog.text


def test_a_folder_in_its_place_is_an_error_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal"
    path.mkdir()
    assert not snapshot.write(path, b"secret", [IMAGE])
    assert not snapshot.write(tmp_path / "no folder" / "journal", b"secret", [IMAGE])
    assert names(tmp_path) == ["journal"]
    assert len(caplog.records) == 2
    shutil.rmtree(path)


def test_a_defect_leaves_no_file_behind(tmp_path: Path) -> None:
    def runs() -> Iterator[RunImage]:
        yield IMAGE
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError):
        snapshot.write(tmp_path / "journal", b"secret", runs())
    assert names(tmp_path) == []


def test_what_a_killed_process_has_left_unfinished_does_no_harm(path: Path) -> None:
    path.with_name("journal.unfinished").write_bytes(b"half")
    assert snapshot.write(path, b"secret", [IMAGE], clock=lambda: 1000.0)
    assert names(path.parent) == ["journal"]
    assert read(path) is not None
