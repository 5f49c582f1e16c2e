"""Carriers in the registers of news, social media, chat, forms, logs and code, with and without PII.

Slots as in `pii_templates.py`; {CLUB}, {AGENCY}, {UNI}, {BRAND} and {PAPER} are organisations, {BIG} is a large city.
"""

import re

CLUBS = """Real Madrid|Barcelona|Manchester City|Chelsea|Liverpool|Everton|Celtic|Rangers|Juventus|Inter Milan|Roma|Napoli|Bayern Munich|Schalke|Leverkusen|PSV|Benfica|Porto|Sporting|Besiktas|Fenerbahce|Olympiacos|Dynamo Kyiv|Zenit|Boca Juniors|River Plate|Flamengo|Santos|Corinthians|Lakers|Celtics|Knicks|Chicago Bulls|Warriors|Yankees|Red Sox|Dodgers|Cubs|Mets|Patriots|Cowboys|Packers|Steelers|Eagles|Maple Leafs|Canadiens|Bruins|All Blacks|Springboks|Wallabies|Mumbai Indians|Sydney Swans|Collingwood|Leicester|Spurs|Newcastle United|Aston Villa|West Ham|Wolves|Atletico|Sevilla|Valencia|Lyon|Marseille|PSG|Monaco|Lazio|Hertha Berlin|Sparta Prague|Legia Warsaw|Red Star Belgrade|Shakhtar|Anderlecht|Club Brugge|Rosenborg|Malmo|Al Ahly|Orlando Pirates|Kaizer Chiefs|Urawa Reds""".split("|")
AGENCIES = """Interpol|Europol|the Pentagon|the White House|the Kremlin|Congress|the House of Lords|the Bundestag|the Knesset|the State Department|the Treasury|Scotland Yard|the FBI|the CIA|the NSA|NASA|ESA|NATO|the UN|the EU|the European Commission|the European Parliament|the World Bank|the IMF|the WTO|the WHO|UNICEF|UNHCR|UNESCO|the Red Cross|the Red Crescent|Amnesty International|Human Rights Watch|Oxfam|Save the Children|Caritas|WWF|the Federal Reserve|the Bank of England|the Bundesbank|the ECB|the SEC|the FDA|the FAA|the EPA|the IRS|the Supreme Court|the Home Office|the Foreign Office|the Ministry of Defence|the Ministry of Interior|the Labour Party|the Conservative Party|the Democratic Party|the Republican Party|the Green Party|Fatah|Hamas|Hezbollah|the Taliban|OPEC|the African Union|the Arab League|ASEAN|FIFA|UEFA|the IOC|the NBA|the NFL|the Premier League|the Vatican|the Church of England|the BBC Trust|the High Court|the Department of Justice|the Department of Health|Frontex|the Coast Guard|the Royal Navy|the Air Force""".split("|")
PAPERS = """Reuters|AP|AFP|BBC|CNN|Fox News|Sky News|Al Jazeera|The Guardian|The Times|the New York Times|The Washington Post|Le Monde|Der Spiegel|El País|La Repubblica|Bloomberg|The Economist|Xinhua|TASS|NHK|Haaretz|the Daily Mail|The Sun|USA Today|the Financial Times|the Wall Street Journal|Politico|Kyodo|dpa|NPR|ITV|Channel 4|HBO|ESPN""".split("|")
BRANDS = """Google|Apple|Amazon|Microsoft|Facebook|Instagram|Twitter|TikTok|Snapchat|WhatsApp|YouTube|Spotify|Uber|Lyft|Airbnb|Tesla|Toyota|Honda|Ford|BMW|Audi|Volvo|Nike|Adidas|Puma|Zara|H&M|McDonald's|Burger King|KFC|Subway|Domino's|Pizza Hut|Walmart|Costco|Target|Tesco|Aldi|Lidl|Carrefour|Sony|Samsung|LG|Huawei|Xiaomi|Intel|AMD|Nvidia|Oracle|SAP|IBM|Dell|HP|Visa|Mastercard|PayPal|Stripe|Revolut|HSBC|Citibank|Chase|Santander|ING|Vodafone|T-Mobile|Verizon|AT&T|Comcast|Ryanair|easyJet|Emirates|KLM|United|FedEx|UPS|DHL|Disney|Pixar|Marvel|Nintendo|PlayStation|Steam|Lego|Nestlé|Coca-Cola|Pepsi|Heineken|Unilever|Bayer|Novartis|Moderna|AstraZeneca|Boeing|Airbus|Exxon|BP|Gazprom|OpenAI|DeepMind|GitHub|Reddit|LinkedIn|Slack|Zoom|Dropbox|Adobe|Shopify|Etsy|eBay|Alibaba|Tencent|Foxconn|TSMC|Best Buy|Home Depot|7-Eleven|Greggs|Nando's|Chipotle|Wendy's|Tim Hortons|Primark|Boots|Sephora|Gucci|Prada|Rolex""".split("|")
CLUBLIKE = re.compile(r"^the ")

