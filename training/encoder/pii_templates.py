"""Carrier sentences of the PII generator, with and without PII."""

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
