"Examine every kept checkpoint of a chat run, and record what it knew by how often it had read each fact."
import argparse
import sys
from collections import Counter
from pathlib import Path

from niels_gpt.callbacks import read_metrics
from niels_gpt.chat_format import parse_chat
from niels_gpt.checkpoint import load_checkpoint
from niels_gpt.config import DIALOGUE_DELIM, save_json
from niels_gpt.data import load_primer_text
from niels_gpt.primer import fill
from niels_gpt.quiz import ask, check_form, load_questions, tally
from niels_gpt.templates import load_facts, load_topics
from niels_gpt.terminal import run_command
from ship_checkpoint import FOLDERS


def count_answers(primer: str, templates: str) -> Counter:
    "Count the answers of each topic in the text of a primer."
    topic_of = {fill(answer, name): t.id for t in load_topics(templates) for answer in t.answer for name in (None, "Bohr", "Niels Bohr")}
    replies = (m["content"] for dialogue in primer.strip().split(DIALOGUE_DELIM) for m in parse_chat(dialogue) if m["role"] == "assistant")
    return Counter(topic_of.get(reply) for reply in replies)


def examine(path: Path, exams: dict[str, list], temperature: float) -> dict:
    "Return the row of one checkpoint: right replies by group, and the form of all."
    from niels_gpt.chat import load_chat_model
    model, row = load_chat_model(path), {"step": load_checkpoint(path, device="cpu")["step"], "temperature": temperature}
    for name, questions in exams.items():
        answers = ask(model, questions, temperature=temperature)
        row[name] = tally(questions, answers) | {"form": check_form(questions, answers)}
        row[f"{name}_facts"] = {about: sum(q.is_right(a.reply) for q, a in zip(questions, answers) if (q.group, q.about) == ("facts", about))
                                for about in {q.about for q in questions if q.group == "facts"}}
    return row


def main(args: argparse.Namespace) -> None:
    "Examine, checkpoint by checkpoint, and write the record."
    primer = load_primer_text(args.primer)
    counts, facts = count_answers(primer, args.templates), [f["id"] for f in load_facts(args.facts)]
    exams = {name: load_questions(folder) for name, folder in FOLDERS.items()}
    asked = {name: Counter(q.about for q in questions if q.group == "facts") for name, questions in exams.items()}
    run = [row for row in read_metrics(Path(args.run) / "metrics.jsonl") if row["kind"] == "run"][-1]
    record = {"start": args.start, "bytes_per_step": run["train"]["B"] * run["model"]["T"] * run["p"]["primer"], "primer_bytes": len(primer.encode()), "answers": {id: counts[id] for id in facts}, "asked": asked, "rows": []}
    for path in sorted(Path(args.run).glob("step_*.pt"))[::-args.every][::-1]:
        for temperature in args.temperatures:
            record["rows"].append(examine(path, exams, temperature))
            print(path.name, record["rows"][-1]["new"], flush=True)
    save_json(args.out, record)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="checkpoints/chat", metavar="FOLDER", help="holds step_*.pt (default: %(default)s)")
    parser.add_argument("--start", type=int, default=5000, metavar="N", help="step at which the phase of dialogues began (default: %(default)s)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="examine each Nth of them, the last one included (default: all)")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0], metavar="X", help="(default: 0)")
    parser.add_argument("--primer", default="data/primer_chat.txt", metavar="FILE", help="what the run read (default: %(default)s)")
    parser.add_argument("--templates", default="data/primer_templates", metavar="FOLDER", help="(default: %(default)s)")
    parser.add_argument("--facts", default="data/public_facts.json", metavar="FILE", help="(default: %(default)s)")
    parser.add_argument("--out", default="data/runs/quiz.json", metavar="FILE", help="(default: %(default)s)")
    args = parser.parse_args()
    sys.exit(run_command(lambda: main(args)))