NEWS = """
{PAPER} - {BRAND} said on {DAY} it would cut {number} jobs, most of them in {GPE}.
{GPE} ({PAPER}) - {TITLE} {LAST}, who led {AGENCY} until last year, will advise {BRAND}.
{PERSON}, a spokesman for {AGENCY}, declined to comment.
{PERSON}, {AGE}, died at a hospital in {BIG}, her family told {PAPER}.
{CLUB} signed {PERSON} from {CLUB} on a four-year deal.
{CLUB} drew with {CLUB} after a late goal by {LAST}.
{LAST} put {CLUB} ahead before half-time, but {LAST} equalised for {CLUB}.
{BIG}: {number} hurt as tram derails, {PAPER} reports
Talks between {GPE} and {GPE} collapsed, {AGENCY} said.
The {NRP} foreign minister, {PERSON}, flew to {BIG} to meet {LAST}.
{NRP} and {NRP} delegations met in {BIG} at the invitation of {AGENCY}.
Shares of {STOCK} rose as {STOCK} confirmed a bid; analysts at {STOCK} had expected it.
{STOCK} reported a loss for the quarter. "{BRAND} is doing better," chief executive {PERSON} said.
{STOCK}, {STOCK} and {STOCK} are among the bidders, according to {PAPER}.
Economists at {UNI} expect growth in {GPE} to slow.
A study led by {PERSON} of {UNI} followed {number} children in {BIG}.
"{GPE} cannot wait," {PERSON} told {AGENCY}.
{AGENCY} fined {BRAND} {money} over data transfers from {GPE} to {GPE}.
{LAST}'s lawyer, {PERSON}, called the verdict of the court in {BIG} unjust.
Mayor {PERSON} of {BIG} opened the new library with {PERSON} of {ORG}.
Born in {BIG}, {LAST} studied at {UNI} before joining {STOCK}.
The {NRP} director {PERSON} won the prize for a film about {GPE}.
{AGENCY} has accused {AGENCY} of spying.
Flooding in {GPE} killed {number}; {AGENCY} sent tents.
{PERSON} ({NRP}) beat {PERSON} ({NRP}) in straight sets in {BIG}.
Senator {LAST} and Representative {LAST} asked {BRAND} for documents.
{UNI} and {UNI} share the {money} grant.
In {BIG}, police arrested {PERSON}, {AGE}, and {PERSON}, {AGE}, outside {ADDR}.
{BRAND}'s {FIRST} {LAST} leaves for {BRAND}
Former {CLUB} coach {LAST} to lead {GPE}
The merger of {STOCK} with {STOCK} needs the consent of {AGENCY}.
Rebels shelled {BIG} overnight, residents told {PAPER}; {AGENCY} called for calm.
{PERSON} was appointed to the board of {STOCK} in {DATE}.
Pop star {PERSON} cancelled shows in {BIG} and {BIG}.
According to {PAPER}, {NRP} troops left {BIG}.
{BIG} and {BIG} are at odds over fishing, said an envoy of {AGENCY}.
{GPE} and {GPE} signed the treaty; {BIG} stayed away.
She moved from {BIG} to {BIG}, then from {GPE} to {GPE}.
{FIRST} ({AGE}) from {BIG} won the race.
{PERSON}, {AGE}, from {GPE}, came second.
The {NRP} winger moved to {CLUB} from {CLUB} for {money}.
{CLUB} lost to {CLUB}, {LAST} scored for {CLUB}.
"No comment," said {PERSON}, a lawyer for {BRAND}.
{PERSON}, an engineer at {STOCK}, and {PERSON}, who teaches at {UNI}, wrote the book.
The play, written by {PERSON} and produced by {ORG}, opens in {BIG}.
Admitted to {HOSPITAL} on {DATE}; insured with {STOCK}.
{HOSPITAL} in {BIG} has no beds, its director {TITLE} {LAST} said.
Dinner at {ORG} with {FIRST} and {FIRST} at {TIME}
The bishop of {BIG} met the mayor of {BIG}.
{PARTY} won the vote in {GPE}, while {PARTY} lost seats.
{PARTY} senators blamed {LAST}; {PARTY} leaders blamed {LAST}.
""".strip().split("\n")

