"Streams at scale: a made-up text of the size of WikiText-103, in Parquet files as on the hub; first start, second start, memory."
import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from harness import build_parser, machine_note, new_process, peak_memory, positive, report_limits, run
from niels_gpt.config import StreamBuildConfig
from niels_gpt.data import WIKITEXT_CONFIG, load_wiki_columns
from niels_gpt.files import project_root
from niels_gpt.streams import build_sources, build_wiki_stream

ROW_GROUP = 1000  # rows, as in the hub's files
POOL = 20_000  # different rows
MEAN_BYTES = 305  # a row, empty ones counted: 1.8 million make about 540 MB


def make_row(kind: float, words: list[str], dice: random.Random) -> str:
    "Return a row as WikiText has them: a third is empty, some are headings, half are paragraphs."
    if kind < 0.36: return ""
    if kind < 0.50: return f" = = {' '.join(dice.choices(words, k=3))} = = \n"
    text, length = "", dice.uniform(0.2, 1.8) * (MEAN_BYTES - 4) / 0.5  # the headings' share is 4 bytes a row
    while len(text) < length: text += " " + " ".join(dice.choices(words, k=16))
    return text[:int(length)] + " \n"


def row_pool(dice: random.Random) -> pa.Array:
    "Return rows of words from the wiki sample, (POOL,) strings."
    words = (project_root() / "data/wiki_sample/train.jsonl").read_text(encoding="utf-8").replace('{"text": "', "").split()
    words = [word for word in words if word.isalpha() and word.isascii()]
    return pa.array([make_row(dice.random(), words, dice) for _ in range(POOL)])


def write_split(path: Path, pool: pa.Array, rows: int, dice: random.Random) -> None:
    "Write `rows` rows, drawn from the pool, without a dictionary: a real text does not repeat its rows."
    with ParquetWriter(path, pa.schema([("text", pa.string())]), use_dictionary=False) as writer:
        for start in range(0, rows, ROW_GROUP):
            drawn = pa.array(dice.choices(range(POOL), k=min(ROW_GROUP, rows - start)))
            writer.write_table(pa.table({"text": pool.take(drawn)}))


def write_wiki(folder: Path, rows: int) -> None:
    "Write a dataset in the layout of WikiText-103 on the hub: two files of training rows, one of each other split."
    dice, inner = random.Random(0), folder / WIKITEXT_CONFIG
    pool = row_pool(dice)
    inner.mkdir()
    for i in range(2): write_split(inner / f"train-{i:05}-of-00002.parquet", pool, rows // 2, dice)
    for split in ("validation", "test"): write_split(inner / f"{split}-00000-of-00001.parquet", pool, max(rows // 450, 2), dice)


def start(folder: str, cache: str) -> tuple[float, float, int]:
    "Build the streams, or open those of the cache; return seconds, peak memory, and the bytes of the training stream."
    cfg = StreamBuildConfig(wiki=folder, cache_dir=cache, enabled_sources=("wiki",), required_sources=("wiki",))
    began = time.perf_counter()
    train, _ = build_sources(cfg)
    return time.perf_counter() - began, peak_memory(), len(train["wiki"])


def by_strings(folder: str, cache: str) -> tuple[float, float, int]:
    "Do as `start`, but with a Python string a row and without a cache: the plain way."
    began = time.perf_counter()
    stream = build_wiki_stream(load_wiki_columns(folder)["train"].to_pylist(), sep="\n\n")
    return time.perf_counter() - began, peak_memory(), len(stream)


def alone(function: Callable[[str, str], tuple], folder: str, cache: str) -> tuple[float, float, int]:
    "Call `function` in a process of its own, whose memory is its own."
    with new_process() as process: return process.submit(function, folder, cache).result()


def main(args: argparse.Namespace) -> None:
    "Write the text, start again and again, and report."
    note, results = machine_note(), {"first start": [], "second start": [], "a Python string a row": []}
    with tempfile.TemporaryDirectory() as wiki, new_process() as process:
        process.submit(write_wiki, Path(wiki), args.rows).result()
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as cache:
                for name, function in zip(results, (start, start, by_strings)): results[name].append(alone(function, wiki, cache))
    sizes = {n_bytes for turns in results.values() for *_, n_bytes in turns}
    assert len(sizes) == 1, f"the ways differ in length: {sizes}"
    limits = {"first start": (60, 1.5), "second start": (1, None), "a Python string a row": (None, None)}
    rows = [row for name, turns in results.items()
            for row in ((name, [t[0] for t in turns], "s", limits[name][0]), (f"{name}, peak memory", [t[1] / 1e9 for t in turns], "GB", limits[name][1]))]
    settings = {"rows": args.rows, "bytes of the stream": sizes.pop(), "rounds": args.rounds}
    report_limits("Streams at scale", note, settings, rows, path=args.json)


if __name__ == "__main__":
    parser = build_parser(__doc__, rounds=3)
    parser.add_argument("--rows", type=positive, default=1_800_000, metavar="N", help=f"of training text, {MEAN_BYTES} bytes each on average")
    run(main, parser)
