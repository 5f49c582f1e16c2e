"""Generator of PII training texts: many carriers, many formats, many look-alikes."""

import random
import re

import pii_values as v
from labels import PII_TYPES

# Slots in upper case are PII; slots in lower case are look-alikes or fillers.
POSITIVE = """
My name is {PERSON} and I live at {ADDR}.
Hi, I'm {PERSON}, {AGE}, from {GPE}. What should I see in {GPE}?
Please write a birthday card for {PERSON}, who turns {AGE} on {DATE}.
{TITLE} {PERSON} will meet you at {ORG} on {DATE}.
Dear {TITLE} {PERSON},\\nthank you for your order {order}. It ships to {ADDR}.\\nRegards,\\n{PERSON}\\n{ORG}
Patient: {PERSON}\\nDOB: {DATE}\\nAge: {AGE}\\nPhone: {PHONE}\\nInsurer: {ORG}
Name: {PERSON}\\nAddress: {ADDR}\\nZIP: {ZIP}\\nEmail: {EMAIL}
Name,Email,Phone\\n{PERSON},{EMAIL},{PHONE}\\n{PERSON},{EMAIL},{PHONE}
{"name": "{PERSON}", "email": "{EMAIL}", "phone": "{PHONE}", "zip": "{ZIP}"}
{"customer": {"first": "{FIRST}", "last": "{LAST}"}, "card": "{CARD}", "amount": {number}}
<user><name>{PERSON}</name><ip>{IP}</ip></user>
name={PERSON}&email={EMAIL}&order={order}
INSERT INTO users VALUES ('{PERSON}', '{EMAIL}', '{IP}', '{DATE}');
My driver's license number is {DL} and it expires on {DATE}.
DL: {DL}, state {GPE}, holder {PERSON}
License no. {DL} was issued in {GPE} on {DATE}
can u check if license {DL} is valid
Driver licence {DL} belongs to {PERSON} ({AGE}).
driver's license: {DL}
My social is {SSN} and my zip is {ZIP}.
SSN {SSN}, born {DATE}
Applicant {PERSON}, social security number {SSN}, annual income {money}.
The card {CARD} was charged {money} on {DATE}.
charge my visa {CARD} exp 04/27 cvv 123
Please refund {CARD}, order {order}.
Wire {money} to {IBAN}, account holder {PERSON}, {ORG}.
IBAN: {IBAN}\\nBIC: DEUTDEFF\\nName: {PERSON}
Überweisen Sie bitte {money} an {PERSON}, IBAN {IBAN}.
Call me at {PHONE} or email {EMAIL}.
call {PERSON} back on {PHONE} before {DATE}
You can text {PHONE} any time, ask for {FIRST}.
Tel. {PHONE}, Fax {PHONE}
Contact: {PERSON} <{EMAIL}>
From: {PERSON} <{EMAIL}>\\nTo: {EMAIL}\\nDate: {DATE}\\nSubject: Invoice {order}
Failed password for {USER} from {IP} port {port} ssh2
{IP} - - [{DATE}] "GET /index.html HTTP/1.1" 200 {number}
Connection from {IP} to {DOMAIN}:{port} refused
ping {DOMAIN} returns {IP}
Is {DOMAIN} down or is it just me?
My website {DOMAIN} is hosted by {ORG}.
open https://{DOMAIN}/login?id={uuid} and sign in as {EMAIL}
The server {IP} runs version {version}.
{PERSON}, a {AGE}-year-old {NRP} from {GPE}, was arrested on {DATE}.
{PERSON} ({AGE}) won the {NRP} championship in {GPE}.
The {NRP} president met {TITLE} {PERSON} in {GPE} on {DATE}.
{ORG} shares fell {number} after {PERSON} resigned as chief executive.
{ORG} and {ORG} agreed to merge, {PERSON} said in {GPE}.
{GPE} beat {GPE} {number} to {number} thanks to {PERSON}.
Breaking: {PERSON} leaves {ORG} for {ORG} after {time}
RT @{HANDLE}: so proud of {PERSON} tonight!! #winning
@{HANDLE} did you see {PERSON} on {ORG} last night? lol
omg {PERSON} is in {GPE} rn
just saw {PERSON} and {PERSON} at {ORG} 😍
Happy birthday {PERSON}! Hope {GPE} treats you well
{PERSON} vs {PERSON}: who wins?
I ♥ {PERSON} new album http://t.co/$$$
Police in {GPE} said {PERSON}, {AGE}, was last seen on {DATE} near {ADDR}.
The {NRP} ambassador to {GPE}, {TITLE} {PERSON}, denied the report.
{ORG} opened an office in {GPE}, {GPE}.
{PERSON} of {ORG} told reporters that {GPE} would not sign.
According to {PERSON}, professor at {ORG}, the {NRP} economy shrank by {number}.
Minister {PERSON} travelled from {GPE} to {GPE}.
{PERSON} and {PERSON} founded {ORG} in {GPE} in {YEAR}.
Sources at {ORG} confirmed that {PERSON} had signed.
{TITLE} {LAST} teaches biology at {ORG}.
Ask {TITLE} {LAST} whether the {DATE} appointment still stands.
My doctor is {TITLE} {PERSON} at {ORG}, room {number}.
I am {AGE} years old, {NRP}, and want to move to {GPE}.
I'm a {AGE} year old {NRP} student in {GPE}, how do I open an account at {ORG}?
she's {AGE} and her husband {FIRST} is {AGE}
My daughter {FIRST} is {AGE} and my son {FIRST} is {AGE}.
At age {AGE}, {PERSON} moved to {GPE}.
a man aged {AGE} and a {AGE}-year-old woman
The patient, {AGE}, is {NRP} and lives in {GPE}.
Our neighbours are {NRP}; they moved here from {GPE} on {DATE}.
Is it true that {NRP} and {NRP} cuisine share many dishes?
As a {NRP}, can I marry a {NRP} in {GPE}?
I was raised {NRP} but my wife is {NRP}.
He votes {NRP} and reads {ORG}.
Ship to:\\n{PERSON}\\n{ADDR}
Send it to {ADDR} please
{PERSON}\\n{ADDR}\\n{GPE}
I moved from {ADDR} to {ADDR} on {DATE}.
the office is at {ADDR}, near the station
Where is {ADDR}?
Deliver {number} boxes to {ORG}, {ADDR}.
My zip code is {ZIP}.
What county is {ZIP} in?
postcode {ZIP}, country {GPE}
Does {ORG} deliver to {ZIP}?
Weather for {ZIP} on {DATE}?
The meeting is on {DATE}.
Remind me on {DATE} to call {FIRST}.
Book a table for two on {DATE} under {LAST}.
I need a flight from {GPE} to {GPE} on {DATE}, returning {DATE}.
Flight {flight} from {GPE} lands at {DATE}
My passport expires on {DATE}.
What happened on {DATE} in {GPE}?
Schedule: {DATE} kickoff, {DATE} review with {PERSON}, {DATE} release {version}
Invoice {order} dated {DATE} for {money} is overdue.
Translate to {LANG}: {PERSON} lives in {GPE} and works for {ORG}.
Summarize this email: Hi {FIRST}, {PERSON} from {ORG} will call you on {PHONE}. Best, {FIRST}
Write a reference letter for {PERSON}, who worked at {ORG} from {DATE} to {DATE}.
Draft an email to {EMAIL} about ticket {order}.
Rewrite: "{FIRST} told {FIRST} that {PERSON} is moving to {GPE}."
Who is {PERSON}?
what does {PERSON} do at {ORG}
Is {PERSON} related to {PERSON}?
{PERSON} wrote a book, ISBN {isbn}.
{PERSON} bought {number} shares of {ORG} at {money}.
{FIRST} said hi. {FIRST} waved back.
tell {FIRST} i'll be late
thanks {FIRST}!
Thanks,\\n{PERSON}
Best regards,\\n{PERSON}\\n{JOB}, {ORG}\\n{PHONE} | {EMAIL} | {DOMAIN}
-- \\n{PERSON}\\n{ADDR}\\nTel: {PHONE}
Attendees: {PERSON}, {PERSON}, {PERSON}; absent: {PERSON}
1. {PERSON}\\n2. {PERSON}\\n3. {PERSON}
{PERSON} | {JOB} | {ORG} | {GPE}
{LAST}, {FIRST} ({AGE})
Witness {PERSON} testified on {DATE} that {TITLE} {LAST} signed the contract.
{PERSON} v. {ORG}, filed {DATE}
The {ORG} hired {PERSON} as its {JOB}.
{PERSON}: are you there?\\n{PERSON}: yes, call {PHONE}
[{DATE}] {FIRST}: did the parcel {tracking} arrive?
{DATE} ERROR user={EMAIL} ip={IP} request={uuid}
user {EMAIL} logged in from {IP} at {DATE}
git log: commit {hash} Author: {PERSON} <{EMAIL}> Date: {DATE}
My laptop's MAC is {mac} and its IP {IP}.
My coordinates are {coord}, in {GPE}.
Employee {order}: {PERSON}, {JOB}, hired {DATE}, salary {money}
{PERSON} has an account with {ORG}, number {order}.
Which is the better school, {ORG} or {ORG}?
I work at {ORG} in {GPE} as a {JOB}.
I got a job offer from {ORG} for {money} a year.
{ORG} customer service kept me on hold for {time}.
The {ORG} in {GPE} closes at 5.
How do I cancel my {ORG} subscription?
{ORG} announced results on {DATE}: revenue {money}.
{ORG}'s {JOB} {PERSON} declined to comment.
A spokesman for {ORG} said flights from {GPE} would resume.
Je m'appelle {PERSON}, j'habite à {GPE}, mon numéro est {PHONE}.
Mein Name ist {PERSON}, ich wohne in {GPE}, geboren am {DATE}.
Me llamo {PERSON}, vivo en {GPE} y mi correo es {EMAIL}.
Mi chiamo {PERSON}, abito a {GPE}, telefono {PHONE}.
Meu nome é {PERSON}, moro em {GPE}, CEP {ZIP}.
Ik heet {PERSON} en woon in {GPE}; mijn e-mail is {EMAIL}.
Nazywam się {PERSON}, mieszkam w {GPE}.
Jag heter {PERSON} och bor i {GPE}.
我叫{PERSON}，电话是{PHONE}。
私の名前は{PERSON}です。メールは{EMAIL}です。
Меня зовут {PERSON}, мой телефон {PHONE}.
اسمي {PERSON} ورقمي {PHONE}
मेरा नाम {PERSON} है, फोन {PHONE}
Can you pronounce the name {PERSON}?
What's a good nickname for {FIRST}?
Write a poem about {FIRST} and {FIRST} in {GPE}.
Write a story where {FIRST} meets a dragon.
{FIRST} has {number} apples and gives {FIRST} {number}. How many are left?
A train leaves {GPE} at {number} km/h.
Compare the population of {GPE} and {GPE}.
Is {GPE} bigger than {GPE}?
capital of {GPE}
visa requirements for {NRP} citizens travelling to {GPE}
Best {NRP} restaurants in {GPE}?
What is the time in {GPE}?
{GPE} weather {DATE}
Guests of {TITLE} and {TITLE} {LAST}
Good morning {TITLE} {LAST}, your prescription {order} is ready.
{TITLE} {PERSON}, {TITLE} {PERSON} and {TITLE} {LAST} chaired the session.
To {TITLE} {LAST}, {ORG}, {ADDR}
The suspect, described as {NRP}, about {AGE}, drove a car with plate {serial}.
Emergency contact is {FIRST} at {PHONE}.
{PHONE}
{EMAIL}
{PERSON}
{CARD}
{IBAN}
{IP}
my email: {EMAIL}, my site: {DOMAIN}
Subscribe {EMAIL} to the newsletter of {DOMAIN}.
Whois {DOMAIN}
nslookup {DOMAIN} {IP}
allow {IP}, {IP} and {IP} through the firewall
Ticket {order}: {PERSON} cannot log in to {DOMAIN} since {DATE}.
Member since {DATE}, customer number {order}, phone {PHONE}
loan application: {PERSON}, SSN {SSN}, DL {DL}, DOB {DATE}, {ADDR}
Guest {PERSON}, {flight}, check-in {DATE}, card {CARD}
tracking {tracking} goes to {PERSON}, {ADDR}
Our tenant {PERSON} (SSN {SSN}) pays {money} a month.
The {AGE}-year-old {JOB} from {GPE} said {ORG} owes her {money}.
I'm turning {AGE} in {time}, any gift ideas?
my grandma is {AGE}, what exercise is safe for her?
kids aged {AGE} and {AGE}
Can a {AGE} year old drink coffee?
{PERSON} died at {AGE} in {GPE} on {DATE}.
born {DATE} in {GPE}, {PERSON} studied at {ORG}
""".strip().split("\n")

