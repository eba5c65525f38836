"The data in the repository: what it promises, and that it is made by what stands beside it."
import json
import re

from conftest import assert_user_error

from niels_gpt.chat_format import parse_chat
from niels_gpt.config import DIALOGUE_DELIM
from niels_gpt.templates import check_facts, load_facts, load_topics
from niels_gpt.tokenizer import decode, encode

PRIMER = "data/primer.txt"


def questions(path):
    "The user's lines of each dialogue of a primer file."
    dialogues = path.read_text().strip().split(DIALOGUE_DELIM)
    return [[m["content"] for m in parse_chat(dialogue) if m["role"] == "user"] for dialogue in dialogues]


def test_primer_is_what_its_command_writes(command, root, tmp_path):
    out = tmp_path / "primer.txt"
    done = command("tools/generate_primer.py", "--seed", 0, "--n-per-category", 30, "--shuffle", "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == (root / PRIMER).read_bytes()


def test_held_out_dialogues_open_with_questions_that_the_primer_lacks(command, tmp_path):
    out, held_out = tmp_path / "primer.txt", tmp_path / "held_out.txt"
    done = command("tools/generate_primer.py", "--n-per-category", 100, "--out", out, "--held-out", held_out)
    assert done.returncode == 0, done.stderr
    openings = [asked[0] for asked in questions(held_out)]
    assert len(openings) > 1000
    assert not set(openings) & {question for asked in questions(out) for question in asked}


def test_two_sizes_at_once_are_refused_and_nothing_is_written(command, tmp_path):
    out = tmp_path / "primer.txt"
    done = command("tools/generate_primer.py", "--n-per-category", 1, "--n-per-wording", 1, "--out", out)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "not allowed with argument --n-per-category" in done.stderr
    assert not out.exists()


def test_the_primer_does_not_become_its_own_held_out_part(command, tmp_path):
    out = tmp_path / "primer.txt"
    done = command("tools/generate_primer.py", "--out", out, "--held-out", out)
    assert done.returncode == 2 and "same file" in done.stderr
    assert not out.exists()


def test_primer_has_300_different_dialogues_in_form(root):
    dialogues = (root / PRIMER).read_text().strip().split(DIALOGUE_DELIM)
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


def test_committed_primer_round_trips(root):
    text = (root / PRIMER).read_text()
    assert decode(encode(text)) == text
