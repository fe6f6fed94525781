"""Measures of tasks against their packages, or by hand."""

import math

import pytest

from lilllm.evaluation.classification import classification_measures, wilson_interval
from lilllm.evaluation.summarization import lead, summarization_measures
from lilllm.evaluation.translation import translation_measures


def test_classification_by_hand() -> None:
    gold = ["a", "a", "a", "b"]
    measured = classification_measures(gold, ["a", "b", "a", "b"], ("a", "b"))
    assert measured["accuracy"] == 0.75
    assert measured["f1"] == pytest.approx({"a": 0.8, "b": 2 / 3})
    assert measured["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert measured["confusion"] == [[2, 1], [0, 1]]


def test_an_answer_that_is_no_label_is_wrong_and_has_its_own_column() -> None:
    measured = classification_measures(["a", "b"], ["a", "maybe"], ("a", "b"))
    assert measured["accuracy"] == 0.5
    assert measured["confusion"] == [[1, 0, 0], [0, 0, 1]]


def test_f1_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    gold = [str(n * 7 % 3) for n in range(50)]
    found = [str(n * 5 % 3) if n % 4 else gold[n] for n in range(50)]
    measured = classification_measures(gold, found, ("0", "1", "2"))
    expected = metrics.f1_score(gold, found, average=None)
    assert list(measured["f1"].values()) == pytest.approx(list(expected))
    assert measured["confusion"] == metrics.confusion_matrix(gold, found).tolist()


def test_a_label_that_nobody_says_does_not_count_in_the_mean() -> None:
    measured = classification_measures(["a", "b"], ["a", "b"], ("a", "b", "c"))
    assert measured["macro_f1"] == 1 and measured["f1"]["c"] == 0


def test_the_interval_holds_the_share_and_narrows() -> None:
    low, high = wilson_interval(87, 100)
    assert low < 0.87 < high and high - low == pytest.approx(0.132, abs=0.003)
    assert math.isclose(wilson_interval(0, 10)[0], 0, abs_tol=1e-9)


def test_translation_is_sacrebleus_with_its_signature() -> None:
    import sacrebleu

    found = ["Ein Hund rennt über das Gras.", "Zwei Männer sitzen."]
    right = ["Ein Hund läuft über das Gras.", "Zwei Männer sitzen da."]
    measured = translation_measures(found, right)
    assert measured["bleu"] == pytest.approx(sacrebleu.corpus_bleu(found, [right]).score)
    assert measured["chrf"] == pytest.approx(sacrebleu.corpus_chrf(found, [right]).score)
    assert "tok:13a" in measured["bleu_signature"]


def test_summaries_are_measured_by_rouge() -> None:
    assert summarization_measures(["a cat sat"], ["a cat sat"])["rougeL"] == 1
    assert summarization_measures(["a dog"], ["no match here"])["rouge1"] == 0


@pytest.mark.parametrize(
    "text", ["Кошка сидела на крыше", "猫在屋顶上睡觉", "고양이가 잔다", "Größe"]
)
def test_words_of_every_script_count(text: str) -> None:
    assert summarization_measures([text], [text])["rouge1"] == 1
    assert summarization_measures(["Fährt schnell Haß"], ["Für schöne Häuser"])["rouge1"] == 0
    assert summarization_measures(["猫在睡觉"], ["狗在睡觉"])["rouge1"] == pytest.approx(3 / 4)


def test_ascii_words_are_those_of_the_package() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    said, right = "The dogs_were running, it's 3.5 miles\n(twice)!", "A dog runs 3 miles; it's late"
    theirs = RougeScorer(["rouge1", "rougeL"], use_stemmer=True).score(right, said)
    ours = summarization_measures([said], [right])
    assert (ours["rouge1"], ours["rougeL"]) == (
        theirs["rouge1"].fmeasure,
        theirs["rougeL"].fmeasure,
    )


@pytest.mark.parametrize(
    ("text", "count", "first"),
    [
        ("One. Two! Three?", 1, "One."),
        ('"Hi," he said. Then he left. End.', 2, '"Hi," he said. Then he left.'),
        ("#Person1#: Hi\n#Person2#: Hello there", 1, "#Person1#: Hi"),
        ("no end", 3, "no end"),
    ],
)
def test_lead_is_the_first_sentences(text: str, count: int, first: str) -> None:
    assert lead(text, count) == first