SOCIAL = """
{BRAND} is down again?? anyone else in {BIG}?
just landed in {BIG}, {BRAND} lost my suitcase. thx {BRAND}
@{HANDLE} @{HANDLE} {FIRST} said the same lol
cant believe {PERSON} left {CLUB} smh
{FIRST} and {FIRST} got engaged!!! 😭😭
watching {CLUB} v {CLUB} w/ {FIRST}
RT @{HANDLE}: {PERSON} on {PAPER} rn, must watch
shoutout to {FIRST} at {BRAND} in {BIG} for the free coffee ☕
who else thinks {PERSON} > {PERSON}
i miss {BIG} so much :(
{AGENCY} can't be serious lmao
new vid w/ {PERSON} out now, link in bio
my mom {FIRST} turns {AGE} today 🎂
{FIRST} pls stop calling me at 3am
day 3 in {GPE} and i already want to move here
#{WORD} {PERSON} was robbed tonight
Got my interview at {BRAND} on {DATE}, wish me luck
{CLUB} till i die 💙
does {BRAND} deliver to {GPE}?
{LAST} with the worst miss ever omg
i swear {BRAND} prices are a joke, going to {BRAND} from now on
my cousin works for {BRAND} in {BIG} and she hates it
so sad about {PERSON}, RIP
{FIRST} r u coming to {BIG} this weekend??
up at 5 to see {PERSON} run the {BIG} marathon
Proud to join {UNI} as a lecturer!
gig tonight in {BIG}, {ADDR}, doors {TIME}
we are at {ADDR}, ring twice
my granny {FIRST} still uses a {BRAND} phone
{BRAND} made the best consoles, fight me
""".strip().split("\n")

CHAT = """
{FIRST}: where r u?\\n{FIRST}: stuck at {BRAND}, {BIG} traffic is hell
hey it's {FIRST} from {ORG}, got a minute?
I'm {FIRST} and I work at {BRAND}. My boss {FIRST} says I can't take leave.
Write a toast for {PERSON}, who retires from {ORG} after 30 years.
Could you check if {ORG} is a scam? They want my IBAN.
my doctor, {TITLE} {LAST}, moved to {BIG}. Can you find a new one near {ZIP}?
Translate: {FIRST} wohnt in {BIG} und arbeitet bei {BRAND}.
Ich bin {PERSON} aus {BIG}, geboren am {DATE}.
Mein Chef bei {BRAND}, Herr {LAST}, ist krank.
Je suis {PERSON}, je travaille chez {BRAND} à {BIG}.
Mi nombre es {PERSON} y vivo en {BIG}.
Sono {PERSON} e abito a {BIG}.
Meu nome é {PERSON}, trabalho na {BRAND}.
Plan a trip from {BIG} to {BIG} for my daughter {FIRST} ({AGE}).
Is {BRAND} better than {BRAND} for a small shop in {GPE}?
please tell {FIRST} that {FIRST} called, number {PHONE}
this is {FIRST}, new phone, save it: {PHONE}
Reply to {FIRST}, she wants a refund from {BRAND}.
My tenants {PERSON} and {PERSON} haven't paid since {DATE}.
Who is {PERSON} from {UNI}?
Tell me about {STOCK}.
What does {STOCK} do and where is {STOCK} based?
""".strip().split("\n")

