"""Families of user intents with several phrasings each, for the question pairs. {x} is an entity of the family.

Phrasings of one intent mean the same; another intent of the family or another entity needs another answer.
"""

FAMILIES = {
    "food": ("lasagne|risotto|pancakes|hummus|goulash|banana bread|tomato soup|guacamole|fried rice|tiramisu|meatballs|paella|an omelette|apple pie|ramen|pesto|sushi rice|chili con carne|falafel|potato salad|cheesecake|dumplings",
             ["How do I make {x}?|recipe for {x}|What do I need to cook {x}, and how?|Show me how to prepare {x}.|I'd like to cook {x} tonight, instructions?", "How many calories are in {x}?|calorie count of {x}|Is {x} fattening, what energy does it have?|energy content {x}",
              "Can I freeze {x}?|Is it possible to put {x} in the freezer?|Does {x} keep when frozen?", "Where does {x} come from?|origin of {x}|Which cuisine invented {x}?|In what region was {x} first made?",
              "How long does {x} keep in the fridge?|shelf life of refrigerated {x}|After how many days should I throw {x} away?", "What goes well with {x}?|side dishes for {x}|What should I serve alongside {x}?", "Is {x} gluten free?|Can people with coeliac disease eat {x}?|Does {x} contain gluten?", "How do I reheat {x}?|best way to warm up {x}|Warming up leftover {x}, oven or microwave?"]),
    "illness": ("measles|asthma|migraine|anaemia|shingles|gout|eczema|pneumonia|malaria|appendicitis|tonsillitis|Lyme disease|scarlet fever|bronchitis|arthritis|hepatitis B|chickenpox|sinusitis|an ulcer|epilepsy",
                ["What are the symptoms of {x}?|signs of {x}|How can I tell whether I have {x}?|How does {x} show itself?", "What causes {x}?|reasons for getting {x}|Why do people develop {x}?|Where does {x} come from medically?", "How is {x} treated?|therapy for {x}|What helps against {x}?|Which medicine do doctors give for {x}?",
                 "Is {x} contagious?|Can I catch {x} from someone?|Does {x} spread between people?", "How long does {x} last?|duration of {x}|When will {x} be over?", "How can I prevent {x}?|protection from {x}|What should I do to avoid {x}?", "Is {x} dangerous in pregnancy?|risks of {x} for pregnant women|pregnant with {x}, should I worry?"]),
    "animal": ("a hedgehog|a parrot|an elephant|a goldfish|a tortoise|a bat|a salmon|a camel|an owl|a hamster|a rabbit|a wolf|a giraffe|a crab|a swan|a horse|a squirrel|a ferret|a koala|a whale",
               ["How long does {x} live?|life expectancy of {x}|What age can {x} reach?|lifespan of {x}", "What does {x} eat?|diet of {x}|What should I feed {x}?|food for {x}", "How fast is {x}?|top speed of {x}|What speed can {x} reach?", "Where does {x} sleep?|sleeping place of {x}|In which spot does {x} spend the night?",
                "Is {x} dangerous to humans?|Can {x} hurt people?|Should I be afraid of {x}?", "How much does {x} weigh?|weight of {x}|How heavy does {x} get?", "How many young does {x} have?|number of babies of {x}|litter size of {x}", "Is {x} a good pet for children?|Would you recommend {x} as a pet for kids?|Should a family keep {x}?"]),
    "company": ("Ikea|Siemens|Nintendo|Boeing|Lego|Adidas|Spotify|Volvo|Nestle|Samsung|Intel|Philips|Airbus|Ryanair|Heineken|Sony|Unilever|Toyota|Netflix|Shell",
                ["Who founded {x}?|founder of {x}|By whom was {x} started?|Which person set up {x}?", "When was {x} founded?|founding year of {x}|Since when does {x} exist?|How old is the firm {x}?", "Where is the headquarters of {x}?|In which city is {x} based?|head office location {x}", "Who runs {x} today?|current CEO of {x}|Name the boss of {x}",
                 "How many employees does {x} have?|staff size of {x}|How many people work for {x}?", "How do I contact {x} customer service?|{x} support phone number|I need to reach the help desk of {x}", "Is {x} stock a good buy?|Should I invest in shares of {x}?|opinion on buying {x} shares"]),
    "job": ("a nurse|a pilot|a plumber|an architect|a lawyer|a baker|a data scientist|a vet|an electrician|a translator|a firefighter|a pharmacist|a chef|a journalist|a midwife|a judge",
            ["How do I become {x}?|training to be {x}|What education is required for {x}?|path to a career as {x}", "How much does {x} earn?|salary of {x}|What is the pay of {x}?|income {x} per year", "What does {x} do all day?|duties of {x}|Describe the daily work of {x}.", "Is being {x} stressful?|How hard is the life of {x}?|Do people find working as {x} exhausting?", "What questions are asked when hiring {x}?|interview questions for {x}|How do I prepare for an interview as {x}?"]),
    "plant": ("an orchid|a cactus|basil|a ficus|lavender|a tomato plant|a rose bush|mint|an olive tree|a fern|ivy|a lemon tree|a peace lily|rosemary|bamboo|a bonsai",
              ["How often should I water {x}?|watering schedule for {x}|How much water does {x} need?", "How much light does {x} need?|Does {x} want sun or shade?|best spot for {x} regarding light", "Why are the leaves of {x} turning yellow?|yellow leaves on {x}, what's wrong?|{x} with leaves going yellow", "When should I prune {x}?|right time to cut back {x}|In which month is {x} trimmed?", "Is {x} poisonous for cats?|Can a cat die from nibbling {x}?|toxicity of {x} for cats", "How do I propagate {x}?|growing new plants from {x}|taking cuttings of {x}"]),
    "device": ("my iPhone|my Android phone|the laptop|my tablet|the printer|my smart watch|the router|my TV|the camera|my headphones|the dishwasher|my e-reader|the thermostat|my Kindle|the washing machine",
               ["How do I reset {x}?|factory reset of {x}|Bring {x} back to its original settings|I want to restore {x} to defaults", "Why won't {x} turn on?|{x} stays dark when I press the button|{x} is dead and does not start", "How do I clean {x}?|removing dirt from {x}|What can I use to wipe {x}?", "How do I update {x}?|install the newest software on {x}|Get the latest firmware for {x}", "How do I connect {x} to wifi?|getting {x} online over the wireless network|{x} wifi setup",
                "Where can I get {x} repaired?|repair shop for {x}|Who fixes {x} when it's broken?", "How long is the warranty on {x}?|guarantee period of {x}|Until when is {x} covered by warranty?", "Why is {x} so loud?|{x} makes a lot of noise, why?|noise coming from {x}"]),
    "account": ("Gmail|Instagram|Netflix|PayPal|Spotify|Amazon|LinkedIn|Dropbox|Twitter|Steam|Zoom|eBay|Uber|WhatsApp|Discord|Airbnb",
                ["How do I change my {x} password?|set a new password for {x}|I'd like another password on {x}", "How do I delete my {x} account?|remove my profile from {x} for good|close a {x} account permanently", "How do I log out of {x}?|sign off from {x}|leaving my session on {x}", "Somebody hacked my {x}, what now?|My {x} was taken over by a stranger, what should I do?|recover a compromised {x} login", "How much does {x} cost per month?|monthly fee of {x}|price of {x}", "How do I contact {x}?|Where can I reach the people at {x}?|{x} help line", "How do I change the e-mail address in {x}?|use another mail address with {x}|update my {x} e-mail"]),
    "element": ("iron|gold|copper|helium|sodium|zinc|lead|mercury|carbon|oxygen|silver|tin|neon|uranium|calcium|aluminium|sulfur|nickel",
                ["What is the melting point of {x}?|At which temperature does {x} melt?|{x} melting temperature", "What is the atomic number of {x}?|How many protons does {x} have?|{x} proton count", "What is {x} used for?|uses of {x}|applications of {x} in industry", "What is the chemical symbol of {x}?|How is {x} abbreviated in the periodic table?|letters that stand for {x}", "Who discovered {x}?|discoverer of {x}|By whom was {x} found first?", "Is {x} toxic?|Can {x} poison you?|Is it harmful to swallow {x}?", "How dense is {x}?|density of {x}|mass per volume of {x}"]),
    "work": ("Hamlet|Moby Dick|Dracula|Pride and Prejudice|The Hobbit|War and Peace|Don Quixote|Faust|Frankenstein|Oliver Twist|Ulysses|Emma|The Trial|Anna Karenina|Animal Farm|The Odyssey|Jane Eyre|Les Miserables",
             ["Who wrote {x}?|author of {x}|Which writer is {x} by?|Name the person who penned {x}", "What is {x} about?|plot of {x}|Summarise {x} for me|short synopsis of {x}", "When was {x} published?|publication year of {x}|In which year did {x} appear?", "How many pages does {x} have?|length of {x} in pages|How thick is the book {x}?", "Who is the main character of {x}?|protagonist of {x}|Which figure is {x} mostly about?", "How does {x} end?|ending of {x}|What happens at the end of {x}?", "Is there a film of {x}?|movie adaptations of {x}|Was {x} ever made into a movie?"]),
    "sport": ("tennis|rugby|cricket|badminton|handball|golf|hockey|volleyball|curling|judo|fencing|basketball|water polo|squash|baseball|darts",
              ["What are the rules of {x}?|How is {x} played?|Explain how {x} works as a game.", "How many players are in a {x} team?|team size in {x}|number of people per side in {x}", "Who is the best {x} player ever?|greatest of all time in {x}|top {x} athlete in history", "What equipment do I need for {x}?|gear for {x}|things to buy before starting {x}", "How long does a {x} match take?|duration of a game of {x}|minutes in a {x} match", "Where was {x} invented?|origin of {x} as a sport|birthplace of {x}", "How do I get better at {x}?|improving my {x}|tips to raise my level in {x}"]),
    "trip": ("Lisbon|Prague|Kyoto|Marrakesh|Naples|Oslo|Havana|Dublin|Cairo|Bangkok|Seville|Tallinn|Montreal|Cape Town|Athens|Lima|Porto|Budapest",
             ["What should I see in {x}?|sights of {x}|must-visit places in {x}|tourist attractions {x}", "How do I get from the airport to {x} city centre?|transfer from {x} airport into town|reaching downtown {x} after landing", "When is the best time to visit {x}?|ideal season for {x}|Which month should I travel to {x}?", "Is {x} safe at night?|walking around {x} after dark, dangerous?|crime at night in {x}", "Where should I stay in {x}?|good neighbourhood for a hotel in {x}|accommodation tips {x}", "How expensive is {x}?|price level in {x}|Do I need a lot of money in {x}?", "What do people eat in {x}?|local dishes of {x}|typical food in {x}", "What's the weather like in {x}?|current conditions in {x}|Is it raining in {x}?"]),
    "shop": ("the blue jacket|my order|the headphones|the sofa|my shoes|the gift card|the coffee machine|my parcel|the concert tickets|the mattress|the lamp|my subscription box",
             ["Where is {x}?|track {x}|When will {x} finally arrive?|delivery status of {x}", "How do I return {x}?|send {x} back|I don't want {x}, how does the return work?", "Can I get a refund for {x}?|money back for {x}|reimburse me for {x}", "{x} arrived damaged|{x} was broken when I opened the box|There is a defect on {x} on arrival", "Can I change the delivery address for {x}?|ship {x} somewhere else|send {x} to another address", "How do I cancel {x}?|stop the purchase of {x}|I no longer want to buy {x}", "Is there a discount on {x}?|coupon for {x}|Can I get {x} cheaper?"]),
    "concept": ("gravity|osmosis|inflation|recursion|irony|entropy|democracy|photosynthesis|blockchain|feudalism|a black hole|karma|a recession|the greenhouse effect|game theory|machine learning|plate tectonics|a metaphor|capitalism|DNA",
                ["What is {x}?|explain {x}|Can you tell me what {x} means?|definition of {x}|I don't get {x}, help me understand it", "Give an example of {x}.|Show me {x} with an example|Where do we see {x} in everyday life?", "Why is {x} important?|significance of {x}|What makes {x} matter?", "Who came up with the idea of {x}?|history of the idea of {x}|origin of the term {x}", "How do I teach {x} to children?|lesson plan on {x} for kids|a simple classroom activity about {x}", "What are common misunderstandings about {x}?|myths about {x}|What do people get wrong about {x}?"]),
    "amount": ("2 kilograms of flour|30 kilometres|100 dollars|3 litres|20 degrees Celsius|5 feet 8|12 ounces|90 minutes|400 metres|6 gallons|15 stone|1000 yen|8 inches|4 acres",
               ["Convert {x} to other units|What is {x} in other units?|{x} expressed differently", "Is {x} a lot?|Would you call {x} much?|Does {x} count as plenty?", "What does {x} cost to ship?|shipping price for {x}|How expensive is sending {x}?"]),
}
# Words that may replace each other: the question stays well formed, the answer changes.
CATEGORIES = """january|february|march|april|may|june|july|august|september|october|november|december
monday|tuesday|wednesday|thursday|friday|saturday|sunday
dog|cat|horse|cow|rabbit|bird|fish|snake|lion|tiger|bear|wolf|shark|whale|pig|sheep
apple|banana|orange|grape|potato|tomato|onion|carrot|rice|bread|cheese|egg|chicken|beef|salmon
red|blue|green|yellow|black|white|pink|brown
english|french|german|spanish|italian|chinese|japanese|russian|arabic|dutch|korean
python|java|rust|ruby|javascript|kotlin|swift|php|perl
football|tennis|basketball|golf|hockey|rugby|cricket|baseball
guitar|piano|violin|drums|flute
mercury|venus|mars|jupiter|saturn|uranus|neptune
heart|liver|brain|lungs|stomach|skin|kidney|knee
doctor|lawyer|teacher|nurse|engineer|pilot|chef
facebook|instagram|twitter|tiktok|youtube|linkedin
mother|father|sister|brother|uncle|aunt|son|daughter
car|bike|train|bus|plane|boat|truck
one|two|three|four|five|six|seven|eight|nine|ten
hour|day|week|month|year|minute
windows|linux|macos|android|ios
texas|california|florida|ohio|alaska|nevada|georgia
london|paris|berlin|madrid|rome|vienna|tokyo|moscow|sydney
france|germany|italy|spain|india|china|japan|brazil|canada|mexico|russia|egypt|australia|england""".split("\n")
# (pattern, replacement): small changes that turn the meaning round.
FLIPS = [(r"\bfrom (\w+) to (\w+)\b", r"from \2 to \1"), (r"\b(\w+) to (\w+)$", r"\2 to \1"), (r"\bis\b", "is not"), (r"\bare\b", "are not"), (r"\bcan\b", "can't"), (r"\bshould\b", "should not"), (r"\bdoes\b", "doesn't"), (r"\bdo\b", "don't"),
         (r"\bwith\b", "without"), (r"\bwithout\b", "with"), (r"\bbefore\b", "after"), (r"\bafter\b", "before"), (r"\bmore\b", "less"), (r"\bturn on\b", "turn off"), (r"\benable\b", "disable"), (r"\bincrease\b", "reduce"),
         (r"\bbest\b", "worst"), (r"\badvantages\b", "disadvantages"), (r"\bfor\b", "against"), (r"\ballowed\b", "forbidden"), (r"\blegal\b", "illegal"), (r"\binside\b", "outside"), (r"\bpossible\b", "impossible"), (r"\balways\b", "never"),
         (r"\bhow to\b", "how not to"), (r"\bstart\b", "stop"), (r"\bopen\b", "close"), (r"\bgain\b", "lose"), (r"\bhigher\b", "lower"), (r"\bbuy\b", "sell"), (r"\bbenefits\b", "risks"), (r"\bwho (\w+ed)\b", r"who never \1")]

