"""A Modelfile for Ollama: which GGUF, how a conversation looks, how to sample.

Ollama has Go templates instead of Jinja. What a chat template puts around each role's words is
found by rendering; a template that does more than that has no Go template here.

Source: github.com/ollama/ollama, docs/modelfile.md, docs/template.md and, for what a Modelfile can
quote, parser/parser.go.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lilllm.errors import ConfigError, LilllmError
from lilllm.tokenizer import Tokenizer
from lilllm.tokenizer.tokenizer import token_name

ROLES = ("system", "user", "assistant")
WORDS = {"system": "Alpha", "user": "Beta", "assistant": "Gamma"}
PARAMETERS = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "max_new_tokens": "num_predict",
}
"""Our sampling options, and Ollama's names of them."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What a chat template writes: before and after each role's words, and before an answer.

    system: the message that stands where none is given; empty for none.
    """

    begins: str
    around: Mapping[str, tuple[str, str]]
    answer: str
    system: str = ""

    def render(self, messages: Sequence[Mapping[str, str]], answer: bool) -> str:
        """The text of a conversation."""
        if self.system and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.system}, *messages]
        parts = [self.begins]
        for message in messages:
            before, after = self.around[message["role"]]
            parts += [before, message["content"], after]
        return "".join(parts) + (self.answer if answer else "")


def find_turns(tokenizer: Tokenizer) -> Turns | None:
    """What the chat template writes, or None when it is absent or does more than `Turns` can."""
    try:
        turns = _probe(tokenizer)
        says = [{"role": role, "content": f"{role} 1 <x>"} for role in ROLES]
        for conversation in (says, says[1:], [*says, says[1], says[2], says[1]]):
            for answer in (False, True):
                if turns.render(conversation, answer) != tokenizer.render_chat(
                    conversation, answer
                ):
                    return None
    except (LilllmError, ValueError):  # no template, one that refuses these, words not found
        return None
    return turns


def modelfile(
    gguf: str,
    turns: Turns | None,
    tokenizer: Tokenizer,
    generation: Mapping[str, Any],
    context: int,
) -> str:
    """The text of a Modelfile.

    Args:
        gguf: the file's name, in the same folder.
        turns: how a conversation looks; None: the model continues text.
        tokenizer: names the tokens that end a text.
        generation: sampling options, named as in the config's `generate`.
        context: positions.

    Raises:
        ConfigError: a text that Ollama would read differently, however it is quoted.
    """
    lines = [f"FROM {_value(f'./{gguf}')}", f"TEMPLATE {_value(_go_template(turns, tokenizer))}"]
    if turns is not None and turns.system:
        lines.append(f"SYSTEM {_value(turns.system)}")
    lines.append(f"PARAMETER num_ctx {context}")
    for ours, theirs in PARAMETERS.items():
        if ours in generation:
            lines.append(f"PARAMETER {theirs} {generation[ours]}")
    ends = [tokenizer.decode([id], skip_special=False) for id in sorted(tokenizer.stop_ids)]
    for stop in dict.fromkeys([*ends, *generation.get("stop", ())]):
        lines.append(f"PARAMETER stop {_value(stop)}")
    return "\n".join(lines) + "\n"


def _probe(tokenizer: Tokenizer) -> Turns:
    def text(*roles: str, answer: bool = False) -> str:
        says = [{"role": role, "content": WORDS[role]} for role in roles]
        return tokenizer.render_chat(says, answer)

    def split(part: str, role: str) -> tuple[str, str]:
        before, found, after = part.partition(WORDS[role])
        if not found:
            raise ValueError(role)
        return before, after

    def rest(whole: str, known: str) -> str:
        if not whole.startswith(known):
            raise ValueError(whole)
        return whole[len(known) :]

    alone, asked = text("system"), text("system", "user")
    answered = text("system", "user", "assistant")
    user = split(rest(asked, alone), "user")
    before, after = split(alone, "system")
    start = text("user").removesuffix("".join((user[0], WORDS["user"], user[1])))
    begins, default = "", ""
    if before.startswith(start):  # nothing stands for a system message that is not there
        begins = start
    else:
        default = rest(start, before).removesuffix(after)
        bos = token_name(tokenizer.settings.get("bos_token")) or ""
        if before.startswith(bos) and not user[0].startswith(bos):
            begins = bos
    around = {
        "system": (before.removeprefix(begins), after),
        "user": user,
        "assistant": split(rest(answered, asked), "assistant"),
    }
    return Turns(begins, around, rest(text("system", "user", answer=True), asked), default)


def _go_template(turns: Turns | None, tokenizer: Tokenizer) -> str:
    """The same turns in Go's language; BOS is left to the runtime where the tokenizer adds it."""
    if turns is None:
        return "{{ .Prompt }}"
    bos = token_name(tokenizer.settings.get("bos_token")) or ""
    adds_bos = tokenizer.encode_prompt("a") != tokenizer.encode("a")
    parts = [_literal(turns.begins.removeprefix(bos if adds_bos else "")), "{{ range .Messages }}"]
    for number, role in enumerate(ROLES):
        before, after = map(_literal, turns.around[role])
        test = "{{ else if" if number else "{{ if"
        parts.append(f'{test} eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}')
    return "".join([*parts, "{{ end }}{{ end }}", _literal(turns.answer)])


def _literal(text: str) -> str:
    """Text that Go's template language and the Modelfile leave as it is."""
    quoted = re.sub(r'\{+|"{3,}', lambda run: f"{{{{ {json.dumps(run[0])} }}}}", text)
    return "".join(char if _is_kept(char) else f'{{{{ "\\U{ord(char):08x}" }}}}' for char in quoted)


def _value(text: str) -> str:
    """A text as a command's value: bare, or in three quotes, within which nothing is escaped.

    Raises:
        ConfigError: Ollama would read another text.
    """
    dropped = [char for char in text if not _is_kept(char)]
    if dropped or re.search(r'"{3}[ \t]*[\r\n]', text):
        why = f"Ollama passes over {dropped[0]!r}" if dropped else 'a line of it ends with """'
        raise ConfigError(f"a Modelfile cannot say {text!r}: {why}", "take --to gguf")
    bare = re.fullmatch(r'[^\s"]([^\r\n]*\S)?', text)
    return text if bare else f'"""{text}"""'


def _is_kept(char: str) -> bool:
    """Whether Ollama keeps a character of a Modelfile, as it does those that can be printed."""
    return char.isprintable() or char in "\n\r\t"
