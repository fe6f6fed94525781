# ruff: noqa: E501 (one sentence is one line)
"""Sentences every plot shares: meeting the hero, the sky, the closing mood, the lesson.

Each reads the world and never contradicts it; what happens in between is the plots'.
"""

from lilllm.data.stories.lexicon import ACTIVITIES
from lilllm.data.stories.world import EVENING, HOURS, World, an

LESSON_MARKS = ("learned that", "never forgot that", "always remembered that", "understood that")
"""Every lesson sentence holds one of these, and no other closing sentence does."""


def sky_line(w: World) -> str:
    """A sentence about the weather now."""
    hour = HOURS[w.hour]
    sky = w.sky
    if sky == "sunny":
        return w.pick((
            f"It was a warm, sunny {hour}.",
            "The sun was shining.",
            "There was not one cloud in the sky.",
            f"The {hour} was bright and warm.",
            f"It was a beautiful {hour}, and birds were singing everywhere.",
        ))  # fmt: skip
    if sky == "windy":
        return w.pick((
            f"It was a windy {hour}.",
            "The wind was blowing hard.",
            "The wind pushed and pulled at everything.",
            f"All {hour} long, the wind shook the trees.",
        ))  # fmt: skip
    if sky == "rainy":
        return w.pick((
            f"It was a rainy {hour}.",
            "Rain tapped on the roof.",
            f"It had rained since early {hour}, and it did not want to stop.",
            "Rain ran down the windows.",
        ))  # fmt: skip
    if sky == "snowy":
        return w.pick((
            f"It was a cold, snowy {hour}.",
            "Soft snow was falling.",
            "In the night, snow had covered everything.",
            "The whole world was white with snow.",
        ))  # fmt: skip
    return w.pick((
        f"It was a cloudy {hour}.",
        "Gray clouds hung low in the sky.",
        f"The {hour} was cool and gray.",
        "The sun was hiding behind the clouds.",
    ))  # fmt: skip


def intro(w: World, traits: tuple[str, ...] = (), loves: str = "") -> None:
    """The hero enters, perhaps with the weather; one to three sentences.

    Args:
        w: the world.
        traits: what the plot needs the hero to be; any trait if empty.
        loves: what the hero loves to do, completing `to ...`; any activity if empty.
    """
    h = w.hero
    if traits:
        h.trait = w.pick(traits)
    who = f"{an(h.trait)} {h.kind}"
    love = loves or w.pick(ACTIVITIES)
    n, he = h.n, h.he
    if w.rnd() < 0.24:
        w.say(sky_line(w))
        w.say(
            f"{n}, {who} who loved to {love}, looked out of the window.",
            f"{n} was {who} who loved to {love}.",
            f"On such a day, {who} named {n} liked to {love}.",
            f"In a little house lived {who} named {n}. Even on such a day, {he} wanted to {love}.",
        )
        return
    kind = h.kind
    w.say(
        f"Once upon a time, there was {who} named {n}. {h.He} loved to {love}.",
        f"Once there was {who} who loved to {love}. {h.His} name was {n}.",
        f"{n} was {who} who loved to {love}.",
        f"There was once {who} called {n}, who liked to {love}.",
        f"In a little house at the end of the lane lived {who} named {n}. {h.He} loved to {love}.",
        f"In a green valley lived {who} named {n}. Most of all, {he} loved to {love}.",
        f"{n} the {kind} liked many things, but best of all {he} liked to {love}.",
        f"Everyone in the village knew {n}, {who} who loved to {love}.",
        f"This is the story of {n}, {who} who loved to {love}.",
        f"Long ago, near a big forest, there lived {who} named {n}. All day long {he} liked to {love}.",
        f"{n} was only a little {kind}, but {he} already knew how to {love}.",
        f"If you ever meet {who} who loves to {love}, it may be {n}.",
    )
    w.maybe(0.3, sky_line(w))


def night_sound(w: World) -> str:
    """What one hears from bed, given the weather; starts in lower case."""
    if w.sky == "rainy":
        return w.pick(("the rain tapped on the roof", "rain ran softly down the window"))
    if w.sky == "windy":
        return w.pick(("the wind hummed around the house", "the wind sang in the trees"))
    if w.sky == "snowy":
        return w.pick(("snow fell without a sound", "the snow made the whole world quiet"))
    return w.pick(("the crickets sang in the grass", "the moon looked in at the window",
                   "the stars came out one by one"))  # fmt: skip


