# ruff: noqa: E501 (one sentence is one line)
"""Plots about growing: a skill, a seed, a fear, a night without sleep, bad weather."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import ACTIVITIES, FLOWERS, FOODS
from lilllm.data.stories.scenes import close, intro
from lilllm.data.stories.world import AFTERNOON, NIGHT, World, an


class _Skill(NamedTuple):
    skill: str
    """Completes `wanted to ...`; `{his}` and the like are filled in."""
    fails: tuple[str, str, str]
    """What happens at the first tries, each a clause in the past tense."""
    tip: str
    """What a helper sees."""
    works: str
    """The moment it works."""
    children_only: bool


_SKILLS = (
    _Skill("ride a bike", ("the bike fell to the left", "the bike fell to the right", "{he} rolled into a bush"),
           "Don't look at your feet. Look where you want to go", "The wheels hummed, and the bike went straight down the lane", True),
    _Skill("whistle", ("only air came out", "there was a wet little noise", "the cat ran away"),
           "Make your mouth small and round, as if you want to kiss a bee", "A clear, high note flew out and over the roofs", False),
    _Skill("tie a bow", ("it turned into a knot", "one end slipped out", "{he} tied {his} thumb into it"),
           "Make two rabbit ears and let one jump through the hole", "There it was, a bow with two round ears", False),
    _Skill("swim", ("{he} sank like a stone", "water got into {his} nose", "{he} splashed so much that the frogs left"),
           "Lie on the water as if it were a bed", "{His} feet left the ground, and {he} floated", False),
    _Skill("skate", ("{he} sat down with a bump", "{his} legs went two ways at once", "{he} hugged a tree to stop"),
           "Bend your knees and push, first left, then right", "{He} glided over the ice in one long line", False),
    _Skill("juggle", ("one ball hit {his} nose", "two balls rolled under the bed", "all the balls came down at once"),
           "Start with one ball. Then take two. The third can wait", "Three balls went round and round in the air", False),
    _Skill("catch a ball", ("{he} shut {his} eyes, and it flew past", "it bounced off {his} head", "it slipped through {his} {paws}"),
           "Watch the ball all the way until it is in your {paws}", "Plop! The ball was there, safe between both {paws}", False),
    _Skill("write {his} name", ("the letters fell over", "one letter looked the wrong way", "the pencil broke"),
           "Draw it big in the sand first", "There it stood, every letter in its place", True),
    _Skill("play the flute", ("it squeaked like a mouse", "it made no sound at all", "the dog next door began to howl"),
           "Don't blow hard. Blow as if to cool your soup", "Out came a soft, warm tune", False),
    _Skill("jump over the stream", ("{he} landed in the water", "{he} stopped at the very edge", "one foot came out muddy"),
           "Count your steps: one, two, three, and then fly", "{He} flew, and landed on dry grass", False),
    _Skill("climb the old oak", ("{he} slid down again", "the bark scratched {his} knees", "{he} got only as far as the first branch"),
           "Move only one {paw} or one foot at a time", "{He} sat on the top branch and could see the whole valley", False),
    _Skill("balance on the wall", ("{he} wobbled and jumped off", "the wind pushed {him} down", "{his} knees shook too much"),
           "Stretch out your arms like a bird", "Step by step {he} walked to the very end", False),
)  # fmt: skip


def a_skill(w: World) -> None:
    """Learning by failing for different reasons; a tip and time bring it about."""
    h, f, e = w.hero, w.friend, w.elder
    s = w.pick(_SKILLS)
    while s.children_only and not h.child:
        s = w.pick(_SKILLS)

    def fit(text: str) -> str:
        return text.format(he=h.he, him=h.him, his=h.his, He=h.He, His=h.His, paw=h.paw, paws=h.paws)

    skill, tip, works = fit(s.skill), fit(s.tip), fit(s.works)
    one, two = w.two(s.fails)
    one, two = fit(one), fit(two)
    w.sky = "snowy" if skill == "skate" else "windy" if "wall" in skill else "sunny"
    helper = w.pick((f.n, e.n, e.n))
    intro(w, ("stubborn", "patient", "young", "lively", "small", "brave", "clever"))
    w.para()
    w.say(
        f"All {h.his} friends could {skill}. Only {h.n} could not.",
        f"More than anything, {h.n} wanted to {skill}.",
        f"«I will learn to {skill},» {h.n} said at breakfast.",
        f"{h.n} saw {f.n} {skill.replace(h.his, f.his)}. It looked so easy!",
    )
    w.say(
        f"{h.He} tried, and {one}. {h.He} tried again, and {two}.",
        f"The first time, {one}. The second time, {two}.",
        f"On Monday, {one}. On Tuesday, {two}.",
    )
    w.say(
        f"«I can't do it!» {h.he} cried, and stamped one foot.",
        f"«I will never be able to {skill},» said {h.n}.",
        f"By then, {h.n} was sure that {h.he} would never learn it.",
        f"{h.n} sat down and did not want to try anymore.",
        f"Someone laughed, and {h.n}'s face grew hot.",
    )
    w.para()
    w.say(
        f"«Not yet,» said {helper}. «You can't do it yet. {tip}.»",
        f"{helper} had been watching. «{tip},» said {helper}.",
        f"«Do you know how often I tried, when I was learning?» asked {helper}. «A hundred times! {tip}.»",
    )
    w.maybe(0.5, f"{h.n} took a deep breath and tried it that way. It was better, but not good.",
            f"So {h.n} practiced, morning after morning.", f"{h.n} tried once more, slowly this time.")  # fmt: skip
    if w.chance(0.87):
        w.say(
            f"And then, all at once, it happened. {works}!",
            f"One, two, three. {works}!",
            f"{h.n} did just that. {works}!",
        )
        w.say(
            f"«Look! Look at me!» shouted {h.n}.",
            f"«You see?» said {helper}. «Now you can {skill.replace(h.his, 'your')}.»",
            "Somebody clapped. It was " + f"{helper}, who had seen it all.",
            f"{h.n} did it again, and again, and then ten times more.",
        )
        w.summary = f"{h.n} wants to {skill}, fails at first, and learns it with a tip from {helper}."
        close(w, w.pick(("proud", "proud", "proud", "happy")), "you can learn hard things bit by bit", "it is all right to fail on the way")
    else:
        w.say(f"But that day it did not work, and it did not work the day after. «Let's rest now,» said {helper}. «The oak was not tall in one day.»")
        w.say(f"{h.n} nodded. {h.He} would try again in the morning.")
        w.summary = f"{h.n} tries to {skill} and cannot do it yet, but will try again tomorrow."
        close(w, "calm", "some things need time")


_PLANTS = (("sunflower", "a big yellow face"), ("pumpkin", "a fat orange pumpkin"), ("bean", "a long green bean"),
           ("tomato", "one round red tomato"), ("apple tree", "five white blossoms"), ("rose", "one dark red rose"))  # fmt: skip


def a_seed(w: World) -> None:
    """Waiting is hard; hurrying hurts; care and time bring something up."""
    h, f, e = w.hero, w.friend, w.elder
    plant, fruit = w.pick(_PLANTS)
    a_plant = an(plant)
    w.key_nouns += ["seed", plant.split()[-1]]
    w.sky, w.today = "sunny", True
    intro(w, ("patient", "busy", "curious", "lively", "gentle", "young"))
    w.para()
    w.say(
        f"In spring {e.n} gave {h.him} a tiny seed. «This will be {a_plant}, if you are patient,» said {e.n}.",
        f"In spring {e.n} gave {h.him} a tiny seed. It was the seed of {a_plant}, and {h.n} put it in the ground.",
        f"{h.n} found a seed in {h.his} pocket. «What will it be?» {h.he} asked. «Plant it and see,» said {e.n}.",
        f"«I want to grow {a_plant},» said {h.n}, and pushed a little seed into the ground.",
    )
    w.say(
        f"{h.He} watered it and sat down to wait. Nothing happened. After dinner {h.he} looked again. Nothing.",
        f"The next morning {h.n} ran out in bare feet. There was only dirt.",
        f"{h.n} waited for a whole hour. It felt like a year.",
    )
    hurry = w.rnd()
    if hurry < 0.3:
        w.say(
            f"«Grow!» {h.he} shouted at it. «Grow, grow, grow!» A worm looked out and went back in.",
            f"{h.n} sang to it and told it jokes, but the seed was in no hurry.",
        )
    elif hurry < 0.6:
        w.say(f"Then {h.he} gave it ten buckets of water. «That is too much,» said {e.n}. «A seed can drown.»",
              f"Then {h.he} gave it so much water that it almost floated away, and {e.n} had to pull {h.him} back.")  # fmt: skip
    else:
        w.say(f"{h.n} wanted to dig it up to see what it was doing, but {e.n} shook {e.his} head.",
              f"{h.n} wanted to dig it up to see what it was doing. «Let it sleep,» said {e.n}. «It works in the dark.»")
    w.para()
    if hurry > 0.86:
        w.bad = True
        w.say(f"But at night {h.n} dug it up anyway. A thin white root hung down, and it broke.", f"{h.n} dug it up all the same, just to look. The little root snapped.")
        w.say(f"{h.He} put it back quickly, but the seed did not grow. All summer that spot stayed bare.")
        w.summary = f"{h.n} plants a seed, cannot wait, digs it up and breaks it."
        close(w, "sad", "some things cannot be hurried")
        return
    w.say(
        "Days went by, and then weeks. It rained, and the sun came out again.",
        f"So {h.n} waited. {h.He} gave it a little water each day, not too much and not too little.",
        f"{h.n} almost forgot about it. The days grew long and warm.",
    )
    twist = w.chance(0.2)
    w.say(
        "One morning there was a green dot in the brown dirt.",
        f"Then {f.n} called, «Come quickly! Something is there!» Two tiny leaves stood in the sun.",
        "And one day the earth cracked, and a small green nose came out.",
    )
    if twist:
        w.twist = True
        other = "pumpkin" if plant != "pumpkin" else "sunflower"
        w.say(f"It grew and grew. But when it was big, it was not {a_plant} at all. It was a {other}!")
        w.say(f"«You never know what is inside a seed,» laughed {e.n}.",
              f"{h.n} and {e.n} looked at each other and began to laugh.")  # fmt: skip
        w.summary = f"{h.n} plants a seed for {a_plant} and waits, and it turns out to be a {other}."
        close(w, "happy", "good things take time")
        return
    w.say(
        f"It grew as high as {h.his} knees, and then as high as {h.his} nose. At the end of summer there was {fruit}.",
        f"Week after week it grew. And then, there was {fruit}!",
    )
    w.say(
        f"{h.n} called everyone to come and look.",
        f"«I made that,» said {h.n}. «You helped it,» said {e.n}, «and you waited. That is the hardest part.»",
        f"{h.n} touched it with one finger. It was real.",
        f"{h.n} kept one seed from it, for the next spring.",
    )
    w.summary = f"{h.n} plants a seed, finds it hard to wait, and at last gets {fruit}."
    close(w, w.pick(("proud", "calm", "happy")), "good things take time", "it is worth it to be patient")


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
        f"«And now tell me the real reason,» said {e.n}, and sat down on the bed.",
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
    w.summary = f"{n} cannot sleep, because {fit(worry[0])}; a talk with {e.n} makes it better."
    w.item = None
    close(w, "calm", "a worry gets smaller when you share it", "it helps to talk about what keeps you awake")


class _Storm(NamedTuple):
    sky: str
    before: str
    turn: str
    trouble: str
    shelter: str
    after: str


_STORMS = (
    _Storm("rainy", "The morning was bright", "a black cloud came over the hill, and big drops began to fall",
           "In a minute they were as wet as fish", "an old hollow tree", "a rainbow stood over the whole valley"),
    _Storm("windy", "There was a light breeze", "the wind began to roar and took {f}'s hat away",
           "Dust and leaves flew into their eyes, and they could hardly stand", "a boat that lay upside down in the grass", "the air was as clear as glass"),
    _Storm("snowy", "It was cold and still", "it began to snow, thicker and thicker",
           "The path was gone, and everything looked the same", "a small hut with a stove", "the world was white and silent, and their feet were the first"),
    _Storm("cloudy", "The sun was warm", "a thick fog crept out of the river",
           "They could not see their own feet", "the porch of the old mill", "the fog rose like a curtain, and there was the path"),
    _Storm("rainy", "It was hot, and not a leaf moved", "thunder rolled, and a flash lit up the sky",
           "The rain was so loud that they had to shout", "the empty sheep barn", "every leaf dripped and shone in the sun"),
)  # fmt: skip


def bad_weather(w: World) -> None:
    """A trip is spoiled by the weather; shelter, company and what they have with them make it good."""
    h, f, e = w.hero, w.friend, w.elder
    s = w.pick(_STORMS)
    place = w.go()
    food = w.pick(FOODS)
    w.key_nouns += [food]
    w.together = True
    goal = w.pick((f"have a picnic {place.at}", f"pick {w.pick(FLOWERS)} {place.at}", f"look for a fox den {place.at}" if h.kind != "fox" else f"look for berries {place.at}", f"fly a paper plane {place.at}"))
    if s.sky == "snowy":
        goal = w.pick(("bring a pot of soup to Grandma" if e.n != "Grandma" else "bring a pot of soup to old Aunt Bell", "cut a little fir tree", "try the new sled"))
    w.today = True  # the weather is the plot's to tell
    w.sky = "snowy" if s.sky == "snowy" else "sunny"
    w.love = w.pick(ACTIVITIES)
    w.say(
        f"{h.n} was {an(h.trait)} {h.kind} who loved to {w.love}, most of all together with {f.n}.",
        f"{h.n} and {f.n} did everything together. They liked to {w.love}, and they were never bored.",
        f"Once upon a time, there were two friends, {h.n} and {f.n}. They loved to {w.love}.",
        f"If you saw {h.n}, you saw {f.n}, too. The two friends loved to {w.love}.",
        f"This is a story about {h.n}, {an(h.trait)} {h.kind}, and {h.his} friend {f.n}. They both liked to {w.love}.",
    )
    w.para()
    w.say(
        f"One day {h.n} and {f.n} wanted to {goal}. {s.before}, and {h.n} packed {food}s for both.",
        f"{h.n} had planned it all week. {h.He} and {f.n} would {goal}. {s.before}.",
        f"«Let's {goal}!» said {f.n}. {s.before}, so off they went.",
    )
    packed = "packed" in w.out[-1]
    have = f"«We have a roof, we have {food}s and we have each other,» said {h.n}." if packed else f"«We have a roof, and we have each other,» said {h.n}."
    w.sky = s.sky
    turn = s.turn.format(f=f.n)
    w.say(f"But on the way {turn}.", f"They were not even halfway when {turn}.", f"Then, without any warning, {turn}.")
    w.say(f"{s.trouble}.", f"{s.trouble}. «What now?» cried {f.n}.", f"«Hold my {h.paw}!» called {h.n}. {s.trouble}.")
    w.para()
    w.say(
        f"{h.n} looked around and saw {s.shelter}. «In there!» {h.he} shouted.",
        f"Then {h.n} saw {s.shelter} and pulled {f.him} inside.",
        f"Through it all, {f.n} saw something dark. It was {s.shelter}. They ran and crept inside.",
    )
    w.say(
        f"«Everything is spoiled,» said {f.n}, whose teeth were chattering.",
        "There they sat, cold and out of breath, and the whole plan was spoiled.",
        f"{f.n} was close to tears. «It was such a good plan,» {f.he} said.",
    )
    ended = w.rnd()
    if ended < 0.13:
        w.bad = True
        w.say("They waited and waited. It grew dark, and it did not stop. They had to go home, cold and wet, and nobody spoke.")
        w.say(f"The next day {f.n} had a bad cold, and there was no more time to {goal}.")
        w.together = False
        w.summary = f"{h.n} and {f.n} want to {goal}, but the weather turns, and they come home cold and sad."
        close(w, "sad")
        return
    w.say(
        f"{have} They {'ate and ' if packed else 'sat close and '}told each other stories.",
        f"{h.n} took {f.his} cold {f.paws} and rubbed them warm. Then they sang every song they knew.",
        f"«Let's pretend this is our ship,» said {h.n}. «You are the captain.» And they sailed to three islands.",
    )
    w.say(
        f"They did not even see that it had stopped. When they came out, {s.after}.",
        f"At last it was over. When they looked out, {s.after}.",
    )
    w.sky = "sunny" if s.sky != "snowy" else "snowy"
    w.hour = AFTERNOON
    w.summary = f"{h.n} and {f.n} want to {goal}, but the weather turns; they hide in {s.shelter} and have a good time."
    close(w, w.pick(("happy", "happy", "calm")), "bad weather is not so bad with a friend", "a spoiled plan can become a good day")
