"""Random values for PII slots and for look-alikes that are no PII."""

import string

COUNTRIES = """France Germany Spain Italy Portugal Poland Sweden Norway Denmark Finland Iceland Ireland Greece Turkey
Russia Ukraine Romania Hungary Austria Switzerland Belgium Netherlands Luxembourg Croatia Serbia Bulgaria Latvia Estonia
Lithuania China Japan India Pakistan Bangladesh Nepal Thailand Vietnam Indonesia Malaysia Singapore Philippines Australia
Canada Mexico Brazil Argentina Chile Peru Colombia Venezuela Ecuador Bolivia Cuba Jamaica Haiti Egypt Morocco Algeria
Tunisia Libya Sudan Ethiopia Kenya Uganda Tanzania Nigeria Ghana Senegal Mali Cameroon Angola Zambia Zimbabwe Botswana
Namibia Rwanda Somalia Israel Jordan Lebanon Syria Iraq Iran Qatar Kuwait Oman Yemen Afghanistan Kazakhstan Georgia
Armenia Mongolia Taiwan Cambodia Laos Malta Cyprus""".split() + [
    "New Zealand", "South Africa", "South Korea", "North Korea", "Saudi Arabia", "the United States", "the UK", "the USA",
    "United Kingdom", "United States", "Sri Lanka", "Costa Rica", "El Salvador", "Ivory Coast", "Czech Republic", "UAE", "US",
    "UK", "USA", "EU", "Puerto Rico", "Hong Kong", "the Philippines", "the Netherlands", "Scotland", "Wales", "England"]
CITIES = """London Paris Berlin Madrid Rome Vienna Prague Warsaw Lisbon Dublin Athens Oslo Stockholm Helsinki Copenhagen
Amsterdam Brussels Zurich Geneva Munich Hamburg Frankfurt Cologne Barcelona Seville Milan Naples Turin Venice Lyon
Marseille Toulouse Bordeaux Istanbul Ankara Moscow Kyiv Budapest Bucharest Sofia Belgrade Zagreb Chicago Boston Seattle
Denver Austin Dallas Houston Phoenix Portland Atlanta Miami Tampa Orlando Detroit Cleveland Memphis Nashville Baltimore
Philadelphia Pittsburgh Minneapolis Milwaukee Sacramento Oakland Fresno Tucson Omaha Tulsa Toronto Montreal Vancouver
Calgary Ottawa Tokyo Osaka Kyoto Seoul Busan Beijing Shanghai Shenzhen Guangzhou Wuhan Mumbai Delhi Bangalore Chennai
Kolkata Hyderabad Pune Karachi Lahore Dhaka Bangkok Hanoi Jakarta Manila Sydney Melbourne Brisbane Perth Auckland
Wellington Cairo Nairobi Lagos Accra Johannesburg Casablanca Tunis Algiers Dubai Doha Riyadh Tehran Baghdad Damascus
Beirut Jerusalem Amman Lima Bogota Santiago Caracas Quito Havana Kingston Leeds Manchester Liverpool Bristol Glasgow
Edinburgh Cardiff Belfast Sheffield Newcastle Brighton Oxford Cambridge York Bath""".split() + [
    "New York", "Los Angeles", "San Francisco", "San Diego", "Las Vegas", "New Orleans", "Salt Lake City", "Kansas City",
    "St. Louis", "Cape Town", "Buenos Aires", "Rio de Janeiro", "São Paulo", "Mexico City", "Tel Aviv", "Ho Chi Minh City",
    "Kuala Lumpur", "New Delhi", "Washington DC", "San José", "NYC", "LA", "Santa Fe", "El Paso", "Fort Worth", "Addis Ababa"]
STATES = """Alabama Alaska Arizona Arkansas California Colorado Connecticut Delaware Florida Georgia Hawaii Idaho Illinois
Indiana Iowa Kansas Kentucky Louisiana Maine Maryland Massachusetts Michigan Minnesota Mississippi Missouri Montana Nebraska
Nevada Ohio Oklahoma Oregon Pennsylvania Tennessee Texas Utah Vermont Virginia Wisconsin Wyoming Ontario Quebec Bavaria
Saxony Tuscany Catalonia Andalusia Provence Normandy Kerala Punjab Gujarat Queensland""".split() + [
    "New Jersey", "New Mexico", "North Carolina", "South Dakota", "West Virginia", "Rhode Island", "British Columbia"]