def _close_happy(w: World) -> None:
    n, he, his, f = w.hero.n, w.hero.he, w.hero.his, w.friend.n
    if w.together:
        w.say(
            f"{n} and {f} laughed until their tummies hurt.",
            "They laughed all the way home.",
            f"{n} and {f} danced in a circle until they fell down laughing.",
            f"\u00abThis is the best day ever!\u00bb said {f}, and {n} laughed and agreed.",
            "The two friends were so happy that they sang all the way home.",
        )
        return
    w.say(
        f"{n} was so happy that {he} hummed all through dinner.",
        f"{n} skipped home with a big, happy smile.",
        f"{n} did a happy little dance in the kitchen.",
        f"{n} laughed and laughed, and then {he} laughed some more.",
        f"All that {HOURS[min(w.hour, EVENING)]}, {n} could not stop smiling.",
        f"\u00abHooray!\u00bb shouted {n}, and {he} spun around with {his} arms in the air.",
    )


def _close_proud(w: World) -> None:
    h = w.hero
    n, he, his = h.n, h.he, h.his
    w.say(
        f"{n} stood up very tall. {h.He} had never felt so proud.",
        f"{n} felt proud from {his} ears down to {his} toes.",
        f"{n} felt ten feet tall.",
        f"\u00abI did it,\u00bb said {n}, and {he} felt very proud.",
        f"{w.elder.n} gave {w.hero.him} a big hug and said, \u00abI am so proud of you.\u00bb",
        f"At dinner {n} told the whole story, and {his} family clapped. {h.He} felt so proud!",
        f"{n} was so proud that {he} had to tell everyone, even the neighbor's cow.",
    )


def _close_calm(w: World) -> None:
    h, item = w.hero, w.item
    n, he, his = h.n, h.he, h.his
    w.hour = EVENING
    sound = night_sound(w)
    told = sound[0].upper() + sound[1:]
    if item and item.holder is w.hero and w.rnd() < 0.4:
        w.say(
            f"That night, {n} put the {item.noun} beside {his} bed. Then {he} closed {his} eyes and slept.",
            f"At bedtime the {item.noun} stood where {he} could see it. {told}, and {n} slept.",
        )
        return
    w.say(
        f"That night, {n} lay in bed while {sound}. Soon {he} was fast asleep.",
        f"{told}. {n} yawned, closed {his} eyes and slept.",
        f"When evening came, everything was quiet. {h.He} was warm and sleepy, and {sound}.",
        f"At bedtime {n} gave one big yawn. {told}, and all was well.",
        f"{n} pulled the blanket up to {his} chin. {told}, and soon {he} was dreaming.",
        f"In the evening {n} sat on the step with {w.elder.n}. They did not need to say a word.",
    )


def _close_sad(w: World) -> None:
    h = w.hero
    n, he, his = h.n, h.he, h.his
    w.say(
        f"{n} walked home slowly and did not say a word.",
        f"A tear rolled down {his} nose. {h.He} was sad for a long time.",
        f"That night, {n} cried softly into {his} pillow.",
        f"{n} sat by the window and felt very sad.",
        f"{n} did not want to play or eat. {h.He} just felt sad.",
        f"Nobody said anything. There was nothing left to say, and {n} began to cry.",
        f"{w.elder.n} held {w.hero.him} close for a long time, but {he} was still sad.",
    )


_CLOSE = {"happy": _close_happy, "proud": _close_proud, "calm": _close_calm, "sad": _close_sad}


def close(w: World, mood: str, *lessons: str) -> None:
    """The closing sentences that show the mood, then (sometimes) a lesson.

    Args:
        w: the world.
        mood: one of `MOODS`.
        lessons: what can be learned, completing `learned that ...`.
    """
    w.mood = mood
    _CLOSE[mood](w)
    if lessons and w.rnd() < 0.42:
        n, what = w.hero.n, w.pick(lessons)
        if w.rnd() < 0.5:
            w.para()
        w.moral = True
        w.say(
            f"And {n} never forgot that {what}.",
            f"From that day on, {n} always remembered that {what}.",
            f"That day, {n} learned that {what}.",
            f"{n} had learned that {what}.",
            f"So {n} learned that {what}.",
            f"Now {n} understood that {what}.",
        )
