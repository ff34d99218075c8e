"""The queue on disk: order, leases, what a new server finds."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodegraph.carried import beside
from nodegraph.files import Files
from nodegraph.serve import documents
from nodegraph.serve.artifacts import Artifacts, describe
from nodegraph.serve.documents import WorkflowStore
from nodegraph.serve.listing import Listing
from nodegraph.serve.running import Running
from nodegraph.serve.store import MAX_ATTEMPTS, MAX_LOSSES, Claim, Store, Submission
from nodegraph.serve.storefile import StoreFile
from nodegraph.workflow import Workflow


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(StoreFile(tmp_path / "queue.sqlite"))
    yield opened
    opened.file.close()


def submit(store: Store, title: str = "", priority: int = 0) -> str:
    (run,) = store.submit([Submission("{}", title, None, priority)], 1000)
    assert run is not None
    return run


def claimed(store: Store) -> Claim:
    claim = store.claim("worker-0")
    assert claim is not None
    return claim


def status(store: Store, run: str) -> str:
    return str(store.required(run)["status"])


def test_runs_go_by_priority_then_by_age(store: Store) -> None:
    low, high, normal, late = (submit(store, priority=p) for p in (-5, 7, 0, 7))
    assert store.ids("queued") == [high, late, normal, low]
    assert [claimed(store).id for _ in range(4)] == [high, late, normal, low]
    assert store.claim("worker-0") is None


def test_a_paused_queue_gives_nothing_and_stays_paused_in_the_next_server(store: Store, tmp_path: Path) -> None:
    run = submit(store)
    store.file.set("paused", 1)
    assert store.claim("worker-0") is None
    store.file.close()
    again = Store(StoreFile(tmp_path / "queue.sqlite"))
    assert again.paused
    assert again.claim("worker-0") is None
    again.file.set("paused", 0)
    assert claimed(again).id == run
    again.file.close()


def test_only_the_holder_of_the_lease_ends_a_run(store: Store) -> None:
    run = submit(store)
    old = claimed(store)
    assert store.lose(old) == "queued"  # its worker was thought dead
    new = claimed(store)
    assert new.id == old.id == run
    assert new.lease != old.lease
    assert not store.finish(old, "succeeded")  # and speaks up later
    assert not store.release(old)
    assert store.lose(old) == "failed"
    assert status(store, run) == "running"
    assert store.finish(new, "failed")
    assert not store.finish(new, "succeeded")
    assert status(store, run) == "failed"


def test_a_run_is_tried_again_twice_and_keeps_its_place(store: Store) -> None:
    first, second = submit(store), submit(store)
    for attempt in range(1, MAX_LOSSES + 1):
        claim = claimed(store)
        assert (claim.id, claim.attempt) == (first, attempt)
        assert store.lose(claim) == "queued"
        assert store.ids("queued") == [first, second]
    assert store.lose(claimed(store)) == "failed"
    assert claimed(store).id == second


def test_a_run_that_was_cancelled_is_not_put_back(store: Store) -> None:
    run = submit(store)
    claim = claimed(store)
    assert store.cancel(run) == "running"
    assert store.lose(claim) == "cancelled"
    assert not store.release(claim)
    assert store.ids("queued") == []
    assert store.finish(claim, "cancelled"), "it is still held, to be ended"


def test_releasing_costs_no_attempt(store: Store) -> None:
    submit(store)
    for _ in range(10):
        claim = claimed(store)
        assert claim.attempt == 1
        assert store.release(claim)


def test_a_new_server_queues_again_what_was_running_in_its_old_order(tmp_path: Path) -> None:
    store = Store(StoreFile(tmp_path / "queue.sqlite"))
    runs = [submit(store) for _ in range(6)]
    taken = [claimed(store) for _ in range(3)]
    store.finish(taken[0], "succeeded")
    store.cancel(runs[2])
    store.file.close()  # rows are all on disk: a killed process leaves the same
    store = Store(StoreFile(tmp_path / "queue.sqlite"))
    assert store.recover() == 1
    assert store.ids("queued") == [runs[1], *runs[3:]]
    assert status(store, runs[2]) == "cancelled"
    assert not store.finish(taken[1], "succeeded")  # by a worker of the server that died
    store.file.close()


def test_a_run_that_takes_the_server_down_each_time_ends_some_day(store: Store) -> None:
    run = submit(store)
    for _ in range(MAX_ATTEMPTS):
        assert status(store, run) == "queued"
        claimed(store)
        store.recover()
    row = store.required(run)
    assert row["status"] == "failed"
    assert "server ended 10 times" in row["error"]


def test_moving_takes_the_neighbours_priority(store: Store) -> None:
    a, b, c, d = (submit(store, priority=p) for p in (5, 5, 0, 0))
    assert store.move(d, before=b)
    assert store.ids("queued") == [a, d, b, c]
    assert store.required(d)["priority"] == 5
    assert store.move(a, before=None)
    assert store.ids("queued") == [d, b, c, a]
    assert store.move(c, before=c)
    later = submit(store, priority=5)
    assert store.ids("queued") == [d, b, later, c, a]
    claim = claimed(store)
    assert not store.move(claim.id, before=b)
    assert not store.move(b, before=claim.id)
    assert store.move(later, before=b)
    store.release(claim)
    assert store.ids("queued") == [d, later, b, c, a]  # what had begun goes first again


def test_another_priority_means_the_end_of_that_priority(store: Store) -> None:
    a, b, c = submit(store), submit(store), submit(store)
    assert store.prioritise(a, 0)
    assert store.ids("queued") == [b, c, a]
    assert store.prioritise(c, 1)
    assert store.ids("queued") == [c, b, a]
    assert not store.prioritise(claimed(store).id, 3)


def test_pages_hold_every_run_once_running_then_queued_then_ended(store: Store, tmp_path: Path) -> None:
    listing = Listing(store, Artifacts(store.file, tmp_path, tmp_path))
    runs = [submit(store, str(n)) for n in range(10)]
    for _ in range(3):
        store.finish(claimed(store), "succeeded")
    running = claimed(store)
    expected = [running.id, *runs[4:], *runs[2::-1]]
    found, before = [], None
    while True:
        page = listing.page(None, 3, before)
        found += page.runs
        before = page.next
        if before is None:
            break
    assert [run.id for run in found] == expected
    assert [run.position for run in found] == [None, 0, 1, 2, 3, 4, 5, None, None, None]
    assert [run.id for run in listing.page("succeeded", 2, None).runs] == [runs[2], runs[1]]
    with pytest.raises(KeyError):
        listing.page(None, 3, "nosuchrun")


def test_a_full_queue_takes_nothing(store: Store) -> None:
    one = Submission("{}", "", None, 0)
    taken = store.submit([one] * 5, 3)
    assert [run is None for run in taken] == [False, False, False, True, True]
    assert store.ids("queued") == taken[:3]
    assert store.submit([one], 3) == [None]
    assert store.count(1) == 3


def test_history_is_bounded_and_what_waits_is_never_forgotten(store: Store) -> None:
    runs = [submit(store) for _ in range(8)]
    for _ in range(6):
        store.finish(claimed(store), "succeeded")
    assert set(store.forget(4, 2**30)) == set(runs[:2])
    assert store.forget(4, 2**30) == []
    assert [row["id"] for row in store.page(None, 100, None)] == [*runs[6:], *runs[5:1:-1]]
    with pytest.raises(KeyError):
        store.document(runs[0])


def test_a_history_of_large_documents_is_bounded_in_bytes(store: Store) -> None:
    text = json.dumps("é" * 2**19, ensure_ascii=False)
    runs = [str(store.submit([Submission(text, "", None, 0)], 1000)[0]) for _ in range(40)]
    for _ in runs[:-10]:
        store.finish(claimed(store), "succeeded")
    assert store.forget(1000, 31 * 2**20) == []
    assert sorted(store.forget(1000, 20 * 2**20)) == sorted(runs[:11])
    assert 29 * 2**20 < store.file.bytes < 30 * 2**20, "what waits counts for nothing and stays"
    assert len(store.forget(1000, 0)) == 19
    assert store.ids("queued") == runs[-10:]


def test_what_ended_before_a_clock_was_set_back_is_forgotten_first(store: Store) -> None:
    runs = [submit(store) for _ in range(3)]
    for number, _ in enumerate(runs):
        store.finish(claimed(store), "succeeded")
        with store.file.transaction() as database:
            database.execute("UPDATE runs SET finished = ? WHERE id = ?", (2e9 - number * 1e8, runs[number]))
    assert sorted(store.forget(1, 2**30)) == sorted(runs[:2])
    assert status(store, runs[2]) == "succeeded"


def test_what_ends_after_a_clock_was_set_back_is_listed_before_what_ended_until_then(store: Store) -> None:
    runs = [submit(store) for _ in range(4)]
    for _ in range(2):
        store.finish(claimed(store), "succeeded")
    with store.file.transaction() as database:  # by a clock that was ten years ahead
        database.execute("UPDATE runs SET finished = finished + 3e8 WHERE phase = 2")
    ends = [store.required(run)["finished"] for run in runs[:2]]
    store.finish(claimed(store), "failed")
    assert [row["id"] for row in store.page(None, 10, None)] == [runs[3], runs[2], runs[1], runs[0]]
    store.cancel(runs[3])
    assert [row["id"] for row in store.page(None, 10, None)] == [*reversed(runs)]
    assert [store.required(run)["finished"] for run in runs[:2]] == ends, "history is not written anew"
    assert store.required(runs[3])["finished"] < ends[1] + 1
    assert store.page(None, 10, runs[2])[0]["id"] == runs[1]


def test_what_is_left_of_a_run_does_not_grow_when_the_clock_is_set_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(store)
    running = Running(claimed(store), 0)
    running.apply({"event": "started", "node": "a", "left": 50.0, "share": 0.5}, [])
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    assert running.left is not None
    assert running.left <= 50


def test_a_database_of_a_newer_version_is_left_alone(store: Store, tmp_path: Path) -> None:
    store.file.database.execute("PRAGMA user_version = 99")
    with pytest.raises(sqlite3.DatabaseError, match="newer"):
        StoreFile(tmp_path / "queue.sqlite")


def test_a_claim_tells_what_nodes_took_lately(store: Store) -> None:
    states: list[dict[str, Any]] = [
        {"a": {"state": "finished", "seconds": 1.0}, "b": {"state": "finished", "seconds": 5.0, "total": 9}},
        {
            "a": {"state": "cached"},
            "b": {"state": "finished", "seconds": 2.0, "total": 4},
            "c": {"state": "failed"},
        },
    ]
    for nodes in states:
        submit(store, "one")
        store.finish(claimed(store), "succeeded", nodes=json.dumps(nodes))
    submit(store, "another")
    assert claimed(store).timings == {}
    submit(store, "one")
    assert claimed(store).timings == {"a": (1.0, None), "b": (2.0, 4)}


def test_artifacts_are_known_by_id_and_deleted_into_the_trash(store: Store, tmp_path: Path) -> None:
    from PIL import Image

    outputs, trash = tmp_path / "outputs", tmp_path / "trash"
    outputs.mkdir()
    artifacts = Artifacts(store.file, outputs, trash)
    Image.new("RGB", (8, 5)).save(outputs / "cat-0001.png")
    (outputs / "evil.png").write_text("<svg onload=alert(1)>")
    (tmp_path / "secret.txt").write_text("secret")
    files = [
        {"path": str(path), **describe(path), "receipt": "{}"}
        for path in (outputs / "cat-0001.png", outputs / "evil.png", outputs / ".." / "secret.txt")
    ]
    first, second = submit(store), submit(store)
    cat, evil = artifacts.add(first, "save", files)  # and not what lies outside
    assert (cat.media_type, cat.width, cat.height, cat.node, cat.run) == ("image/png", 8, 5, "save", first)
    assert (evil.media_type, evil.thumbnail) == ("application/octet-stream", None)
    assert artifacts.add(second, None, files[:1]) == [cat]  # found written, by a run that had it cached
    assert artifacts.of_runs([first, second]) == {first: [cat, evil], second: [cat]}
    assert [one.id for one in artifacts.page(10, None)] == [evil.id, cat.id]
    assert [one.id for one in artifacts.page(10, evil.id)] == [cat.id]
    assert artifacts.get(cat.id).receipt == "{}"
    artifacts.delete(cat.id)
    assert [path.name for path in trash.iterdir()] == [f"{cat.id}-cat-0001.png"]
    with pytest.raises(KeyError):
        artifacts.get(cat.id)
    assert artifacts.of_runs([second]) == {second: []}
    # A run has written another file of that name meanwhile: neither takes the other's place.
    (outputs / "cat-0001.png").write_bytes(b"another")
    back = artifacts.restore(cat.id)
    assert back == cat.model_copy(update={"name": "cat-0001-2.png"})
    assert (outputs / "cat-0001.png").read_bytes() == b"another"
    with Image.open(artifacts.get(cat.id).path) as picture:
        assert picture.size == (8, 5)
    assert [one.id for one in artifacts.page(10, None)] == [evil.id, cat.id]
    assert artifacts.of_runs([first, second]) == {first: [back, evil], second: [back]}
    with pytest.raises(KeyError):
        artifacts.restore(cat.id)
    artifacts.delete(cat.id)
    (trash / f"{cat.id}-cat-0001-2.png").unlink()  # by hand
    with pytest.raises(KeyError):
        artifacts.restore(cat.id)
    (outputs / "evil.png").unlink()
    (outputs / "evil.png").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(KeyError):
        artifacts.get(evil.id)


def test_a_file_under_the_name_of_one_that_was_removed_is_another_artifact(store: Store, tmp_path: Path) -> None:
    artifacts = Artifacts(store.file, tmp_path / "outputs", tmp_path / "trash")
    files = Files(output=tmp_path / "outputs")

    def told(path: Path, receipt: str) -> list[dict[str, Any]]:
        return [{"path": str(path), **describe(path), "receipt": receipt}]

    runs = [submit(store) for _ in range(3)]
    path = files.write("cat", ".txt", b"one")
    (old,) = artifacts.add(runs[0], "save", told(path, '"first"'))
    path.unlink()
    assert files.write("cat", ".txt", b"the second") == path
    (new,) = artifacts.add(runs[1], "save", told(path, '"second"'))
    assert new.id != old.id, "what is shown under an id is kept by browsers for ever"
    assert (new.run, new.bytes, artifacts.get(new.id).receipt) == (runs[1], 10, '"second"')
    assert artifacts.of_runs(runs) == {runs[0]: [], runs[1]: [new], runs[2]: []}
    with pytest.raises(KeyError):
        artifacts.get(old.id)
    assert artifacts.add(runs[2], None, told(path, '"none"')) == [new], "found written, it is the same"
    assert artifacts.add(runs[0], "save", told(path, '"second"')) == [new], "two runs at once made it"
    assert artifacts.of_runs(runs[:2]) == {runs[0]: [new], runs[1]: [new]}
    (again,) = artifacts.add(runs[0], "save", told(path, "null"))
    assert again.id != new.id, "without a receipt nothing says so"


def written(artifacts: Artifacts, run: str, path: Path, size: int = 100) -> str:
    """The id of an artifact of so many bytes."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    (found,) = artifacts.add(run, "save", [{"path": str(path), **describe(path)}])
    return found.id


