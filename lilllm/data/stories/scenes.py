# ruff: noqa: E501 (one sentence is one line)
"""Sentences every plot shares: meeting the hero, the sky, the closing mood, the lesson.

Each reads the world and never contradicts it; what happens in between is the plots'.
"""

from lilllm.data.stories import asked
from lilllm.data.stories.lexicon import ACTIVITIES
from lilllm.data.stories.world import EVENING, HOURS, MORNING, NIGHT, World, an

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


def day(w: World) -> str:
    """When the action begins, to start a sentence with; tells the weather if it is not told."""
    hour = HOURS[min(w.hour, EVENING)]
    if w.today:
        return w.pick(("That day", f"That {hour}", "Before long", f"That very {hour}", "A little later"))
    if w.rnd() < 0.4:
        w.today = True
        return w.pick((f"One {w.sky} {hour}", f"On a {w.sky} {hour}", f"One {w.sky} day"))
    return w.pick(("One day", f"One {hour}", "One day", "Then one day"))


def intro(w: World, traits: tuple[str, ...] = (), loves: str = "") -> None:
    """The hero enters, perhaps with the weather; one to three sentences.

    Args:
        w: the world; its weather is not told if it is night or `today` is set.
        traits: what the plot needs the hero to be; any trait if empty.
        loves: what the hero loves to do, completing `to ...`; any activity if empty.
    """
    h = w.hero
    if traits:
        h.trait = w.pick(traits)
    if w.asked:
        loves = asked.be(w, loves)
    _enter(w, loves)
    if w.asked:
        w.asked.at = len(w.out)


def _enter(w: World, loves: str) -> None:
    h = w.hero
    who = f"{an(h.trait)} {h.kind}"
    love = w.love = loves or w.pick(ACTIVITIES)
    n, he, kind = h.n, h.he, h.kind
    if w.hour == MORNING and not w.today and w.rnd() < 0.2:
        w.today = True
        w.say(sky_line(w))
        w.say(
            f"{n}, {who} who loved to {love}, looked out of the window.",
            f"{n}, {who} who loved to {love}, was up before everyone else.",
            f"On such a day, {who} named {n} liked to {love}.",
            f"In a little house, {who} named {n} was having breakfast and thinking. Maybe this was a good day to {love}.",
        )
        return
    w.say(
        f"Once upon a time, there was {who} named {n}. {h.He} loved to {love}.",
        f"Once there was {who} who loved to {love}. {h.His} name was {n}.",
        f"{n} was {who} who loved to {love}.",
        f"There was once {who} called {n}, who liked to {love}.",
        f"In a little house at the end of the lane lived {who} named {n}. {h.He} loved to {love}.",
        f"In a green valley lived {who} named {n}. Most of all, {he} loved to {love}.",
        f"{n} the {kind} liked many things, but best of all {he} liked to {love}."
        if not h.child
        else f"{n} liked many things, but best of all this {h.trait} {kind} liked to {love}.",
        f"Everyone in the village knew {n}, {who} who loved to {love}.",
        f"This is the story of {n}, {who} who loved to {love}.",
        f"Long ago, near a big forest, there lived {who} named {n}. Every day {he} liked to {love}.",
        f"{n} was only a little {kind}, but {he} already knew how to {love}.",
        f"If you ever meet {who} who loves to {love}, it may be {n}.",
        f"When {n} was not asleep, {he} liked to {love}. {h.He} was {who}.",
        f"Do you know {n}? {h.He} was {who}, and {he} loved to {love}.",
    )


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
            f"{n} and {f} danced in a circle until they fell down laughing.",
            f"{f} grinned. «This is the best day ever!» And {n} laughed and agreed.",
            f"{n} and {f} smiled at each other. It was a happy day after all.",
            f"The next day {n} went to {w.love} again, and this time {f} came along. They were very happy."
            if w.love
            else f"{n} gave {f} a big hug, and they both began to giggle.",
            f"{f} giggled, and then {n} giggled, too. Soon neither of them could stop.",
            "They laughed all the way home."
            if not w.home
            else f"{n} and {f} sang and laughed until it was time for bed.",
            "The two friends were so happy that they sang all the way home."
            if not w.home
            else f"Then {n} and {f} held {w.hero.paws} and jumped up and down for joy.",
        )
        return
    w.say(
        f"{n} was so happy that {he} hummed all through dinner.",
        f"{n} skipped home with a big, happy smile."
        if not w.home
        else f"{n} skipped around the kitchen table with a big, happy smile.",
        f"{n} did a happy little dance, right there and then.",
        f"{n} laughed and laughed, and then {he} laughed some more.",
        f"All that {HOURS[max(1, min(w.hour, EVENING))]}, {n} could not stop smiling.",
        f"{n} spun around with {his} arms in the air. «Hooray!»",
        f"Then {n} went out to {w.love}, and {he} sang at the top of {his} voice."
        if w.love and w.hour < EVENING
        else f"{n} was smiling so much that {his} cheeks hurt.",
    )