STATE_CODES = """AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK
OR PA RI SC SD TN TX UT VT VA WA WV WI WY""".split()
NRP = """American British English Scottish Welsh Irish French German Spanish Italian Portuguese Dutch Belgian Swiss Austrian
Polish Czech Slovak Hungarian Romanian Bulgarian Greek Turkish Russian Ukrainian Swedish Norwegian Danish Finnish Icelandic
Canadian Mexican Brazilian Argentine Chilean Peruvian Colombian Venezuelan Cuban Jamaican Haitian Egyptian Moroccan Algerian
Tunisian Libyan Sudanese Ethiopian Kenyan Ugandan Tanzanian Nigerian Ghanaian Senegalese Israeli Jordanian Lebanese Syrian
Iraqi Iranian Saudi Qatari Afghan Pakistani Indian Bangladeshi Nepali Thai Vietnamese Indonesian Malaysian Filipino Chinese
Japanese Korean Mongolian Australian Kurdish Basque Catalan Arab Persian Roma Samoan Hawaiian Navajo Cherokee Maori
Christian Catholic Protestant Orthodox Baptist Methodist Lutheran Anglican Mormon Muslim Sunni Shia Jewish Hindu Buddhist Sikh
Jain Taoist atheist agnostic Quaker Amish Evangelical Republican Democrat Democratic Libertarian Socialist Communist
conservative liberal Tory Labour Hispanic Latino Latina Asian African Caucasian""".split() + [
    "Green Party", "Roman Catholic", "Jehovah's Witness", "African American", "New Zealander", "South African", "Sri Lankan",
    "Seventh-day Adventist", "Native American", "Costa Rican", "Social Democrat"]
TITLES = ["Mr", "Mr.", "Mrs", "Mrs.", "Ms", "Ms.", "Miss", "Dr", "Dr.", "Prof.", "Professor", "Mx.", "Sir", "Dame", "Rev.",
          "Capt.", "Captain", "Lt.", "Sgt.", "Judge", "Senator", "Hon.", "Lord", "Lady", "Father", "Sister", "Herr", "Frau",
          "Señor", "Sra.", "Monsieur", "Madame", "Mme", "Ing.", "Col.", "Gen.", "President", "Doctor", "Sen.", "Rep."]
ORGS = """Google Microsoft Apple Amazon Facebook Netflix Tesla Toyota Honda Ford Siemens Bosch Nestle Unilever Pfizer Moderna
Boeing Airbus Intel Nvidia IBM Oracle SAP Samsung Sony Nintendo Walmart Target Costco Starbucks McDonald's Nike Adidas Ikea
Spotify Uber Lyft Airbnb Twitter YouTube Reuters BBC CNN NBC ABC Fox ESPN NASA FBI CIA NATO UNESCO UNICEF WHO IMF FIFA UEFA NBA
NFL MIT Harvard Stanford Yale Princeton Oxfam Greenpeace Interpol Europol Citigroup Barclays HSBC Santander Allianz Vodafone
Verizon AT&T Comcast Pepsi Coca-Cola Heineken Shell Exxon Chevron Gazprom Lufthansa Ryanair Emirates Arsenal Chelsea Barcelona
Juventus Liverpool Lakers Yankees Celtics Cowboys Packers Steelers PayPal eBay Adobe Zoom Slack Dropbox GitHub OpenAI Reddit""".split() + [
    "Bank of America", "Wells Fargo", "JPMorgan Chase", "Goldman Sachs", "Red Cross", "World Bank", "European Union", "United Nations",
    "Manchester United", "Real Madrid", "Bayern Munich", "New York Times", "Washington Post", "Labour Party", "Supreme Court",
    "Johnson & Johnson", "General Motors", "Delta Air Lines", "Best Buy", "Home Depot", "Deutsche Bank", "State Department",
    "Amnesty International", "Doctors Without Borders", "the Guardian", "Wall Street Journal", "Al Jazeera", "Sky News"]