def test_the_trash_keeps_what_was_deleted_last(store: Store, tmp_path: Path) -> None:
    outputs, trash = tmp_path / "outputs", tmp_path / "trash"
    artifacts = Artifacts(store.file, outputs, trash, 350)
    run = submit(store)
    ids = [written(artifacts, run, outputs / f"{number}.bin") for number in range(6)]
    for one in ids[1:]:
        artifacts.delete(one)
    assert {path.name for path in trash.iterdir()} == {f"{ids[n]}-{n}.bin" for n in (3, 4, 5)}
    assert [row["artifact"] for row in store.file.read("SELECT artifact FROM trashed")] == sorted(ids[3:])
    for gone in ids[1:3]:
        with pytest.raises(KeyError):
            artifacts.restore(gone)
    assert artifacts.restore(ids[3]).name == "3.bin"
    artifacts.delete(ids[0])
    assert {path.name for path in trash.iterdir()} == {f"{ids[n]}-{n}.bin" for n in (0, 4, 5)}
    large = written(artifacts, run, outputs / "large.bin", 9000)
    artifacts.delete(large)
    assert [path.name for path in trash.iterdir()] == [f"{large}-large.bin"], "the last can always come back"
    assert artifacts.restore(large).bytes == 9000
    # A later server, with another bound, and with none.
    artifacts.delete(ids[3])
    artifacts.delete(large)
    Artifacts(store.file, outputs, trash, 350).bound_trash()
    assert len(list(trash.iterdir())) == 1
    none = Artifacts(store.file, outputs, trash, 0)
    none.bound_trash()
    assert list(trash.iterdir()) == []
    none.delete(written(none, run, outputs / "again.bin"))
    assert list(trash.iterdir()) == []
    assert list(store.file.read("SELECT * FROM trashed")) == []


