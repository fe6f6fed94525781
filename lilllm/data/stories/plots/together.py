# ruff: noqa: E501 (one sentence is one line)
"""Plots between children: a quarrel, a surprise, a contest, a newcomer, a goodbye."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import GEAR, KEEPSAKES, TOYS
from lilllm.data.stories.scenes import close, intro
from lilllm.data.stories.world import EVENING, Item, World, an


class _Deal(NamedTuple):
    offer: str
    """The fair way, as somebody says it."""
    told: str
    """How it went, past tense."""


_DEALS = (
    _Deal("One counts to twenty while the other one plays, and then we change",
          "They counted aloud, and soon the counting was as much fun as the {t}"),
    _Deal("You take it in the morning, and I take it in the afternoon",
          "So the {t} had two homes, and each day it crossed the lane at noon"),
    _Deal("One of us makes up the game, and the other one goes first",
          "{n} made up a game about a lost king, and {f} went first"),
    _Deal("Whoever has it must tell a story before giving it back",
          "{f} told one about a flying pig, and {n} told one about a shy dragon"),
    _Deal("Let's turn over a cup of sand. When the sand is gone, we change",
          "The sand ran out again and again, and nobody had to fight"),
)  # fmt: skip


def sharing(w: World) -> None:
    """Two want one thing; pulling makes it worse; a fair rule, or a broken thing."""
    h, f, e = w.hero, w.friend, w.elder
    item = w.own(TOYS + GEAR[:3])
    t = item.noun
    place = w.go()
    w.sky = w.pick(("sunny", "cloudy", "windy"))
    w.together = True
    whose = w.pick(("hero", "friend", "found"))
    intro(w)
    w.para()
    if whose == "found":
        w.say(
            f"One day {h.n} and {f.n} found {item.a} {place.at}. It lay {w.pick(place.spots)}.",
            f"{place.at.capitalize()}, {h.n} and {f.n} saw {item.a} at the very same time.",
        )
        w.say(f"«I saw it first!» said {h.n}. «No, I did!» said {f.n}.",
              f"«It is mine!» said {f.n}. «No, mine!» said {h.n}.")  # fmt: skip
    elif whose == "hero":
        w.say(
            f"{h.n} had {item.a} and took it along {place.at.replace('in the', 'to the').replace('at the', 'to the').replace('by the', 'to the').replace('on the', 'to the')}. {f.n} wanted to {item.play}, too.",
            f"One day {f.n} came to play. {f.He} saw {item.a} and asked, «May I {item.play}?»",
        )
        w.say(f"«No,» said {h.n}. «It is mine, and you will only break it.»",
              f"But {h.n} hid it behind {h.his} back. «Mine!» {h.he} said.",
              f"{h.n} held on to it. «Maybe later,» {h.he} said. But later never came.")  # fmt: skip
    else:
        item.holder = f
        w.say(
            f"{f.n} had {item.a}, and {h.n} could not look at anything else.",
            f"One day {f.n} came {place.at.replace('in the', 'to the').replace('at the', 'to the').replace('by the', 'to the').replace('on the', 'to the')} with {item.a}. How {h.n} wanted to {item.play}!",
        )
        w.say(f"«Give it to me!» said {h.n}. «No,» said {f.n}. «You did not ask nicely.»",
              f"{h.n} did not ask. {h.He} just took it. «Hey!» cried {f.n}.")  # fmt: skip
    w.say(
        f"{h.n} pulled on one side, and {f.n} pulled on the other. They both grew red and angry.",
        "They pulled and pushed and shouted until the birds flew away.",
        "One word led to another, and soon they were both shouting.",
        f"Then they turned their backs on each other. Nobody played, and the {t} lay between them.",
    )
    w.para()
    if w.chance(0.24):
        _broken_in_two(w, item, whose)
        return
    deal = w.pick(_DEALS)
    who = w.pick((e.n, "an old man on a bench", "a girl with a goat", "the mailman"))
    w.say(
        f"For a while it was quiet. It is boring to be angry. «Listen,» said {h.n}. «{deal.offer}.»",
        f"{who[0].upper() + who[1:]} had heard it all and came over. «May I tell you a rule? {deal.offer}.»",
        f"{h.n} looked at {f.n}'s sad face, and {h.his} own anger went away. «{deal.offer},» {h.he} said. «Is that fair?»",
        f"Then {f.n} began to laugh. «We look so silly! I know what we can do. {deal.offer}.»",
    )
    w.say(
        f"They tried it. {deal.told.format(t=t, n=h.n, f=f.n)}.",
        f"{deal.told.format(t=t, n=h.n, f=f.n)}.",
        f"And it worked! {deal.told.format(t=t, n=h.n, f=f.n)}.",
    )
    w.maybe(0.5, f"«It is more fun with two,» said {f.n}.", f"«I am sorry that I shouted,» said {h.n}. «Me too,» said {f.n}.")
    w.summary = f"{h.n} and {f.n} fight over {item.a}, but then they find a fair way to share it."
    close(w, w.pick(("happy", "happy", "calm")), "sharing makes a good thing better",
          "a fair rule is better than a fight")  # fmt: skip


def _broken_in_two(w: World, item: Item, whose: str) -> None:
    h, f, t = w.hero, w.friend, item.noun
    w.bad = True
    item.whole = False
    item.holder = None
    w.together = False
    w.say(
        f"Then there was a loud crack. The {t} was broken, and each of them held one half.",
        f"They pulled once more, and it fell. The {t} was broken for good.",
    )
    w.say(
        f"«Look what you did!» they both said. {f.n} went home without a word.",
        f"{f.n} let go and ran away. {h.n} stood there with a broken {t}.",
        f"Now nobody had a {t}, and nobody had a friend to play with.",
    )
    w.summary = f"{h.n} and {f.n} fight over {item.a} until it breaks, and then nobody has it."
    close(w, "sad", "those who will not share may lose everything", "a friend is worth more than a thing")


_EXCUSES = (
    "I have to count my socks", "I must wash my goldfish", "My shoes are too tired", "I have to watch the paint dry",
    "My grandma needs me to hold her yarn", "I have to look for my other mitten",
)  # fmt: skip


def surprise(w: World) -> None:
    """Everybody is too busy on the hero's birthday; the hero is sure they forgot; they did not."""
    h, f, e = w.hero, w.friend, w.elder
    if w.chance(0.5):
        secret_gift(w)
        return
    ex1, ex2 = w.two(_EXCUSES)
    animal = w.pick(("cat", "neighbor", "baker", "goat"))
    intro(w, ("cheerful", "friendly", "young", "merry", "small", "playful"))
    w.para()
    w.say(
        f"One morning {h.n} woke up and smiled. It was {h.his} birthday!",
        f"{h.n} had counted the days for weeks. At last it was {h.his} birthday.",
        f"It was {h.n}'s birthday. {h.He} ran down the stairs to tell everyone.",
    )
    w.say(
        f"But {e.n} only said, «Good morning. Can you bring in the wood?»",
        f"There was no cake on the table. «I am very busy today,» said {e.n}.",
        f"Nobody said a word about it. {e.n} just went on washing the plates.",
    )
    w.say(
        f"{h.n} went to see {f.n}. «I can't play,» {f.he} said. «{ex1}.»",
        f"«Do you know what day it is?» {h.n} asked {f.n}. «Yes,» said {f.n}. «It is the day when {ex1[0].lower() + ex1[1:] if not ex1.startswith('I ') else ex1}.»",
    )
    w.say(
        f"Even the {animal} had no time for {h.him}." if animal in ("cat", "goat") else f"«{ex2},» said the {animal}, and shut the door.",
        "All the others had gone somewhere, and nobody wanted to say where.",
        f"Then {h.he} saw some friends behind the barn. When {h.he} came near, they stopped talking.",
    )
    w.para()
    w.say(
        f"«They all forgot me,» thought {h.n}. {h.He} sat down under a tree and cried a little.",
        f"{h.n} walked around alone all day. Nobody in the whole world cared, {h.he} thought.",
        f"{h.n} kicked a stone down the lane. What a lonely birthday!",
    )
    w.hour = EVENING
    w.home = True
    w.say(
        f"When it grew dark, {h.he} went home. The house was dark, too. {h.n} opened the door.",
        f"In the evening {h.n} came home. How strange! There was no light in the window.",
    )
    w.together = True
    w.twist = True
    w.say(
        f"«SURPRISE!» shouted {f.n} and {e.n} and all {h.his} friends. There were candles everywhere!",
        "Then a hundred little lights went on. «Happy birthday!» they all shouted.",
    )
    w.say(
        f"«I did not have to do all that,» said {f.n}. «I was baking your cake!»",
        f"«It was so hard not to tell you!» said {f.n}. {f.He} still had flour on {f.his} nose.",
        f"In the middle of the table stood a big cake with {h.his} name on it.",
    )
    w.summary = f"{h.n} thinks that everybody forgot {h.his} birthday, but {f.n} and the others have planned a surprise party."
    w.item = None
    close(w, "happy", "friends do not forget you", "things are not always what they seem")


