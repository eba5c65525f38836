"""Make a run's best checkpoint the one that ships: weights only, its metrics, and a model card from both.

python tools/ship_checkpoint.py --run checkpoints/chat --text TEXT_CARD.json

With --average the mean of several checkpoints ships: the weights of one run at different steps are near enough to each other
that their mean is a model, too, and often a better one (Izmailov et al. 2018; Wortsman et al. 2022).
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from niels_gpt.callbacks import read_metrics
from niels_gpt.chat import load_chat_model
from niels_gpt.checkpoint import load_checkpoint, load_model, save_checkpoint
from niels_gpt.config import load_json
from niels_gpt.files import atomic_write
from niels_gpt.model.decoding_c import round_weights
from niels_gpt.model.gpt import GPT
from niels_gpt.quiz import ask, check_form, load_questions, tally
from niels_gpt.terminal import run_command

CARD = """# Model card: niels-gpt

A byte-level GPT of {n_params:,} parameters that chats about Niels Bohr in the third person, and about itself.
This card was written by `tools/ship_checkpoint.py` from the run's own record, `{metrics}`.

## Data

| source | probability, last phase | training bytes | held-out bytes | what it is |
|---|---:|---:|---:|---|
{sources}

{attribution}

## Run

{shape}

{train}

Phases, each going on where the one before it ended: {phases}. Trained on {device} with torch {torch}: {steps:,} steps of {batch:,} bytes, {seen:,} bytes in all, at {last_rate}.

{averaged}The matrices are rounded to bfloat16 numbers, as the products of the training saw them; a reply then reads half the bytes.

## Held-out loss

Checkpoint of step {step:,}, {before}; {eval_windows} random windows a source, float32.

| source | nats per byte | bits per byte |
|---|---:|---:|
{losses}

## Exam

`python -m niels_gpt.quiz` asks the questions in `data/eval/`, none of which stands in the primer (but for some of up to three
words), each in a conversation of its own with the default system prompt. Some of them were looked at while the model was trained.
The others were written by authors who saw neither the first nor the primer. The second, the third and the fourth, in `data/eval/second/`,
`third/` and `fourth/`, were asked before the last phase and are not unseen any more: what failed there said what to write for it. The fifth,
`data/eval/fifth/`, was written while that phase ran; nothing was trained after it was asked, and which weights ship was settled by
the others. The sixth and the seventh, `data/eval/sixth/` and `seventh/`, were written when all was settled, and asked of the weights that
ship. A part of their questions happens to stand in the primer (chapter 08a2 counts them). "Seen" are questions in `data/eval/seen/`,
which all do. Right replies, by exam and temperature:

{exam}

## Limits

- It was trained on the facts in `data/public_facts.json`, in the words of `data/primer_templates/`, and on no others. It does
  not recall all of them, mixes up near questions (when and where, a prize and its reason), and states what is wrong in the
  same fluent English as what is right. Do not use it as a source.