ORG_HEAD = """Acme Apex Summit Pioneer Global Northern Pacific Atlantic Blue Green Silver Golden Red Bright Clear Prime First
National United Central Royal Metro Urban River Lake Mountain Valley Ocean Harbor Bay Oak Maple Cedar Pine Willow Eagle Falcon
Lion Phoenix Dragon Orion Nova Stellar Quantum Vertex Zenith Horizon Delta Omega Alpha Sigma Fusion Vector Matrix Cobalt Amber
Ivory Crimson Evergreen Lakeside Riverside Hilltop Sunrise Liberty Heritage Legacy Keystone Cornerstone Beacon Meridian Solaris
Redwood Ironwood Stone Bridge Tower Crystal Arctic Polar Nordic Alpine Iberia Lumen Kinetic Helix Nimbus Tidal Rapid Swift""".split()
ORG_TAIL = """Bank Insurance Logistics Foods Motors Airlines Hospital Clinic University College School Institute Foundation Energy
Power Systems Software Labs Technologies Solutions Partners Capital Holdings Group Industries Consulting Pharma Biotech Media
Studios Records Press Publishing Telecom Networks Security Robotics Dynamics Health Dental Realty Properties Construction
Engineering Architects Brewery Bakery Cafe Hotel Resorts Travel Tours Sports Athletics Academy Museum Theatre Trust Council
Ministry Association Society Union Federation Committee Cooperative Credit Savings Church Supermarket Pharmacy Library""".split()
ORG_SUFFIX = ["Inc", "Inc.", "LLC", "Ltd", "Ltd.", "Corp", "Corp.", "Corporation", "GmbH", "AG", "S.A.", "SA", "PLC", "plc", "& Co.",
              "Group", "Co.", "BV", "Oy", "AB", "S.p.A.", "Pty Ltd", "and Sons", "KG", "Limited", "Sp. z o.o.", "SARL"]
STREETS = """Street St St. Avenue Ave Ave. Road Rd Rd. Lane Ln Drive Dr Boulevard Blvd Court Ct Place Pl Way Circle Terrace Parkway
Highway Square Row Trail Close Crescent Mews Gardens Alley Loop Ridge Crossing Plaza Walk Hill""".split()
STREET_NAMES = """Main Oak Maple Cedar Pine Elm Washington Lincoln Park Lake Hill High Church Mill River Spring Center Union
Walnut Chestnut Franklin Jackson Jefferson Madison Adams Sunset Highland Forest Meadow Willow Victoria Queen King Station Bridge
School Market Front Broad Second Third Fifth Ninth 5th 42nd 3rd 11th Martin Kennedy Harrison Wilson Monroe Cherry Dogwood
Magnolia Juniper Hawthorn Birch Ash Poplar Sycamore Orchard Garden Prospect Pleasant Valley Green Baker Abbey Castle Kings""".split()
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
TLDS = ["com", "com", "com", "org", "net", "io", "de", "fr", "co.uk", "it", "es", "nl", "edu", "gov", "info", "dev", "app", "ai", "ch",
        "ca", "com.au", "co.jp", "ru", "cn", "in", "biz", "eu", "se", "pl", "me", "us", "xyz", "online", "tech"]
IBANS = {"DE": "18d", "FR": "22d", "GB": "4a14d", "ES": "20d", "IT": "1a22d", "NL": "4a10d", "BE": "12d", "CH": "17d", "AT": "16d",
         "PL": "24d", "SE": "20d", "NO": "11d", "DK": "14d", "FI": "14d", "PT": "21d", "IE": "4a14d", "GR": "23d", "CZ": "20d",
         "HU": "24d", "RO": "4a16d", "LU": "16d", "TR": "22d", "SA": "20d", "AE": "19d", "MT": "4a23d", "HR": "17d", "EE": "16d",
         "BG": "4a14d", "SK": "20d", "SI": "15d", "LT": "16d", "LV": "4a13d", "IL": "19d", "UA": "25d"}