def secret_gift(w: World) -> None:
    """Two friends each give up something for the other; or a secret nearly gets out."""
    h, f = w.hero, w.friend
    item = w.own(KEEPSAKES + GEAR)
    t = item.noun
    intro(w, ("kind", "gentle", "thoughtful", "quiet", "busy", "clever"))
    w.say(
        f"{h.His} best friend was {f.n}, {an(f.trait)} {f.kind}.",
        f"Next door lived {h.his} friend {f.n}.",
    )
    w.para()
    w.say(
        f"{f.n} was going to have a birthday. {h.n} wanted to give {f.him} {item.a}, but {h.he} had no money.",
        f"«{f.n} needs {item.a},» thought {h.n}. «I will make a surprise!» But {h.he} had no coins at all.",
    )
    work = w.pick((
        ("picked berries for the baker", "the baker"), ("swept the shop for the miller", "the miller"),
        ("walked the farmer's dog", "the farmer"), ("carried bags at the market", "the market people"),
        ("washed windows for the neighbor", "the neighbor"),
    ))  # fmt: skip
    w.say(
        f"So every day after breakfast {h.he} {work[0]}, and got one small coin each time.",
        f"For a whole week {h.n} {work[0]}. Coin by coin, the little jar filled up.",
    )
    w.say(
        f"«Where do you go all the time?» asked {f.n}. «Nowhere,» said {h.n}, and {h.his} ears grew hot.",
        f"«Come and play!» called {f.n}. «I can't,» said {h.n}. {f.n} looked sad, and that was the hardest part.",
        f"It was hard to keep the secret. Once {h.n} almost told, and had to put both {h.paws} over {h.his} mouth.",
    )
    w.para()
    if w.chance(0.3):
        w.twist = True
        other = w.pick(("red boat", "soft blanket", "warm scarf", "little drum"))
        w.say(f"On the big day {h.n} ran over with the {t} behind {h.his} back. But {f.n} stood there with a gift as well!")
        w.say(f"«I worked all week to buy it,» said {f.n}. «You looked so busy and tired that I wanted to cheer you up.» It was a {other}.")
        w.summary = f"{h.n} secretly works to buy {f.n} {item.a}, and finds out that {f.n} secretly worked for a gift too."
    else:
        w.say(
            f"On the birthday {h.n} put the gift on {f.n}'s step, knocked and hid. {f.n} opened it. There was the {item.full}!",
            f"At last the day came. «Close your eyes,» said {h.n}, and put the {item.full} into {f.n}'s {f.paws}.",
        )
        w.say(
            f"«So that is where you went!» cried {f.n}. «I thought you did not like me anymore.»",
            f"«It is just what I wanted,» said {f.n}. «How did you know?»",
            f"{f.n} could not speak. {f.He} hugged {h.n} so hard that {h.he} squeaked.",
        )
        w.summary = f"{h.n} works in secret to buy {item.a} for {f.n}'s birthday, and {f.n} is delighted."
    item.holder = f
    w.together = True
    w.home = True
    close(w, w.pick(("happy", "happy", "proud")), "giving is as sweet as getting", "a gift is best when it comes from the heart")