# Phrasings with numbers {n} (and {m}); another number needs another answer.
NUMERIC = [x.split("|") for x in """What is {n}% of {m}?|{n} percent of {m}|how much is {n} per cent from {m}|Take {n}% of {m}, what do you get?
Set an alarm for {n} minutes|timer {n} min|Remind me in {n} minutes|Wake me after {n} minutes, please
Summarise chapter {n}.|What happens in chapter {n}?|give me the gist of chapter {n}|chapter {n} summary
Is {n} a prime number?|Does {n} have divisors other than 1 and itself?|Check whether {n} is prime
What is the square root of {n}?|sqrt of {n}|Which number squared gives {n}?
What is {n} plus {m}?|add {n} and {m}|sum of {n} and {m}|{n}+{m}
What is {n} times {m}?|multiply {n} by {m}|product of {n} and {m}
Convert {n} kilometers to miles|{n} km in miles|How many miles are {n} kilometers?
Convert {n} Celsius to Fahrenheit|{n} degrees C in F|How hot is {n} Celsius on the Fahrenheit scale?
Who won the World Cup in {y}?|Which team became world champion in {y}?|winner of the {y} World Cup
What happened in {y}?|important events of {y}|Tell me what the year {y} is known for
Who was president in {y}?|president in the year {y}|Name the head of state in {y}
Show orders of the last {n} days|list purchases from the past {n} days|which orders came in within {n} days
A recipe for {n} people|What can I cook when {n} guests come?|meal for a group of {n}
Book a table for {n}|Reserve seats for {n} persons at a restaurant|I need a table, we are {n}
Upgrade to version {v}|How do I move to release {v}?|install {v} over my old version
What is new in Java {n}?|features added with Java {n}|changes in version {n} of Java
Solve {n}x = {m}|Find x if {n} times x equals {m}|x in {n}x={m}
What does error {n} mean?|meaning of error code {n}|I get error {n}, explain
Gift for a {n} year old|What should I give someone who turns {n}?|present idea, age {n}
How long is a flight of {n} km?|flight time for {n} kilometers|hours in the air for {n} km
How much is {n} dollars in euros?|{n} USD to EUR|exchange {n} dollars into euros
Is {n} mg of caffeine too much?|can I have {n} mg caffeine a day|{n} milligrams of caffeine, is it safe?
Write {n} sentences about the sea|{n} sentences on the ocean, please|Describe the sea in {n} sentences
What is the factorial of {n}?|{n}!|compute {n} factorial
What time is it {n} hours from now?|time in {n} hours|If I wait {n} hours, what will the clock show?
lyrics of track {n}|What are the words of song number {n}?|song {n} text
Rent for a flat of {n} square meters|What does a {n} sqm apartment cost?|price of {n} m2 flats""".split("\n")]
# Two opposite questions, each with two phrasings.
OPPOSITES = [[side.split("|") for side in x.split(" // ")] for x in """How do I turn on bluetooth?|switch bluetooth on // How do I turn off bluetooth?|switch bluetooth off
Which foods contain gluten?|foods with gluten // Which foods are gluten free?|foods without gluten
Reasons to get married|Why should people marry? // Reasons not to get married|Why should people stay single?
How do I subscribe to the newsletter?|sign up for your newsletter // How do I unsubscribe from the newsletter?|stop getting your newsletter
Is smoking permitted here?|Can I smoke here? // Is smoking banned here?|Is it a no-smoking area?
How can I sleep more?|ways to get more sleep // How can I sleep less?|ways to need less sleep
animals that can fly|Which animals fly? // animals that cannot fly|Which animals are unable to fly?
Who voted for the law?|supporters of the law // Who voted against the law?|opponents of the law
How do I add a user to a group?|put somebody in a group // How do I remove a user from a group?|take somebody out of a group
What to do before surgery|preparing for an operation // What to do after surgery|recovering from an operation
How do I lock the screen?|activate screen lock // How do I unlock the screen?|remove screen lock
upload a file to the server|send a file up to the server // download a file from the server|fetch a file off the server
rooms with a balcony|Do you have rooms that have a balcony? // rooms without a balcony|Do you have rooms lacking a balcony?
countries that use the euro|Where is the euro the currency? // countries that do not use the euro|Where is the euro not used?
benefits of coffee|Why is coffee good for you? // dangers of coffee|Why is coffee bad for you?
How do I grow hair faster?|speed up hair growth // How do I stop hair growth?|slow down hair growth
encrypt a folder|protect a folder by encryption // decrypt a folder|undo the encryption of a folder
pros of working from home|advantages of home office // cons of working from home|disadvantages of home office
the oldest university in Europe|Which European university was founded first? // the newest university in Europe|Which European university was founded last?
How do I enter full screen?|start full screen mode // How do I exit full screen?|leave full screen mode
vegetarian dishes|meals without meat // meat dishes|meals with meat
When does the shop open?|opening time of the store // When does the shop close?|closing time of the store
cheapest phone|Which phone costs least? // most expensive phone|Which phone costs most?
What can I recycle?|things that may be recycled // What can't I recycle?|things that must not be recycled
How do I borrow money?|taking a loan // How do I lend money?|giving a loan
tickets from Oslo to Bergen|travel Oslo-Bergen // tickets from Bergen to Oslo|travel Bergen-Oslo
Does the cat chase the dog?|Is the cat running after the dog? // Does the dog chase the cat?|Is the dog running after the cat?
Translate from English to French|put English text into French // Translate from French to English|put French text into English
Am I entitled to a refund?|Do I get my money back? // Am I excluded from a refund?|Will I not get money back?
How do I mute someone?|silence a contact // How do I unmute someone?|hear a muted contact again""".split("\n")]
