# ruff: noqa: E501 (one sentence is one line)
"""Plots of the heart: a fear taken in steps, a night without sleep."""

from typing import NamedTuple

from lilllm.data.stories.scenes import close, intro
from lilllm.data.stories.world import NIGHT, World


class _Fear(NamedTuple):
    fear: str
    """Continues `was afraid of ...`."""
    shows: str
    """What the hero does then."""
    tale: str
    """What the hero thinks could happen."""
    step: str
    """A first small step, past tense."""
    then: str
    """What it is like in truth."""
    key: str
    sky: str
    comes: str
    """How it comes about, a whole clause; `{f}` is the friend."""


_FEARS = (
    _Fear("the dark", "pulled the blanket over {his} ears", "Something with long arms lives under the bed",
          "turned off the lamp for as long as it takes to count to three", "the dark was full of soft things: the moon, the clock, the breath of the cat", "dark", "cloudy",
          "One night the lamp in {his} room went out"),
    _Fear("thunder", "crawled under the table", "The sky is angry with me",
          "counted the seconds between the flash and the boom", "each time there were more seconds, so the storm was walking away", "thunder", "rainy",
          "One evening a storm came over the hills"),
    _Fear("the big dog next door", "crossed the lane", "It wants to eat me in one bite",
          "held out one {paw} through the fence, very still", "the dog sniffed it and gave it a big wet lick", "dog", "sunny",
          "One day {his} ball rolled right into the yard of the big dog"),
    _Fear("deep water", "stayed on the shore with dry feet", "The water will pull me down",
          "put one toe in, and then one foot", "the water carried {him} like a big, cool bed", "water", "sunny",
          "One hot day all the others swam to the little island and waved"),
    _Fear("the high slide", "climbed up and then climbed down again", "I will fly off and land on the moon",
          "slid down on somebody's lap", "it was over in one breath, and it tickled", "slide", "sunny",
          "One day {f} wanted to go down the slide with {him}"),
    _Fear("spiders", "screamed and ran", "They all look at me with eight eyes",
          "looked at one from far away, then from a bit closer", "it was making a web that shone like silver", "spider", "sunny",
          "One morning a fat spider sat on the rim of {his} cup"),
    _Fear("singing in front of others", "turned white and could not speak", "They will all laugh at me",
          "sang to the hens first, and then to the cat", "the room went quiet, and then everybody clapped", "song", "cloudy",
          "Soon there was to be a big feast, and {he} had to sing a song"),
    _Fear("the old bridge", "closed {his} eyes and stood still", "The boards will break under me",
          "took three steps and came back, then six steps and came back", "the bridge creaked, but it held as it had always held", "bridge", "windy",
          "One day {f} had a party, and {f} lived on the other side of the river"),
    _Fear("the doctor", "hid behind the coats", "It will hurt for a whole week",
          "listened to the doctor's heart before the doctor listened to {his}", "it was only a small pinch, and then a plum", "doctor", "sunny",
          "One day {his} ear began to hurt, and the doctor had to look at it"),
)  # fmt: skip


def a_fear(w: World) -> None:
    """A fear taken in small steps; another one is afraid too; or not today."""
    h, f, e = w.hero, w.friend, w.elder
    fear = w.pick(_FEARS)
    if fear.key == "dog" and not h.child:
        fear = _FEARS[0]
    w.key_nouns.append(fear.key)
    w.sky = fear.sky

    def fit(text: str) -> str:
        return text.format(he=h.he, him=h.him, his=h.his, paw=h.paw, f=f.n)

    intro(w, ("shy", "small", "quiet", "young", "gentle", "careful", "lively", "brave"))
    w.say(
        f"There was only one thing {h.he} did not like. {h.n} was afraid of {fear.fear}.",
        f"But {h.n} was afraid of {fear.fear}.",
        f"Nobody knew it, but {h.he} was very much afraid of {fear.fear}.",
    )
    w.para()
    w.say(
        f"{fit(fear.comes)}. {h.n} {fit(fear.shows)}. «{fear.tale},» {h.he} whispered.",
        f"{fit(fear.comes)}. {h.n} {fit(fear.shows)}.",
        f"{fit(fear.comes)}. «{fear.tale},» {h.n} thought, and {fit(fear.shows)}.",
    )
    w.say(
        "«You are a baby,» somebody said. That did not help at all.",
        "«Just don't be afraid!» said the others. As if it were that easy!",
        f"{h.n} felt silly, and that made it even worse.",
        f"{h.His} heart went boom, boom, boom.",
    )
    helper = w.pick((e, e, f))
    w.say(
        f"{helper.n} sat down beside {h.him}. «I was afraid of that too, once,» said {helper.n}. «Shall we try one small step?»",
        f"«Being brave does not mean that you are not afraid,» said {helper.n}. «It means that you are afraid and do it anyway.»",
        f"{helper.n} did not laugh. {helper.He} sat down beside {h.him} and waited. Then they made a plan with very small steps.",
        f"«We can do it in tiny bits,» said {helper.n}, and took {h.his} {h.paw}.",
    )
    w.para()
    w.say(
        f"So {h.n} {fit(fear.step)}.",
        f"First {h.he} {fit(fear.step)}. Nothing bad happened.",
        f"{h.n} swallowed hard and {fit(fear.step)}.",
    )
    if w.chance(0.83):
        w.say(
            f"The next time {h.he} dared a little more. And look: {fit(fear.then)}.",
            f"Then {h.he} went all the way. It was not at all as {h.he} had thought: {fit(fear.then)}!",
            f"«Once more,» {h.he} said, and this time {h.he} did it all alone. {fit(fear.then)[0].upper() + fit(fear.then)[1:]}.",
        )
        w.maybe(0.5, f"«Is that all?» asked {h.n}.", f"«I am still a little afraid,» said {h.n}, «but only a little.»",
                f"{h.n} began to laugh. What had {h.he} been so afraid of?")  # fmt: skip
        w.summary = f"{h.n} is afraid of {fear.fear}, takes one small step with {helper.n}, and overcomes the fear."
        close(w, w.pick(("proud", "proud", "happy", "calm")), "being brave means trying even when you are afraid", "a big fear can be made of small steps")
    else:
        w.say(f"But then it was too much, and {h.he} ran back. That was all for today. There is always another day.",
              f"But then it was too much, and {h.he} ran back. «I can't,» {h.he} cried. «Not today,» said {helper.n} softly. «There is always another day.»")
        w.say(f"They sat close together until {h.his} heart was slow again.")
        w.summary = f"{h.n} is afraid of {fear.fear} and tries a small step; it is too much for today."
        close(w, "calm", "it is all right to take your time")


