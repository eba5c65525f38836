"Write a primer: short dialogues about Niels Bohr, or whom your facts are about, from templates that are checked against the facts."
import argparse
import sys
from dataclasses import replace
from pathlib import Path

from niels_gpt.primer import check_facts, compose_dialogues, join_dialogues, load_facts, load_topics, unasked, write_primer
from niels_gpt.subject import fit_topics, load_subject
from niels_gpt.templates import Topic, load_bare, split_wordings
from niels_gpt.terminal import run_command

SHOWN = 5  # complaints that the error names


def times(text: str) -> tuple[str, int]:
    "Read NAME=K. Raises `ValueError` for another form."
    name, k = text.split("=")
    if int(k) < 1: raise ValueError
    return name, int(k)


def parse_args() -> argparse.Namespace:
    "Return the command line's options."
    parser = argparse.ArgumentParser(description=__doc__, epilog="The same options give the same files, byte for byte.")
    parser.add_argument("--seed", type=int, default=0, help="another number gives other dialogues (default: %(default)s)")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--n-per-category", type=int, metavar="N", help="dialogues that open with each category of questions (default: 30)")
    size.add_argument("--n-per-wording", type=int, metavar="N", help="instead: dialogues that open with each wording of each question")
    parser.add_argument("--times", type=times, nargs="+", default=[], metavar="NAME=K", help="K times as many dialogues open with a category of that name, or with any of the facts (facts=K)")
    parser.add_argument("--shuffle", action="store_true", help="mix the categories; without it they follow one another")
    parser.add_argument("--held-out", metavar="FILE", help="keep one wording in eight out of the primer, and write dialogues of those to FILE")
    parser.add_argument("--templates", default="data/primer_templates", metavar="FOLDER", help="folder of question and answer templates, *.json (default: %(default)s)")
    parser.add_argument("--facts", default="data/public_facts.json", metavar="FILE", help="what the answers may claim (default: %(default)s)")
    parser.add_argument("--out", default="data/primer.txt", metavar="FILE", help="the file to write; an old one is replaced (default: %(default)s)")
    args = parser.parse_args()
    if args.n_per_wording is None and args.n_per_category is None: args.n_per_category = 30
    if args.times and args.n_per_wording is None: parser.error("--times needs --n-per-wording")
    if args.held_out and Path(args.held_out).resolve() == Path(args.out).resolve(): parser.error("--held-out and --out name the same file")
    return args


def load_checked(args: argparse.Namespace) -> list[Topic]:
    "Return the topics. Raises `ValueError` with the first complaints if an answer says more than the facts."
    facts = load_facts(args.facts)
    topics = fit_topics(load_topics(args.templates), facts, load_subject(args.facts), load_bare(args.templates))
    complaints = check_facts(topics, facts)
    if not complaints: return topics
    more = f"; and {len(complaints) - SHOWN} more" if len(complaints) > SHOWN else ""
    raise ValueError(f"the answers do not agree with {args.facts}: {'; '.join(complaints[:SHOWN])}{more}")


def weigh(topics: list[Topic], args: argparse.Namespace) -> list[Topic]:
    "Return the topics with their wordings repeated as `--times` says. Raises `ValueError` for a name that no topic has."
    factor = dict(args.times)
    if "facts" in factor: factor |= {fact["group"]: factor["facts"] for fact in load_facts(args.facts)}
    names = {"facts", *(t.category for t in topics)}
    if unknown := set(factor) - names - {fact["group"] for fact in load_facts(args.facts)}:
        raise ValueError(f"--times: no category {', '.join(sorted(unknown))}; there are {', '.join(sorted(names))}")
    return [replace(t, ask=t.ask * factor.get(t.category, 1)) for t in topics]


def main(args: argparse.Namespace) -> None:
    "Check the templates, compose, write, and print what was written."
    topics, held_out = load_checked(args), []
    if args.held_out: topics, held_out = split_wordings(topics)
    chance = {"seed": args.seed, "shuffle": args.shuffle, "subject": load_subject(args.facts)}
    files = {args.out: compose_dialogues(weigh(topics, args), n_per_category=args.n_per_category, n_per_wording=args.n_per_wording, **chance)}
    if args.held_out: files[args.held_out] = unasked(compose_dialogues(held_out, n_per_wording=1, **chance), files[args.out])
    for path, dialogues in files.items(): write_primer(path, dialogues)
    for category in dict.fromkeys(t.category for t in topics):
        members = [t for t in topics if t.category == category]
        print(f"{category:12s} {len(members):4d} topics, {sum(len(t.ask) for t in members):5d} wordings")
    for path, dialogues in files.items(): print(f"{path}: {len(dialogues):,} dialogues, {len(join_dialogues(dialogues).encode()):,} bytes")


if __name__ == "__main__":
    args = parse_args()
    sys.exit(run_command(lambda: main(args)))