NEGATIVE = """
What is order {order} status?
Order number {order} is missing {number} items.
ISBN {isbn}
Which edition has ISBN {isbn}?
Upgrade from {version} to {version} fails.
pip install numpy=={version}
commit {hash} broke the build
request id {uuid} failed after {time}
The checksum is {hash}.
serial number {serial}, batch {serial}
tracking number {tracking}
Convert {money} to euros
The total is {money} plus {number} tax.
What is {number} times {number}?
Solve {number} + {number} = x
sum([{number}, {number}, {number}])
The population grew from {number} to {number}.
MAC address {mac}
GPS {coord}
listen on port {port}
error code {number} on line {number}
RFC {number} section {number}
The part {serial} costs {money}.
The file is {size}, the limit {size}.
Bake for {time} at 180 degrees.
Set the timer to {time}.
Where is {flight}?
flight {flight} leaves from {flight}
The temperature is {number} degrees.
const id = "{uuid}";
x = {number}; y = {number}
SELECT * FROM orders WHERE id = {order};
docker run app:{version}
git checkout {hash}
The score was {number} to {number}.
Model {serial} has {size} of memory.
the invoice {order} is for {money}
Reference: {order} / {serial}
case {order} was closed
Use {size} of flour and bake for {time}.
I ran {size} in {time}.
The ratio is {number}:{number}.
{number}, {number}, {number}
{order}
{isbn}
{uuid}
{version}
{hash}
function key F{number} opens the menu
Is {number} a prime number?
product code {serial} is out of stock, sku {serial}
batch {order} passed, batch {order} failed
My model has {number} parameters and loss {number}.
Windows error 0x{hash} at address 0x{hash}
What does HTTP status {number} mean?
barcode {order}
lottery numbers {number} {number} {number}
meter reading {number} kWh
Ticket {order} and ticket {order} are duplicates.
Room {number}, floor {number}, building B
page {number} of {number}
The may fly is an insect; will it bill us in march?
Turkey sandwiches and china plates are on sale.
The apple fell from the tree and the amazon is a river with piranhas.
Can I target the shell with a python script?
What is the difference between TCP and UDP?
Explain the theory of relativity.
How do I center a div?
Who invented the telephone?
Best way to learn to swim as an adult?
Why is the sky blue?
Write a haiku about autumn rain.
How many calories are in a banana?
What is a good name for a cat?
Explain recursion with an example.
I will be there, give me a minute.
Please summarize the text above in three bullet points.
Is it safe to eat raw cookie dough?
The quick brown fox jumps over the lazy dog.
Make me a workout plan for {time}.
Translate "where is the library" to {LANG}.
Rose bushes, daisies and lilies need sun. Grace and faith are virtues.
Mark the answer, bill the client, and frank the letter.
The doctor, the judge and the professor had lunch.
My father and my sister like the captain of the team.
What are the main religions of the world?
The Treaty changed the law on customs duties.
Compute the determinant of a {number} by {number} matrix.
The recipe needs {number} eggs, {size} of sugar and {time} in the oven.
Phone numbers have ten digits; an IBAN starts with a country code.
Never share your card number, your social security number or your password.
How is the check digit of a credit card computed?
What does an IP address look like?
Example values are 123, abc and foo.
""".strip().split("\n")

