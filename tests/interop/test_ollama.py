"""The Modelfile: a Go template that says what the chat template says."""

import ast
import re

import pytest

from lilllm.errors import ConfigError
from lilllm.interop.ollama import ROLES, Turns, find_turns, modelfile
from lilllm.tokenizer import Tokenizer
from lilllm.tokenizer.template import chatml
from lilllm.tokenizer.tokenizer import OUR_SETTINGS
from tests.stages.tiny_run import tiny_tokenizer

SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
    "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
COUNTING = "{% for m in messages %}{{ loop.index }}: {{ m.content }}\n{% endfor %}"
SHOUTING = "{% for m in messages %}{{ m.content | upper }}{% endfor %}"
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello {{ you }}"},
    {"role": "user", "content": "Bye"},
]


def speaking(template: str | None) -> Tokenizer:
    return Tokenizer(tiny_tokenizer().text, OUR_SETTINGS, template)


def go_render(template: str, messages: list[dict[str, str]]) -> str:
    """The little of Go's template language that we write."""
    found = re.fullmatch(
        r'(.*?)\{\{ range \.Messages \}\}\{\{ if eq \.Role "system" \}\}(.*?)'
        r'\{\{ else if eq \.Role "user" \}\}(.*?)\{\{ else if eq \.Role "assistant" \}\}(.*?)'
        r"\{\{ end \}\}\{\{ end \}\}(.*)",
        template,
        re.DOTALL,
    )
    assert found is not None, template
    begins, system, user, assistant, answer = found.groups()
    turns = {"system": system, "user": user, "assistant": assistant}
    said = [turns[m["role"]].replace("{{ .Content }}", m["content"]) for m in messages]
    strings = re.compile(r'\{\{ ("(?:[^"\\]|\\.)*") \}\}')
    return strings.sub(lambda found: ast.literal_eval(found[1]), "".join([begins, *said, answer]))


def read(text: str) -> dict[str, list[str]]:
    """The commands of a Modelfile and their values, as Ollama's parser.go reads them."""
    values: dict[str, list[str]] = {}
    rest = text
    while rest:
        command = re.match(r"(PARAMETER \w+|[A-Z]+) ", rest)
        assert command is not None, rest
        rest = rest[command.end() :]
        for end in re.finditer(r"[\r\n]", rest):
            value = unquote(rest[: end.start()].strip())
            if value is not None:
                break
        kept = "".join(char for char in value if char.isprintable() or char in "\r\n\t")
        values.setdefault(command[1], []).append(kept)
        rest = rest[end.end() :]
    return values


def unquote(value: str) -> str | None:
    """What stands in quotes, or without them; None where they are still open."""
    for quote in ('"""', '"'):
        if value.startswith(quote):
            closed = len(value) >= 2 * len(quote) and value.endswith(quote)
            return value[len(quote) : -len(quote)] if closed else None
    return value


@pytest.mark.parametrize("template", [chatml(), SMOLLM2], ids=["ours", "smollm2"])
def test_the_go_template_says_what_the_chat_template_says(template: str) -> None:
    tokenizer = speaking(template)
    turns = find_turns(tokenizer)
    assert turns is not None
    text = modelfile("m.gguf", turns, tokenizer, {}, 64)
    rendered = tokenizer.render_chat(TALK, add_generation_prompt=True)
    assert go_render(read(text)["TEMPLATE"][0], TALK) == rendered.removeprefix("<|endoftext|>")
    assert ("SYSTEM" in text) is (template is SMOLLM2)


def test_a_default_system_message_becomes_system() -> None:
    tokenizer = speaking(SMOLLM2)
    turns = find_turns(tokenizer)
    assert turns is not None and turns.system == "You help."
    assert "\nSYSTEM You help.\n" in modelfile("m.gguf", turns, tokenizer, {}, 64)


@pytest.mark.parametrize(
    "template",
    [None, COUNTING, SHOUTING, "{{ broken"],
    ids=["none", "counting", "shouting", "broken"],
)
def test_a_template_that_does_more_has_no_go_template(template: str | None) -> None:
    assert find_turns(speaking(template)) is None


HARD = [
    *('"', '""', '"""', '""""""', 'say "this"', '"""this"""', '\\"""', "'single'", '"\n"'),
    *("two\nlines", 'a\n"b"', "\n", "\r\n", " \touter space ", "back\\slash \\n", "# a", "FROM x"),
    *("{", "{{ .Content }}", "}}", "Grüße 🐈 <|im_end|>"),
]
UNSAYABLE = ['"""\nmore', 'a """ \t\r\nb', "no\u00a0break", "👩\u200d🔬", "\0", "\U000e0041"]


@pytest.mark.parametrize("text", [*HARD, *UNSAYABLE])
def test_any_text_of_a_template_stays_as_it_is(text: str) -> None:
    around = {role: (f"{text}{role}", text) for role in ROLES}
    turns = Turns(text, around, text)
    commands = read(modelfile("m.gguf", turns, tiny_tokenizer(), {}, 64))
    said = [message | {"content": "words"} for message in TALK]
    template = commands["TEMPLATE"][0]
    assert go_render(template, said) == turns.render(said, answer=True) and "{{{" not in template
    assert commands["PARAMETER num_ctx"] == ["64"]


@pytest.mark.parametrize("text", HARD)
def test_any_text_of_a_command_is_read_back(text: str) -> None:
    turns = Turns("", dict.fromkeys(ROLES, ("", "")), "", text)
    commands = read(modelfile("m.gguf", turns, tiny_tokenizer(), {"stop": [text]}, 64))
    assert commands["SYSTEM"] == [text]
    assert commands["PARAMETER stop"] == ["<|endoftext|>", "<|im_end|>", text]


@pytest.mark.parametrize("text", UNSAYABLE)
def test_what_ollama_would_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a Modelfile cannot say"):
        modelfile("m.gguf", None, tiny_tokenizer(), {"stop": [text]}, 64)


def test_sampling_and_stops_are_parameters() -> None:
    generation = {"temperature": 0.7, "top_k": 40, "max_new_tokens": 99, "stop": ["\nUser:"]}
    text = modelfile("m.gguf", None, tiny_tokenizer(), generation, 512)
    assert text == (
        "FROM ./m.gguf\nTEMPLATE {{ .Prompt }}\nPARAMETER num_ctx 512\n"
        "PARAMETER temperature 0.7\nPARAMETER top_k 40\nPARAMETER num_predict 99\n"
        "PARAMETER stop <|endoftext|>\nPARAMETER stop <|im_end|>\n"
        'PARAMETER stop """\nUser:"""\n'
    )