class _Game(NamedTuple):
    name: str
    verb: str
    fast: str
    """How the rival does it, past tense."""
    steady: str
    """How the hero does it."""
    slip: str
    """What goes wrong for the rival."""
    prize: str


_GAMES = (
    _Game("the big race", "run", "ran off like the wind", "ran slowly and kept {his} breath",
          "tripped over a root and sat in the dust", "a red ribbon"),
    _Game("the boat race", "row", "rowed so hard that the water splashed", "rowed in a straight line",
          "turned around to laugh and bumped into the reeds", "a blue flag"),
    _Game("the sandcastle contest", "build", "built a tower as tall as a chair", "built a small castle with a good thick wall",
          "watched as one wave came and took the tower away", "a silver shell"),
    _Game("the pumpkin contest", "grow", "talked all summer about one huge pumpkin", "watered one small pumpkin every day",
          "dropped the huge pumpkin, and it rolled down the hill", "a golden spoon"),
    _Game("the cake contest", "bake", "made a cake with nine floors", "baked a plain little honey cake",
          "opened the oven too early, and the cake fell flat", "a big wooden spoon"),
    _Game("the kite contest", "fly", "let out all the string at once", "let the string out bit by bit",
          "could only watch as the string snapped", "a purple cup"),
    _Game("the snail race", "watch", "picked the biggest snail and shouted at it", "picked a tiny snail and put a leaf at the end",
          "saw the big snail fall asleep in its shell", "a shiny bell"),
    _Game("the egg and spoon race", "walk", "raced ahead with big steps", "took tiny steps and looked only at the egg",
          "dropped the egg on the grass", "a chocolate egg"),
)  # fmt: skip


