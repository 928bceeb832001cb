"""The run directory: records are read back as written, also after crashes and damage."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from depqa_ray.core import Passage
from depqa_ray.errors import StoreError
from depqa_ray.passages.base import BadRow
from depqa_ray.passages.sampling import SampleCounts
from depqa_ray.results.metrics import compute_results
from depqa_ray.results.records import PassageRecord, PassageResult, SampleRecord
from depqa_ray.results.store import RunStore, write_atomically
from tests.sample_run import edges_of, lantern, sample_manifest, sample_records, steps_of, velcarn, write_sample


def test_a_run_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    records = sample_records()

    write_sample(tmp_path / "run", records)

    assert RunStore.open(tmp_path / "run").read() == records


def test_creating_writes_the_manifest_and_nothing_else(tmp_path: Path) -> None:
    RunStore.create(tmp_path / "a" / "run", sample_manifest()).close()

    assert [path.name for path in (tmp_path / "a" / "run").iterdir()] == ["manifest.json"]


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    write_sample(tmp_path)
    before = (tmp_path / "outcomes.jsonl").read_bytes()

    with pytest.raises(StoreError, match="already holds a run; give another --run-dir"):
        RunStore.create(tmp_path, sample_manifest())

    assert (tmp_path / "outcomes.jsonl").read_bytes() == before


def test_run_without_a_passage_is_replaced(tmp_path: Path) -> None:
    """If an earlier run ended before its first passage, a new run takes its folder over, without its bad rows."""
    with RunStore.create(tmp_path, sample_manifest(model="old")) as store:
        store.append(BadRow("dev.json: data[3]", "no context", "add one", {}))
    (tmp_path / "passages.jsonl").touch()

    write_sample(tmp_path)

    assert RunStore.open(tmp_path).read() == sample_records()


def test_torn_manifest_without_a_passage_is_replaced(tmp_path: Path) -> None:
    """If a driver died while it wrote the manifest, the next run replaces it."""
    (tmp_path / "manifest.json").write_text('{"version": 2, "labels"')
    RunStore.create(tmp_path, sample_manifest()).close()
    assert RunStore.open(tmp_path).manifest == sample_manifest()


@pytest.mark.parametrize("file", ["passages.jsonl", "outcomes.jsonl"])
def test_lines_without_a_manifest_are_refused(tmp_path: Path, file: str) -> None:
    """If a folder holds lines of a run, even without its manifest, no run adds its own to them."""
    (tmp_path / file).write_text("{}\n")
    with pytest.raises(StoreError, match="already holds a run"):
        RunStore.create(tmp_path, sample_manifest())
    assert (tmp_path / file).read_text() == "{}\n"


def test_folder_of_a_run_in_progress_is_refused(tmp_path: Path) -> None:
    """While a run writes into a folder, no other may start or be resumed there, but it can be read."""
    with RunStore.create(tmp_path, sample_manifest()) as store:
        with pytest.raises(StoreError, match="is in use by another run; give another --run-dir"):
            RunStore.create(tmp_path, sample_manifest())
        with pytest.raises(StoreError, match="is in use by another run"), RunStore.open(tmp_path) as other:
            other.resume()
        store.append(velcarn())
        assert len(RunStore.open(tmp_path).read().passages) == 1
    with RunStore.open(tmp_path) as resumed:
        resumed.resume()
        with pytest.raises(StoreError, match="is in use by another run"), RunStore.open(tmp_path) as other:
            other.resume()


def test_lock_of_a_killed_driver_is_gone(tmp_path: Path) -> None:
    """If a driver is killed before its first passage, the next run takes its folder over at once."""
    child = os.fork()
    if child == 0:
        store = RunStore.create(tmp_path, sample_manifest())
        os._exit(9 if store else 1)
    os.waitpid(child, 0)
    RunStore.create(tmp_path, sample_manifest()).close()


def test_run_without_records_can_be_discarded(tmp_path: Path) -> None:
    """If no record was written, discarding removes the folder; otherwise it removes nothing."""
    with RunStore.create(tmp_path / "a", sample_manifest()) as store:
        store.discard_if_empty()
    assert not (tmp_path / "a").exists()
    with RunStore.create(tmp_path / "b", sample_manifest()) as store:
        store.append(PassageRecord(Passage("p", "t", "text", ())))
        store.discard_if_empty()
    assert RunStore.open(tmp_path / "b").read().passages


def test_lock_outlives_a_new_manifest(tmp_path: Path) -> None:
    """If the manifest is replaced while a run is written, the folder stays in use."""
    with RunStore.create(tmp_path, sample_manifest()):
        write_atomically(tmp_path / "manifest.json", (tmp_path / "manifest.json").read_bytes())
        with pytest.raises(StoreError, match="is in use"):
            RunStore.create(tmp_path, sample_manifest())


def test_file_system_without_locks_does_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If files cannot be locked, a run starts without a lock."""

    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    write_sample(tmp_path)
    assert RunStore.open(tmp_path).read() == sample_records()


