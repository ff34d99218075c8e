"""Names stay in their folders, content makes digests, output never collides and is never half there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nodegraph.errors import FileRefused
from nodegraph.files import Files
from nodegraph.home import Home


@pytest.fixture
def files(tmp_path: Path) -> Files:
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    (root / "a.png").write_bytes(b"a")
    (root / "sub" / "b.png").write_bytes(b"b")
    (root / ".hidden").write_bytes(b"h")
    (tmp_path / "secret").write_bytes(b"s")
    (root / "escape").symlink_to(tmp_path / "secret")
    return Files({"images": [root]}, builtin={"images": {"shipped": root / "a.png"}}, output=tmp_path / "out")


def test_names_find_files_inside_their_folder(files: Files) -> None:
    root = files.roots["images"][0]
    assert files.find("images", "a.png") == root / "a.png"
    assert files.find("images", "sub/b.png") == root / "sub" / "b.png"
    assert files.find("images", "shipped") == root / "a.png"
    assert files.find("checkpoints", "analytic://x") is None
    assert files.names("images") == ["shipped", "a.png", "sub/b.png"]


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000 + "b", "\ud800"], ids=["name", "path", "no text"])
def test_a_name_that_no_file_can_have_is_refused(files: Files, name: str) -> None:
    with pytest.raises(FileRefused, match="there is no '"):
        files.find("images", name)


def test_an_operators_path_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 300)
    with pytest.raises(FileRefused, match="there is no file /"):
        Files({"images": [tmp_path]}, allowed=[path]).find("images", str(path))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../secret",
        "sub/../../secret",
        "/etc/passwd",
        "a\\..\\b",
        "C:\\x",
        "C:x",
        "a\0b",
        "escape",
        "..",
        "file:a",
    ],
)
def test_names_that_leave_their_folder_are_refused(files: Files, name: str) -> None:
    with pytest.raises(FileRefused):
        files.find("images", name)


@pytest.mark.parametrize("name", [".", "./", "sub/.", "sub"])
def test_a_folder_is_no_picture(files: Files, name: str) -> None:
    with pytest.raises(FileRefused, match="is a folder; name a file"):
        files.find("images", name)


def test_a_folder_of_the_operator_is_no_picture_either(files: Files, tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="is a folder; name a file"):
        Files(files.roots, allowed=[tmp_path]).find("images", str(tmp_path))


def test_a_folder_is_a_model_but_the_folder_of_all_is_none(files: Files) -> None:
    root = files.roots["images"][0]
    models = Files({"checkpoints": [root]})
    assert models.find("checkpoints", "sub") == root / "sub"
    with pytest.raises(FileRefused, match="is a folder"):
        models.find("checkpoints", ".")


def test_an_address_is_no_picture(files: Files) -> None:
    with pytest.raises(FileRefused, match="nothing is downloaded"):
        files.find("images", "https://example.org/cat.png")


def test_a_pipe_is_no_file_and_links_in_a_circle_lead_nowhere(files: Files) -> None:
    root = files.roots["images"][0]
    os.mkfifo(root / "pipe.png")
    (root / "circle.png").symlink_to("circle.png")
    for name in ("pipe.png", "circle.png", str(root / "circle.png")):
        with pytest.raises(FileRefused):
            files.find("images", name)


def test_a_file_of_the_operator_is_allowed_by_its_path(files: Files, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with pytest.raises(FileRefused):
        files.find("images", str(secret))
    assert Files(files.roots, allowed=[secret]).find("images", str(secret)) == secret


def test_a_picture_that_is_a_link_out_of_its_folder_is_neither_offered_nor_found(files: Files) -> None:
    root = files.roots["images"][0]
    (root / "out.png").symlink_to(root.parent / "secret")
    assert "out.png" not in files.names("images")
    assert files.passed_over("images") == {"out.png": "it is a link out of the folder"}
    with pytest.raises(FileRefused):
        files.find("images", "out.png")


def test_what_the_operator_names_and_is_not_there_is_said_so(files: Files, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    allowed = Files(files.roots, allowed=[gone])
    for kind, words in (("datasets", "there is no folder "), ("images", "there is no file ")):
        with pytest.raises(FileRefused, match=f"^{words}{gone}$"):
            allowed.find(kind, str(gone))


def test_a_digest_follows_the_content(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    first = files.digest(path)
    assert files.digest(path) == first
    stat = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the same size and time, other content
    assert files.digest(path) != first
    assert files.located(files.digest(path)) == path


def test_content_is_located_where_it_is_and_not_where_a_copy_of_it_was(files: Files, tmp_path: Path) -> None:
    one, copy = tmp_path / "one", tmp_path / "copy"
    one.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    digest = files.digest(one)
    assert files.digest(copy) == digest
    copy.write_bytes(b"other weights")
    assert files.located(digest) != copy  # even where nobody has looked at either since
    assert files.digest(one) == digest
    assert files.located(digest) == one
    one.unlink()
    assert files.located(digest) is None


def test_a_folders_digest_follows_names_and_contents(files: Files, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    first = files.digest(folder)
    (folder / "a.png").rename(folder / "c.png")
    second = files.digest(folder)
    (folder / "c.png").write_bytes(b"changed")
    assert len({first, second, files.digest(folder)}) == 3


def test_output_files_are_numbered_and_never_replaced(files: Files) -> None:
    paths = [files.write("cat", ".png", bytes([i])) for i in range(3)]
    assert [path.name for path in paths] == ["cat-0001.png", "cat-0002.png", "cat-0003.png"]
    assert [path.read_bytes() for path in paths] == [b"\0", b"\1", b"\2"]
    assert sorted(entry.name for entry in files.output.iterdir()) == [path.name for path in paths]


def test_a_name_too_long_for_the_file_system_is_cut_between_letters(files: Files) -> None:
    paths = [files.write("a" + letter * 119, ".png", b"x") for letter in "\u753b\U0001f34e" for _ in range(2)]
    assert [path.name for path in paths[:2]] == ["a" + "\u753b" * 75 + f"-000{n}.png" for n in (1, 2)]
    for path in paths:
        assert path.read_bytes() == b"x"
        files.write_beside(path.with_name(f"{path.name}.receipt.json"), b"{}")
    assert files.write("cat" * 40, ".png", b"x").name == "cat" * 40 + "-0001.png"


@pytest.mark.parametrize("name", ["../cat", "a/b", "/tmp/cat", "a\0", "C:cat", ""])
def test_output_names_stay_in_the_folder(files: Files, name: str) -> None:
    with pytest.raises(FileRefused):
        files.write(name, ".png", b"x")


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileRefused, match=r"cannot write cat\.png"):
        Files(output=tmp_path / "file" / "folder").write("cat", ".png", b"x")


def _write_many(folder: Path, number: int) -> None:
    files = Files(output=folder)
    for i in range(40):
        files.write("cat", ".txt", f"{number} {i}".encode())


def test_processes_at_once_never_overwrite_each_other(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_write_many, args=(tmp_path, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    contents = {path.read_text() for path in tmp_path.iterdir()}
    assert contents == {f"{number} {i}" for number in range(4) for i in range(40)}


def test_a_name_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    files = Files({"checkpoints": [tmp_path]})
    with pytest.raises(FileRefused, match=r"checkpoints \(folders searched: .*\)\.$"):
        files.find("checkpoints", "sdxl.safetensors")
    (tmp_path / "own.safetensors").touch()
    with pytest.raises(FileRefused, match=r"There is 'own\.safetensors'\.$"):
        files.find("checkpoints", "else")


KILLED = """
import os, signal, sys
from pathlib import Path
from nodegraph.files import Files
os.link = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Files(output=Path(sys.argv[1])).write("cat", ".png", b"half")
"""


def test_what_a_killed_write_left_is_swept_before_a_later_first_write(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (stray,) = tmp_path.iterdir()
    assert stray.name.startswith(".")
    others = [tmp_path / name for name in (".mine.tmp", "nodegraph-notes.tmp", ".nodegraph-list.txt", "old.png")]
    for path in others:
        path.write_text("keep")
    os.utime(others[0], (0, 0))
    long_ago = time.time() - 2 * 86400
    for path in (*others, stray):
        os.utime(path, (long_ago, long_ago))
    fresh = tmp_path / (stray.name[:-4] + "x.tmp")
    fresh.write_text("being written by another process")
    (tmp_path / (stray.name[:-4] + "y.tmp")).mkdir()
    os.utime(tmp_path / (stray.name[:-4] + "y.tmp"), (long_ago, long_ago))
    files = Files(output=tmp_path)
    written = files.write("cat", ".png", b"whole")
    assert not stray.exists()
    assert set(tmp_path.iterdir()) >= {written, fresh, *others}
    stray.write_text("later")
    os.utime(stray, (long_ago, long_ago))
    files.write("cat", ".png", b"whole")
    assert stray.exists(), "a folder is looked through once"


def test_of_pictures_those_are_offered_that_can_be_read(home: Home, tmp_path: Path) -> None:
    (home.folder / "inputs").mkdir(parents=True)
    for name in ("mine.png", "photo.JPG", "notes.txt"):
        (home.folder / "inputs" / name).write_bytes(b"x")
    files = home.files(output=tmp_path)
    names = files.names("images")
    assert names[:2] == ["mine.png", "photo.JPG"]
    assert "images/sketch.png" in names
    assert {Path(name).suffix.lower() for name in names} <= {".png", ".jpg", ".jpeg", ".webp"}
    assert not any(name.startswith("datasets/") for name in names)
    some = files.names("datasets")[0]
    assert files.find("images", "datasets/shapes/small red square.png").is_file()  # type: ignore[union-attr]
    assert some
