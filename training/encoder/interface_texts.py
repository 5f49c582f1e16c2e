"""Harmless sentences in 20 languages: translated interface texts of Django and Wagtail (both BSD-3-Clause), many of them orders to a user.

`python3 interface_texts.py DIR OUT.jsonl.gz`, where DIR holds the .po files of both packages. Rows are {text, lang}; texts with placeholders are left out.
"""

import gzip
import json
import random
import re
import sys
from pathlib import Path

LANGUAGES = {"de", "fr", "es", "it", "pt_BR", "ru", "zh_Hans", "ja", "ko", "ar", "hi", "tr", "pl", "nl", "sv", "id", "vi", "uk", "cs", "fa"}
MESSAGE = re.compile(r'^msgstr(?:\[\d\])? ((?:"(?:[^"\\]|\\.)*"\n?)+)', re.M)


def messages(path):
    """Translations of one file."""
    for m in MESSAGE.finditer(path.read_text(encoding="utf-8")):
        text = "".join(json.loads(p) for p in re.findall(r'"(?:[^"\\]|\\.)*"', m.group(1)))
        if 8 < len(text) < 240 and not re.search(r"[%{<\n&@]", text):
            yield text


def main():
    rng, rows = random.Random(8), []
    for lang in sorted(LANGUAGES):
        texts = set()
        for path in sorted(Path(sys.argv[1]).glob(f"**/locale/{lang}/LC_MESSAGES/django.po")):
            texts.update(messages(path))
        texts = sorted(texts)
        rows += [{"text": t, "lang": lang} for t in rng.sample(texts, min(len(texts), 1200))]
        print(lang, len(texts))
    rng.shuffle(rows)
    with open(sys.argv[2], "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as f:
        f.write("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows).encode())


if __name__ == "__main__":
    main()
