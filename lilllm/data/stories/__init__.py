"""Built-in generator of short children's stories: endless, seeded, fast, standard library only.

What is simulated: a `World` holds a cast (a hero, a friend whose pronouns differ from the
hero's, an elder), the hour, the sky, where things are and who holds them, and whether the
friend is there. Each plot in `plots` moves one world through causes and tries: what is lost
lies where both hands were needed, a mend fails for a reason, a trace leads to the taker. Most
plots end in several ways (mended, too late, a wrong guess), and what is told later is read
from the state: pronouns, holders, weather, the night after the evening. `World.say` tells one
of several renderings of an event; in a quiet story it takes those without speech, and it turns
a repeated name into a pronoun. `scenes` has what all plots share (the opening, the day, the
closing mood, the lesson), `lexicon` the words, `compose` the seeding and the three words that
can be asked for, `rows` the training rows. To add a plot: write a function `(World) -> None` in
`plots` that calls `intro`, tells its events with `say` and `para` (speech in `«»`, at least one
rendering without speech where possible), sets `summary` and, where true, `bad` and `twist`,
and ends in `close`; then list it in `PLOTS`, run the tests, read thirty of its stories aloud,
and renew the golden hash, since every plot in the list shifts all stories.
"""

from lilllm.data.stories.compose import stories, story
from lilllm.data.stories.model import FEATURES, MOODS, Story
from lilllm.data.stories.requests import word_request_rows
from lilllm.data.stories.rows import (
    classification_rows,
    instruction_rows,
    opening_rows,
    summary_rows,
    vocabulary,
)

__all__ = [
    "FEATURES",
    "MOODS",
    "Story",
    "classification_rows",
    "instruction_rows",
    "opening_rows",
    "stories",
    "story",
    "summary_rows",
    "vocabulary",
    "word_request_rows",
]
