"Write data/primer.txt: short dialogues about Niels Bohr, composed from templates that are checked against the facts."
import argparse
import sys

from niels_gpt.primer import check_facts, compose_dialogues, join_dialogues, load_facts, load_topics, write_primer
from niels_gpt.terminal import run_command

SHOWN = 5  # complaints that the error names


def parse_args() -> argparse.Namespace:
    "Return the command line's options."
    parser = argparse.ArgumentParser(description=__doc__, epilog="The same options give the same file, byte for byte.")
    parser.add_argument("--seed", type=int, default=0, help="another number gives other dialogues (default: %(default)s)")
    parser.add_argument("--n-per-category", type=int, default=30, metavar="N", help="dialogues that open with each category of questions (default: %(default)s)")
    parser.add_argument("--shuffle", action="store_true", help="mix the categories; without it they follow one another")
    parser.add_argument("--templates", default="data/primer_templates", metavar="FOLDER", help="folder of question and answer templates, *.json (default: %(default)s)")
    parser.add_argument("--facts", default="data/public_facts.json", metavar="FILE", help="what the answers may claim (default: %(default)s)")
    parser.add_argument("--out", default="data/primer.txt", metavar="FILE", help="the file to write; an old one is replaced (default: %(default)s)")
    return parser.parse_args()


def main(args: argparse.Namespace) -> None:
    "Check the templates, compose, write, and print what was written."
    topics = load_topics(args.templates)
    complaints = check_facts(topics, load_facts(args.facts))
    if complaints:
        more = f"; and {len(complaints) - SHOWN} more" if len(complaints) > SHOWN else ""
        raise ValueError(f"the answers do not agree with {args.facts}: {'; '.join(complaints[:SHOWN])}{more}")
    dialogues = compose_dialogues(topics, n_per_category=args.n_per_category, seed=args.seed, shuffle=args.shuffle)
    write_primer(args.out, dialogues)
    for category in dict.fromkeys(t.category for t in topics):
        members = [t for t in topics if t.category == category]
        print(f"{category:12s} {args.n_per_category} dialogues, {len(members)} topics, {sum(len(t.ask) for t in members)} questions")
    print(f"{args.out}: {len(dialogues)} dialogues, {len(join_dialogues(dialogues).encode()):,} bytes")


if __name__ == "__main__":
    args = parse_args()
    sys.exit(run_command(lambda: main(args)))
