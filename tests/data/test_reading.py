import csv
import gzip
import io
import json
import random
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from lilllm.config.schema import SourceConfig
from lilllm.data import read_documents, read_rows

SHARED = Path(__file__).parents[3] / "shared" / "data"
TEXTS = [
    "Once upon a time.\nThere was a fox.",
    'He said "hello, you", and left.',
    "Ein Mädchen aß 🍎 in Zürich.",
    "tabs\tare text too",
    "  loses its outer white space \t ",
    "[not] {json}, \\ \\u0041",
]


def as_bytes(kind: str, texts: list[str]) -> bytes:
    rows = [{"id": i, "text": text} for i, text in enumerate(texts)]
    if kind == "jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if kind == "json":
        return json.dumps(rows, ensure_ascii=False, indent=1).encode()
    if kind == "parquet":
        file = io.BytesIO()
        table = pyarrow.table({"id": range(len(texts)), "text": texts})
        pyarrow.parquet.write_table(table, file, row_group_size=2)
        return file.getvalue()
    if kind == "tsv":
        assert not any("\t" in text or "\n" in text for text in texts)
        return "".join(f"{i}\t{text}\n" for i, text in [("id", "text"), *enumerate(texts)]).encode()
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["id", "text"], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def compressed(data: bytes, compression: str) -> bytes:
    if compression == ".gz":
        return gzip.compress(data)
    if compression == ".zst":
        return pyarrow.compress(data, "zstd", asbytes=True)
    return data


CASES = [
    *((kind, c) for kind in ("jsonl", "json", "csv", "tsv") for c in ("", ".gz", ".zst")),
    ("parquet", ""),
]


@pytest.mark.parametrize(("kind", "compression"), CASES)
def test_every_format_gives_the_texts_that_were_written(
    kind: str, compression: str, tmp_path: Path
) -> None:
    texts = [t for t in TEXTS if kind != "tsv" or not set("\t\n") & set(t)]
    path = tmp_path / f"data.{kind}{compression}"
    path.write_bytes(compressed(as_bytes(kind, texts), compression))
    source = SourceConfig(path=str(path))
    assert [document.text for document in read_documents(source)] == [t.strip() for t in texts]
    rows = list(read_rows(source))
    assert [row["text"] for row, _ in rows] == texts
    assert [int(row["id"]) for row, _ in rows] == list(range(len(texts)))
    assert all(where.startswith(str(path)) for _, where in rows)


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_text_files_are_cut_at_separator_lines_and_stripped(
    compression: str, tmp_path: Path
) -> None:
    content = (
        b"\xef\xbb\xbfone\n\ntwo lines\n<|endoftext|>\n\n  three <|endoftext|> inside  \r\n"
        b"<|endoftext|>  \r\n<|endoftext|>\nlast"
    )
    path = tmp_path / f"data.txt{compression}"
    path.write_bytes(compressed(content, compression))
    found = list(read_documents(SourceConfig(path=str(path))))
    texts = ["one\n\ntwo lines", "three <|endoftext|> inside", "last"]
    assert [document.text for document in found] == texts
    path.write_bytes(compressed(b"\n" + content[3:] + b"\n \n", compression))
    whole = list(read_documents(SourceConfig(path=str(path), separator="")))
    assert [document.text for document in whole] == [content.decode("utf-8-sig")]


def test_a_place_is_a_file_and_its_line(tmp_path: Path) -> None:
    text = tmp_path / "a.txt"
    text.write_text("one\none\n<|endoftext|>\ntwo\n<|endoftext|>\nthree\n")
    lines = tmp_path / "b.jsonl"
    lines.write_text('{"text": "x"}\n\n{"text": "y"}\n')
    assert [d.where for d in read_documents(SourceConfig(path=str(text)))] == [
        f"{text}:1",
        f"{text}:4",
        f"{text}:6",
    ]
    assert [w for _, w in read_rows(SourceConfig(path=str(lines)))] == [f"{lines}:1", f"{lines}:3"]


def test_globs_and_folders_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"text": name}) + "\n")
    (tmp_path / "README.md").write_text("not data")

    def names(path: str) -> list[str]:
        return [document.text for document in read_documents(SourceConfig(path=path))]

    assert names(f"{tmp_path}/*.jsonl") == ["a.jsonl", "b.jsonl"]
    assert names(f"{tmp_path}/**/*.jsonl") == ["a.jsonl", "b.jsonl", "sub/c.jsonl"]
    assert names(str(tmp_path)) == ["a.jsonl", "b.jsonl", "sub/c.jsonl"]


def test_json_that_is_not_a_list_of_objects_is_read_as_it_is_found_in_the_wild(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    for content in (
        '{"text": "x"}\n{"text": "y"}\n',
        '{"version": 1, "data": [{"text": "x"}, {"text": "y"}]}',
    ):
        path.write_text(content)
        assert [d.text for d in read_documents(SourceConfig(path=str(path)))] == ["x", "y"]


def test_a_json_list_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = random.Random(0)
    rows = [{"text": "é" * numbers.randrange(200), "n": [i, {"x": "]"}]} for i in range(300)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows, ensure_ascii=False))
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr("lilllm.data.rows.BLOCK_BYTES", size)
        monkeypatch.setattr("lilllm.data.lines.BLOCK_BYTES", size)
        assert [row for row, _ in read_rows(SourceConfig(path=str(path)))] == rows


def test_a_source_can_be_limited(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(as_bytes("jsonl", TEXTS))
    limited = SourceConfig(path=str(path), documents=2)
    assert [d.text for d in read_documents(limited)] == TEXTS[:2]
    assert len(list(read_rows(limited))) == 2


@pytest.mark.parametrize("kind", ["stories", "stories-instruct", "stories-classify"])
def test_builtin_sources_depend_on_the_seed_alone(kind: str) -> None:
    source = SourceConfig(path=f"builtin:{kind}", documents=5)
    first, again, other = (list(read_rows(source, seed=seed)) for seed in (1, 1, 2))
    assert len(first) == 5 and first == again and first != other
    assert first[3][1] == f"builtin:{kind} #3"


def test_a_hub_dataset_may_be_a_folder_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(as_bytes("jsonl", TEXTS))
    found = read_documents(SourceConfig(path=f"hf:{tmp_path}", documents=3))
    assert [document.text for document in found] == TEXTS[:3]


def test_the_documents_of_a_text_file_are_rows(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo\nlines\n")
    rows = [row for row, _ in read_rows(SourceConfig(path=str(tmp_path / "a.txt")))]
    assert rows == [{"text": "one"}, {"text": "two\nlines"}]


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real data in {SHARED}")
def test_real_files_are_read_whole() -> None:
    def count(name: str) -> int:
        return sum(1 for _ in read_rows(SourceConfig(path=str(SHARED / name))))

    assert count("formats_demo/alpaca_en_demo.json") == 999
    assert count("formats_demo/c4_demo.jsonl") == 300
    assert count("gsm8k/train.jsonl") == 7473
    assert count("sst2/dev.tsv") == 871  # 872 lines, the first is taken for the header
    assert count("sms_spam/sms.tsv") == 5573  # quotation marks of one side only
    stories = read_documents(SourceConfig(path=str(SHARED / "tinystories" / "train.txt")))
    text = (SHARED / "tinystories" / "train.txt").read_text(encoding="utf-8")
    parts = (part.strip() for part in text.split("<|endoftext|>"))
    assert [document.text for document in stories] == [part for part in parts if part]