def contest(w: World) -> None:
    """A contest against a sure winner: steady work wins, or kindness matters more, or pride falls."""
    h, f, e = w.hero, w.friend, w.elder
    g = w.pick(_GAMES)
    w.sky = "windy" if "kite" in g.name else "sunny"
    noun = g.prize.split()[-1]
    w.key_nouns.append(noun)
    intro(w, ("small", "quiet", "careful", "young", "friendly", "dreamy", "shy"))
    w.para()
    w.say(
        f"Once a year there was {g.name}. The prize was {g.prize}.",
        f"The day of {g.name} had come. Everybody wanted to win {g.prize}.",
        f"«Come to {g.name}!» said a sign. «Win {g.prize}!» {h.n} read it three times.",
    )
    w.say(
        f"«I will win,» said {f.n}. «I always win.»",
        f"{f.n} laughed. «You are too little to {g.verb} against me,» {f.he} said.",
        f"Everyone was sure that {f.n} would win. {f.n} was sure, too.",
    )
    w.say(
        f"{h.n} only said, «I will do my best.»",
        f"{h.n}'s heart was beating fast. But {h.he} wanted to try.",
        f"«Just do it your own way,» {e.n} told {h.him}.",
    )
    w.para()
    steady = g.steady.format(his=h.his)
    w.say(
        f"They began. {f.n} {g.fast}. {h.n} {steady}.",
        f"{f.n} {g.fast}, and everyone cheered. {h.n} {steady}.",
        f"{h.n} {steady}. {f.n} {g.fast} and did not even look around.",
    )
    w.say(f"But then {f.n} {g.slip}.", f"And what happened? {f.n} {g.slip}!", f"All was well for {f.n}, until {f.he} {g.slip}.")
    end = w.rnd()
    if end < 0.42:
        w.say(
            f"{h.n} just went on. And in the end, {h.he} won {g.prize}!",
            f"Nobody could believe it. Little {h.n} was the winner!",
        )
        w.say(
            f"«You won,» said {f.n}, and held out a {f.paw}. «Next year I will be more careful.»",
            f"{f.n} looked down. Then {f.he} clapped, too. «That was good,» {f.he} said.",
        )
        w.summary = f"{h.n} wins {g.prize} in {g.name} against {f.n}, who was too sure of winning."
        close(w, "proud", "slow and steady can win", "it is better to do well than to talk big")
    elif end < 0.78:
        w.say(
            f"{h.n} could have won. But {h.he} saw a tear in {f.n}'s eye, and {h.he} stopped. «Come, I will help you,» {h.he} said.",
            f"{h.n} looked at the prize. Then {h.he} looked at {f.n}, turned back and helped {f.him}.",
        )
        w.say(
            f"So somebody else won {g.prize}. «Why did you do that?» asked {f.n}. «Because you are my friend,» said {h.n}.",
            "They came in last, side by side. And do you know what? The whole crowd stood up and cheered.",
        )
        w.together = True
        w.summary = f"{h.n} could win {g.name}, but stops to help {f.n}, and gets a friend instead of {g.prize}."
        close(w, w.pick(("happy", "happy", "proud")), "a friend is better than a prize", "being kind is a way to win")
    else:
        w.bad = True
        w.say(
            f"{h.n} laughed out loud and pointed. And because {h.he} was looking back, {h.he} fell right into the mud.",
            f"«Ha!» shouted {h.n}, and began to dance before it was over. So a quiet little boy won in the end.",
        )
        w.say(
            f"{g.prize[0].upper() + g.prize[1:]} went home with somebody else, and nobody cheered for {h.n}.",
            f"There was no prize for {h.n}, and {f.n} would not even look at {h.him}.",
        )
        w.summary = f"{h.n} laughs at {f.n} during {g.name}, loses {g.prize} and a friend."
        close(w, "sad", "nobody likes to be laughed at", "pride comes before a fall")