FORMS = """
Applicant: {PERSON}\\nEmployer: {ORG}\\nSSN: {SSN}\\nZIP: {ZIP}\\nPhone: {PHONE}
Surname: {LAST} | Given name: {FIRST} | Nationality: {NRP} | Born: {DATE}
Company: {STOCK}\\nContact: {PERSON}\\nMail: {EMAIL}\\nTel: {PHONE}
School: {UNI}; Student: {FIRST} {LAST}; Age: {AGE}
Insurer {ORG}, policy holder {PERSON}, {ADDR}
Guest: {PERSON}, {NRP}, arriving {DATE}, card {CARD}
Emergency contact: {PERSON} ({PHONE})
Bank: {ORG}\\nIBAN: {IBAN}\\nHolder: {PERSON}
Deliver to {ZIP}
Do you ship to {ZIP}?
What's the weather in {ZIP} today
plumbers near {ZIP}
homes for sale {ZIP}
moving from {ZIP} to {ZIP}, which movers are cheap?
store locator: {ZIP}
customers in {ZIP} and {ZIP} have no power
Postleitzahl {ZIP}, Ort {BIG}
code postal {ZIP}
The courier covers {ZIP} through {ZIP}.
sales tax for {ZIP}
{BIG}, {ZIP}
""".strip().split("\n")

TECH = """
Author: {PERSON} <{EMAIL}>\\nDate: {DATE}\\n\\n    Fix race in scheduler
# Copyright {YEAR} {ORG}
// TODO({USER}): ask {FIRST} at {BRAND} about the limit
Signed-off-by: {PERSON} <{EMAIL}>
maintainers = [{ name = "{PERSON}", email = "{EMAIL}" }]
user = User(name="{PERSON}", city="{BIG}", zip="{ZIP}")
SELECT * FROM staff WHERE company = '{ORG}' AND name = '{PERSON}';
{DATE} auth: login ok user={EMAIL} ip={IP}
{IP} {DOMAIN} "POST /api/users" 201 {number}
host {DOMAIN} has address {IP}
[{DATE}] {LEVEL} payment by {PERSON} with {CARD} declined
{"vendor": "{ORG}", "country": "{GPE}", "contact": "{EMAIL}"}
<author>{PERSON}</author><org>{ORG}</org>
curl -H "X-Forwarded-For: {IP}" https://{DOMAIN}/health
export ADMIN_EMAIL={EMAIL}
""".strip().split("\n")

NEGATIVE = """
the {WORD} of the market was open, the target was missed
an apple a day, an amazon of books, a shell on the beach
Will {number} be enough? May we mark the frank answer?
I turned the page in {YEAR} and it was fine
The {WORD} covers {number} hectares and {number} acres.
after six years, in ten weeks, for two hours
see you b4 lunch, c u l8r, gr8
{number} hectares, {number} acres, {number} floors, {number} players
after {number} years, for {number} minutes, over {number} pages
item {serial}-A{number} in aisle {number}
SKU {number}-{number}-{number}A is sold out
e4 e5 Nf3 Nc6 Bb5 a6 Ba4 Nf6
the third floor, the second door, the first of many
thirty days, forty thieves, twenty questions
SELECT id FROM t WHERE n = {number} AND x > {number};
the court, the senator, the minister and the bishop met the press
the bank refused, the university agreed, the hospital was full
postage is {number} cents, tax is {number} percent
chapter {number}, verse {number}, line {number}
the march of time, a rose in may, faith and hope, a jack of all trades
""".strip().split("\n")

REGISTERS = [(NEWS, 34), (SOCIAL, 20), (CHAT, 16), (FORMS, 15), (TECH, 9), (NEGATIVE, 6)]


