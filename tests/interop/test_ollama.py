"""The Modelfile: a Go template that says what the chat template says."""

import re

import pytest

from lilllm.interop.ollama import find_turns, modelfile
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
    return "".join([begins, *said, answer]).replace('{{ "{{" }}', "{{")


@pytest.mark.parametrize("template", [chatml(), SMOLLM2], ids=["ours", "smollm2"])
def test_the_go_template_says_what_the_chat_template_says(template: str) -> None:
    tokenizer = speaking(template)
    turns = find_turns(tokenizer)
    assert turns is not None
    text = modelfile("m.gguf", turns, tokenizer, {}, 64)
    found = re.search(r'TEMPLATE """(.*?)"""', text, re.DOTALL)
    assert found is not None
    rendered = tokenizer.render_chat(TALK, add_generation_prompt=True)
    assert go_render(found.group(1), TALK) == rendered.removeprefix("<|endoftext|>")
    assert ("SYSTEM" in text) is (template is SMOLLM2)


def test_a_default_system_message_becomes_system() -> None:
    tokenizer = speaking(SMOLLM2)
    turns = find_turns(tokenizer)
    assert turns is not None and turns.system == "You help."
    assert 'SYSTEM """You help."""' in modelfile("m.gguf", turns, tokenizer, {}, 64)


@pytest.mark.parametrize(
    "template",
    [None, COUNTING, SHOUTING, "{{ broken"],
    ids=["none", "counting", "shouting", "broken"],
)
def test_a_template_that_does_more_has_no_go_template(template: str | None) -> None:
    assert find_turns(speaking(template)) is None


def test_braces_of_a_template_stay_text() -> None:
    template = chatml().replace("<|im_end|>", "}} {{ end")
    turns = find_turns(speaking(template))
    assert turns is not None
    text = modelfile("m.gguf", turns, speaking(template), {}, 64)
    assert '}} {{ "{{" }} end' in text


def test_sampling_and_stops_are_parameters() -> None:
    generation = {"temperature": 0.7, "top_k": 40, "max_new_tokens": 99, "stop": ["\nUser:"]}
    text = modelfile("m.gguf", None, tiny_tokenizer(), generation, 512)
    assert text == (
        'FROM ./m.gguf\nTEMPLATE """{{ .Prompt }}"""\nPARAMETER num_ctx 512\n'
        "PARAMETER temperature 0.7\nPARAMETER top_k 40\nPARAMETER num_predict 99\n"
        'PARAMETER stop "<|endoftext|>"\nPARAMETER stop "<|im_end|>"\n'
        'PARAMETER stop "\\nUser:"\n'
    )
