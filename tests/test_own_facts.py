"Facts of one's own, from the file to a model that answers: a made-up robot, marked as such, in place of Niels Bohr."
import json
import re
import shutil

import pytest
from conftest import assert_user_error

from niels_gpt.quiz import Question, ask, tally
from niels_gpt.subject import load_subject, own_topics
from niels_gpt.templates import all_readings, load_facts

ROBOT = "tests/robot_facts.json"


@pytest.fixture(scope="module")
def primer(command, root, tmp_path_factory):
    "The primer that one command makes of the robot's facts; no templates but a greeting and the bare questions."
    folder = tmp_path_factory.mktemp("robot")
    (folder / "templates").mkdir()
    manners = {"topics": [{"id": "greet", "category": "manners", "ask": ["Hello!", "Hi", "Good morning."], "answer": ["Hello! Ask me about Niels Bohr."], "place": "first"}]}
    (folder / "templates/manners.json").write_text(json.dumps(manners))
    shutil.copy(root / "data/primer_templates/bare_questions.json", folder / "templates")
    done = command("tools/generate_primer.py", "--facts", ROBOT, "--templates", folder / "templates", "--n-per-wording", 40, "--shuffle", "--out", folder / "primer.txt")
    assert done.returncode == 0, done.stderr
    return folder / "primer.txt"


def test_the_primer_speaks_of_the_robot(primer, root):
    text = primer.read_text()
    assert "Bohr" not in text and "Tik the robot's colour is teal." in text
    assert not re.search(r"\b(he|him|his)\b", text, re.IGNORECASE)
    assert text.count("Ask me about Tik the robot.") > 0


def test_a_bare_question_means_what_the_fact_before_it_says(primer):
    replies = re.findall(r"Ada Quill\.\nuser: When\?\nassistant: (.*)", primer.read_text())
    assert replies and all("2031" in reply for reply in replies)


def test_a_short_training_run_learns_the_robot(command, primer, root, tmp_path):
    "A tiny model, a few hundred steps: most facts are right in words that it has seen."
    config = {"model": {"T": 128, "C": 96, "L": 2, "H": 4, "d_ff": 384, "dropout": 0.0},
              "train": {"B": 24, "total_steps": 700, "eval_every": 700, "eval_steps": 2, "ckpt_every": 700, "base_lr": 4e-3, "min_lr": 1e-4, "warmup_steps": 20, "loss_on": "replies",
                        "p_train": {"primer": 1.0}, "out_dir": str(tmp_path / "out")},
              "data": {"enabled_sources": ["primer"], "required_sources": ["primer"], "primer_path": str(primer), "cache_dir": str(tmp_path / "cache")}}
    (tmp_path / "robot.json").write_text(json.dumps(config))
    done = command("-m", "niels_gpt.train", "--config", tmp_path / "robot.json", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    from niels_gpt.chat import load_chat_model
    model, name = load_chat_model(tmp_path / "out/latest.pt", device="cpu"), load_subject(root / ROBOT).short
    def spoken(text: str) -> str: return re.sub(r"\{\w+\}", lambda m: name + "'s" * (m[0].lower() == "{his}"), all_readings(text)[0])
    questions = [Question("facts", t.id, (spoken(text),), (re.escape(t.answer[0].split(" is ")[1]),))
                 for t in own_topics(load_facts(root / ROBOT)) for text in t.ask[::3]]
    right, n = tally(questions, ask(model, questions, system="", max_new_tokens=60))["facts"]
    assert n >= 20 and right >= 0.7 * n, f"{right} of {n} facts"


def test_a_meaning_that_is_no_topic_is_named(command, root, tmp_path):
    data = json.loads((root / ROBOT).read_text())
    data["facts"][2]["means"] = {"when": "yeer"}
    (tmp_path / "facts.json").write_text(json.dumps(data))
    assert_user_error(command("tools/generate_primer.py", "--facts", tmp_path / "facts.json", "--out", tmp_path / "p.txt"), "yeer")


def test_a_fact_without_questions_is_named(command, root, tmp_path):
    data = json.loads((root / ROBOT).read_text())
    del data["facts"][3]["ask"], data["facts"][3]["answer"]
    (tmp_path / "facts.json").write_text(json.dumps(data))
    assert_user_error(command("tools/generate_primer.py", "--facts", tmp_path / "facts.json", "--out", tmp_path / "p.txt"), "year")
    assert not (tmp_path / "p.txt").exists()
