"""Reads the commands and expected texts of a guide in Markdown."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from helm import ROOT

GUIDES = {
    "en": ROOT / "docs/kubernetes/install.md",
    "zh": ROOT / "docs/kubernetes/install.zh.md",
}
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HERE = re.compile(r"^cat > (\S+) << 'EOF'$")


@dataclass
class Guide:
    """What a reader would type, in order, and the files that this makes."""

    path: Path
    blocks: list[tuple[str, str]] = field(default_factory=list)
    """Language and text of each block of code."""
    commands: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    sections: dict[str, list[str]] = field(default_factory=dict)
    """Shell blocks below each heading."""

    def expected_after(self, command: str) -> list[str]:
        """The lines of the text block that follows the block with the command."""
        found = [i for i, (kind, text) in enumerate(self.blocks) if kind == "bash" and command in text]
        assert len(found) == 1, f"{command}: in {len(found)} blocks"
        kind, text = self.blocks[found[0] + 1]
        assert kind == "text", f"{command}: nothing is expected"
        return text.splitlines()


def read(language: str) -> Guide:
    path = GUIDES[language]
    text = path.read_text()
    guide = Guide(path, FENCE.findall(text))
    # Comments of the shell begin like headings.
    for part in re.split(r"^(?=#{1,4} )", FENCE.sub(_hide_comments, text), flags=re.MULTILINE):
        heading, _, rest = part.partition("\n")
        blocks = [block.replace("\0", "#") for kind, block in FENCE.findall(rest) if kind == "bash"]
        guide.sections[heading.lstrip("# ")] = blocks
    for kind, text in guide.blocks:
        if kind == "bash":
            _commands(text, guide)
    return guide


def _hide_comments(block: re.Match[str]) -> str:
    return block[0].replace("#", "\0")


def _commands(block: str, guide: Guide) -> None:
    lines = iter(block.splitlines())
    pending = ""
    for line in lines:
        if found := HERE.match(line):
            body = []
            for inner in lines:
                if inner == "EOF":
                    break
                body.append(inner)
            guide.files[found[1]] = "\n".join(body) + "\n"
            continue
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1]
        elif complete(pending):
            guide.commands.append(re.sub(r" {2,}(?=--?[a-z])", " ", pending))
            pending = ""
        else:
            pending += "\n"
    assert not pending, f"{guide.path.name}: unfinished: {pending}"


def complete(text: str) -> bool:
    """Whether no quote and no `$(` is open."""
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return text.count("$(") <= text.count(")")


def words(command: str) -> list[str]:
    """The first simple command of a line: without pipes, background and assignment."""
    command = re.sub(r"^(?:export )?[A-Z_]+=\$\((.*)\)$", r"\1", command, flags=re.DOTALL)
    found = []
    for word in shlex.split(command, comments=True):
        if word in ("|", "&", "&&", ";"):
            break
        found.append(word)
    return found[1:] if found[0] == "sudo" else found
