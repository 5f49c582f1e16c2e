"""Label sets shared by data, model and export."""

DOMAINS = [
    "biology", "business", "chemistry", "computer science", "economics", "engineering", "health",
    "history", "law", "math", "other", "philosophy", "physics", "psychology",
]
DOMAIN_ID = {name: i for i, name in enumerate(DOMAINS)}

PII_TYPES = [
    "AGE", "CREDIT_CARD", "DATE_TIME", "DOMAIN_NAME", "EMAIL_ADDRESS", "GPE", "IBAN_CODE",
    "IP_ADDRESS", "NRP", "ORGANIZATION", "PERSON", "PHONE_NUMBER", "STREET_ADDRESS", "TITLE",
    "US_DRIVER_LICENSE", "US_SSN", "ZIP_CODE",
]
PII_LABELS = ["O"] + [p + t for t in PII_TYPES for p in ("B-", "I-")]
PII_ID = {name: i for i, name in enumerate(PII_LABELS)}

SPECIALS = ["<|pad|>", "<|unk|>", "<|cls|>", "<|sep|>", "<|mask|>"]
PAD, UNK, CLS, SEP, MASK = range(5)
