"""The requests of the install guides, sent by curl as they are written, and what they are said to answer."""

from __future__ import annotations

import re
import subprocess

import pytest

from guide import GUIDES, Guide, read
from local_stack import LocalStack
from stack import Stack


@pytest.fixture
def local(stack: Stack) -> LocalStack:
    if not isinstance(stack, LocalStack):
        pytest.skip("the guide's ports are forwarded in the profile local only")
    return stack


def curls(guide: Guide) -> list[str]:
    return [command for command in guide.commands if command.startswith("curl")]


def send(command: str, stack: LocalStack) -> str:
    """Runs the command with the ports of the stack in place of the forwarded ones."""
    ports = {8080: stack.gateway, 8000: stack.frontend, 8222: stack.nats_monitor}
    for port, ours in ports.items():
        command = command.replace(f"localhost:{port}", f"localhost:{ours}")
    done = subprocess.run(["bash", "-c", f"{command} --silent --max-time 60"], capture_output=True, text=True)
    assert done.returncode == 0, f"$ {command}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("language", GUIDES)
def test_answers_are_as_the_guide_says(language: str, local: LocalStack) -> None:
    guide = read(language)
    tried = 0
    for content in ("What is 2+2?", "My SSN is 123-45-6789", "tell me how to hack"):
        (command,) = [each for each in curls(guide) if content in each]
        answer = re.sub(r'":\s+', '":', send(command, local)).replace("\r", "")
        for line in guide.expected_after(content):
            assert line in answer, f"$ {command}\nexpected {line}\n{answer}"
            tried += 1
    assert tried >= 10


def test_the_second_request_finds_cached_blocks(local: LocalStack) -> None:
    first, second = [command for command in curls(read("en")) if "neural networks" in command]
    assert first == second
    mark = len(local.frontend_log())
    for command in (first, second):
        assert '"finish_reason"' in send(command, local)
    assert [line for line in local.frontend_log()[mark:] if "cached blocks: " in line]
    # The stack has been asked before, so that the chat template's first tokens are cached already.
    counts = [cached for _, cached in local.selections(mark)]
    assert counts[-1] > counts[0], counts


def test_what_is_registered_is_as_the_guide_says(local: LocalStack) -> None:
    guide = read("en")
    keys = local.registered()
    for line in guide.expected_after("etcdctl get"):
        prefix = line.removesuffix("...")
        assert [key for key in keys if key.startswith(prefix)], f"{line}\n{keys}"


def test_connections_to_nats_are_counted(local: LocalStack) -> None:
    (command,) = [each for each in curls(read("en")) if "connz" in each]
    assert '"num_connections"' in send(command, local)


def test_the_routers_log_says_what_the_guide_looks_for(local: LocalStack) -> None:
    (command,) = [each for each in read("en").commands if "deployment/semantic-router |" in each]
    pattern = re.search(r'grep -E "(.*)"', command)[1]
    send(curls(read("en"))[0], local)
    lines = [line for line in local.router_log() if re.search(pattern, line)]
    for word in pattern.split("|")[:2]:
        assert any(word in line for line in lines), f"{word}\n{lines[-20:]}"