def test_unwritable_folder_is_a_one_line_error(tmp_path: Path) -> None:
    """If the folder for a run cannot be written, the error is one line."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreError, match="cannot write") as caught:
        RunStore.create(tmp_path / "file" / "run", sample_manifest())

    assert "\n" not in str(caught.value)


def test_a_folder_without_a_run_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        RunStore.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 99, "labels": {}, "devices": []}', "\x00"])
def test_broken_manifest_is_reported(tmp_path: Path, text: str) -> None:
    """If the manifest is broken, opening the run raises StoreError."""
    (tmp_path / "manifest.json").write_text(text)

    with pytest.raises(StoreError, match="not the manifest of a run"):
        RunStore.open(tmp_path)


def test_each_line_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, sample_manifest())
    store.append(velcarn())

    lines = (tmp_path / "passages.jsonl").read_text().splitlines()

    assert json.loads(lines[0])["kind"] == "passage"
    store.close()
    store.close()


def test_torn_last_line_is_left_out_and_reported(tmp_path: Path) -> None:
    """If the last line is torn, it is left out and reported."""
    write_sample(tmp_path)
    whole = RunStore.open(tmp_path).read()
    with (tmp_path / "outcomes.jsonl").open("ab") as file:
        file.write(b'{"kind":"step","strategy":"seq')

    records = RunStore.open(tmp_path).read()

    assert records.steps == whole.steps
    assert records.warnings == ("outcomes.jsonl: the last line is torn (the run was interrupted) and was left out",)


def test_appending_after_a_torn_line_does_not_extend_it(tmp_path: Path) -> None:
    """If the last line is torn, resuming removes it before the next record is appended."""
    write_sample(tmp_path)
    with (tmp_path / "outcomes.jsonl").open("ab") as file:
        file.write(b'{"kind":"st')

    with RunStore.open(tmp_path) as store:
        store.resume()
        store.append(PassageResult("sequential", "another", 0.0, 1.0))

    records = RunStore.open(tmp_path).read()
    assert records.warnings == ()
    assert records.finished[-1] == PassageResult("sequential", "another", 0.0, 1.0, session=1)


def test_a_damaged_line_in_the_middle_names_its_place(tmp_path: Path) -> None:
    write_sample(tmp_path)
    path = tmp_path / "outcomes.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:20] + b"\n", *lines[2:]]))

    with pytest.raises(StoreError, match=r"outcomes\.jsonl, line 2: not JSON"):
        RunStore.open(tmp_path).read()


@pytest.mark.parametrize("line", ['{"kind":"step"}', '{"kind":"comet"}', '{"kind":"finished","strategy":"s"}'])
def test_a_line_that_is_no_record_names_its_place(tmp_path: Path, line: str) -> None:
    RunStore.create(tmp_path, sample_manifest()).close()
    (tmp_path / "outcomes.jsonl").write_text(line + "\n")

    with pytest.raises(StoreError, match="line 1: not a record of this version"):
        RunStore.open(tmp_path).read()


def test_a_record_in_the_wrong_file_is_refused(tmp_path: Path) -> None:
    write_sample(tmp_path)
    (tmp_path / "bad_rows.jsonl").write_bytes((tmp_path / "passages.jsonl").read_bytes())

    with pytest.raises(StoreError, match="does not belong here"):
        RunStore.open(tmp_path).read()


def test_a_second_outcome_of_a_question_is_refused(tmp_path: Path) -> None:
    with write_sample(tmp_path) as store:
        store.append(steps_of(velcarn(), "sequential")[0])

    with pytest.raises(StoreError, match="second outcome"):
        store.read()


def test_resuming_drops_unfinished_passages_and_keeps_the_rest(tmp_path: Path) -> None:
    """If a run is resumed, unfinished passages are dropped and finished ones are kept."""
    # Given a run that ended in the middle of its second passage
    done, started = steps_of(velcarn(), "sequential"), steps_of(lantern(), "sequential")
    with RunStore.create(tmp_path, sample_manifest()) as store:
        for record in (velcarn(), *done, PassageResult("sequential", "velcarn", 0.0, 2.5), lantern(), started[0]):
            store.append(record)

    # When it is resumed, and the second passage asked again
    with RunStore.open(tmp_path) as store:
        finished = store.resume()
        for record in (lantern(), *started, PassageResult("sequential", "lan", 0.0, 1.5)):
            store.append(record)

    # Then each question has one outcome
    records = RunStore.open(tmp_path).read()
    assert finished == {("sequential", "velcarn")}
    assert records.steps == (*done, *started)
    assert [record.passage.id for record in records.passages] == ["velcarn", "lan"]
    assert [item.session for item in records.finished] == [0, 1]
    assert RunStore.open(tmp_path).session == 1


def test_resuming_drops_edges_of_unfinished_passages(tmp_path: Path) -> None:
    """If a run is resumed, the edges of unfinished passages are dropped."""
    kept, started = edges_of(velcarn()), edges_of(lantern())
    with RunStore.create(tmp_path, sample_manifest()) as store:
        for record in (velcarn(), kept, PassageResult("dependency_parallel", "velcarn", 0.0, 2.5), lantern(), started):
            store.append(record)
    assert store.read().edges == (kept, started)
    with RunStore.open(tmp_path) as store:
        store.resume()
    assert store.read().edges == (kept,)


def test_two_passages_of_one_id_are_refused(tmp_path: Path) -> None:
    """If two passages have one id, as in runs of earlier versions, the run is refused: their answers are mixed up."""
    first, second = velcarn(), dataclasses.replace(lantern().passage, id="velcarn")
    with RunStore.create(tmp_path, sample_manifest()) as store:
        for record in (first, PassageRecord(second)):
            store.append(record)
    with pytest.raises(StoreError) as error:
        RunStore.open(tmp_path).read()
    assert str(error.value) == (
        f"{tmp_path}/passages.jsonl, line 2: a second passage has the id 'velcarn', and their answers cannot be told "
        "apart; run again, which gives each passage its own id"
    )


def test_what_a_sample_left_out_is_kept(tmp_path: Path) -> None:
    """What a sample left out is read back, and is part of the results; runs without it can be read."""
    counts = SampleCounts(passages=24, empty=1, too_small=2, not_drawn=19, questions=10, not_asked=4)
    write_sample(tmp_path)
    assert compute_results(RunStore.open(tmp_path).read()).run.sample is None
    with RunStore.open(tmp_path) as store:
        store.append(SampleRecord(counts))
    assert compute_results(RunStore.open(tmp_path).read()).run.sample == counts


def test_bad_rows_are_kept(tmp_path: Path) -> None:
    row = BadRow("dev.json: data[3]", "no context", "add one", {"title": None})
    with RunStore.create(tmp_path, sample_manifest()) as store:
        store.append(row)

    assert store.read().bad_rows == (row,)


def test_results_are_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    with RunStore.create(tmp_path, sample_manifest()) as store:
        store.write_results("old")
    path = tmp_path / "results.json"

    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")

    assert path.read_text() == "old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["manifest.json", "results.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_a_store_error(tmp_path: Path) -> None:
    """If the disk is full, StoreError is raised."""
    store = RunStore.create(tmp_path, sample_manifest())
    (tmp_path / "passages.jsonl").symlink_to("/dev/full")

    with pytest.raises(StoreError, match="cannot write"), store:
        store.append(velcarn())


def test_the_store_shows_its_state(tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, sample_manifest())
    store.append(velcarn())

    assert repr(store) == f"RunStore({str(tmp_path)!r}, session=0, open=['passages.jsonl'])"
    store.close()


def test_no_line_is_lost_when_a_driver_is_killed(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        store = RunStore.create(tmp_path, sample_manifest())
        for step in steps_of(velcarn(), "sequential"):
            store.append(step)
        os._exit(9)  # neither closed nor flushed by Python
    os.waitpid(child, 0)

    assert len(RunStore.open(tmp_path).read().steps) == 5


def test_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """A manifest is read back as it was written."""
    manifest = dataclasses.replace(sample_manifest(embedded_reader=True), devices=("a", "b"))
    RunStore.create(tmp_path, manifest).close()

    assert RunStore.open(tmp_path).manifest == manifest


@pytest.mark.parametrize(
    "damage",
    [{"source": "hearsay"}, {"fallback": None}, {"kept": [{"parent": "velcarn-q1", "child": "ghost"}]}, {"kept": [{}]}],
)
def test_damaged_edge_record_is_a_store_error(tmp_path: Path, damage: dict[str, object]) -> None:
    """If the record of edges is damaged, StoreError is raised."""
    write_sample(tmp_path)
    lines = (tmp_path / "outcomes.jsonl").read_text("ascii").splitlines()
    line = next(place for place, text in enumerate(lines) if '"kind":"dag"' in text)
    record = json.loads(lines[line])
    record["chosen"].update(damage)
    lines[line] = json.dumps(record)
    (tmp_path / "outcomes.jsonl").write_text("\n".join(lines) + "\n", "ascii")
    with pytest.raises(StoreError):
        compute_results(RunStore.open(tmp_path).read())