def _close_proud(w: World) -> None:
    h, e = w.hero, w.elder.n
    n, he, his = h.n, h.he, h.his
    w.say(
        f"{n} stood up very tall. {h.He} had never felt so proud.",
        f"{n} felt proud from {his} ears down to {his} toes.",
        f"{n} felt ten feet tall.",
        f"{n} took a deep breath. «I did it,» {he} said, and {he} felt very proud.",
        f"{e} gave {h.him} a big hug and said, «I am so proud of you.»",
        f"At dinner {n} told the whole story, and {his} family clapped. {h.He} felt so proud!",
        f"{n} was so proud that {he} had to tell everyone, even the neighbor's cow.",
        f"{e} told everyone in the lane about it, and {n} stood beside {w.elder.him} and glowed.",
        f"That night {n} drew a picture of it all and hung it over {his} bed. {h.He} was very proud.",
        f"{n} put {his} {h.paws} on {his} hips and grinned. What a big {h.kind} {he} was now!",
    )


def _close_calm(w: World) -> None:
    h, e, item = w.hero, w.elder.n, w.item
    n, he, his = h.n, h.he, h.his
    sound = night_sound(w)
    told = sound[0].upper() + sound[1:]
    if w.hour == NIGHT:
        w.say(
            f"{told}. {n} yawned, closed {his} eyes and slept.",
            f"{n} pulled the blanket up to {his} chin. {told}, and soon {he} was dreaming.",
            f"{e} stayed until {his} eyes fell shut. After that, {n} slept deep and long.",
            f"Everything was quiet now. {n} was warm and sleepy, and {sound}.",
            f"{e} blew out the light. «Good night, {n}.» But {n} was already asleep.",
            f"{n} rolled up like a kitten, and {sound}. Then the whole house was asleep.",
        )
        return
    w.hour = EVENING
    if item and item.holder is h and w.rnd() < 0.35:
        w.say(
            f"That night, {n} put the {item.noun} beside {his} bed. Then {he} closed {his} eyes and slept.",
            f"At bedtime the {item.noun} lay where {he} could see it. {told}, and {n} slept.",
            f"{told}. {n} looked at the {item.noun} once more and fell asleep.",
        )
        return
    w.say(
        f"That night, {n} lay in bed while {sound}. Soon {he} was fast asleep.",
        f"Later, in bed, {n} yawned and closed {his} eyes. {told}.",
        f"When night came, everything was quiet. {n} was warm and sleepy, and {sound}.",
        f"At bedtime {n} gave one big yawn. {told}, and all was well.",
        f"At bedtime {n} pulled the blanket up to {his} chin. {told}, and soon {he} was dreaming.",
        f"In the evening {n} sat on the step with {e}. They did not need to say a word.",
        f"Later, {e} tucked {h.him} in and blew out the light. «Good night, {n}.» But {n} was already asleep.",
        f"That evening {n} sat by the fire, warm and quiet, and leaned on {e}. {told}.",
        f"{n} fell asleep early that night and dreamed of how {he} would {w.love} in the morning."
        if w.love
        else f"{n} slept deep and long that night.",
    )


def _close_sad(w: World) -> None:
    h, e = w.hero, w.elder.n
    n, he, his = h.n, h.he, h.his
    w.say(
        f"{n} walked home slowly and did not say a word. {h.He} felt very sad."
        if not w.home
        else f"{n} went to {his} room and did not say a word. {h.He} felt very sad.",
        f"A tear rolled down {n}'s nose. {h.He} was sad for a long time.",
        f"That night, {n} cried softly into {his} pillow.",
        f"{n} sat by the window and felt very sad.",
        f"{n} did not want to {w.love or 'play'} that day. {h.He} just felt sad.",
        f"There was nothing left to say, and {n} began to cry.",
        f"{e} held {n} close for a long time, but {he} was still sad.",
        f"{n} tried to smile, but {he} could not. Tears ran down {his} face.",
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
