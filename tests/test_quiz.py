"The examination: honest questions, a command that fails in one line, and a floor under the shipped model."
import json
import re
from collections import Counter

import pytest
from conftest import assert_user_error

from niels_gpt.chat import load_chat_model
from niels_gpt.quiz import ask, check_form, load_questions, tally
from niels_gpt.templates import PLACEHOLDER, Topic, all_readings, load_facts, load_topics


def plain(text: str) -> str:
    "Return the words of `text`, without case and punctuation."
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def readings(topic: Topic) -> set[str]:
    "Return all questions of a topic, with each way to name Bohr."
    wordings = (*topic.ask, *topic.then, *(text for texts in topic.after.values() for text in texts))
    def named(reading: str, name: str | None) -> str:
        return PLACEHOLDER.sub(lambda m: m[1] if name is None else name + ("'s" if m[1].lower() == "his" else ""), reading)
    return {plain(named(reading, name)) for text in wordings for reading in all_readings(text) for name in ("Niels Bohr", "Bohr", "Niels", None)}


@pytest.fixture(scope="module")
def questions(root):
    return load_questions(root / "data/eval")


def test_the_exam_covers_every_fact_and_group(questions, root):
    asked = Counter(q.about for q in questions if q.group == "facts")
    assert len(questions) >= 250
    assert all(asked[fact["id"]] for fact in load_facts(root / "data/public_facts.json"))
    assert set(q.group for q in questions) == {"facts", "follow-ups", "itself", "unknown", "manners"}


def test_no_sentence_of_the_exam_stands_in_the_primer(questions, root):
    "Questions of up to three words (\"when?\", \"thank you\") are left out: there are few ways to say them."
    known = set().union(*(readings(topic) for topic in load_topics(root / "data/primer_templates")))
    committed = {plain(line.removeprefix("user: ")) for line in (root / "data/primer.txt").read_text().splitlines() if line.startswith("user: ")}
    for question in questions:
        text = plain(question.turns[-1])
        assert len(text.split()) <= 3 or text not in known | committed, question.turns


def test_the_shipped_model_passes_a_part_of_the_exam(questions):
    "A floor under this checkpoint, well below what it reaches; the card has the full table."
    some = [q for q in questions if q.group == "facts"][::6] + [q for q in questions if q.group == "unknown"][::6]
    answers = ask(load_chat_model(device="cpu"), some)
    score = tally(some, answers)
    assert score["facts"][0] >= 0.8 * score["facts"][1], score
    assert score["unknown"][0] >= 0.7 * score["unknown"][1], score
    form = check_form(some, answers)
    assert form["empty"] == form["with a tag"] == form["broken UTF-8"] == 0 and form["ended in time"] >= 0.99, form


@pytest.mark.parametrize("args, words", [
    (("--ckpt", "no/such.pt"), ["no/such.pt"]),
    (("--questions", "tests"), ["robot_facts.json"]),
    (("--questions", "no_such_folder"), ["no_such_folder"]),
    (("--temperature", "-1"), ["temperature"]),
    (("--seed", "-1"), ["seed", "2**63-1"]),
])
def test_a_users_mistake_is_one_line(command, args, words):
    assert_user_error(command("-m", "niels_gpt.quiz", *args), *words)


def test_the_command_writes_every_verdict(command, tmp_path):
    data = {"group": "toy", "questions": [{"turns": ["Hello!"], "accept": ["."]}, {"turns": ["Hello!"], "accept": ["no such reply"]}]}
    (tmp_path / "toy.json").write_text(json.dumps(data))
    done = command("-m", "niels_gpt.quiz", "--questions", tmp_path / "toy.json", "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"toy +1 +2 +50\.0%", done.stdout)
    assert [row["right"] for row in json.loads((tmp_path / "out.json").read_text())] == [True, False]
