import hashlib
import json
import random
import re
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lilllm.config.schema import DataConfig
from lilllm.data import Prepared, Shards, plan, prepare, text, verify, workers
from lilllm.errors import DataError, RunError
from lilllm.events import Caution, Event, silent
from lilllm.tokenizer import Tokenizer, load_encoder, train_bpe
from tests.data.byte_encoder import BYTES, byte_encoder, documents_of


def write_texts(path: Path, texts: list[str], separator: str = "<|endoftext|>") -> Path:
    path.write_text(f"\n{separator}\n".join(texts) + "\n")
    return path


def write_rows(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def make(
    folder: Path,
    *sources: Path | dict[str, Any],
    processes: int = 1,
    task_bytes: int | None = None,
    shard_tokens: int = 1 << 20,
    **options: Any,
) -> Prepared:
    given = tuple(s if isinstance(s, dict) else {"path": str(s)} for s in sources)
    config = DataConfig(sources=given, **options)  # type: ignore[arg-type]
    return prepare(folder, config, BYTES, processes, 0, silent, task_bytes, shard_tokens)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.suffix in (".bin", ".idx")
    }


def sentences(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    words = ["fox", "dog", "Äpfel", "ran", "🍎", "home", "said:", "no."]
    return [f"{i} " + " ".join(rng.choices(words, k=rng.randint(1, 40))) for i in range(count)]


def test_all_documents_arrive_in_order_and_are_counted(tmp_path: Path) -> None:
    texts = sentences(500)
    made = make(tmp_path / "data", write_texts(tmp_path / "a.txt", texts), val_fraction=0.1)
    train, val = documents_of(made.path, "train"), documents_of(made.path, "val")
    assert sorted(train + val) == sorted(texts)
    assert train == [text for text in texts if text in set(train)]
    assert 25 < len(val) < 90
    assert made.documents == 500 == made.splits["train"]["documents"] + len(val)
    assert made.bytes == sum(len(text.encode()) for text in texts)
    assert made.tokens == made.bytes + 500
    verify(made.path)


@pytest.mark.parametrize("kind", ["txt", "jsonl"])
def test_shards_do_not_depend_on_how_the_files_are_cut(tmp_path: Path, kind: str) -> None:
    texts = sentences(300)
    write = write_texts if kind == "txt" else write_rows
    source = write(tmp_path / f"a.{kind}", texts)
    options = {"sources": ({"path": str(source)},)}
    for task_bytes in (250, 777, 5000, 1 << 20):
        tasks = plan.plan_tasks(DataConfig(**options).sources, (), 0.1, task_bytes)  # type: ignore[arg-type]
        assert len(tasks) == 1 if task_bytes == 1 << 20 else len(tasks) > 1
        for part in (part for task in tasks for part in task.parts if part.start):
            head = source.read_bytes()[: part.start]
            assert part.first_line == head.count(b"\n") + 1
            assert head.endswith(b"<|endoftext|>\n" if kind == "txt" else b"\n")
        made = make(tmp_path / f"{task_bytes}", source, task_bytes=task_bytes, val_fraction=0.1)
        assert hashes(made.path) == hashes(tmp_path / "250")
    assert len(documents_of(tmp_path / "250", "train")) > 200


def test_shards_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SMALL_BYTES", 0)
    first = write_rows(tmp_path / "a.jsonl", sentences(400))
    second = write_texts(tmp_path / "b.txt", sentences(400, seed=1))
    for processes in (1, 3):
        folder = tmp_path / f"{processes}"
        make(folder, first, second, processes=processes, task_bytes=4000, val_fraction=0.05)
    assert hashes(tmp_path / "1") == hashes(tmp_path / "3")


def test_an_error_of_a_worker_process_arrives_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SMALL_BYTES", 0)
    source = write_rows(tmp_path / "a.jsonl", sentences(400))
    with source.open("a") as file:
        file.write("{}\n")
    with pytest.raises(DataError, match=r"a\.jsonl:401: no field 'text'") as caught:
        make(tmp_path / "data", source, processes=2, task_bytes=4000)
    assert "skip" in caught.value.hint
    assert not (tmp_path / "data").exists()


def test_only_the_first_of_equal_documents_stays(tmp_path: Path) -> None:
    texts = sentences(200)
    source = write_rows(tmp_path / "a.jsonl", texts + texts[::-1] + ["tail"])
    made = make(tmp_path / "data", source, task_bytes=1000, val_fraction=0.2)
    train, val = documents_of(made.path, "train"), documents_of(made.path, "val")
    assert made.duplicates == 200
    assert train + val == [t for t in [*texts, "tail"] if t in train] + [
        t for t in texts if t in val
    ]
    kept = make(tmp_path / "kept", source, deduplicate=False, val_fraction=0.2)
    assert kept.documents == 401
    assert not set(documents_of(kept.path, "train")) & set(documents_of(kept.path, "val"))


@pytest.mark.parametrize("deduplicate", [True, False])
def test_documents_of_validation_sources_never_train(tmp_path: Path, deduplicate: bool) -> None:
    texts = sentences(100)
    train = write_rows(tmp_path / "a.jsonl", texts)
    val = write_texts(tmp_path / "v.txt", [texts[3], texts[50], "of its own"])
    made = make(
        tmp_path / "data", train, val_sources=({"path": str(val)},), deduplicate=deduplicate
    )
    assert documents_of(made.path, "val") == [texts[3], texts[50], "of its own"]
    assert documents_of(made.path, "train") == [t for t in texts if t not in (texts[3], texts[50])]


def test_weights_repeat_and_thin_out_documents(tmp_path: Path) -> None:
    twice = write_rows(tmp_path / "a.jsonl", [f"a{i}" for i in range(300)])
    half = write_rows(tmp_path / "b.jsonl", [f"b{i}" for i in range(400)])
    made = make(
        tmp_path / "data",
        {"path": str(twice), "weight": 2},
        {"path": str(half), "weight": 0.5},
        val_fraction=0.1,
    )
    train, val = documents_of(made.path, "train"), documents_of(made.path, "val")
    a = [t for t in train if t[0] == "a"]
    assert sorted(a) == sorted(2 * sorted(set(a)))
    assert train[: len(a) // 2] == a[: len(a) // 2], "copies come in a later round"
    assert 120 < len([t for t in train + val if t[0] == "b"]) < 280
    assert len(set(val)) == len(val) and not set(val) & set(train)
    same = make(tmp_path / "again", {"path": str(half), "weight": 0.5}, val_fraction=0.1)
    again = documents_of(same.path, "train") + documents_of(same.path, "val")
    assert sorted(again) == sorted(t for t in train + val if t[0] == "b")


def test_a_source_gives_at_most_its_documents(tmp_path: Path) -> None:
    texts = sentences(50)
    a = {"path": str(write_rows(tmp_path / "a.jsonl", texts)), "documents": 7}
    made = make(tmp_path / "data", a, {"path": "builtin:stories", "documents": 5}, val_fraction=0)
    assert documents_of(made.path, "train")[:7] == texts[:7]
    assert made.documents == 12


def test_many_shards_read_as_one(tmp_path: Path) -> None:
    texts = sentences(300)
    source = write_rows(tmp_path / "a.jsonl", texts)
    make(tmp_path / "one", source, val_fraction=0)
    make(tmp_path / "many", source, val_fraction=0, shard_tokens=1000)
    one, many = Shards.open(tmp_path / "one", "train"), Shards.open(tmp_path / "many", "train")
    assert len(many.manifest["splits"]["train"]["shards"]) > 10
    assert (many.document_ends == one.document_ends).all()
    whole = one.read(0, one.n_tokens)
    rng = random.Random(0)
    for _ in range(200):
        start, stop = sorted(rng.choices(range(one.n_tokens + 1), k=2))
        assert (many.read(start, stop) == whole[start:stop]).all()
    with pytest.raises(ValueError):
        many.read(0, many.n_tokens + 1)
    verify(tmp_path / "many")


def test_documents_in_pieces_encode_like_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["\n\n ".join(sentences(200, seed)) + "  !\n" + "x" * 50 for seed in range(3)]
    tokenizer = Tokenizer.trained(train_bpe(texts, 400))
    (tmp_path / "tok").mkdir()
    tokenizer.save(tmp_path / "tok")
    vocabulary = replace(BYTES, encoder=partial(load_encoder, str(tmp_path / "tok")))
    source = write_texts(tmp_path / "a.txt", texts)
    config = DataConfig(sources=({"path": str(source)},), val_fraction=0)  # type: ignore[arg-type]
    monkeypatch.setattr(text, "PIECE_CHARACTERS", 100)
    monkeypatch.setattr(text, "BLOCK_BYTES", 64)
    monkeypatch.setattr("lilllm.data.lines.BLOCK_BYTES", 64)
    prepare(tmp_path / "data", config, vocabulary, 1, 0, silent)
    shards = Shards.open(tmp_path / "data", "train")
    wanted = [id for t in texts for id in (*tokenizer.encode(t.strip()), 0)]
    assert shards.read(0, shards.n_tokens).tolist() == wanted
    assert shards.n_bytes == sum(len(t.strip().encode()) for t in texts)


def test_one_long_text_is_split_by_position(tmp_path: Path) -> None:
    whole = "\n".join(sentences(2000))
    source = tmp_path / "a.txt"
    source.write_text(whole)
    made = make(tmp_path / "data", source, val_fraction=0.1)
    (train,), (val,) = documents_of(made.path, "train"), documents_of(made.path, "val")
    assert train + "\n" + val == whole
    assert 0.08 < len(val) / len(whole) < 0.12


@pytest.mark.parametrize("fraction", [1e-9, 1 - 1e-9])
def test_few_documents_still_fill_both_splits(tmp_path: Path, fraction: float) -> None:
    made = make(tmp_path / "d", write_rows(tmp_path / "a.jsonl", ["x", "y"]), val_fraction=fraction)
    assert made.splits["train"]["documents"] == made.splits["val"]["documents"] == 1


def test_a_whole_book_of_a_few_that_is_held_out_is_told(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("\n".join(sentences(400)[number::3]))

    def cautions(fraction: float) -> list[str]:
        events: list[Event] = []
        books = ({"path": str(tmp_path / "*.txt")},)
        config = DataConfig(sources=books, val_fraction=fraction)  # type: ignore[arg-type]
        prepare(tmp_path / "d", config, BYTES, 1, 0, events.append)
        return [event.text for event in events if isinstance(event, Caution)]

    (told,) = cautions(0.005)
    assert re.match("3[1-5]% of the text is held out", told) and "data.val_sources" in told
    assert not cautions(0.3), "so much was asked for"


def test_a_single_document_trains_and_says_that_nothing_validates(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", ["alone", "alone"])
    events: list[Event] = []
    config = DataConfig(sources=({"path": str(source)},), val_fraction=0.999)  # type: ignore[arg-type]
    prepare(tmp_path / "d", config, BYTES, 1, 0, events.append)
    assert documents_of(tmp_path / "d", "train") == ["alone"]
    assert Shards.open(tmp_path / "d", "val").n_tokens == 0
    assert any(isinstance(e, Caution) and "validation" in e.text for e in events)


def test_a_rerun_does_nothing_and_a_change_does_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_rows(tmp_path / "a.jsonl", sentences(50))
    first = make(tmp_path / "data", source)
    assert first.mb_per_s is not None
    again = make(tmp_path / "data", source)
    assert again.mb_per_s is None
    assert replace(again, seconds=0, mb_per_s=0) == replace(first, seconds=0, mb_per_s=0)
    write_rows(source, sentences(60))
    assert make(tmp_path / "data", source).documents == 60
    assert make(tmp_path / "data", source, val_fraction=0.5).mb_per_s is not None
    assert {p.name for p in tmp_path.iterdir()} == {"a.jsonl", "data"}, "nothing is left behind"


def test_a_failed_preparation_keeps_the_old_shards_and_its_finished_tasks(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", sentences(100))
    make(tmp_path / "data", source)
    old = hashes(tmp_path / "data")
    bad = write_rows(tmp_path / "b.jsonl", sentences(100, seed=1))
    with bad.open("a") as file:
        file.write('{"text": 3}\n')
    with pytest.raises(DataError, match=r"b\.jsonl:101"):
        make(tmp_path / "data", source, bad, task_bytes=1000)
    assert hashes(tmp_path / "data") == old
    make(tmp_path / "data", source)
    assert len(list((tmp_path / "data.preparing").glob("part-*.json"))) > 10


def test_bad_rows_are_skipped_and_counted_when_asked(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_bytes(b'{"text": "one"}\n\xff\n{"text": null}\n[]\n{"text": ""}\n{"text": "two"}')
    made = make(tmp_path / "data", source, on_bad_row="skip", val_fraction=0)
    assert documents_of(made.path, "train") == ["one", "two"]
    assert (made.skipped_rows, made.empty) == (3, 1)


def test_documents_of_rows_have_no_outer_white_space(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", ["  one\n", "two", " \t\n", "\u00a0two "])
    made = make(tmp_path / "data", source, val_fraction=0)
    assert documents_of(made.path, "train") == ["one", "two"]
    assert (made.bytes, made.empty, made.duplicates) == (6, 1, 1)


def test_fresh_makes_everything_anew_and_keeps_the_old_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_rows(tmp_path / "a.jsonl", sentences(50))
    made = make(tmp_path / "data", source, task_bytes=500)
    old, before = (made.path / "manifest.json").stat().st_ino, hashes(made.path)
    config = DataConfig(sources=({"path": str(source)},))  # type: ignore[arg-type]
    module = sys.modules["lilllm.data.prepare"]  # the package has a function of that name

    def fresh() -> Prepared:
        return prepare(made.path, config, BYTES, 1, 0, silent, 500, 1 << 20, fresh=True)

    with monkeypatch.context() as patch:
        patch.setattr(module, "select", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            fresh()
    assert (made.path / "manifest.json").stat().st_ino == old
    again = fresh()
    assert again.mb_per_s, "tasks of an earlier call are not used"
    assert (made.path / "manifest.json").stat().st_ino != old
    assert hashes(made.path) == before


def test_shards_put_aside_by_a_killed_preparation_come_back(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", sentences(50))
    made = make(tmp_path / "data", source)
    before = hashes(made.path)
    made.path.rename(tmp_path / ".partial-old-data-17")
    (tmp_path / ".partial-data-17").mkdir()
    write_rows(source, ["x", "\ud800"])
    with pytest.raises(DataError, match="surrogate"):
        make(tmp_path / "data", source)
    assert hashes(tmp_path / "data") == before
    assert not list(tmp_path.glob(".partial-*"))


def test_what_a_preparation_killed_while_cleaning_up_left_behind_goes(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", sentences(50))
    make(tmp_path / "data", source)
    work = tmp_path / "data.preparing"
    for key in (
        json.loads((tmp_path / "data" / "inputs.json").read_text()),
        None,
    ):  # None: half removed
        work.mkdir()
        (work / "part-00000.docs").touch()
        if key is not None:
            (work / "key.json").write_text(json.dumps(key))
        (tmp_path / ".lock-data").touch()
        make(tmp_path / "data", source)
    assert {p.name for p in tmp_path.iterdir()} == {"a.jsonl", "data"}


def test_complete_shards_are_used_while_another_process_holds_the_folder(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    source = write_rows(tmp_path / "a.jsonl", sentences(50))
    made = make(tmp_path / "data", source)
    (tmp_path / "data.preparing").mkdir()
    with (tmp_path / ".lock-data").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert make(tmp_path / "data", source).documents == made.documents
    assert (tmp_path / "data.preparing").is_dir(), "it may be the other's"


def test_two_preparations_of_one_folder_are_refused(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    source = write_rows(tmp_path / "a.jsonl", ["x", "y"])
    with (tmp_path / ".lock-data").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process"):
            make(tmp_path / "data", source)


def test_a_folder_that_cannot_be_made_is_an_error_of_the_run(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", ["x", "y"])
    with pytest.raises(RunError, match="cannot be written"):
        make(source / "data", source)


def test_too_little_disk_is_seen_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["lilllm.data.prepare"]  # the package has a function of that name
    monkeypatch.setattr(module, "free_bytes", lambda path: 100)
    with pytest.raises(RunError, match="are free"):
        make(tmp_path / "data", write_rows(tmp_path / "a.jsonl", sentences(2000)))


def test_uint32_is_used_when_the_vocabulary_needs_it(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "a.jsonl", ["x", "y"])
    config = DataConfig(sources=({"path": str(source)},))  # type: ignore[arg-type]
    prepare(tmp_path / "d", config, replace(BYTES, vocab_size=70_000), 1, 0, silent)
    assert Shards.open(tmp_path / "d", "train").dtype.itemsize == 4
    assert byte_encoder is BYTES.encoder


def test_what_is_no_shard_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    precious = write_texts(tmp_path / "data" / "precious.txt", sentences(20))
    with pytest.raises(DataError, match=r"precious\.txt"):
        make(tmp_path / "data", precious)
    assert len(precious.read_text()) > 100


def test_damaged_shards_are_made_again(tmp_path: Path) -> None:
    source = write_texts(tmp_path / "a.txt", sentences(50))
    before = hashes(make(tmp_path / "data", source).path)
    shard = tmp_path / "data" / "train-00000.bin"
    content = bytearray(shard.read_bytes())
    content[7] ^= 1
    shard.write_bytes(content)
    assert hashes(tmp_path / "data") != before
    assert hashes(make(tmp_path / "data", source).path) == before
