"""Self-instruct: from a few seed tasks, many others of the same kind.

The writer sees tasks drawn from the seeds and from what it wrote before, and writes more; a task
too like one that is known is not kept. Source: Wang et al. 2023, arXiv:2212.10560, section 2.
Deviations: a task and its answer come from one request, as in Taori et al. 2023 (Alpaca), and
there is no separate treatment of classification.
"""

import re
from collections.abc import Sequence

from lilllm.data.synthesis.recipe import Ask, Read, Row, draws, length_problem
from lilllm.data.words import rouge_l, words_of

SYSTEM = (
    "You write tasks for training an assistant that can read and write text, and the best answer "
    "to each. Tasks differ in topic, form and length. Keep exactly to the given form."
)
SEEDS_SHOWN, WRITTEN_SHOWN = 3, 1
TASK_WORDS = (3, 150)
NEEDS_MORE_THAN_TEXT = frozenset(
    "image images picture pictures graph graphs photo photos video videos audio file files "
    "website link draw plot".split()
)
_TASK = re.compile(r"^Task:[ \t]*(.+?)^Answer:[ \t]*(.+?)(?=^Task:|\Z)", re.MULTILINE | re.DOTALL)


class SelfInstruct:
    """New tasks from seed tasks.

    Args:
        seed: of the choice of examples.
        seeds: rows with `prompt` and `completion`; at least one.
        per_ask: tasks to write per request.
        max_similarity: a task with a known one of this ROUGE-L or more is a copy.
        words: an answer's least and most words.
    """

    def __init__(
        self,
        seed: int,
        seeds: Sequence[Row],
        per_ask: int,
        max_similarity: float,
        words: tuple[int, int],
    ) -> None:
        self.seed, self.seeds, self.per_ask = seed, list(seeds), per_ask
        self.max_similarity, self.words = max_similarity, words
        self.known = [words_of(row["prompt"]) for row in seeds]

    def remember(self, row: Row) -> None:
        """Know a task that is kept."""
        self.known.append(words_of(row["prompt"]))

    def ask(self, number: int, pool: Sequence[Row]) -> Ask:
        """Show examples, ask for more."""
        draw = draws(self.seed, number)
        shown = draw.sample(self.seeds, min(SEEDS_SHOWN, len(self.seeds)))
        shown += draw.sample(pool, min(WRITTEN_SHOWN, len(pool)))
        examples = "\n\n".join(
            f"Task: {row['prompt'].strip()}\nAnswer: {row['completion'].strip()}" for row in shown
        )
        prompt = (
            f"Here are {len(shown)} tasks with their answers.\n\n{examples}\n\nWrite "
            f"{self.per_ask} new ones in the same form, each beginning with `Task:` and "
            "`Answer:`, unlike these and unlike each other."
        )
        return Ask(number, SYSTEM, prompt)

    def read(self, ask: Ask, text: str, complete: bool) -> Read:
        """Keep every task of an answer that is whole, new, and can be done with text."""
        found = [(task.strip(), answer.strip()) for task, answer in _TASK.findall(text + "\n")]
        if not found:
            return Read(rejected=[("not in the asked form", text)])
        rows: list[Row] = []
        rejected: list[tuple[str, str]] = []
        for index, (task, answer) in enumerate(found):
            cut = not complete and index == len(found) - 1
            new = [words_of(row["prompt"]) for row in rows]
            if reason := "cut off" if cut else self._problem(task, answer, new):
                rejected.append((reason, f"Task: {task}\nAnswer: {answer}"))
            else:
                rows.append({"prompt": task, "completion": answer})
        return Read(rows, rejected)

    def _problem(self, task: str, answer: str, new: Sequence[list[str]]) -> str:
        words = words_of(task)
        if reason := length_problem(len(words), *TASK_WORDS):
            return f"task {reason}"
        if reason := length_problem(len(words_of(answer)), *self.words):
            return f"answer {reason}"
        if not NEEDS_MORE_THAN_TEXT.isdisjoint(words):
            return "needs more than text"
        likeness = max((rouge_l(words, known) for known in [*self.known, *new]), default=0.0)
        return "a copy" if likeness >= self.max_similarity else ""