def newcomer(w: World) -> None:
    """Somebody new is lonely; the first try goes wrong; a shared thing opens the door."""
    h, f, e = w.hero, w.friend, w.elder
    item = w.own(TOYS)
    t = item.noun
    place = w.go()
    w.sky = w.pick(("sunny", "cloudy"))
    intro(w, ("shy", "quiet", "gentle", "friendly", "kind", "lonely", "dreamy"))
    w.para()
    who_new = "hero" if w.chance(0.4) else "friend"
    if who_new == "hero":
        w.say(
            f"{h.n} had just moved to a new house, and {h.he} did not know anybody.",
            f"Everything was new: the house, the lane, the faces. {h.n} felt very small.",
        )
        w.say(
            f"Every day a {f.kind} named {f.n} played {place.at}. {h.n} watched from behind a tree.",
            f"{place.at.capitalize()} {h.he} saw a {f.kind} who was playing alone. It was {f.n}.",
        )
    else:
        w.say(
            f"One day a new {f.kind} came to the village. {f.His} name was {f.n}, and {f.he} did not talk to anybody.",
            f"There was somebody new {place.at}. A {f.kind} stood there alone, far from the others.",
        )
        w.say(
            f"«{f.He} looks lonely,» thought {h.n}. «I know how that feels.»",
            f"The others ran past. Only {h.n} stopped.",
        )
    w.say(
        f"{h.n} wanted to say hello, but the word got stuck in {h.his} throat, and {h.he} ran away.",
        f"«H-hello,» said {h.n}. But {h.he} said it so softly that {f.n} did not hear it.",
        f"{h.n} waved. {f.n} turned red and looked at the ground.",
    )
    w.para()
    w.say(
        f"«What can I do?» {h.he} asked {e.n}. «Sometimes a {t} can say hello for you,» said {e.n}.",
        f"At night {h.n} had an idea. If words were hard, maybe a {t} was easier.",
        f"The next day {h.n} brought {item.a} and began to play, not too near and not too far.",
    )
    w.say(
        f"So {h.n} put the {t} down between them and waited. One step, two steps. {f.n} came closer.",
        f"{h.n} held out the {item.full}. «Do you want to {item.play}?» {f.n} nodded.",
        f"When {f.n} saw the {item.full}, {f.his} eyes grew big. «May I {item.play}?» {f.he} asked.",
    )
    if w.chance(0.88):
        w.say(
            f"«I was afraid that nobody would like me,» said {f.n}. «Me too!» said {h.n}.",
            "Soon they were talking as if they had always known each other.",
            f"«You are the first one who asked me,» said {f.n}, and smiled for the first time.",
        )
        w.together = True
        w.summary = f"{h.n} is too shy to talk to {f.n}, but {item.a} helps them to become friends."
        close(w, w.pick(("happy", "happy", "calm", "proud")), "a small hello can begin a big friendship", "shy people need friends too")
    else:
        w.bad = True
        w.say(f"They played until evening. «See you tomorrow,» said {h.n}. But the next day {f.n}'s house was empty. {f.His} family had to move on.")
        w.say(f"{h.n} waited at the gate with the {t} for many days.")
        w.summary = f"{h.n} makes friends with shy {f.n} over {item.a}, but {f.n} has to move away."
        close(w, "sad")


