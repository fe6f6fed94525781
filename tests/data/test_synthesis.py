"""Words and recipes: whole words, likeness, asks that repeat, answers that are judged."""

import random

import pytest

from lilllm.data.synthesis import SelfInstruct, StoryRecipe
from lilllm.data.words import missing_words, rouge_l, words_of

STORY = "Once there was a dog. The dog had to {0} the {1}. It was a very {2} day, and all was well."


def test_only_whole_words_count() -> None:
    text = "The Dog's catalogue isn’t here. A hat-stand!"
    assert words_of(text) == ["the", "dog's", "catalogue", "isn't", "here", "a", "hat", "stand"]
    assert missing_words(text, ["cat", "dog", "HERE", "isn't", "hat", "log"]) == [
        "cat",
        "dog",
        "log",
    ]


def test_rouge_l_equals_the_package() -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer", reason="needs the extra eval")
    rouge = scorer.RougeScorer(["rougeL"])
    draw = random.Random(1)
    for _ in range(40):
        first, second = (
            [draw.choice("abcdefgh") for _ in range(draw.randint(1, 90))] for _ in range(2)
        )
        expected = rouge.score(" ".join(first), " ".join(second))["rougeL"].fmeasure
        assert rouge_l(first, second) == pytest.approx(expected)


def test_rouge_l_of_known_texts() -> None:
    police = "police killed the gunman".split()  # the example of Lin 2004
    assert rouge_l(police, "police kill the gunman".split()) == 0.75
    assert rouge_l(police, "the gunman kill police".split()) == 0.5
    assert rouge_l(police, []) == 0.0


def test_asks_are_a_function_of_seed_and_number() -> None:
    first, second = (StoryRecipe(5, ["moral", "twist"], (1, 90)) for _ in range(2))
    asks = [first.ask(number, []) for number in range(50)]
    assert asks[::-1] == [second.ask(number, []) for number in reversed(range(50))]
    assert len({ask.prompt for ask in asks}) == 50
    assert all(ask.prompt.count(word) for ask in asks for word in ask.fields["words"])
    assert {f for ask in asks for f in ask.fields["features"]} == {"moral", "twist"}


def test_a_story_is_kept_only_whole_with_its_words_and_once() -> None:
    recipe = StoryRecipe(0, [], (5, 60))
    ask = recipe.ask(0, [])
    story = STORY.format(*ask.fields["words"])
    kept = recipe.read(ask, f"\n{story}\n", True)
    assert kept.rows[0]["completion"] == story and kept.rows[0]["prompt"] == ask.prompt
    recipe.remember(dict(kept.rows[0]))
    reasons = [
        recipe.read(ask, text, complete).rejected[0][0]
        for text, complete in (
            (story.upper() + "!!", True),
            (story, False),
            ("A dog.", True),
            (story * 4, True),
            (STORY.format(*[f"{word}s" for word in ask.fields["words"]]), True),
        )
    ]
    assert reasons == ["a copy", "cut off", "too short", "too long", "lacks a word"]


def test_self_instruct_keeps_new_tasks_that_text_can_answer() -> None:
    seeds = [{"prompt": "Name three animals that can fly.", "completion": "Bat, bee, owl."}]
    recipe = SelfInstruct(0, seeds, 4, 0.7, (1, 20))
    assert "Name three animals" in recipe.ask(0, []).prompt
    text = (
        "Sure!\nTask: Name three animals that can swim.\nAnswer: Fish, duck, otter.\n"
        "Task: Explain why the sky is blue.\nAnswer: Air scatters\nblue light.\n"
        "Task: Explain why the sky is so blue.\nAnswer: It is.\n"
        "Task: Draw a picture of a house.\nAnswer: no\n"
        "Task: Sing.\nAnswer: la\n"
        "Task: Describe the taste of salt.\nAnswer: It tas"
    )
    read = recipe.read(recipe.ask(0, []), text, False)
    assert [(row["prompt"], row["completion"]) for row in read.rows] == [
        ("Explain why the sky is blue.", "Air scatters\nblue light.")
    ]
    assert [reason for reason, _ in read.rejected] == [
        "a copy",
        "a copy",
        "needs more than text",
        "task too short",
        "cut off",
    ]
    assert recipe.read(recipe.ask(1, []), "I cannot.", True).rejected[0][0].startswith("not in")
    pool = [dict(row) for row in read.rows]
    assert "sky" in recipe.ask(3, pool).prompt