_SOUNDS = (
    ("tick, tock, tick, tock", "only the old clock", "It is counting the minutes until morning, so that we do not have to"),
    ("creak, creak", "only the stairs", "They have carried us all day, and now they stretch"),
    ("swish, swish", "only the curtain", "It is dancing with the wind"),
    ("plop, plop, plop", "only the water in the sink", "It is too lazy to run, so it drips"),
    ("hoo, hoo", "only the owl in the oak", "She is saying good morning, because her day begins now"),
    ("scratch, scratch", "only a mouse behind the wall", "It is making its bed, too"),
)  # fmt: skip
_CURES = (
    ("counted sheep", "one of the sheep would not jump, and {he} had to think of a reason"),
    ("turned the pillow over", "the other side was just the same"),
    ("drank a glass of water", "now {he} had to get up again"),
    ("shut {his} eyes as tight as {he} could", "that only made bright stars"),
    ("lay on the left side, and then on the right", "both sides were wide awake"),
)  # fmt: skip


def sleepless(w: World) -> None:
    """A night when sleep does not come, because something is on the hero's mind."""
    h, e = w.hero, w.elder
    worry = w.pick((
        ("{n} had been rude to {f} that day", "say sorry to {f} in the morning", "«You can tell {f} you are sorry tomorrow,» said {e}. «Then it will be light again.»"),
        ("tomorrow was the first day of school", "take {his} new bag and a brave heart", "«The others are lying awake as well,» said {e}. «You will not be the only new one.»"),
        ("{his} best tooth was loose", "put the tooth in a little box", "«When it goes, a bigger one will come,» said {e}. «It only makes room.»"),
        ("tomorrow they would all go to the sea", "be the first one in the water", "«The sea will wait for you,» said {e}. «It has been there for a long time.»"),
        ("{he} had eaten the last cookie and told nobody", "bake new cookies", "«I counted them, you know,» said {e}. «Thank you for telling me.»"),
    ))  # fmt: skip
    n, he, his, f = h.n, h.he, h.his, w.friend.n

    def fit(text: str) -> str:
        return text.format(n=n, he=he, his=his, f=f, e=e.n)

    w.hour = NIGHT
    w.home = True
    w.sky = w.pick(("windy", "cloudy", "rainy", "snowy", "sunny"))
    w.key_nouns.append("bed")
    (c1, r1), (c2, r2) = w.two(_CURES)
    sound, cause, why = w.pick(_SOUNDS)
    w.say(
        f"It was late, and the house was dark. Everyone was asleep, except for {n}, a {h.trait} little {h.kind}.",
        f"One night {n} could not sleep. The little {h.kind} lay on {his} back and looked at the ceiling.",
        f"«Good night,» said {e.n}, and closed the door. But {n}, a little {h.kind}, was wide awake.",
    )
    w.say(
        f"{h.He} {fit(c1)}. But {fit(r1)}.",
        f"First {he} {fit(c1)}, but {fit(r1)}.",
    )
    w.say(
        f"Then {he} {fit(c2)}. But {fit(r2)}.",
        f"{n} {fit(c2)}. It was no use: {fit(r2)}.",
    )
    w.para()
    w.say(
        f"And what was that? {sound.capitalize()}. {n} sat up. «{e.n}!» {he} called.",
        f"Then came a sound. {sound.capitalize()}. {n} ran to {e.n} on bare feet.",
        f"{sound.capitalize()}, it went in the dark. {n} held {his} breath. «{e.n}? Do you hear that?»",
    )
    w.say(
        f"They listened together. «That is {cause},» said {e.n}. «{why}.»",
        f"«Ah,» said {e.n}. «That is {cause}. {why}.»",
    )
    w.say(
        f"{n} smiled a little. But {he} still did not want to lie down. «Is there something else?» asked {e.n}.",
        f"{e.n} sat down on the bed. «And now tell me the real reason.»",
    )
    w.para()
    w.say(
        f"At first {n} did not answer. Then it all came out: {fit(worry[0])}.",
        f"{n} nodded slowly and said it very softly. It was this: {fit(worry[0])}.",
    )
    w.say(fit(worry[2]))
    w.say(
        f"That was good to hear. {n} would {fit(worry[1])}, and with that thought {he} lay down again.",
        f"«Then I will {fit(worry[1]).replace('his', 'my').replace('her ', 'my ')},» said {n}, and yawned." if "{his}" in worry[1] else
        f"«Then I will {fit(worry[1])},» said {n}, and yawned.",
    )
    w.summary = f"{n} could not sleep, because {fit(worry[0])}; a talk with {e.n} made it better."
    w.item = None
    close(w, "calm", "a worry gets smaller when you share it", "it helps to talk about what keeps you awake")
