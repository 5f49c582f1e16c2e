"""Many clients at once get the answers that they would get alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from openai import OpenAI

from openai_client import sdk
from prompts import long_messages, long_text, user
from tandem_process import Tandem

REQUESTS = 40
QUESTIONS = [
    "What is 2+2?",
    "Tell me a story.",
    "What is the capital of France?",
    "Count from 1 to 10.",
    "What do bees make?",
]


@dataclass(frozen=True)
class Job:
    """A request whose answer is determined."""

    number: int
    model: str

    def run(self, clients: list[OpenAI]) -> tuple[str, ...]:
        """The texts of its choices."""
        client = clients[self.number % 2]
        match self.number % 5:
            case 0:
                return self.chat(client, QUESTIONS[self.number // 5 % 5])
            case 1:
                return self.chat(client, QUESTIONS[self.number // 5 % 5], n=2)
            case 2:
                return self.stream(client, QUESTIONS[self.number // 5 % 5])
            case 3:
                return self.text(client)
            case _:
                return self.long(client)

    def chat(self, client: OpenAI, question: str, **members) -> tuple[str, ...]:
        answer = client.chat.completions.create(
            model=self.model, messages=user(question), max_tokens=16, temperature=0, **members
        )
        return tuple(choice.message.content for choice in answer.choices)

    def stream(self, client: OpenAI, question: str) -> tuple[str, ...]:
        stream = client.chat.completions.create(
            model=self.model,
            messages=user(question),
            max_tokens=16,
            temperature=0,
            stream=True,
        )
        return ("".join(chunk.choices[0].delta.content or "" for chunk in stream),)

    def text(self, client: OpenAI) -> tuple[str, ...]:
        """Sampled, but with a seed."""
        answer = client.completions.create(
            model=self.model,
            prompt=[f"Once upon a time, {self.number} birds", "The old baker"],
            max_tokens=12,
            temperature=0.9,
            seed=self.number,
        )
        return tuple(choice.text for choice in answer.choices)

    def long(self, client: OpenAI) -> tuple[str, ...]:
        answer = client.chat.completions.create(
            model=self.model,
            messages=long_messages(f"lavender {self.number % 3}"),
            max_tokens=8,
            temperature=0,
        )
        return (answer.choices[0].message.content,)


def test_forty_requests_at_once_are_answered_as_one_by_one(tandem: Tandem, model: str) -> None:
    jobs = [Job(number, model) for number in range(REQUESTS)]
    with sdk(tandem.gateway) as gateway, sdk(tandem.frontend) as frontend:
        clients = [gateway, frontend]
        with ThreadPoolExecutor(REQUESTS) as pool:
            together = list(pool.map(lambda job: job.run(clients), jobs))
        alone = [job.run(clients) for job in jobs]
    assert all(text for texts in together for text in texts)
    assert together == alone
    assert tandem.metrics().value("dynamo_frontend_inflight_requests") == 0


def test_a_long_prompt_does_not_hold_up_a_running_stream(up, model: str) -> None:
    """One worker does both, and still the stream goes on while the prompt is computed."""
    with up("--workers", "both=1") as server, sdk(server.frontend) as client:
        stream = client.chat.completions.create(
            model=model,
            messages=user("Tell me a story."),
            max_tokens=1000,
            temperature=0,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        chunks = iter(stream)
        next(chunks)
        with ThreadPoolExecutor(1) as pool:
            prompt = user(long_text("marjoram", sentences=150))
            job = pool.submit(
                client.chat.completions.create, model=model, messages=prompt, max_tokens=1
            )
            meanwhile = 0
            while not job.done():
                next(chunks)
                meanwhile += 1
        answer = job.result()
        stream.close()
    assert answer.usage.prompt_tokens > 1500
    assert meanwhile >= 4, f"only {meanwhile} tokens while {answer.usage.prompt_tokens} were read"
