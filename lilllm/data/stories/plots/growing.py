# ruff: noqa: E501 (one sentence is one line)
"""Plots about growing: a skill that takes practice, a seed that takes patience."""

from typing import NamedTuple

from lilllm.data.stories.scenes import close, intro
from lilllm.data.stories.world import World, an


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
        f"All {h.his} friends could {skill.replace(f'{h.his} name', 'their names')}. Only {h.n} could not.",
        f"More than anything, {h.n} wanted to {skill}.",
        f"«I will learn to {skill},» {h.n} said at breakfast.",
        f"{h.n} saw {f.n} {skill.replace(f'{h.his} name', f'{f.his} name')}. It looked so easy!",
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
            f"On the very next try, it worked. {works}!",
        )
        w.say(
            f"«Look! Look at me!» shouted {h.n}.",
            f"«You see?» said {helper}. «Now you can {skill.replace(f'{h.his} name', 'your name')}.»",
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
           ("tomato", "one round red tomato"), ("apple tree", "a whole cloud of white blossoms"), ("rose", "one dark red rose"))  # fmt: skip


def a_seed(w: World) -> None:
    """Waiting is hard; hurrying hurts; care and time bring something up."""
    h, e = w.hero, w.elder
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
    _it_grows(w, plant, fruit)


def _it_grows(w: World, plant: str, fruit: str) -> None:
    h, f, e, a_plant = w.hero, w.friend, w.elder, an(plant)
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