def goodbye(w: World) -> None:
    """The best friend moves away; something is left behind that keeps them close, or not."""
    h, f = w.hero, w.friend
    item = w.own(KEEPSAKES)
    t = item.noun
    place = w.go()
    w.sky = w.pick(("cloudy", "sunny", "windy"))
    intro(w, ("gentle", "quiet", "dreamy", "kind", "thoughtful", "friendly"))
    w.say(
        f"Every day {h.he} met {f.n} {place.at}, and there they {place.busy[1]}.",
        f"{f.n} was {h.his} best friend. Nobody else could {place.busy[0]} like {f.n}.",
    )
    w.para()
    w.say(
        f"One day {f.n} did not laugh at all. «We are moving away,» {f.he} said. «Far away, to the sea.»",
        f"«I have to tell you something,» said {f.n} one day. «We are moving to the city.»",
        f"Then a big cart stood in front of {f.n}'s house. They were moving away.",
    )
    w.say(
        f"{h.n} was angry. «Then go!» {h.he} shouted, and ran off. But {h.he} was not really angry. {h.He} was sad.",
        f"{h.n} did not know what to say. {h.His} throat felt tight.",
        f"«You can hide in our attic,» said {h.n}. «Nobody will find you.» {f.n} shook {f.his} head.",
    )
    w.para()
    if w.chance(0.4):
        w.bad = True
        w.say(
            f"The next morning {h.n} ran to say goodbye, with {item.a} as a gift. But {h.he} was too late. The house was empty.",
            f"All night {h.n} thought of what to say. But in the morning the cart was gone, and so was {f.n}.",
        )
        w.say(f"{h.n} stood {place.at} all alone. It was very quiet there now.")
        w.summary = f"{h.n}'s best friend {f.n} moves away, and {h.n} comes too late to say goodbye."
        close(w, "sad", "it is better to say goodbye while you can")
        return
    w.say(
        f"On the last day {f.n} gave {h.him} {item.a}. «When you hold it, I will be thinking of you,» {f.he} said.",
        f"Before {f.he} left, {f.n} put {item.a} into {h.his} {h.paw}. «It is my best thing. Now it is yours.»",
    )
    item.holder = h
    w.say(
        f"{h.n} waved until the cart was only a dot.",
        "They hugged for a long time. Then the cart rolled away.",
        f"«I will write to you every week,» said {h.n}. And {h.he} did.",
    )
    w.maybe(0.5, f"One morning there was a letter. «There are gulls here,» wrote {f.n}. «When will you come?»",
            f"{h.n} missed {f.n}, but the {t} was always there.")  # fmt: skip
    w.summary = f"{h.n}'s best friend {f.n} moves away and leaves {h.him} {item.a} to remember."
    close(w, w.pick(("calm", "calm", "sad")), "friends stay friends, even far away")
