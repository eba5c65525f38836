"The terminal chat and the shipped checkpoint, as a user meets them."
import signal
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, assert_user_error, environment

from niels_gpt.chat import ChatSession, load_chat_model


@pytest.fixture(scope="module")
def session() -> ChatSession:
    "A greedy conversation with the shipped model."
    return ChatSession(load_chat_model(device="cpu"), temperature=0.0)


def test_shipped_checkpoint_is_small_and_holds_a_model_only(root):
    path = root / "checkpoints/niels-gpt.pt"
    assert path.stat().st_size < 20_000_000
    state = torch.load(path, weights_only=True)
    assert state["optimizer_state"] is None and "dice" not in state
    assert state["train_cfg"]["total_steps"] >= 3000
    assert all(torch.equal(w, w.bfloat16().float()) for w in state["model_state"].values() if w.ndim == 2), "decoding reads half the bytes of rounded matrices"
    shape = {"L": 4, "H": 4, "C": 256, "d_ff": 1024}
    assert {name: state["model_cfg"][name] for name in shape} == shape
    assert path.with_suffix(".metrics.jsonl").exists()
    card = path.with_suffix(".md").read_text()
    assert "OpenStax" in card and "creativecommons.org/licenses/by/4.0" in card and "bits per byte" in card


QUESTIONS = {  # simple ones, in everyday words, with what a right answer must hold
    "When was Niels Bohr born?": "1885",
    "Where was Niels Bohr born?": "Copenhagen",
    "When did Bohr die?": "1962",
    "Where did Bohr die?": "Copenhagen",
    "Who was his wife?": "Margrethe",
    "Who was his father?": "Christian",
    "Who was his mother?": "Ellen",
    "Who was Bohr's brother?": "Harald",
    "When did Bohr win the Nobel Prize?": "1922",
    "What did Bohr win the Nobel Prize for?": "atoms",
    "What was Bohr's nationality?": "Danish",
    "Who was his first assistant?": "Kramers",
    "What was his cover name?": "Baker",
    "What was his motto?": "contraria",
    "Which element is named after him?": "bohrium",
    "Where did Bohr play football?": "Akademisk",
    "What is a token?": "byte",
    "What is RoPE?": "rotary",
    "What is your name?": "niels-gpt",
    "What is temperature?": "random",
}


def test_shipped_model_answers_most_simple_questions(session):
    "A floor under this checkpoint, which gets all 20; rounding on another machine may turn one or two."
    replies = {}
    for question in QUESTIONS:
        session.reset()
        replies[question] = session.reply(question)
    wrong = {question: reply for question, reply in replies.items() if QUESTIONS[question].lower() not in reply.lower()}
    assert len(wrong) <= 2, wrong
    assert all(replies.values()) and not any(tag in reply for reply in replies.values() for tag in ("user:", "assistant:", "system:"))


def test_conversation_by_lines(command):
    lines = "Hello!\n\n/help\nWho was Niels Bohr's wife?\n/reset\n/quit\n"
    done = command("-m", "niels_gpt.chat_cli", "--temperature", 0, input=lines)
    assert done.returncode == 0 and done.stderr == ""
    assert "Margrethe" in done.stdout and "starts anew" in done.stdout
    assert done.stdout.count("niels-gpt: ") == 2


def test_same_seed_same_replies(command):
    args = ("-m", "niels_gpt.chat_cli", "--seed", 7)
    first, second = (command(*args, input="Hello!\nWho are you?\n").stdout for _ in range(2))
    assert first == second


def test_system_prompt_from_file_and_text(command, tmp_path):
    path = tmp_path / "system.txt"
    path.write_text("You are a small chatbot.\n")
    a = command("-m", "niels_gpt.chat_cli", "--system-file", path, input="Hi\n")
    b = command("-m", "niels_gpt.chat_cli", "--system", "You are a small chatbot.", input="Hi\n")
    assert a.returncode == b.returncode == 0 and a.stdout == b.stdout


def test_broken_bytes_on_standard_input_do_no_harm():
    done = subprocess.run([sys.executable, "-m", "niels_gpt.chat_cli"], input=b"caf\xc3 \xff hello\n", capture_output=True,
                          cwd=ROOT, env=environment(), timeout=120)
    assert done.returncode == 0 and b"Traceback" not in done.stderr


def test_ctrl_c_at_the_prompt_leaves_quietly():
    process = subprocess.Popen([sys.executable, "-m", "niels_gpt.chat_cli"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
    seen = ""
    while not seen.endswith("you: "): seen += process.stdout.read(1)  # the prompt stands: the model is loaded
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and errors == ""


@pytest.mark.parametrize("args, words", [
    (("--temperature", "-1"), ["temperature"]),
    (("--top-k", "0"), ["top_k", "1..256"]),
    (("--top-k", "257"), ["top_k", "1..256"]),
    (("--max-new-tokens", "0"), ["max_new_tokens"]),
    (("--seed", "-1"), ["seed", "2**63-1"]),
    (("--seed", "99999999999999999999"), ["seed", "2**63-1"]),
    (("--ckpt", "nowhere.pt"), ["nowhere.pt"]),
    (("--ckpt", "README.md"), ["README.md"]),
    (("--system-file", "nowhere.txt"), ["nowhere.txt"]),
    (("--system", "x" * 5000), ["system prompt"]),
])
def test_mistakes_get_one_line(command, args, words):
    assert_user_error(command("-m", "niels_gpt.chat_cli", *args, input="hello\n"), *words)


def test_loading_a_checkpoint_runs_no_code(command, tmp_path):
    import pickle
    class Evil:
        def __reduce__(self): return (open, (str(tmp_path / "owned"), "w"))
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Evil()))
    assert_user_error(command("-m", "niels_gpt.chat_cli", "--ckpt", path, input=""), "evil.pt")
    torch.save({"x": Evil()}, path)
    assert_user_error(command("-m", "niels_gpt.chat_cli", "--ckpt", path, input=""), "evil.pt")
    assert not (tmp_path / "owned").exists()


def test_help_is_for_newcomers(command):
    done = command("-m", "niels_gpt.chat_cli", "--help")
    assert done.returncode == 0
    for word in ("--ckpt", "--temperature", "--top-k", "--seed", "--system-file", "--max-new-tokens"): assert word in done.stdout