class Registers:
    """Draws rows of these registers with the values of a `PiiGenerator`; `foreign()` draws harmless sentences of other languages."""

    def __init__(self, generator, world, foreign=None):
        self.g, self.rng, self.world, self.foreign = generator, generator.rng, world, foreign

    def slot(self, name):
        """(value, label or None) of a slot known here, else None."""
        rng, w = self.rng, self.world
        bare = lambda x: x.removeprefix("the ") if rng.random() < 0.3 else x
        if name == "STOCK":
            return (rng.choice(w["companies"]) if w.get("companies") and rng.random() < 0.7 else self.g.org(), "ORGANIZATION")
        if name == "BIG":
            return (rng.choice(w["cities"]) if w.get("cities") and rng.random() < 0.8 else self.g.gpe(), "GPE")
        if name == "UNI":
            place = rng.choice(w["cities"]) if w.get("cities") else self.g.gpe()
            return (rng.choice(["University of {}", "{} University", "{} State University", "{} College", "Technical University of {}", "{} Institute of Technology", "{} Medical School", "{} Business School"]).format(place), "ORGANIZATION")
        lists = {"CLUB": CLUBS, "AGENCY": AGENCIES, "PAPER": PAPERS, "BRAND": BRANDS}
        if name in lists:
            return (bare(rng.choice(lists[name])), "ORGANIZATION")
        if name == "HOSPITAL":
            return (rng.choice(["St. {}'s Hospital", "{} General Hospital", "{} Memorial Hospital", "{} Medical Center", "{} Clinic", "Saint {} Hospital", "Klinikum {}", "Hospital {}", "{} Children's Hospital"]).format(self.g.last()), "ORGANIZATION")
        if name == "TIME":
            return (rng.choice(["{} pm", "{}pm", "{}:30", "{}:15 am", "{} o'clock", "{} am"]).format(rng.randint(1, 12)), "DATE_TIME")
        if name == "PARTY":
            return (rng.choice(["Democrats", "Republicans", "Conservatives", "Liberals", "Socialists", "Communists", "Greens", "Social Democrats", "Christian Democrats", "Tories", "Nationalists"]), "NRP")
        if name == "DAY":
            return (rng.choice(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]), "DATE_TIME")
        if name == "LEVEL":
            return (rng.choice(["INFO", "WARN", "ERROR"]), None)
        if name == "WORD":
            return (rng.choice(["goat", "monday", "finals", "news", "rain", "vote", "music", "mood"]), None)
        return None

    def one(self, template):
        """(text, spans)."""
        from pii_free import LABEL
        from labels import PII_TYPES
        text, spans, at = "", [], 0
        template = template.replace("\\n", "\n")
        for m in re.finditer(r"\{([A-Za-z]+)\}", template):
            text += template[at:m.start()]
            at, own = m.end(), self.slot(m.group(1))
            value, label = own if own else (self.g.fill(m.group(1)), LABEL.get(m.group(1), m.group(1)))
            if CLUBLIKE.match(value) and label == "ORGANIZATION":
                text, value = text + "the ", value[4:]
            if label in PII_TYPES:
                spans.append((len(text), len(text) + len(value), label))
            text += value
        text += template[at:]
        if text[:1].islower() and template[:1] in "{" and self.rng.random() < 0.5:
            text = text[0].upper() + text[1:]
        return text, spans

    def sample(self):
        """One row: one to four carriers of one register, or harmless foreign sentences."""
        rng = self.rng
        if self.foreign and rng.random() < 0.07:
            return {"text": " ".join(self.foreign() for _ in range(rng.choice([1, 1, 2]))), "spans": [], "scope": "ALL"}
        lists, weights = zip(*REGISTERS)
        register = rng.choices(lists, weights)[0]
        text, spans = "", []
        for i in range(rng.choice([1, 1, 2, 3, 4]) if register is NEWS else rng.choice([1, 1, 1, 2])):
            if i:
                text += " " if register is NEWS and rng.random() < 0.7 else rng.choice([" ", "\n", " | ", " ... "])
            t, s = self.one(rng.choice(register))
            spans += [(a + len(text), b + len(text), k) for a, b, k in s]
            text += t
        share = {id(NEWS): 0.06, id(SOCIAL): 0.35, id(CHAT): 0.2}.get(id(register), 0.08)
        r = rng.random()
        if r < share and len(text.lower()) == len(text):
            text = text.lower()
        elif r < share + 0.03 and len(text.upper()) == len(text):
            text = text.upper()
        return {"text": text, "spans": spans, "scope": "ALL"}