def test_an_emptied_trash_leaves_everything_else(store: Store, tmp_path: Path) -> None:
    outputs, trash = tmp_path / "outputs", tmp_path / "trash"
    artifacts = Artifacts(store.file, outputs, trash, 350)
    run = submit(store)
    gone, kept = (written(artifacts, run, outputs / f"{name}.bin") for name in ("gone", "kept"))
    artifacts.delete(gone)
    size = artifacts.in_trash().bytes
    assert size > 0
    (trash / "folder").mkdir()
    (trash / "folder" / "other").write_text("not ours")
    (tmp_path / "elsewhere").write_text("mine")
    (trash / "link").symlink_to(tmp_path / "elsewhere")
    link = (trash / "link").lstat().st_size
    assert artifacts.empty_trash() == (2, size + link)
    assert (tmp_path / "elsewhere").read_text() == "mine"
    assert (trash / "folder" / "other").read_text() == "not ours"
    assert artifacts.get(kept).path.is_file()
    assert list(store.file.read("SELECT * FROM trashed")) == []
    with pytest.raises(KeyError):
        artifacts.restore(gone)
    assert artifacts.empty_trash() == (0, 0)


def test_what_comes_back_takes_its_name_from_an_artifact_whose_file_was_removed(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "outputs" / "one-0001.bin"
    artifacts = Artifacts(store.file, tmp_path / "outputs", tmp_path / "trash")
    first, second = submit(store), submit(store)
    one = written(artifacts, first, path)
    artifacts.delete(one)
    other = written(artifacts, second, path)
    path.unlink()  # by hand
    back = artifacts.restore(one)
    assert back.name == path.name
    assert artifacts.get(one).path == path
    assert [found.id for found in artifacts.page(10, None)] == [one]
    assert artifacts.of_runs([first, second]) == {first: [back], second: []}
    with pytest.raises(KeyError):
        artifacts.get(other)


def test_the_receipt_beside_a_file_goes_with_it(store: Store, tmp_path: Path) -> None:
    outputs, trash = tmp_path / "outputs", tmp_path / "trash"
    artifacts = Artifacts(store.file, outputs, trash)
    files = Files(output=outputs)
    run = submit(store)

    def made() -> tuple[str, Path]:
        path = files.write("cat", ".txt", b"a cat")
        files.write_beside(beside(path), b"its prompt")
        (found,) = artifacts.add(run, "save", [{"path": str(path), **describe(path)}])
        return found.id, path

    one, path = made()
    artifacts.delete(one)
    assert list(outputs.iterdir()) == []
    assert artifacts.in_trash().files == 1
    again, same = made()
    assert same == path
    artifacts.restore(one)
    moved = outputs / "cat-0001-2.txt"
    assert {file.name for file in outputs.iterdir()} == {
        file.name for kept in (path, moved) for file in (kept, beside(kept))
    }
    assert beside(moved).read_text() == "its prompt"
    for name in (one, again):
        artifacts.delete(name)
    assert list(outputs.iterdir()) == []
    assert artifacts.empty_trash().files == 2
    assert [file for file in trash.rglob("*") if file.is_file()] == []
    last, path = made()
    path.unlink()  # by hand
    assert files.write("cat", ".txt", b"another").name == "cat-0002.txt", "it has no receipt, and is not given one"
    artifacts.delete(last)
    assert [file.name for file in outputs.iterdir()] == ["cat-0002.txt"]


def test_what_is_deleted_under_the_longest_name_comes_back(store: Store, tmp_path: Path) -> None:
    artifacts = Artifacts(store.file, tmp_path / "outputs", tmp_path / "trash")
    name = "画" * 82 + "-0001.png"  # 255 bytes
    one = written(artifacts, submit(store), tmp_path / "outputs" / name)
    artifacts.delete(one)
    assert not (tmp_path / "outputs" / name).exists()
    assert artifacts.restore(one).name == name
    assert artifacts.get(one).path.read_bytes() == bytes(100)


def test_a_link_in_the_place_of_an_artifact_is_not_put_into_the_trash(store: Store, tmp_path: Path) -> None:
    artifacts = Artifacts(store.file, tmp_path / "outputs", tmp_path / "trash")
    one = written(artifacts, submit(store), tmp_path / "outputs" / "a.bin")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "outputs" / "a.bin").unlink()
    (tmp_path / "outputs" / "a.bin").symlink_to(tmp_path / "secret")
    artifacts.delete(one)
    assert (tmp_path / "secret").read_text() == "secret"
    assert not (tmp_path / "trash").exists()
    with pytest.raises(KeyError):
        artifacts.restore(one)


def test_the_trash_of_workflows_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "WORKFLOWS_BYTES", 250)
    workflows = WorkflowStore(tmp_path / "workflows", tmp_path / "trash")
    (tmp_path / "trash" / "artifacts").mkdir(parents=True)
    for number in range(4):
        workflows.save(f"w{number}", Workflow(title="x" * 50), None)
        workflows.delete(f"w{number}")
    assert {entry.name for entry in workflows.trash().workflows} == {"w2", "w3"}
    assert (tmp_path / "trash" / "artifacts").is_dir()
