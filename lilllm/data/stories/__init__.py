"""Built-in generator of short children's stories: endless, seeded, fast, standard library only."""

from lilllm.data.stories.compose import stories, story
from lilllm.data.stories.model import FEATURES, MOODS, Story
from lilllm.data.stories.rows import (
    classification_rows,
    instruction_rows,
    summary_rows,
    vocabulary,
)

__all__ = [
    "FEATURES",
    "MOODS",
    "Story",
    "classification_rows",
    "instruction_rows",
    "stories",
    "story",
    "summary_rows",
    "vocabulary",
]