- It was trained to say that it does not know; it will not always do so.
- It reads {T} bytes at most; of a longer conversation it forgets the oldest turns.
- English only. It has no safety training beyond the dialogues of the primer.
"""


def source_rows(run: dict[str, Any], text: dict[str, Any]) -> str:
    "Return the table's rows on the run's sources."
    what = {"wiki": text["name"], "primer": "dialogues composed by `tools/generate_primer.py`, our own words", "roam": "the user's own notes"}
    return "\n".join(f"| {name} | {p:.2f} | {run['train_bytes'][name]:,} | {run['val_bytes'].get(name, 0):,} | {what[name]} |"
                     for name, p in run["p"].items())


def settings_table(title: str, settings: dict[str, Any]) -> str:
    "Return a config as a table."
    return f"| {title} | |\n|---|---|\n" + "\n".join(f"| `{name}` | {value} |" for name, value in settings.items())


def phases(runs: list[dict[str, Any]]) -> str:
    "Say from which step on the run drew from its sources how."
    def mix(run: dict[str, Any]) -> str: return ", ".join(f"{name} {p:.2f}" for name, p in run["p"].items())
    return "; ".join(f"from step {run['step']:,} {mix(run)}, base_lr {run['train']['base_lr']:g} to step {run['train']['total_steps']:,}, "
                     f"loss on {run['train'].get('loss_on', 'all')}, {run['train_bytes'].get('primer', 0):,} bytes of primer" for run in runs)


@torch.no_grad()
def average(models: Sequence[GPT]) -> GPT:
    "Return the first model with the mean of all their weights. Raises `ValueError` where they differ in shape."
    if len({model.cfg for model in models}) > 1: raise ValueError("only checkpoints of one shape can be averaged")
    for first, *others in zip(*(model.parameters() for model in models)):
        for other in others: first += other
        first /= len(models)
    return models[0]


FOLDERS = {"new": "data/eval", **{name: f"data/eval/{name}" for name in ("second", "third", "fourth", "fifth", "sixth", "seventh", "seen")}}
EXAMS = [(f"{name}, {t:g}", folder, t) for name, folder in FOLDERS.items() for t in ((0.0,) if name == "seen" else (0.0, 0.7))]  # title, questions, temperature


def form_line(title: str, form: dict[str, float], n: int) -> str:
    "Say in what form n replies were."
    return (f"- {title}: of {n} replies {form['empty']} empty, {form['with a tag']} with a speaker tag, {form['broken UTF-8']} broken UTF-8; "
            f"{form['ended in time']:.1%} ended by a stop sequence within 200 bytes; {form['refused a known fact']:.1%} of the facts refused")


def examine(checkpoint: Path) -> str:
    "Return the table of right replies by group and exam, and what is to be said of their form."
    model, tallies, forms = load_chat_model(checkpoint), [], []
    for title, folder, temperature in EXAMS:
        questions = load_questions(folder)
        answers = ask(model, questions, temperature=temperature)
        tallies.append(tally(questions, answers))
        forms.append(form_line(title, check_form(questions, answers), len(questions)))
    def cell(right: int, n: int) -> str: return f"{right} of {n}, {right / n:.1%}"
    rows = [f"| {group} | {' | '.join(cell(*t[group]) for t in tallies)} |" for group in tallies[0]]
    return "\n".join([f"| group | {' | '.join(title for title, *_ in EXAMS)} |", "|---" * (len(EXAMS) + 1) + "|", *rows, "", *forms])


def write_card(path: Path, metrics: Path, steps_taken: Sequence[int], text: dict[str, Any], exam: str) -> None:
    "Write the model card from the run's metrics and the exam's table; the first of `steps_taken` is the run's, the others were averaged in."
    step, *more = steps_taken
    averaged = f"The weights are the mean of those at the steps {', '.join(f'{s:,}' for s in sorted(steps_taken))}. " if more else ""
    rows = read_metrics(metrics)
    runs = [row for row in rows if row["kind"] == "run"]
    run = runs[-1]
    best = next(row for row in rows if row["kind"] == "eval" and row["step"] == step)
    rates = sorted(row["tokens_per_s"] for row in rows if row["kind"] == "train")
    losses = "\n".join(f"| {name} | {loss:.4f} | {best['bits_per_byte'][name]:.4f} |" for name, loss in best["loss"].items())
    batch, steps = run["train"]["B"] * run["model"]["T"], max(row["step"] for row in rows)
    card = CARD.format(
        n_params=run["n_params"], metrics=metrics.name, sources=source_rows(run, text), attribution=text["attribution"], phases=phases(runs),
        shape=settings_table("model", run["model"]), train=settings_table("training, last phase", {k: v for k, v in run["train"].items() if k != "out_dir"}),
        device=run["device"], torch=run["torch"].split("+")[0], steps=steps, batch=batch, seen=steps * batch, step=step,
        last_rate=f"{rates[len(rates) // 2]:,.0f} bytes a second (median)", eval_windows=run["train"]["eval_steps"] * run["train"]["B"],
        losses=losses, exam=exam, T=run["model"]["T"], averaged=averaged, before="before averaging and rounding" if more else "before rounding")
    with atomic_write(path) as file: file.write(card.encode())


def ship(args: argparse.Namespace) -> None:
    "Write niels-gpt.pt, .metrics.jsonl and .md into the output folder."
    text = load_json(args.text)
    if set(text) != {"name", "attribution"}: raise ValueError(f"{args.text} must hold the keys name and attribution")
    sources = [args.run / args.which, *args.average]
    state, *others = (load_checkpoint(source, device="cpu") for source in sources)
    target = args.out / "niels-gpt.pt"
    model = round_weights(average([load_model(source) for source in sources]))
    save_checkpoint(target, model_cfg=state["model_cfg"], train_cfg=state["train_cfg"], model=model, optimizer=None,
                    step=state["step"], best_val_loss=state["best_val_loss"])
    metrics = target.with_suffix(".metrics.jsonl")
    shutil.copyfile(args.run / "metrics.jsonl", metrics)
    write_card(target.with_suffix(".md"), metrics, [state["step"], *(other["step"] for other in others)], text, examine(target))
    print(f"{target}: step {state['step']}, {target.stat().st_size:,} bytes; with its metrics and its card")


def main() -> int:
    "Parse the command line and ship."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="the run's out_dir")
    parser.add_argument("--which", default="best.pt", help="file of the run to ship (default: %(default)s)")
    parser.add_argument("--average", type=Path, nargs="+", default=[], metavar="FILE", help="checkpoints whose weights are averaged with it")
    parser.add_argument("--text", type=Path, required=True, help='JSON with the "name" and the "attribution" of the encyclopedic text')
    parser.add_argument("--out", type=Path, default=Path("checkpoints"), help="folder to write to (default: %(default)s)")
    args = parser.parse_args()
    return run_command(lambda: ship(args))


if __name__ == "__main__":
    sys.exit(main())
