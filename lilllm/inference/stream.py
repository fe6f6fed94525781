"""One running text: what of its prompt is computed, how its tokens are chosen, when it ends.

Which texts run, and where their keys and values are, is `engine.py`'s.
"""

import torch
from torch import Tensor

from lilllm.inference.request import Delta, FinishReason, Request, TokenScore
from lilllm.inference.sampling import History, Sampler, next_tokens, sample_generator
from lilllm.inference.stopping import TextDecoder, TextStream


class Stream:
    """A submitted request and its text so far.

    Args:
        number: the request's id.
        request: what was asked.
        budget: new tokens at most.
        decoder: of its own; None where only ids are wanted.
        vocab_size: V.
        device: where logits are.
    """

    def __init__(
        self,
        number: int,
        request: Request,
        budget: int,
        decoder: TextDecoder | None,
        vocab_size: int,
        device: torch.device,
    ) -> None:
        self.number, self.request, self.budget = number, request, budget
        self.prompt = list(request.prompt_ids)
        self.slot = -1
        self.done = 0  # positions whose keys and values are stored
        self.last = self.prompt[-1]  # the token that the next step reads
        self.new_tokens = 0
        self.text = TextStream(decoder, request.options.stop)
        self.draw = sample_generator(request.seed, request.sample)
        self.sampler = Sampler.of(request.options)
        looks_back = self.sampler.looks_back
        self.history = History(self.prompt, vocab_size, device) if looks_back else None

    def accept(self, token: int, score: TokenScore | None, stop_ids: frozenset[int]) -> Delta:
        """Add a token to the text, or end it; a delta with a finish reason is the last one."""
        reason: FinishReason | None = None
        new: tuple[int, ...] = ()
        if token in stop_ids:
            reason = "stop"
        else:
            new = (token,)
            self.new_tokens += 1
            self.last = token
            if self.text.push(token):
                reason = "stop"
            elif self.new_tokens == self.budget:
                reason = "length"
        if reason is not None and self.text.finish():
            reason = "stop"
        return Delta(
            request=self.number,
            token_ids=new,
            text=self.text.take(),
            scores=(score,) if new and score is not None else (),
            finish_reason=reason,
            prompt_tokens=len(self.prompt),
            new_tokens=self.new_tokens,
        )


def choose_tokens(streams: list[Stream], logits: Tensor) -> Tensor:
    """The next token [B] of each stream, from logits [B, V]; equal samplers work at once."""
    groups: dict[Sampler, list[int]] = {}
    for row, stream in enumerate(streams):
        groups.setdefault(stream.sampler, []).append(row)
    tokens = torch.empty(len(streams), dtype=torch.long, device=logits.device)
    for sampler, rows in groups.items():
        alike = [streams[row] for row in rows]
        histories = [stream.history for stream in alike if stream.history is not None]
        draws = [stream.draw for stream in alike]
        if len(groups) == 1:
            tokens = next_tokens(logits, sampler, histories, draws)
        else:
            tokens[rows] = next_tokens(logits[rows], sampler, histories, draws)
    for row, stream in enumerate(streams):
        if stream.history is not None:
            stream.history.add(tokens[row : row + 1])
    return tokens


def score_tokens(streams: list[Stream], logits: Tensor, tokens: Tensor) -> list[TokenScore | None]:
    """Log-probabilities of the chosen tokens and the likeliest ones, where asked for."""
    scores: list[TokenScore | None] = [None] * len(streams)
    rows = [row for row, stream in enumerate(streams) if stream.request.logprobs is not None]
    if not rows:
        return scores
    logprobs = logits[rows].log_softmax(dim=-1)
    most = max(streams[row].request.logprobs or 0 for row in rows)
    top = logprobs.topk(min(most, logprobs.shape[-1]), dim=-1)
    own = logprobs.gather(1, tokens[rows][:, None])[:, 0].tolist()
    likeliest = zip(top.indices.tolist(), top.values.tolist(), strict=True)
    for row, logprob, (ids, values) in zip(rows, own, likeliest, strict=True):
        pairs = list(zip(ids, values, strict=True))[: streams[row].request.logprobs]
        scores[row] = TokenScore(int(tokens[row]), logprob, tuple(pairs))
    return scores
