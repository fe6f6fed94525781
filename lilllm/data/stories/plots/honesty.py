# ruff: noqa: E501 (one sentence is one line)
"""Plots about words: a lie and the truth, a promise, a warning not heeded."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import FOODS
from lilllm.data.stories.scenes import close, day, intro
from lilllm.data.stories.world import AFTERNOON, EVENING, World, an


class _Deed(NamedTuple):
    deed: str
    """What the hero did, past tense."""
    found: str
    """What the grown-up finds."""
    did_you: str
    trace: str
    """What gives the hero away."""
    amends: str
    noun: str


_DEEDS = (
    _Deed("ate the whole pie that stood on the window sill", "an empty plate", "eat the pie",
          "a bit of pie on {his} chin", "helped to bake a new pie", "pie"),
    _Deed("played ball in the house and broke the blue vase", "a broken vase", "break the vase",
          "a piece of the blue vase in {his} pocket", "gave all {his} coins for a new vase", "vase"),
    _Deed("drew a long green dragon on the wall", "a dragon on the clean wall", "draw on the wall",
          "green paint on {his} {paws}", "scrubbed the wall until it was white again", "wall"),
    _Deed("used the new soap to make bubbles, until nothing was left", "an empty soap dish",
          "use up the soap", "bubbles in {his} hair", "washed all the dishes for a week", "soap"),
    _Deed("tried on the best hat and sat on it by mistake", "a very flat hat", "sit on the hat",
          "a ribbon from the hat on {his} back", "brushed the hat and pushed it into shape", "hat"),
    _Deed("picked every single rose in the garden", "a garden without roses", "pick the roses",
          "a rose leaf on {his} sleeve", "planted a new rose bush and watered it every day", "rose"),
    _Deed("opened the gate and forgot to close it, so that the hens ran away", "an empty hen house",
          "leave the gate open", "a hen feather on {his} shirt", "looked for the hens until all were home", "gate"),
    _Deed("tasted the honey, spoon after spoon, until the jar was empty", "an empty jar",
          "eat the honey", "honey all over {his} nose", "went to the bees and asked for more honey", "honey"),
)  # fmt: skip


def a_lie(w: World) -> None:
    """The hero blames somebody else; the lie weighs; a trace or the heart tells the truth."""
    h, e, f = w.hero, w.elder, w.friend
    d = w.pick(_DEEDS)
    trace = d.trace.format(his=h.his, paws=h.paws)
    w.key_nouns.append(d.noun)
    w.home = True
    w.sky = w.pick(("sunny", "cloudy", "rainy"))
    blamed = w.pick(("the cat", "the dog", f.n, "the wind", "the baby") if h.child else ("the crow", f.n, "the wind", "the baby"))
    if blamed == "the wind" and d.noun not in ("vase", "hat", "gate"):
        blamed = f.n
    intro(w, ("lively", "playful", "merry", "young", "funny", "busy", "clever"))
    w.para()
    told = w.today
    w.say(
        f"{day(w)}, when nobody was looking, {h.n} {d.deed}.",
        f"One afternoon {h.he} was alone in the house. {h.n} {d.deed}."
        if not told else f"{h.n} was all alone that afternoon, and {h.he} {d.deed}.",
        f"It was a long and boring day. So {h.n} {d.deed}.",
    )
    w.say(
        f"Then {e.n} came home and found {d.found}. «Did you {d.did_you}?» asked {e.n}.",
        f"«What is this?» asked {e.n}, who saw {d.found}. «{h.n}, did you {d.did_you}?»",
        f"Soon {e.n} saw {d.found}. «Who did that?» asked {e.n}.",
        f"Soon {e.n} found {d.found} and wanted to know who had done it.",
    )
    w.say(
        f"{h.n} looked at the floor and shook {h.his} head. {h.He} said that it was {blamed}.",
        f"{h.n} looked at the floor. «No,» {h.he} said. «It was {blamed}.»",
        f"«Not me!» said {h.n} quickly. «I saw {blamed} do it!»",
        f"{h.n} was afraid. So {h.he} pointed away and said, «It was {blamed}!»",
    )
    w.para()
    if w.chance(0.35):
        _caught(w, d, trace, blamed)
        return
    _confess(w, d, blamed)


def _confess(w: World, d: _Deed, blamed: str) -> None:
    h, e, f = w.hero, w.elder, w.friend
    w.say(
        f"{e.n} believed it. But {h.n} did not feel good. There was a stone in {h.his} tummy.",
        f"{e.n} believed it. {h.n} ran outside to play, but playing was no fun at all.",
        f"That night {h.n} could not sleep. The lie felt as heavy as a wet coat.",
    )
    if blamed in ("the cat", "the dog", "the crow"):
        w.say(
            f"Poor {blamed[4:]}! It got no dinner that evening and did not know why.",
            f"{blamed.capitalize()} had to stay outside in the cold and looked in at the window.",
        )
    elif blamed == f.n:
        w.say(
            f"«{f.n} may not come to play for a while,» said {e.n}. That made it even worse.",
            f"Now {f.n} was not allowed to come and play, and {f.he} did not even know why.",
            f"Then {f.n} came by, friendly as ever, and gave {h.him} half of {an(w.pick(FOODS))}.",
        )
    w.say(
        f"At last {h.n} went to {e.n}. «It was not {blamed},» {h.he} said. «It was me.»",
        f"At last {h.n} went to {e.n} and told the truth, every word of it.",
        f"«I told a lie,» {h.n} said all at once, and then {h.he} told {e.n} everything.",
        f"{h.n} pulled at {e.n}'s sleeve. «I did it,» {h.he} whispered. «I am sorry that I lied.»",
    )
    w.say(
        f"{e.n} was silent. Then {e.he} said, «That was brave. Thank you for the truth.»",
        f"{e.n} was silent for a while. Then {e.he} took {h.him} into {e.his} arms.",
        f"«I am glad you told me,» said {e.n}. «Now, how can you make it good?»",
        f"«The truth is a little late,» said {e.n}, «but it is welcome.»",
    )
    w.say(f"The next day {h.n} {d.amends.format(his=h.his)}.", f"So {h.n} {d.amends.format(his=h.his)}.")
    w.summary = f"{h.n} {d.deed} and said it was {blamed}, but then {h.he} told {e.n} the truth and made it good."
    close(w, w.pick(("calm", "calm", "proud", "happy")), "the truth makes you feel light",
          "a lie gets heavier the longer you carry it")  # fmt: skip


def _caught(w: World, d: _Deed, trace: str, blamed: str) -> None:
    h, e = w.hero, w.elder
    w.say(
        f"«How strange,» said {e.n}. «Then why do I see {trace}?»",
        f"But {e.n} bent down and looked closely at {h.him}. There was {trace}.",
        f"But {e.n} saw {trace}. {e.He} did not say a word. {e.He} only waited.",
    )
    w.say(
        f"{h.n} turned as red as a tomato.",
        f"{h.n} opened {h.his} mouth, but no word came out.",
        f"{h.n} wished that the floor would open.",
    )
    if w.chance(0.55):
        w.bad = True
        w.say(
            f"{e.n} was sad, not because of the {d.noun}, but because of the lie. {e.He} left the room without a word.",
            f"«It is not the {d.noun} that makes me sad,» said {e.n}. «It is the lie.»",
            f"«I could have forgiven you the {d.noun},» said {e.n}. «But you lied to me.» {e.He} left the room.",
        )
        w.say(
            "There was no story at bedtime that night.",
            f"For many days {e.n} asked twice whenever {h.n} said something.",
        )
        w.summary = f"{h.n} {d.deed}, lied about it and was caught, and {e.n} did not trust {h.him} anymore."
        close(w, "sad", "a lie costs more than the truth", "nobody trusts a person who lies")
        return
    w.say(
        f"Then {h.he} said in a very small voice that {h.he} was sorry, and that it was not {blamed} at all.",
        f"«I am sorry,» {h.he} said in a very small voice. «It was me, and not {blamed}.»",
        f"«It was me,» {h.he} said at last. «I was scared that you would be angry.»",
    )
    w.say(
        f"«I am a little angry,» said {e.n}. «But I will always love you.» Then {h.n} {d.amends.format(his=h.his)}.",
        f"{e.n} nodded and waited. And {h.n} {d.amends.format(his=h.his)}.",
    )
    w.summary = f"{h.n} {d.deed}, blamed {blamed} and was found out by {trace}; {h.he} said sorry."
    close(w, w.pick(("calm", "happy")), "a lie is always found out", "it is best to tell the truth at once")


class _Duty(NamedTuple):
    ask: str
    """What has been promised, completing `promise to ...`."""
    did: str
    kept: str
    failed: str
    noun: str
    asker: str


_DUTIES = (
    _Duty("water the sunflower every day", "watered the sunflower", "The sunflower was as tall as the door",
          "The sunflower hung its head. It was brown and dry", "sunflower", "the neighbor"),
    _Duty("feed the fish every morning", "fed the fish", "The fish came to the glass and blew a bubble",
          "The fish lay very still at the bottom of the bowl", "fish", "the baker"),
    _Duty("light the lamp by the sea every night", "lit the lamp by the sea", "The lamp shone far over the dark water",
          "The lamp had gone out, and the boat could not find the way home", "lamp", "the old sailor"),
    _Duty("close the gate every night", "closed the gate", "All the sheep were safe and warm",
          "The gate stood open, and the smallest sheep was gone", "gate", "the farmer"),
    _Duty("keep the duck eggs warm", "kept the eggs warm in a box of wool",
          "Crack, crack! Three yellow ducklings looked out", "The eggs were cold, and no duckling ever came out", "eggs", "the farmer"),
    _Duty("feed the hens every evening", "fed the hens", "The hens were fat and happy, and there were nine fresh eggs",
          "The hens were thin and hungry, and two of them had run away", "hens", "the neighbor"),
)  # fmt: skip


def a_promise(w: World) -> None:
    """A promise meets something more fun; it is kept, mended in time, or broken."""
    h, f, e = w.hero, w.friend, w.elder
    d = w.pick(_DUTIES)
    w.key_nouns.append(d.noun)
    w.sky = w.pick(("sunny", "windy", "cloudy"))
    asker = w.pick((d.asker, d.asker, e.n))
    fun = w.pick((
        ("visit the fair", "music from the fair"), ("fly kites on the hill", "the kites over the hill"),
        ("swim in the lake", "the splashing from the lake"), ("build a tree house", "hammers in the old tree"),
        ("catch frogs", "laughter by the pond"), ("race down the hill", "the others shouting on the hill"),
    ))  # fmt: skip
    intro(w, ("cheerful", "playful", "kind", "merry", "friendly", "dreamy"))
    w.para()
    w.say(
        f"{day(w)}, {asker} had to go away. «Will you {d.ask}?» asked {asker}. «I promise,» said {h.n}.",
        f"«Can you do something for me?» asked {asker}. «I must go away. Please {d.ask} until I come back.» {h.n} gave {h.his} word.",
        f"When {asker} went on a trip, {h.n} made a promise: {h.he} would {d.ask}.",
    )
    w.say(
        f"For two days {h.n} {d.did}, just as {h.he} had said.",
        f"At first it was easy. {h.n} {d.did} and felt very grown-up.",
        f"On the first day {h.he} did not forget. {h.n} {d.did}.",
    )
    w.para()
    w.say(
        f"On the third day {f.n} knocked at the door. «Come and {fun[0]} with us!» {f.he} said.",
        f"Then {f.n} came running. «We are going to {fun[0]}! Are you coming?»",
        f"But then {h.n} heard {fun[1]}, and {f.n} was calling {h.his} name. They were going to {fun[0]}!",
    )
    _keep_or_break(w, d, asker, fun[0])


def _keep_or_break(w: World, d: _Duty, asker: str, fun: str) -> None:
    h, f, e = w.hero, w.friend, w.elder
    end = w.rnd()
    if end < 0.4:
        w.say(
            f"{h.n} wanted to go very much. But {h.he} shook {h.his} head. «I promised,» {h.he} said.",
            f"{h.n} wanted to go very much. But a promise is a promise, so {h.he} stayed.",
            f"{h.His} feet wanted to run. «First I must keep my promise,» said {h.n}.",
        )
        w.say(
            f"{f.n} thought about it. «Then I will help you, and we can go together after that,» {f.he} said.",
            f"«Then we will wait for you,» said {f.n}. And they did.",
            f"Then {f.n} came in to help, and the work was done in half the time. After that, they ran off together.",
        )
        w.together = True
        w.para()
        w.say(
            f"When {asker} came back, everything was well. {d.kept}.",
            f"{d.kept}. «You kept your word,» said {asker}.",
            f"{asker[0].upper() + asker[1:]} came home and looked around. {d.kept}.",
        )
        w.summary = f"{h.n} promises {asker} to {d.ask} and keeps the promise, although {f.n} wants to {fun}."
        close(w, w.pick(("proud", "proud", "happy")), "those who keep their word are trusted", "it feels good to keep your word")
    elif end < 0.68:
        w.say(f"{h.n} forgot everything and ran along. They played until the sun was low.",
              f"«Just for a little while,» said {h.n}. But a little while became a whole day.")  # fmt: skip
        w.hour = EVENING
        w.say(
            f"Then {h.he} stood still. The promise! {h.n} ran back as fast as {h.his} legs could go.",
            f"On the way home {h.he} saw a light and remembered. «Oh no! I promised!» {h.n} began to run.",
        )
        w.para()
        w.say(
            f"It was almost too late, but not quite. {h.n} {d.did} until {h.his} arms were tired.",
            f"{h.He} came just in time. All that evening {h.n} stayed and {d.did}.",
        )
        w.say(
            f"When {asker} came back, {h.n} told the whole story. «You came back,» said {asker}. «That counts.»",
            f"In the end it was all right. {d.kept}.",
        )
        w.summary = f"{h.n} promises to {d.ask}, almost forgets it to {fun}, and comes back just in time."
        close(w, w.pick(("calm", "happy")), "a promise does not keep itself", "it is never too late to do what you promised")
    else:
        w.bad = True
        w.say(f"{h.n} thought that one day would not matter, and ran off. The next day {h.he} went again.",
              f"«One day will not matter,» said {h.n}, and went along. The next day {h.he} went again.",
              f"{h.n} ran off with {f.n}. That evening {h.he} was too tired, and the day after {h.he} forgot.")  # fmt: skip
        w.para()
        w.say(
            f"When {h.he} came back at last, it was too late. {d.failed}.",
            f"Then {asker} came home. {d.failed}.",
        )
        w.say(
            f"{asker[0].upper() + asker[1:]} only shook {e.his if asker == e.n else 'a tired'} head and turned away.",
            f"«You promised,» said {asker} quietly.",
            f"«I trusted you,» said {asker}, and turned away.",
            f"«I am so sorry,» said {h.n}. But sorry could not mend it.",
        )
        w.summary = f"{h.n} promises {asker} to {d.ask}, but goes off to {fun} and breaks the promise."
        close(w, "sad", "a broken promise hurts", "you should only promise what you will do")


class _Warning(NamedTuple):
    rule: str
    """What the grown-up says."""
    tempt: str
    """Why the hero does it all the same."""
    does: str
    result: str
    loss: str
    """What it came to, for the summary."""
    after: str
    """What it was like afterwards, a whole sentence."""


_WARNINGS = (
    _Warning("Do not walk on the ice yet. It is too thin", "The ice looked so smooth and shiny",
             "put one foot on the ice, and then the other",
             "Crack! The ice broke, and the cold water came up to {his} chest", "falls through the ice",
             "For a whole week {he} had to stay in bed, while the others went skating"),
    _Warning("Do not let go of the balloon", "{He} wanted to see if it would come back",
             "opened {his} {paws}", "Up went the balloon, higher and higher, until it was only a dot",
             "loses the balloon",
             "{He} waited until dark, but it did not come back"),
    _Warning("Do not eat the red berries", "They looked as sweet as candy",
             "put a whole row of them into {his} mouth",
             "Soon {his} tummy hurt so much that {he} could not stand up", "gets a bad tummy ache",
             "The next day all the others went to the fair, but {he} was still too sick"),
    _Warning("Do not touch the nest", "The eggs were so small and so blue",
             "reached up to hold one, only for a moment",
             "It slipped. There was a tiny crack, and the mother bird cried and cried", "breaks an egg",
             "All that spring, the nest stayed empty"),
    _Warning("Wait until the soup is cool", "It smelled so good, and {he} was so hungry",
             "took one big spoon of it", "Ow! It burned {his} tongue, and {he} dropped the bowl on the floor",
             "burns {his} tongue and spills the soup",
             "Nobody had any soup that day, and {his} tongue hurt for a week"),
    _Warning("Keep the cage door shut", "The little bird looked so bored",
             "opened the door, just a bit", "With a whir of wings, the bird flew out of the window and was gone",
             "loses the little bird",
             "Now the mornings were silent, because nobody sang in them"),
    _Warning("Bring the birthday cake straight to Aunt Bell", "There was a swing by the path",
             "put the cake in the grass and swung up high",
             "When {he} came back, the crows had eaten it all", "loses the birthday cake",
             "There was a party that day, but there was no cake"),
    _Warning("Do not climb on the old wall", "From up there one could see the whole world",
             "climbed up, stone by stone", "A stone came loose. Down {he} fell, and {his} leg was hurt",
             "falls and hurts {his} leg",
             "All summer {he} had to sit on the bench and watch the others run"),
)  # fmt: skip


def a_warning(w: World) -> None:
    """A warning is not heeded, and the harm cannot be undone."""
    h, e, f = w.hero, w.elder, w.friend
    warn = w.pick(_WARNINGS)
    w.sky = "snowy" if "ice" in warn.rule else w.pick(("sunny", "cloudy"))
    he, his, paws = h.he, h.his, h.paws
    intro(w, ("stubborn", "curious", "lively", "young", "careless", "bold"))
    w.say(
        f"«{warn.rule},» {e.n} told {h.him}.",
        f"{day(w)}, {e.n} said, «{warn.rule}.» {h.n} nodded, but {he} was not really listening.",
        f"«{warn.rule},» said {e.n}. «Yes, yes,» said {h.n}.",
    )
    w.para()
    w.hour = AFTERNOON
    w.say(
        f"{warn.tempt.format(He=h.He, he=he)}. «Just once,» {h.n} thought.",
        f"But when {e.n} was gone, {h.n} could not stop thinking about it. {warn.tempt.format(He=h.He, he=he)}.",
        f"«{e.n} worries too much,» {h.n} said. {warn.tempt.format(He=h.He, he=he)}.",
    )
    w.maybe(0.45, f"«Don't do it,» said {f.n}, who was there too. «Remember what {e.n} said!» But {he} did not stop.",
            f"A small voice inside {h.him} said no. {h.n} did not listen to it.")  # fmt: skip
    w.say(
        f"{h.n} {warn.does.format(his=his, paws=paws)}.",
        f"So {h.n} looked left and right and {warn.does.format(his=his, paws=paws)}.",
    )
    w.para()
    result = warn.result.format(he=he, his=his)
    w.say(f"{result}.", f"And then it happened. {result}.", f"For a moment all was fine. {result}.")
    w.say(
        f"«Why did I not listen?» {h.n} cried.",
        f"{e.n} came running, but it was too late.",
        f"«I wish I could do it over,» said {h.n}. But nobody can do that.",
        f"{h.n} told {e.n} everything, in tears.",
    )
    w.say(f"{warn.after.format(he=he, He=h.He, his=his)}.")
    w.bad = True
    w.summary = f"{e.n} warns {h.n}, but {he} does not listen and {warn.loss.format(his=his)}."
    close(w, "sad", "a warning is there for a reason", "it is wise to listen before it is too late",
          "some things cannot be undone")  # fmt: skip