PREFIXES = ["", "", "", "", "", "Hi, ", "Hello! ", "hey ", "Question: ", "Please help: ", "FYI ", "Summarize: ", "> ", "- ", "[chat] ", "Translate into French: ",
            "Is this right? ", "Note: ", "Rewrite this politely: ", "User: ", "ok so ", "Re: ", "* ", "Q: ", "TODO ", "Extract the entities: ",
            "Make this shorter: ", "Fix the grammar: ", "Urgent! ", "Context: ", "Input: "]
SUFFIXES = ["", "", "", "", "", "", " Thanks!", " thanks", " Can you help?", " ok?", "\nPlease reply soon.", " What should I do?", " pls", " (see above)", " --", " Regards"]
JOINS = [" ", "\n", "\n\n", " -- ", ". ", "; ", " | ", "\n- "]
LANGS = ["French", "Spanish", "German", "Italian", "Japanese", "Chinese", "Portuguese"]
JOBS = ["nurse", "engineer", "CFO", "CEO", "teacher", "chef", "sales manager", "developer", "plumber", "accountant", "director", "analyst",
        "carpenter", "pilot", "journalist", "lawyer", "spokeswoman", "coach", "farmer", "designer", "vice president", "mechanic"]
SLOT = re.compile(r"\{([A-Za-z]+)\}")
LABEL = {"FIRST": "PERSON", "LAST": "PERSON", "ORG": "ORGANIZATION", "ADDR": "STREET_ADDRESS", "DATE": "DATE_TIME", "ZIP": "ZIP_CODE",
         "DL": "US_DRIVER_LICENSE", "SSN": "US_SSN", "CARD": "CREDIT_CARD", "IBAN": "IBAN_CODE", "EMAIL": "EMAIL_ADDRESS",
         "PHONE": "PHONE_NUMBER", "IP": "IP_ADDRESS", "DOMAIN": "DOMAIN_NAME"}
