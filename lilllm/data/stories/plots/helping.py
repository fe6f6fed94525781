# ruff: noqa: E501 (one sentence is one line)
"""A plot of work at home: help that goes wrong and is made good."""

from typing import NamedTuple

from lilllm.data.stories.scenes import close, day, intro
from lilllm.data.stories.world import World


class _Chore(NamedTuple):
    job: str
    did: str
    mishap: str
    worry: str
    cure: str
    result: str


_CHORES = (
    _Chore("bake bread", "mixed flour and water and honey",
           "the flour bag tipped over, and a white cloud filled the room",
           "Now there is not enough flour", "used oats instead of the lost flour",
           "The bread was round and brown, and it smelled like heaven"),
    _Chore("wash the clothes", "rubbed and rinsed the shirts",
           "a red sock slipped into the tub with the white shirts",
           "Everything is pink", "dipped all the other shirts in too, so that they matched",
           "On the line hung a whole row of pink shirts, like a sunset"),
    _Chore("paint the fence", "dipped the big brush into the white paint",
           "the paint can fell over, and half of the paint ran into the grass",
           "It will not be enough for the whole fence", "painted every second board and left the others brown",
           "With its stripes, it was the prettiest fence in the lane"),
    _Chore("cook the soup", "washed and cut the carrots",
           "the whole salt jar fell into the pot",
           "Nobody can eat that", "added three potatoes and a lot of milk",
           "The soup was thick and good, and there was enough for the neighbors too"),
    _Chore("plant the beans", "made little holes in a long row",
           "the bag ripped, and the beans rolled all over the yard",
           "The hens will eat them all", "gave the hens some corn and picked up every bean",
           "A week later, green beans came up in the row, and one between the stairs"),
    _Chore("sweep the house", "swept from the door to the stove",
           "the wind blew the door open, and all the dust flew up again",
           "All that work for nothing", "shut the door, sprinkled water on the floor and swept again",
           "The floor was so clean that the cat could see her own face in it"),
    _Chore("pick the apples", "climbed the ladder with a basket",
           "the basket slipped, and the apples bounced down the hill",
           "They are all bruised now", "washed the bruised apples and boiled them into jam",
           "There were nine jars of jam, more than ever before"),
    _Chore("carry the eggs home", "put the eggs into a soft basket",
           "a goose hissed, the basket jumped, and five eggs broke",
           "We have no eggs for a cake", "saved what was left and made pancakes",
           "They ate the whole tall pile with honey"),
)  # fmt: skip


def helping_hand(w: World) -> None:
    """The hero helps at home, makes a mess, and finds a way to make it good."""
    h, e = w.hero, w.elder
    c = w.pick(_CHORES)
    w.sky = "windy" if "wind" in c.mishap else w.pick(("sunny", "cloudy"))
    w.home = True
    intro(w, ("busy", "careful", "lively", "cheerful", "young", "friendly", "small"))
    w.para()
    today = day(w)
    w.say(
        f"{today}, {e.n} had to {c.job}. «May I help?» asked {h.n}.",
        f"{today}, {e.n} had to {c.job}, and {h.n} wanted to help.",
        f"«I have to {c.job} today,» said {e.n}. «I can do it!» said {h.n}. «Let me help you!»",
        f"{e.n} was tired that day, so {h.n} wanted to {c.job} all alone, as a surprise.",
    )
    alone = w.out[-1].endswith("surprise.")
    w.say(
        f"{h.n} {c.did}. {h.He} hummed a little song.",
        f"{h.He} {c.did}, just as {e.n} always did.",
        f"Soon {h.he} was hard at work. {h.He} {c.did}.",
    )
    w.say(
        f"Then {c.mishap}!",
        f"But suddenly {c.mishap}.",
        f"It was going so well! And then {c.mishap}.",
    )
    w.para()
    w.say(
        f"«Oh dear,» said {h.n}. «{c.worry}.»",
        f"{h.n} sat down on the floor. «{c.worry},» {h.he} said, and almost cried.",
        f"«{c.worry}!» cried {h.n}. «I only wanted to help.»",
        f"{h.n} stood very still and looked at the mess.",
    )
    if alone:
        w.say(
            f"{h.n} took a deep breath and began again. {h.He} {c.cure}.",
            f"There was no one to ask. {h.n} thought for a while. Then {h.he} {c.cure}.",
        )
    else:
        w.say(
            f"{e.n} did not shout. «Let's see what we can make of it,» said {e.n}. So they {c.cure}.",
            f"«That happens to me too,» said {e.n}. «Now we must be clever.» Together they {c.cure}.",
            f"{e.n} only laughed. Together they {c.cure}.",
            f"{e.n} began to laugh. «I have an idea,» said {e.n}, and they {c.cure}.",
        )
    w.para()
    w.say(f"{c.result}.", f"And look! {c.result}.", f"It took a long time, but it was worth it. {c.result}.")
    if alone:
        w.say(
            f"When {e.n} came in, {e.he} stood still. «Did you do this all by yourself?» {e.he} asked.",
            f"When {e.n} came in, {e.he} looked and looked and could not believe it.",
            f"«Who did all this?» asked {e.n}. {h.n} pointed at {h.his} own nose.",
        )
    w.summary = f"{h.n} wanted to {c.job} as a surprise for {e.n}, but {c.mishap}; {h.he} {c.cure}, and all ended well." if alone else f"{h.n} helped {e.n} to {c.job}, but {c.mishap}; they made it good, and all ended well."
    close(w, "proud" if alone or w.chance(0.5) else w.pick(("happy", "calm")),
          "a mistake can turn into something good", "helping means to try again when things go wrong")  # fmt: skip
