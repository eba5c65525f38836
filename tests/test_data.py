"The data in the repository: what it promises, and that it is made by what stands beside it."
import json
import re

import pytest
from conftest import assert_user_error

from niels_gpt.config import DIALOGUE_DELIM
from niels_gpt.templates import check_facts, load_facts, load_topics
from niels_gpt.tokenizer import decode, encode

PRIMERS = {"data/primer.txt": 30, "data/primer_chat.txt": 500}


@pytest.mark.parametrize("name", PRIMERS)
def test_primer_is_what_its_command_writes(command, root, tmp_path, name):
    out = tmp_path / "primer.txt"
    done = command("tools/generate_primer.py", "--seed", 0, "--n-per-category", PRIMERS[name], "--shuffle", "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == (root / name).read_bytes()


def test_primer_has_300_different_dialogues_in_form(root):
    dialogues = (root / "data/primer.txt").read_text().strip().split(DIALOGUE_DELIM)
    assert len(dialogues) == len(set(dialogues)) >= 300
    for dialogue in dialogues:
        roles = [line.split(": ", 1)[0] for line in dialogue.splitlines()]
        assert re.fullmatch("(system )?(user assistant ?)+", " ".join(roles)), dialogue


def test_answers_state_facts_only(root):
    assert check_facts(load_topics(root / "data/primer_templates"), load_facts(root / "data/public_facts.json")) == []


def test_a_made_up_fact_is_refused_and_nothing_is_written(command, root, tmp_path):
    folder = tmp_path / "templates"
    folder.mkdir()
    for path in (root / "data/primer_templates").glob("*.json"):
        (folder / path.name).write_text(path.read_text().replace("7 October 1885", "8 October 1885"))
    out = tmp_path / "primer.txt"
    assert_user_error(command("tools/generate_primer.py", "--templates", folder, "--out", out), "birth_date")
    assert not out.exists()


def test_wiki_sample_loads_with_datasets_itself(root, tmp_path):
    import datasets
    splits = datasets.load_dataset(str(root / "data/wiki_sample"), cache_dir=str(tmp_path))
    assert set(splits) == {"train", "validation", "test"}
    rows = [row for split in splits.values() for row in split["text"]]
    titles = [row for row in rows if re.fullmatch(r" = [^=].*[^=] = \n", row)]
    assert len(titles) == len(set(titles)) >= 40
    assert sum(len(row.encode()) for row in rows) >= 150_000
    assert all(row == "" or (row.startswith(" ") and row.endswith(" \n")) for row in rows)


def test_wiki_sample_states_only_known_facts_on_bohr(root):
    "A sentence of the sample that names Bohr gives no year but those in the facts."
    facts = (root / "data/public_facts.json").read_text()
    years = set(re.findall(r"\b1[6-9]\d\d\b", facts))
    for path in (root / "data/wiki_sample").glob("*.jsonl"):
        for line in path.read_text().splitlines():
            for sentence in re.split(r"(?<=[.!?]) ", json.loads(line)["text"]):
                if re.search(r"\bBohr\b", sentence): assert set(re.findall(r"\b1[6-9]\d\d\b", sentence)) <= years, sentence


def test_every_committed_text_round_trips(root):
    for name in PRIMERS:
        text = (root / name).read_text()[:200_000]
        assert decode(encode(text)) == text