PHONES = ["({a}) {b}-{c}", "{a}-{b}-{c}", "{a}.{b}.{c}", "{a} {b} {c}", "+1 {a} {b} {c}", "+1-{a}-{b}-{c}", "1-{a}-{b}-{c}", "+1{a}{b}{c}",
          "{a}{b}{c}", "+1 ({a}) {b}-{c}", "({a}){b}-{c}", "{a}/{b}-{c}", "001-{a}-{b}-{c}", "{a}-{b}-{c} ext. ##", "{a}-{b}-{c} x###",
          "+44 20 #### ####", "+44 7### ######", "020 #### ####", "07### ######", "0#### ######", "+44 (0)20 #### ####", "+49 30 #######",
          "+49 17# #######", "0176 ########", "+49 (0)89 ######", "030/#######", "+33 6 ## ## ## ##", "06 ## ## ## ##", "01 ## ## ## ##",
          "+34 6## ### ###", "6## ### ###", "+39 3## #######", "+39 06 ### ####", "+31 6 ########", "+32 4## ## ## ##", "+41 79 ### ## ##",
          "+43 664 #######", "+46 70 ### ## ##", "+47 ### ## ###", "+45 ## ## ## ##", "+358 40 ### ####", "+48 ### ### ###",
          "+351 9## ### ###", "+353 8# ### ####", "+30 69# ### ####", "+90 5## ### ## ##", "+7 9## ###-##-##", "8 (9##) ###-##-##",
          "+380 ## ### ## ##", "+91 9#### #####", "+91-9#########", "09#########", "+86 13# #### ####", "13#########", "+81 90-####-####",
          "090-####-####", "03-####-####", "+82 10-####-####", "010-####-####", "+65 #### ####", "+61 4## ### ###", "04## ### ###",
          "+64 2# ### ####", "+55 11 9####-####", "(11) 9####-####", "+52 55 #### ####", "+54 9 11 ####-####", "+27 8# ### ####",
          "+234 80# ### ####", "+254 7## ######", "+971 5# ### ####", "+972 5#-###-####", "+966 5# ### ####", "+63 9## ### ####",
          "+62 81#-####-####", "+84 9# ### ## ##", "+66 8 #### ####", "+40 7## ### ###", "+36 30 ### ####", "+420 ### ### ###", "0### / ### ## ##"]


def hashes(rng, pattern):
    """Replace # by digits, @ by upper-case letters, $ by lower-case letters or digits."""
    return "".join(rng.choice(string.digits) if c == "#" else rng.choice(string.ascii_uppercase) if c == "@" else
                   rng.choice(string.ascii_lowercase + string.digits) if c == "$" else c for c in pattern)


def phone(rng):
    """A phone number in one of many national formats."""
    p = rng.choice(PHONES) if rng.random() < 0.6 else rng.choice(PHONES[:15])
    return hashes(rng, p.format(a=rng.randint(201, 989), b=f"{rng.randint(200, 999)}", c=f"{rng.randint(0, 9999):04d}"))


def luhn_digit(digits):
    """Check digit that completes `digits`."""
    total = 0
    for i, d in enumerate(reversed(digits)):
        d = int(d) * (2 if i % 2 == 0 else 1)
        total += d - 9 if d > 9 else d
    return str(-total % 10)


