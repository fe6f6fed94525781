"""Measures of translation: BLEU and chrF by sacrebleu, with its signatures."""

from collections.abc import Sequence
from typing import Any

from lilllm.errors import ConfigError

NEEDS = "pip install sacrebleu"


def translation_measures(found: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """BLEU and chrF of a whole test set, 0 to 100, as sacrebleu computes them.

    Args:
        found: one translation per sentence.
        references: the right one of each.

    Returns:
        bleu, chrf, and the signature of each, which says how it was computed.

    Raises:
        ConfigError: sacrebleu is not installed.

    Source: Post 2018, arXiv:1804.08771.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as err:
        raise ConfigError("translation is measured by sacrebleu, which is not here", NEEDS) from err
    bleu, chrf = BLEU(), CHRF()
    return {
        "rows": len(found),
        "bleu": bleu.corpus_score(list(found), [list(references)]).score,
        "chrf": chrf.corpus_score(list(found), [list(references)]).score,
        "bleu_signature": str(bleu.get_signature()),
        "chrf_signature": str(chrf.get_signature()),
    }