LATIN = ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "fi", "pl", "cs", "sk", "sl", "hr", "hu", "ro", "tr", "az", "et", "lt", "lv",
         "is", "ga", "id", "sw", "tw", "ig", "ha", "yo", "zu", "vi", "uz")


class PiiGenerator:
    """Draws (text, spans) pairs; all randomness from one seed."""

    def __init__(self, lexicon, seed):
        self.rng = random.Random(seed)
        self.people = [(loc, e["first"], e["last"]) for loc, e in lexicon.items()
                       if e.get("first") and e.get("last") and len(e["last"]) > 5]
        self.english = [p for p in self.people if p[0].startswith("en")]
        self.latin = [p for p in self.people if p[0].startswith(LATIN)]
        self.cities = [c for loc, e in lexicon.items() for c in e.get("city", []) if loc.startswith(LATIN)]
        self.streets = [s for loc, e in lexicon.items() for s in e.get("street", []) if loc.startswith(LATIN)]
        self.suffixes = [s for loc in ("en_US", "en_AU", "en_GB") for s in lexicon.get(loc, {}).get("street_suffix", [])]
        self.countries = lexicon.get("en", {}).get("country", [])

    def locale(self):
        """A name table: half English, most of the rest in Latin script."""
        r = self.rng.random()
        return self.rng.choice(self.english if r < 0.45 else self.latin if r < 0.95 else self.people)

    def first(self):
        return self.rng.choice(self.locale()[1])

    def last(self):
        return self.rng.choice(self.locale()[2])

    def person(self):
        rng = self.rng
        loc, firsts, lasts = self.locale()
        f, l = rng.choice(firsts), rng.choice(lasts)
        if loc.startswith(("zh", "ja", "ko")):
            return l + f if loc.startswith("zh") or rng.random() < 0.5 else f"{l} {f}"
        r = rng.random()
        if r < 0.60:
            name = f"{f} {l}"
        elif r < 0.72:
            name = f
        elif r < 0.77:
            name = l
        elif r < 0.82:
            name = f"{f} {rng.choice('ABCDEFGHJKLMNPRSTW')}. {l}"
        elif r < 0.86:
            name = f"{l}, {f}"
        elif r < 0.89:
            name = f"{f} {l}-{rng.choice(lasts)}"
        elif r < 0.92:
            name = f"{f} {rng.choice(firsts)} {l}"
        elif r < 0.94:
            name = f"{f[0]}. {l}"
        elif r < 0.96:
            name = f"{f} {rng.choice(['van', 'de', 'von', 'bin', 'al', 'del', 'di', 'O’', 'Mc'])} {l}".replace("O’ ", "O’").replace("Mc ", "Mc")
        elif r < 0.975:
            name = f"{f} {l} {rng.choice(['Jr.', 'Sr.', 'III', 'II'])}"
        else:
            name = f"{f}-{rng.choice(firsts)} {l}"
        r = rng.random()
        return name.lower() if r < 0.05 else name.upper() if r < 0.08 else name

    def gpe(self):
        rng, r = self.rng, self.rng.random()
        if r < 0.30:
            return rng.choice(v.COUNTRIES)
        if r < 0.36 and self.countries:
            return rng.choice(self.countries)
        if r < 0.62:
            return rng.choice(v.CITIES)
        if r < 0.76:
            return rng.choice(v.STATES)
        if r < 0.88 and self.cities:
            return rng.choice(self.cities)
        return self.town()

    def town(self):
        """An invented town name in the English or the Faker manner."""
        rng = self.rng
        end = rng.choice(["ville", "town", "ton", "berg", "port", "view", "side", "land", "mouth", "bury", "shire", "fort", "stad", "chester", "haven", "furt", "burgh"])
        name = rng.choice(self.english)[1 if rng.random() < 0.7 else 2]
        name = rng.choice(name) + end
        return rng.choice(["", "", "New ", "North ", "South ", "East ", "West ", "Port ", "Lake "]) + name

    def org(self):
        rng, r = self.rng, self.rng.random()
        last = lambda: self.last()
        if r < 0.34:
            return rng.choice(v.ORGS)
        if r < 0.56:
            return rng.choice(v.ORG_HEAD) + " " + rng.choice(v.ORG_TAIL) + (" " + rng.choice(v.ORG_SUFFIX) if rng.random() < 0.25 else "")
        if r < 0.66:
            return f"{last()} {rng.choice(v.ORG_SUFFIX)}"
        if r < 0.73:
            return f"{last()}-{last()}"
        if r < 0.79:
            return f"{last()}, {last()} and {last()}"
        if r < 0.85:
            return f"{last()} {rng.choice(v.ORG_TAIL)}"
        if r < 0.91:
            place = rng.choice(v.CITIES + v.STATES)
            return rng.choice([f"University of {place}", f"{place} {rng.choice(v.ORG_TAIL)}", f"Bank of {place}", f"{place} City Council", f"{place} Police Department",
                               f"{place} General Hospital", f"{place} State University", f"{place} FC", f"{place} United", f"Ministry of {rng.choice(['Health', 'Defence', 'Justice', 'Finance'])}"])
        if r < 0.95:
            return f"{rng.choice(['Stichting', 'Fundación', 'Fundacja', 'Fondation', 'Banco', 'Grupo', 'Gruppo', 'Cooperativa', 'Instituto', 'Hochschule', 'Clínica', 'Universidad de'])} {last()}"
        return rng.choice(v.ORG_HEAD) + rng.choice(["soft", "tech", "corp", "ly", "ify", "works", "bank", "media", "gen", "net", "ware"])

    def address(self):
        rng, r = self.rng, self.rng.random()
        n = str(rng.randint(1, 9999)) if rng.random() < 0.85 else f"{rng.randint(1, 300)}{rng.choice('ABCab')}"
        if r < 0.72:
            base = rng.choice(v.STREET_NAMES) if rng.random() < 0.5 else (
                f"{rng.choice(self.english[rng.randrange(len(self.english))][rng.choice((1, 2))])}")
            suffix = rng.choice(self.suffixes) if self.suffixes and rng.random() < 0.5 else rng.choice(v.STREETS)
            text = f"{n} {rng.choice(['', '', '', 'N ', 'South ', 'E. ', 'West '])}{base} {suffix}"
            if rng.random() < 0.4:
                text += rng.choice([" Apt. {}", " Apt {}", " Suite {}", ", Suite {}", " #{}", ", Apt {}", " Unit {}", ", Flat {}", ", Floor {}"]).format(rng.randint(1, 999))
        elif r < 0.88 and self.streets:
            s = rng.choice(self.streets)
            text = rng.choice([f"{s} {n}", f"{n} {s}", f"{s}straße {n}", f"ul. {s} {n}", f"Via {s} {n}", f"Calle {s} {n}", f"{n}, rue de {s}", f"Rua {s}, {n}", f"{s}gatan {n}", f"{s}straat {n}"])
        else:
            text = rng.choice([f"PO Box {n}", f"P.O. Box {n}", f"Unit {n} Box {rng.randint(1000, 9999)}", f"{n} Rural Route {rng.randint(1, 9)}", f"Flat {rng.randint(1, 99)}, {n} {rng.choice(v.STREET_NAMES)} House"])
        if rng.random() < 0.4:
            city = self.town() if rng.random() < 0.5 else rng.choice(v.CITIES)
            text += rng.choice([", {c}, {s} {z}", ", {c}, {s} {z}", ", {c} {z}", ", {c}", "\n{c}, {s} {z}", ", {z} {c}", ", {c}, {s}"]).format(
                c=city, s=rng.choice(v.STATE_CODES), z=v.zip_code(rng) if rng.random() < 0.4 else f"{rng.randint(1001, 99950):05d}")
        return text

    def domain(self):
        rng = self.rng
        word = rng.choice([self.last().lower().replace(" ", ""), rng.choice(v.ORG_HEAD).lower(), rng.choice(v.ORG_HEAD).lower() + rng.choice(["-", ""]) + rng.choice(v.ORG_TAIL).lower(),
                           rng.choice(["example", "shop", "my-blog", "app", "mail", "test", "web24", "cloud9"])])
        word = re.sub(r"[^a-z0-9-]", "", word) or "site"
        name = f"{word}.{rng.choice(v.TLDS)}"
        return rng.choice(["", "", "", "", "www.", "mail.", "api.", "blog.", "dev."]) + name

    def email(self):
        rng = self.rng
        f, l = (re.sub(r"[^a-z]", "", x.lower()) or "info" for x in (self.first(), self.last()))
        local = rng.choice([f"{f}.{l}", f"{f}{l}", f"{f[0]}{l}", f"{f}_{l}", f"{f}{rng.randint(1, 2005)}", l, f"{f}-{l}", f"{f}.{l}{rng.randint(1, 99)}", f"{f}+news", "info", "support", f"{l}.{f}"])
        host = rng.choice(["gmail.com", "yahoo.com", "hotmail.com", "outlook.com", "icloud.com", "proton.me", "web.de", "gmx.net", "orange.fr", "example.org"]) if rng.random() < 0.45 else self.domain().removeprefix("www.")
        mail = f"{local}@{host}"
        return mail.upper() if rng.random() < 0.02 else mail.title() if rng.random() < 0.02 else mail

    def fill(self, slot):
        """Value of a slot."""
        rng = self.rng
        simple = {"PERSON": self.person, "FIRST": self.first, "LAST": self.last, "GPE": self.gpe, "ORG": self.org, "ADDR": self.address,
                  "DOMAIN": self.domain, "EMAIL": self.email}
        if slot in simple:
            return simple[slot]()
        values = {"AGE": v.age, "DATE": v.date, "ZIP": v.zip_code, "DL": v.licence, "SSN": v.ssn, "IBAN": v.iban, "PHONE": v.phone, "IP": v.ip}
        if slot in values:
            return values[slot](rng)
        if slot == "CARD":
            return v.card(rng, rng.random() < 0.9)
        if slot == "TITLE":
            return rng.choice(v.TITLES)
        if slot == "NRP":
            return rng.choice(v.NRP)
        if slot == "LANG":
            return rng.choice(LANGS)
        if slot == "JOB":
            return rng.choice(JOBS)
        if slot == "YEAR":
            return str(rng.randint(1900, 2026))
        if slot in ("HANDLE", "USER"):
            return re.sub(r"[^a-z]", "", self.first().lower()) + rng.choice(["", "_x", str(rng.randint(1, 99)), "xo", "fan", "_official"])
        return v.lookalike(rng, slot)

    def one(self, template):
        """Fill one template: (text, [(start, end, type)])."""
        text, spans, at = "", [], 0
        template = template.replace("\\n", "\n")
        for m in SLOT.finditer(template):
            text += template[at:m.start()]
            at = m.end()
            value = self.fill(m.group(1))
            label = LABEL.get(m.group(1), m.group(1))
            if label in PII_TYPES:
                spans.append((len(text), len(text) + len(value), label))
            text += value
        return text + template[at:], spans

    def sample(self):
        """One training text: one to three templates with chat decorations and case noise."""
        rng = self.rng
        text, spans = rng.choice(PREFIXES), []
        for i in range(rng.choice([1, 1, 1, 1, 2, 2, 3])):
            if i:
                text += rng.choice(JOINS)
            t, s = self.one(rng.choice(POSITIVE if rng.random() < 0.68 else NEGATIVE))
            spans += [(a + len(text), b + len(text), k) for a, b, k in s]
            text += t
        text += rng.choice(SUFFIXES)
        r = rng.random()
        if r < 0.13:
            low = text.lower()
            text = low if len(low) == len(text) else text
        elif r < 0.16:
            up = text.upper()
            text = up if len(up) == len(text) else text
        return {"text": text, "spans": spans, "scope": "ALL"}


def generate(lexicon, seed, count):
    """`count` rows."""
    g = PiiGenerator(lexicon, seed)
    return [g.sample() for _ in range(count)]