def card(rng, valid=True):
    """A card number, grouped or not."""
    prefix, n = rng.choice([("4", 16), ("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16),
                            ("36", 14), ("3528", 16), ("4", 13), ("62", 16)])
    body = prefix + "".join(rng.choice(string.digits) for _ in range(n - 1 - len(prefix)))
    digit = luhn_digit(body)
    body += digit if valid else str((int(digit) + rng.randint(1, 9)) % 10)
    style = rng.random()
    if style < 0.35:
        return body
    sep = " " if style < 0.7 else "-"
    if n == 15:
        return sep.join([body[:4], body[4:10], body[10:]])
    return sep.join(body[i:i + 4] for i in range(0, n, 4))


def iban(rng):
    """An IBAN with a right checksum, grouped or not."""
    country = rng.choice(list(IBANS))
    bban, number = "", ""
    for ch in IBANS[country]:
        if ch.isdigit():
            number += ch
        else:
            bban += "".join(rng.choice(string.digits if ch == "d" else string.ascii_uppercase) for _ in range(int(number)))
            number = ""
    digits = "".join(str(int(c, 36)) for c in bban + country + "00")
    text = f"{country}{98 - int(digits) % 97:02d}{bban}"
    r = rng.random()
    if r < 0.55:
        text = " ".join(text[i:i + 4] for i in range(0, len(text), 4))
    return text if r < 0.95 else text.lower()


def ssn(rng):
    """A US social security number by the issuance rules."""
    a = rng.choice([rng.randint(1, 665), rng.randint(667, 899)])
    return rng.choice(["{}-{}-{}", "{}-{}-{}", "{}-{}-{}", "{} {} {}", "{}.{}.{}", "{}{}{}"]).format(
        f"{a:03d}", f"{rng.randint(1, 99):02d}", f"{rng.randint(1, 9999):04d}")


def ip(rng):
    """An IPv4 or IPv6 address."""
    if rng.random() < 0.65:
        return ".".join(str(rng.randint(0, 255)) for _ in range(4)) if rng.random() < 0.6 else rng.choice(
            [f"192.168.{rng.randint(0, 255)}.{rng.randint(1, 254)}", f"10.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}",
             f"172.{rng.randint(16, 31)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"])
    groups = [f"{rng.randint(0, 65535):x}" for _ in range(8)]
    r = rng.random()
    if r < 0.35:
        return ":".join(groups)
    if r < 0.7:
        k = rng.randint(1, 4)
        return ":".join(groups[:k]) + "::" + ":".join(groups[:rng.randint(1, 3)])
    return rng.choice(["fe80::", "2001:db8::", "fd00::", "::ffff:"]) + rng.choice(groups)


def licence(rng):
    """A US driver licence number in one of the state formats."""
    return hashes(rng, rng.choice([
        "@#######", "@########", "#########", "@############", "@###-####-####", "@###-###-##-###-#", "@##-##-####", "#######", "########",
        "@@######", "@@@######@", "@#####", "##@@@#####", "@-###-###-###-###", "@ ### ### ### ###", "@@####", "@##########", "##########",
        "@@@**###@#".replace("*", "@"), "###@@####", "@###-####-####-##", "@############@", "#######@", "WDL@@@@####", "@@#####@", "####-##-####"]))


def date(rng):
    """A date or date-time expression."""
    y, m, d = rng.randint(1930, 2027), rng.randint(1, 12), rng.randint(1, 28)
    mon, day = MONTHS[m - 1], rng.choice(DAYS)
    clock = rng.choice([f"{rng.randint(1, 12)}pm", f"{rng.randint(1, 12)} am", f"{rng.randint(0, 23)}:{rng.randint(0, 59):02d}",
                        f"{rng.randint(1, 12)}:{rng.choice(['00', '15', '30', '45'])} PM", "noon", "midnight"])
    suffix = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd"}.get(d, "th")
    if rng.random() < 0.16:
        h, mi, s = rng.randint(0, 23), rng.randint(0, 59), rng.randint(0, 59)
        return rng.choice([f"{h:02d}:{mi:02d}", f"{h}:{mi:02d}", f"{h % 12 + 1}:{mi:02d} {rng.choice(['am', 'pm', 'AM', 'PM', 'a.m.', 'p.m.'])}", f"{h % 12 + 1}{rng.choice(['am', 'pm', ' AM', ' pm'])}",
                           f"{h:02d}:{mi:02d}:{s:02d}", f"{h:02d}:{mi:02d} on {d} {mon}", f"{h:02d}:{mi:02d} UTC"])
    if rng.random() < 0.12:
        return rng.choice([f"{m:02d}-{d:02d}-{y % 100:02d}", f"{d:02d}.{m:02d}.{y % 100:02d}", f"{y % 100:02d}/{m:02d}/{d:02d}", f"{d:02d}/{m:02d}", f"{y}-{m:02d}-{d:02d}T{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}Z",
                           f"{d} {mon} {y} at {rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}", f"{mon[:3]} {d} {y}", f"{mon[:3]} {d} {rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}", f"{y}-{m:02d}-{d:02d} {rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d},{rng.randint(0, 999):03d}"])
    return rng.choice([
        f"{y}-{m:02d}-{d:02d}", f"{d:02d}/{m:02d}/{y}", f"{m:02d}/{d:02d}/{y}", f"{m}/{d}/{y % 100:02d}", f"{d}.{m}.{y}", f"{d:02d}.{m:02d}.{y}",
        f"{y}/{m:02d}/{d:02d}", f"{d} {mon} {y}", f"{mon} {d}, {y}", f"{mon} {d}{suffix}, {y}", f"{mon} {d}", f"{d} {mon}", f"{mon[:3]} {d}, {y}",
        f"{d} {mon[:3]} {y}", f"{d}-{mon[:3]}-{y}", f"the {d}{suffix} of {mon}", f"{mon} {d}{suffix}", f"{mon} {y}", f"{day}", f"next {day}",
        f"last {day}", f"{day}, {mon} {d}", f"{day} at {clock}", f"{mon} {d} at {clock}", f"tomorrow at {clock}", f"{d:02d}-{m:02d}-{y}",
        f"{y}-{m:02d}-{d:02d} {rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}", f"{y}-{m:02d}-{d:02d}T{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:00Z",
        f"{m:02d}/{d:02d} {rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}", f"{day} the {d}{suffix}", f"{d}{suffix} {mon} {y}", f"early {mon}",
        f"next {day} at {clock}", f"{day} {rng.choice(['morning', 'afternoon', 'evening'])}", f"the summer of {y}", f"{y}{m:02d}{d:02d}" if rng.random() < 0.2 else f"{mon} {d} {y}"])


def zip_code(rng):
    """A postal code."""
    return hashes(rng, rng.choice(["#####", "#####", "#####", "#####-####", "@#@ #@#", "@@# #@@", "@@## #@@", "@#@ #@@", "#### @@", "######", "##-###", "### ##",
                                   "@#@#@#", "#####", "###-####", "@@#@ #@@"]))


def age(rng):
    """An age in years."""
    return str(rng.randint(1, 99)) if rng.random() < 0.93 else rng.choice(
        ["twenty", "thirty-two", "forty", "fifty-one", "eighteen", "seven", "sixty-five", "ninety", "twelve", "seventeen"])


LOOKALIKE = {
    "order": ["ORD-########", "#####-#####", "###-#######-#######", "##########", "PO-######", "INV-####-###", "#########", "ORDER ######", "WO#######",
              "################", "RMA######", "BK-@@####", "#-####-####-#", "CASE-######", "T-#####", "SO########"],
    "isbn": ["978-#-####-####-#", "978##########", "979-##-###-####-#", "##########", "#-###-#####-#", "978-#-##-######-#"],
    "version": ["v#.#.#", "#.#.#", "#.##.#", "v##.#.##", "#.#.#-rc#", "#.#.#.#", "####.##.#", "#.##", "v#.#.#-beta.#", "##.#.####.##"],
    "hash": ["$$$$$$$", "$$$$$$$$$$$$", "$$$$$$$$$$$$$$$$$$$$$$$$$$$$$$$$", "sha256:$$$$$$$$$$$$$$$$", "0x$$$$$$$$", "#$$#$$#$"],
    "uuid": ["########-####-4###-8###-############", "$$$$$$$$-$$$$-$$$$-$$$$-$$$$$$$$$$$$"],
    "serial": ["@@-####-@", "SN#########", "@##@-####", "#@#@#@#@", "@@@-###-###", "SKU-#####", "P/N ###-####", "MK@##", "LOT ######", "@@####@@"],
    "money": ["$#,###.##", "€###", "£##.##", "$###", "#,### euros", "USD ####", "$#.## million", "## dollars", "₹#,###", "¥####"],
    "number": ["#,###", "###", "##.#%", "#####", "#.##", "##", "#,###,###", "###.##", "#####", "1e-#", "-##", "0.###"],
    "mac": ["##:@#:#@:##:@@:##", "00-##-##-##-##-##"],
    "coord": ["##.#####, -##.#####", "-##.####,###.####", "##°##'N ##°##'E"],
    "tracking": ["1Z@##@##########", "####-####-####", "9400 #### #### #### #### ##", "@@#########US", "JD############"],
    "port": ["8080", "443", "5432", "3000", "####"],
    "time": ["## minutes", "# hours", "### ms", "## seconds", "# weeks", "## years"],
    "size": ["## GB", "### MB", "#x# pixels", "####x####", "## km", "# kg", "### cm", "## mph", "#/# cup"],
    "flight": ["UA ###", "BA####", "LH###", "gate @##", "seat ##@", "room ###", "platform #", "Route ##", "I-##", "chapter ##", "page ###"],
}


def lookalike(rng, kind):
    """A value that resembles PII but is none."""
    return hashes(rng, rng.choice(LOOKALIKE[kind]))
