"""Topics and everyday templates of the 14 domains, for `augment_domain.py`."""

# One topic per comma. They fill {t} and {u} in TEMPLATES and GENERIC.
TOPICS = {
    "biology": """photosynthesis, mitosis, meiosis, DNA replication, natural selection, the cell membrane, mitochondria, ribosomes, enzymes, osmosis,
ecosystems, food chains, gene expression, mutations, chromosomes, dominant and recessive genes, evolution, fossils of early mammals, bacteria, viruses and cells,
fungi, algae, mosses, ferns, conifers, flowering plants, pollination, seed germination, plant hormones, xylem and phloem, stomata, chlorophyll, cellular respiration,
fermentation in yeast, RNA, protein synthesis, transcription, translation of mRNA, codons, genetic drift, speciation, symbiosis, parasitism, predator and prey cycles,
biodiversity, keystone species, coral reefs, whales, dolphins, sharks, octopuses, bees, ants, butterflies, spiders, frogs, snakes, lizards, penguins, owls, bats,
elephants, wolves, lions, tigers, bears, kangaroos, dinosaurs, Darwin's finches, taxonomy, kingdoms of life, archaea, prokaryotes, eukaryotes, stem cells,
homeostasis in animals, animal migration, hibernation, camouflage, metamorphosis, CRISPR, cloning, the nitrogen cycle, decomposers, invasive species, the human genome,
Mendel's peas, blood types inheritance, the lac operon, phylogenetic trees, biomes, the rainforest, phytoplankton, circadian rhythms in plants""",
    "business": """marketing strategy, brand awareness, a business plan, a SWOT analysis, cash flow, working capital, return on investment, net present value, break-even point,
profit margins, supply chain management, inventory turnover, human resources, employee onboarding, performance reviews, leadership styles, project management, agile teams, stakeholders,
customer segmentation, market research, pricing strategy, a sales funnel, customer retention, B2B sales, e-commerce, franchising, mergers and acquisitions, venture capital, angel investors,
an IPO, stocks and bonds, dividends, mutual funds, compound interest on a loan, amortization, depreciation, balance sheets, income statements, double-entry bookkeeping, corporate governance,
business ethics, corporate social responsibility, outsourcing, lean manufacturing, six sigma, quality control, a startup pitch, a product launch, a value proposition, the marketing mix,
target audiences, advertising budgets, social media marketing, SEO for a shop, loyalty programs, negotiation with suppliers, invoicing, payroll, a mission statement, business models, KPIs,
OKRs, organizational culture, delegation, conflict between coworkers, remote teams, job interviews for managers, small business loans, retail stores, wholesale prices, leasing, bond yields, portfolio diversification,
401k plans, credit scores, crowdfunding, a nonprofit budget, procurement, logistics, customer service, brand loyalty, entrepreneurship, limited partnerships, market share""",
    "chemistry": """the periodic table, covalent bonds, ionic bonds, molar mass, moles, stoichiometry, balancing equations, oxidation and reduction, acids and bases, pH, buffers, titration,
catalysts, activation energy, reaction rates, chemical equilibrium, Le Chatelier's principle, exothermic reactions, endothermic reactions, enthalpy, Gibbs free energy, entropy of reactions, electronegativity, isotopes,
electron configuration, valence electrons, noble gases, halogens, alkali metals, transition metals, organic chemistry, alkanes, alkenes, benzene, alcohols, esters, aldehydes, ketones, carboxylic acids, polymers,
plastics, soap making, rust, combustion, electrolysis, galvanic cells, batteries and lithium ions, solubility, precipitates, molarity, distillation, chromatography, crystals, hydrogen bonding, van der Waals forces, ideal gases,
Avogadro's number, ozone, ammonia, sulfuric acid, hydrochloric acid, sodium hydroxide, table salt, baking soda and vinegar, hydrogen peroxide, carbon dioxide in soda, methane, ethanol, acetone, bleach,
copper sulfate, gold and aqua regia, spectroscopy, NMR, mass spectrometry, chirality, SN1 and SN2 reactions, the Haber process, radioactivity of elements, water hardness, fireworks colors, freezing point depression, colligative properties""",
    "computer science": """Python, JavaScript, TypeScript, Java, C++, Rust, Go, SQL, HTML, CSS, bash scripts, regular expressions, git, GitHub actions, Docker, Kubernetes, Linux, React, Vue, Django, Flask, Node.js, REST APIs, GraphQL,
JSON parsing, linked lists, binary trees, hash tables, stacks and queues, heaps, graphs, recursion, dynamic programming, sorting algorithms, quicksort, merge sort, binary search, big O notation, NP-completeness, pointers,
memory leaks, garbage collection, threads, mutexes, deadlocks, race conditions, operating systems, virtual memory, file systems, TCP, UDP, HTTP, DNS, TLS, load balancers, databases, indexes in Postgres, transactions, NoSQL,
Redis, caching, microservices, design patterns, object-oriented programming, functional programming, closures, decorators, async await, unit tests, debugging, compilers, interpreters, machine learning, neural networks, transformers,
gradient descent, overfitting, embeddings, a chatbot, computer vision, encryption, hashing passwords, SQL injection, XSS, firewalls, public keys, blockchain, cloud computing, AWS Lambda, serverless, CI pipelines, web scraping, pandas dataframes,
numpy arrays, excel macros, a segfault, null pointer exceptions, stack overflow errors, CORS errors, webpack, npm packages, virtual environments, a todo app, a REST client, binary numbers, floating point, Unicode, assembly language""",
    "economics": """inflation, deflation, GDP, unemployment, supply and demand, price elasticity, opportunity cost, comparative advantage, free trade, tariffs, quotas, exchange rates, interest rates and the central bank, monetary policy,
fiscal policy, the federal reserve, quantitative easing, government debt, budget deficits, taxes and growth, minimum wage, income inequality, the Gini coefficient, monopoly, oligopoly, perfect competition, monopolistic competition,
marginal cost, marginal utility, consumer surplus, deadweight loss, externalities, public goods, the tragedy of the commons, market failure, game theory in markets, Nash equilibrium, the Phillips curve, recessions, the business cycle,
stagflation, hyperinflation, the money supply, the velocity of money, the multiplier effect, Keynesian economics, supply-side economics, the invisible hand, globalization, trade deficits, balance of payments, purchasing power parity,
price ceilings, rent control, subsidies, price floors, labor markets, human capital, economic growth, developing countries, the gold standard, housing bubbles, behavioral economics, moral hazard, adverse selection, regression and endogeneity,
cost of living, oil prices, consumer price index, aggregate demand, aggregate supply, bank reserves, fractional reserve banking, universal basic income, indifference curves, production possibilities, diminishing returns, Giffen goods, capital flows""",
    "engineering": """a bridge, truss analysis, beam bending, stress and strain, fatigue failure, a gearbox, bearings, hydraulic pumps, heat exchangers, HVAC design, refrigeration cycles, steam turbines, jet engines, internal combustion engines, diesel engines, electric motors,
stepper motors, servo control, PID controllers, feedback loops, Arduino projects, Raspberry Pi robots, sensors, ultrasonic sensors, lidar, quadcopters, robot arms, inverse kinematics, forward kinematics, Kalman filters, path planning, ROS, motor drivers,
op amps, transistors, diodes, capacitors in circuits, resistors in series, PCB layout, voltage regulators, transformers and power grids, three-phase power, circuit breakers, grounding, soldering, antennas, signal processing, low-pass filters, modulation, logic gates, flip-flops, FPGAs,
microcontrollers, CAD modeling, CNC machines, 3D printing, welding, casting, injection molding, tolerances, reinforced concrete, foundations, soil mechanics, retaining walls, pipe flow, Bernoulli in pipes, pressure vessels, water treatment plants, dams, tunnels, road design, surveying,
wind turbines, solar panels wiring, battery packs, fluid dynamics of a valve, boundary layers, aerodynamics of a wing, rocket nozzles, satellites, control systems, Laplace transfer functions, Bode plots, finite element analysis, materials selection, corrosion protection, elevators, suspension, brakes, gear ratios""",
    "health": """a headache, migraines, fever, a sore throat, the flu, a cold, COVID, asthma, allergies, hay fever, diabetes, high blood pressure, cholesterol, heart attacks, strokes, angina, anemia, arthritis, osteoporosis, back pain, a sprained ankle, broken bones, burns, cuts,
insomnia, sleep apnea, pregnancy, morning sickness, breastfeeding, menopause, vaccines, antibiotics, ibuprofen, paracetamol, aspirin, blood thinners, insulin, vitamins, vitamin D, iron deficiency, calories, protein intake, keto diets, weight loss, obesity, BMI, hydration, exercise and the heart,
skin rashes, eczema, acne, sunburn, melanoma, breast cancer, prostate cancer, chemotherapy, colonoscopy, MRI scans, x-rays, blood tests, kidney stones, urinary infections, stomach ulcers, heartburn, food poisoning, diarrhea, constipation, celiac disease, lactose intolerance,
HIV, hepatitis, malaria, tuberculosis, measles, chickenpox, shingles, Alzheimer's disease, Parkinson's disease, epilepsy, multiple sclerosis, thyroid problems, cystic fibrosis, sickle cell disease, Down syndrome, toothache, cavities, gum disease, eye strain, cataracts, glaucoma, hearing loss, vertigo,
first aid, CPR, choking, nosebleeds, nursing care plans, wound care, vital signs, the liver, the kidneys, the lungs, the spleen, lymph nodes, tonsils, the pancreas, ligaments, muscles of the leg, smoking and lungs, alcohol and the liver, dehydration, dialysis""",
    "history": """the Roman Empire, ancient Egypt, the pyramids, Cleopatra, Julius Caesar, Alexander the Great, ancient Greece, Sparta, the Persian Empire, the Han dynasty, the Ming dynasty, the Silk Road, the Mongols, Genghis Khan, the Vikings, the Crusades, the Black Death, feudalism, the Magna Carta,
the Renaissance, the Reformation, Christopher Columbus, the Aztecs, the Incas, the Maya, the Spanish Armada, the Ottoman Empire, the Mughal Empire, the French Revolution, Napoleon, the Battle of Waterloo, the Industrial Revolution, the American Revolution, George Washington, the Boston Tea Party, the Civil War, Abraham Lincoln,
slavery in America, the Underground Railroad, Queen Victoria, the British Empire, colonialism in Africa, the Boer War, the Meiji Restoration, World War I, World War II, the trenches, the Treaty of Versailles, the Russian Revolution, Lenin, Stalin, Hitler's rise, the Holocaust, D-Day, Pearl Harbor, Hiroshima, Winston Churchill,
the Cold War, the Berlin Wall, the Cuban missile crisis, the Vietnam War, the Korean War, the civil rights movement, Martin Luther King, Rosa Parks, Gandhi, Indian independence, apartheid, Nelson Mandela, the fall of the Soviet Union, the moon landing era, the Great Depression, Prohibition, the New Deal, the suffragettes, the Trojan War,
the Neolithic revolution, Mesopotamia, Hammurabi, Stonehenge, the Bronze Age, hunter-gatherers, the Neanderthals, the Hundred Years' War, Joan of Arc, the Tudors, Henry VIII, the Thirty Years' War, the Enlightenment era, the Gold Rush, the Louisiana Purchase, the Opium Wars, the Boxer Rebellion, the Zulu kingdom, the Khmer Empire, Byzantium""",
    "law": """a contract, breach of contract, consideration in contracts, torts, negligence, product liability, defamation, libel and slander, trespass, assault and battery, manslaughter, murder and intent, burglary, theft, fraud charges, perjury, hearsay, the fifth amendment, the first amendment, free speech, search warrants, probable cause,
Miranda rights, habeas corpus, due process, equal protection, the commerce clause, jury trials, a plea bargain, bail, parole, a lawsuit, small claims court, class actions, subpoenas, depositions, discovery in litigation, statutes of limitations, precedent, jurisdiction, appeals, a will, probate, trusts and estates, power of attorney, custody, child support, divorce,
prenups, adoption law, landlord and tenant law, eviction, a lease, security deposits, easements, adverse possession, zoning, copyright, fair use, patents, trademarks, trade secrets, NDAs, non-compete clauses, employment law, wrongful termination, discrimination claims, sexual harassment law, workers' compensation, immigration law, asylum, visas and deportation, citizenship law, extradition, international law,
human rights law, the Geneva conventions, maritime law, antitrust law, securities law, bankruptcy, liens, mortgages and foreclosure, GDPR, privacy law, terms of service, consumer protection, warranties, arbitration, mediation, attorney-client privilege, legal malpractice, police stops, DUI charges, traffic tickets, self-defense law, double jeopardy, constitutional law, judicial review, jurisprudence""",
    "math": """fractions, decimals, percentages, long division, multiplication tables, prime numbers, factors, the greatest common divisor, the least common multiple, square roots, exponents, logarithms, linear equations, quadratic equations, the quadratic formula, factoring, polynomials, inequalities, functions, graphs of lines, slope, systems of equations,
matrices, determinants, eigenvalues, vectors, dot products, trigonometry, sine and cosine, the unit circle, the Pythagorean theorem, triangles, circles, the area of a circle, volume of a sphere, angles, congruence, similarity, proofs by induction, sets, Venn diagrams, permutations, combinations, probability, Bayes' theorem, expected value, standard deviation, the mean and median,
normal distributions, hypothesis tests, p-values, confidence intervals, correlation coefficients, limits, derivatives, the chain rule, integrals, integration by parts, infinite series, Taylor series, differential equations, complex numbers, pi, Euler's number, the Fibonacci sequence, modular arithmetic, group theory, rings and fields, topology, number theory, graph colorings, geometric series, arithmetic sequences,
word problems, ratios, proportions, unit conversion problems, rounding, estimation, Roman numerals, binary to decimal, the golden ratio, Pascal's triangle, the binomial theorem, parabolas, ellipses, conic sections, parametric equations, Fourier series, partial derivatives, gradients, line integrals, linear regression lines, vector spaces, bijections, countable sets""",
    "other": """pasta, chocolate cake, pancakes, sourdough bread, roast chicken, vegan curry, pizza dough, scrambled eggs, rice, barbecue ribs, coffee, green tea, cocktails, wine pairing, Paris, Tokyo, Iceland, Bali, Rome, New York, hostels, airline baggage, visas for tourists, train passes, hiking boots, camping, fishing, gardening tomatoes, houseplants, cats, dog training,
goldfish care, knitting, painting walls, cleaning an oven, laundry stains, wedding speeches, birthday gifts, party games, baby names, horoscopes, football, the World Cup, the Super Bowl, basketball, tennis, golf, cricket, the Olympics, Formula 1, chess openings, video games, Minecraft, Mario, Star Wars, Harry Potter, Marvel movies, Disney films, Oscars, Netflix shows, The Office, Game of Thrones, Taylor Swift, the Beatles, Mozart,
guitar chords, piano lessons, jazz, Shakespeare, poems, novels, Moby Dick, mystery books, country capitals, rivers, mountains, flags, deserts, islands, volcano tourism, population of cities, elections, parliament, political parties, the United Nations, foreign policy, diplomacy, terrorism and security, sociology, gender roles, social class, anthropology, kinship, rituals, migration, public relations, journalism, media bias, accounting standards,
auditing, tax returns, GAAP, fashion, sneakers, makeup, hairstyles, cars, motorcycles, used phones, laptops to buy, headphones, TV shows, podcasts, jokes, riddles, trivia, crossword clues, the weather, alarms, shopping lists, calendar reminders, text messages, directions, restaurants nearby, traffic, a bank card PIN, flight status""",
    "philosophy": """Plato, Aristotle, Socrates, Kant, Hume, Descartes, Nietzsche, Sartre, Camus, Kierkegaard, Hegel, Marx's philosophy, Wittgenstein, Spinoza, Leibniz, Locke, Hobbes, Rousseau, Mill, Bentham, Rawls, Nozick, Peter Singer, Confucius, Laozi, Buddha, the Stoics, Marcus Aurelius, Epicurus, Simone de Beauvoir, Heidegger, Foucault, Aquinas, Augustine,
utilitarianism, deontology, virtue ethics, the categorical imperative, the trolley problem, free will, determinism, compatibilism, the mind-body problem, dualism, consciousness and qualia, personal identity, the ship of Theseus, epistemology, skepticism, empiricism, rationalism, the problem of evil, arguments for God, the ontological argument, Pascal's wager, atheism, existentialism, nihilism, absurdism, stoicism, relativism, moral realism, the social contract,
justice, the veil of ignorance, abortion ethics, euthanasia, animal rights, just war theory, capital punishment and morality, the meaning of life, beauty and aesthetics, truth, logic, syllogisms, modus ponens, straw man fallacies, ad hominem, slippery slope arguments, circular reasoning, the liar paradox, Zeno's paradoxes, the allegory of the cave, the good life, happiness in ethics, Buddhism, Hinduism, karma, Islam, Christianity, Judaism, Taoism, the Bible, the Quran, nirvana, Zen, phenomenology, metaphysics""",
    "physics": """gravity, Newton's laws, friction, momentum, kinetic energy, potential energy, work and power, torque, angular momentum, circular motion, projectile motion, free fall, springs, pendulums, waves, sound, the Doppler effect, light, refraction, reflection, lenses, mirrors, diffraction, interference, the double slit experiment, polarization, electricity, electric fields, Coulomb's law, voltage, current, resistance, Ohm's law, capacitors,
magnetism, magnetic fields, electromagnetic induction, Maxwell's equations, electromagnetic waves, heat, temperature, thermodynamics, entropy, the Carnot cycle, pressure, buoyancy, density, surface tension, special relativity, time dilation, general relativity, black holes, the Big Bang, dark matter, dark energy, galaxies, stars, supernovas, neutron stars, the sun, the moon's phases, tides, planets, Mars, Jupiter, Saturn's rings, comets, eclipses, orbits, Kepler's laws, telescopes,
exoplanets, the speed of light, photons, the photoelectric effect, quantum mechanics, the uncertainty principle, Schrodinger's cat, quantum entanglement, atoms, the Bohr model, nuclear fission, nuclear fusion, half-life, radiation, quarks, the Higgs boson, string theory, superconductors, lasers, semiconductors physics, rainbows, why the sky is blue, lightning, centripetal force, escape velocity, the Milky Way, redshift, cosmic background radiation, blackbody radiation, moments of inertia""",
    "psychology": """classical conditioning, operant conditioning, Pavlov's dogs, Skinner, Freud, Jung, Piaget, Erikson's stages, Maslow's hierarchy, attachment theory, cognitive dissonance, confirmation bias, the bystander effect, the Milgram experiment, the Stanford prison experiment, conformity, groupthink, social loafing, stereotypes and prejudice, self-esteem, motivation, procrastination, habits, willpower, memory, short-term memory, forgetting, false memories,
attention, perception, the placebo effect, emotions, anger, fear, anxiety, panic attacks, phobias, depression, bipolar disorder, schizophrenia, OCD, PTSD, ADHD, autism, narcissism, borderline personality disorder, psychopathy, personality tests, the Big Five, introverts and extroverts, intelligence and IQ, creativity, child development, adolescence, parenting styles, aging and memory, sleep and dreams, stress, burnout, coping mechanisms, defense mechanisms, mindfulness, cognitive behavioral therapy,
psychoanalysis, group therapy, counseling, couples therapy, addiction, gambling, social anxiety, loneliness, grief, jealousy, love and attraction, empathy, body language, persuasion, the halo effect, learned helplessness, reinforcement schedules, the fundamental attribution error, self-fulfilling prophecies, imposter syndrome, overthinking, people pleasing, toxic relationships, bullying, the unconscious, language acquisition, heuristics, priming, flow, resilience, locus of control""",
}

GENERIC = """
what is {t}?
what's {t}
explain {t}
explain {t} simply
explain {t} to a 5 year old
explain {t} like I'm five
can you explain {t} to me?
tell me about {t}
tell me something interesting about {t}
how does {t} work?
how do you explain {t} to a beginner
why is {t} important?
give me an example of {t}
give me three facts about {t}
summarize {t} in two sentences
write a short paragraph about {t}
I have a test on {t} tomorrow, help me
quiz me on {t}
I don't understand {t}
what do I need to know about {t}?
{t} vs {u}
what's the difference between {t} and {u}?
how are {t} and {u} related?
compare {t} and {u}
{t}
{t}?
define {t}
meaning of {t}
{t} for dummies
teach me {t}
write an essay on {t}
what are the main ideas behind {t}?
common misconceptions about {t}
make flashcards about {t}
what causes {t}
who first described {t}?
a good book on {t}?
give me a multiple choice question about {t}
which of the following is true about {t}?
which statement best describes {t}?
hi, quick question about {t}
so what exactly is {t} then
""".strip().split("\n")

# Everyday phrasings per domain; [a|b|c] is a choice, # a digit group.
TEMPLATES = {
    "biology": """how do [birds|bees|bats|fish|whales|snakes|spiders|frogs|sharks] [sleep|breathe|communicate|reproduce|find food|see in the dark|stay warm|migrate]?
why do [cats purr|dogs bark|leaves change color|flowers smell|birds sing|zebras have stripes|giraffes have long necks|moths fly to light|bears hibernate|trees lose leaves]?
how many [legs does a spider have|hearts does an octopus have|chromosomes do humans have|eyes does a bee have|species of birds are there|bones does a snake have|teeth does a shark have]
what do [pandas|koalas|owls|caterpillars|tadpoles|jellyfish|hedgehogs|squirrels] eat?
how long do [turtles|elephants|mayflies|whales|oak trees|parrots|bacteria] live?
which animal is the [fastest|largest|smallest|oldest|most poisonous]?
is a [tomato a fruit|whale a mammal|penguin a bird|virus alive|mushroom a plant|bat a bird|spider an insect]?
where in the cell does [respiration|transcription|translation|photosynthesis] happen?
what is the function of [the nucleus|ribosomes|the Golgi apparatus|chloroplasts|roots|stomata|the cell wall]?
how do plants [make food|drink water|reproduce|know when to flower|grow toward light]?
are [humans still evolving|dolphins smarter than chimps|dinosaurs related to birds|mushrooms closer to animals]?
if both parents have blue eyes can the child have brown eyes
name the [kingdoms of life|parts of a flower|stages of mitosis|bases in DNA|parts of a cell]""",
    "business": """how do I [write a business plan|register a brand name for my shop|price my handmade candles|find investors|hire my first employee|market my bakery|increase sales|handle an angry customer|run a team meeting|ask for a raise|write a marketing email|open a coffee shop|sell on Etsy]?
what is a good [profit margin for a restaurant|slogan for a gym|name for my startup|marketing budget|sales target|KPI for support teams]?
how much [capital do I need to start a food truck|should I charge as a freelancer|commission do sales reps get]
write a [job ad for a sales manager|press release for our new product|cover page for a pitch deck|LinkedIn post about our launch|follow-up email to a client|mission statement for a bakery]
should I [buy or lease equipment for my firm|invest in index funds|pay off my mortgage early or invest|incorporate my small business|take a business loan at #%]?
what does [ROI|EBITDA|B2B|KPI|CRM|HR|COGS|P/E ratio|CEO vs CFO|FIFO inventory] mean?
if I invest $#00 at #% for # years, what do I get back from the bond?
our company [wants to expand abroad|is losing customers|needs a new logo|plans a merger], what should we consider?
how can a manager [motivate a team|deal with conflict|give feedback|delegate work|reduce turnover]?
what's the best way to [advertise a local store|negotiate with a supplier|calculate break-even|reduce shipping costs|keep customers loyal]""",
    "chemistry": """what is the [chemical formula|molar mass|boiling point|melting point|pH|chemical symbol|density] of [water|table salt|ammonia|ethanol|sulfuric acid|gold|iron|baking soda|vinegar|bleach|methane|glucose]?
balance the equation [H2 + O2 -> H2O|Fe + O2 -> Fe2O3|CH4 + O2 -> CO2 + H2O|Na + Cl2 -> NaCl|Al + HCl -> AlCl3 + H2]
how many [protons does carbon have|electrons does oxygen have|moles are in # grams of water|atoms are in a mole|neutrons are in uranium-238]
what happens when you mix [baking soda and vinegar|bleach and ammonia|an acid and a base|sodium and water|oil and water]?
why does [iron rust|salt melt ice|ice float chemically|soap clean grease|silver tarnish|a battery run out|copper turn green|an apple turn brown]?
is [water|salt|air|bronze|sugar|steel] a [compound|mixture|element|molecule|polymer]?
which [element|gas|metal] has the [symbol K|symbol Ag|atomic number 6|highest melting point|lowest density|symbol Pb]?
what is the molarity of # g of NaOH in # liters of water
name the compound [CuSO4|CH3COOH|NaHCO3|C6H6|HNO3|CaCO3|KMnO4]
what type of bond is in [NaCl|H2O|diamond|CO2|N2]?
is a pH of # acidic or basic?
what color is the flame of [copper|sodium|potassium|lithium]?
how do I [calculate percent yield|find the limiting reagent|dilute an acid safely|draw a Lewis structure|name alkanes]?""",
    "computer science": r"""write a [python|javascript|java|c++|rust|go|bash|sql|typescript|c#|php|ruby] [function|script|program|one-liner] [to reverse a string|that sorts a list|to read a csv file|to check for palindromes|that finds duplicates|to download a file|that computes fibonacci numbers|to parse json|to connect to a database|to rename files|that sends an email|to scrape a page]
how do I [reverse a list|sort a dictionary by value|read a file line by line|make an http request|convert a string to int|merge two dicts|split a string|loop over an array|handle exceptions|remove duplicates|format a date] in [python|javascript|java|c++|rust|go|kotlin|php|swift]?
why does my [code|loop|query|docker container|react component|script|server|test|build] [not work|crash|return null|run so slowly|throw an error|never end|leak memory|give undefined]?
fix this code: [for i in range(10) print(i)|def f(x) return x|if (x = 5) { }|print "hello"|while True: pass|let x: int = "a"]
what does [git rebase|chmod 755|async await|a 404 error|npm install|sudo|the this keyword|static in java|segmentation fault|O(n log n)|npx|grep -r|localhost] [mean|do]?
how do I [undo a git commit|exit vim|install python on windows|center a div|kill a process on port #|set up ssh keys|merge branches|deploy to AWS|speed up my sql query|learn to code|set an environment variable|write a unit test]?
what is the [time complexity of quicksort|difference between a list and a tuple|best language to learn first|difference between == and ===|difference between TCP and UDP|best database for a chat app|use of a mutex]?
explain this [code|regex|stack trace|query|error]: [SELECT * FROM users|\d+@\w+|TypeError: undefined is not a function|KeyError: 'id'|NullPointerException|lambda x: x*2]
can you [debug|refactor|optimize|review|document|translate to Rust] [this function|my python script|this class|this SQL query|my code]
convert [binary 1011 to decimal|255 to hex|this json to yaml|this curl command to python]
my [wifi driver|laptop|terminal|IDE|compiler] says [out of memory|command not found|permission denied|module not found]
is [python|java|rust|c] [compiled or interpreted|faster than go|memory safe|good for machine learning]?
how does [a hash map|the internet|a compiler|a neural network|encryption|a database index|garbage collection|chatgpt|an LLM|wifi] work""",
    "economics": """why do [prices rise|prices fall|interest rates go up|currencies lose value|wages stay flat|recessions happen|house prices keep going up|governments print money|countries trade]?
what happens to [demand|supply|the price|inflation|unemployment|exports|the exchange rate|GDP] when [income rises|the price falls|the central bank raises rates|a tax is added|the dollar gets stronger|the government spends more|the minimum wage goes up|a tariff is imposed]?
who [sets interest rates|prints money|benefits from inflation|pays a sales tax in the end|controls the money supply]?
is [inflation|free trade|a trade deficit|the minimum wage|printing money|rent control|national debt] [good or bad|a bad thing] for [the economy|workers|poor people|growth]?
what is the [GDP of Germany|current inflation rate in the US|unemployment rate|economy of Japan like|difference between micro and macroeconomics|difference between GDP and GNP]?
how is [GDP|inflation|unemployment|the poverty line|elasticity|economic growth] [measured|calculated|defined]?
do [tax cuts|tariffs|sanctions|subsidies|immigrants|robots] [create jobs|raise prices|hurt the economy|help growth]?
why is [gas|bread|housing|gold|oil] so expensive these days?
what caused the [2008 financial crisis|Great Recession|eurozone crisis|stagflation of the 1970s|hyperinflation in Zimbabwe]?
if the price of coffee rises by #% and sales drop by #%, what is the elasticity?
what would happen if [everyone got a basic income|we abolished taxes|the dollar collapsed|a country defaulted on its debt]?""",
    "engineering": """how do I [wire a light switch|size a beam|choose a motor for my robot|tune a PID controller|calculate gear ratios|design a PCB|power an arduino from a battery|connect a servo|read an encoder|pick a voltage regulator|reduce vibration in a machine|solder a connector|control a stepper motor]?
what [size wire|type of steel|kind of pump|motor|sensor|bearing|resistor|bolt] do I need for [a # amp circuit|a small bridge|a water tank|a quadcopter|a robot arm|measuring distance|a # kg load|an LED]?
how does [a jet engine|a diesel engine|a car transmission|a refrigerator|an elevator|a suspension bridge|a wind turbine|a transistor|a differential|a hydraulic jack|a brushless motor|an air conditioner|a 3D printer|a nuclear power plant] work?
why do [bridges need expansion joints|planes have winglets|motors overheat|airplane wings stall|concrete beams need rebar|capacitors fail|gears need lubrication]?
my [robot|arduino|drone|motor|circuit|quadcopter|3d printer|servo] [keeps drifting|won't turn on|overheats|vibrates|jitters|draws too much current|loses steps|falls over]
what is the [tensile strength of steel|efficiency of a solar panel|safety factor for a bridge|difference between AC and DC motors|difference between a transistor and a relay|load on a # m beam|duty cycle of this signal|moment at the support]?
calculate the [current through a # ohm resistor at # volts in this circuit|torque of a motor at # rpm|deflection of a cantilever beam|flow rate in a # mm pipe|power factor|heat loss through the wall|stress in the rod]
which is stronger for construction, [steel or concrete|aluminum or steel|a truss or a beam|welding or bolting]?
can a raspberry pi [drive a motor directly|read analog sensors|control # servos|run ROS]?
how are [tunnels|skyscrapers|dams|microchips|roads|bridges over water|submarines|rockets] built?""",
    "health": """I have [a headache|a fever|a sore throat|chest pain|a rash on my arm|back pain|a cough that won't go away|a stomach ache|dizzy spells|a swollen knee|trouble sleeping|a toothache|numb fingers|a blocked nose|heartburn], what should I do?
what are the [symptoms|causes|treatments|risk factors|early signs|side effects] of [the flu|diabetes|a stroke|a heart attack|anemia|ibuprofen|metformin|celiac disease|appendicitis|pneumonia|shingles|food poisoning|high blood pressure|vitamin D deficiency|lupus|gout]?
how much [water should I drink a day|sleep do adults need|protein do I need|vitamin C is too much|paracetamol can I take|exercise is enough|sugar per day is ok]?
is it [safe|ok|bad|dangerous] to [take ibuprofen and paracetamol together|drink coffee while pregnant|skip breakfast|run with a cold|exercise with a fever|eat raw eggs while pregnant|crack your knuckles|take aspirin every day]?
how do I [lower my blood pressure|lose weight|treat a burn|stop a nosebleed|get rid of hiccups|cure a hangover|gain muscle|quit smoking|do CPR|sleep better|boost my immune system|treat a bee sting|know if a cut is infected]?
what is a normal [heart rate|blood pressure|temperature|blood sugar level|BMI|resting pulse for a child]?
when should I [see a doctor about a cough|go to the ER|get a flu shot|worry about a mole|take my kid to the doctor]?
my [baby|mom|son|daughter|dad|grandmother|wife] [has a fever of 39|won't stop coughing|fell and hit her head|is always tired|can't keep food down|has swollen ankles], is that serious?
can [stress cause hair loss|you die from the flu|antibiotics treat a virus|dogs give you rabies|men get breast cancer|diabetics eat fruit|you get pregnant while breastfeeding]?
where is the [spleen|liver|appendix|thyroid|kidney|femur|gallbladder|pancreas] and what does it do?
how many [bones are in the human body|calories are in an apple|teeth do adults have|liters of blood do we have]
which vitamin is good for [skin|hair|eyes|bones|energy|the immune system]?""",
    "history": """when did [World War II end|World War I start|the Roman Empire fall|the Berlin Wall fall|the Titanic sink|Columbus reach America|the Civil War begin|India become independent|the French Revolution start|man land on the moon|women get the vote|the Soviet Union collapse]?
who was [the first president of the United States|Napoleon|Cleopatra|Genghis Khan|Joan of Arc|Julius Caesar|Queen Victoria|Tutankhamun|Henry VIII|Stalin|Churchill|Alexander the Great|the first emperor of China|Marie Antoinette|Spartacus]?
why did [Rome fall|the US enter World War I|Hitler invade Poland|the Civil War happen|Britain lose the American colonies|the Maya disappear|Japan attack Pearl Harbor|the Vikings raid|the Cold War start|Brutus kill Caesar]?
what year [was the Magna Carta signed|did the Black Death reach Europe|did slavery end in America|was the Declaration of Independence signed|did Constantinople fall|was Pompeii destroyed|did the Korean War end|was JFK shot]
how did people [live in the Middle Ages|cook in ancient Rome|travel before cars|dress in the 1800s|fight in the trenches|build the pyramids|keep time in antiquity|survive the plague]?
who [won the Battle of Hastings|built the Great Wall|built the pyramids|discovered America first|invented the printing press and when|led the Russian Revolution|ruled Egypt after Alexander|fought in the Crusades|signed the Treaty of Versailles]?
how long did [the Hundred Years' War|the Roman Empire|World War II|the Cold War|the Ming dynasty|apartheid|the Vietnam War] last?
what caused [the American Revolution|World War I|the fall of Rome|the Great Depression|the French Revolution|the partition of India|the Irish famine|the Mexican Revolution]?
what was life like [in ancient Egypt|for a medieval peasant|in Victorian London|in Sparta|on the home front|in the 1920s|for Roman slaves]?
name [three Roman emperors|the wives of Henry VIII|the allies in WW2|the thirteen colonies|a famous pharaoh]
how many people died in [World War I|the Black Death|the Holocaust|the Civil War|the Irish famine]?""",
    "law": """can my [landlord|boss|neighbor|ex|employer|bank|school|roommate] [evict me without notice|fire me for being sick|sue me|keep my deposit|record my calls|read my emails|enter my apartment|cut my pay|refuse to pay overtime|take my kids]?
is it [legal|illegal|against the law] to [record a phone call|jaywalk|download movies|ride a bike without a helmet|carry a knife|film the police|drive barefoot|burn a flag|marry your cousin|use a song in a video|collect rainwater|sell homemade food|park here overnight]?
do I need a [lawyer|will|contract|permit|license|prenup|notary] [to buy a house|for a small business|to get divorced|to rent out a room|to sell food|for a speeding ticket]?
what happens if I [miss jury duty|break a lease|don't pay a fine|get a DUI|die without a will|ignore a subpoena|violate probation|breach an NDA|overstay my visa]?
how do I [file a lawsuit|contest a will|get a restraining order|trademark a name|sue a company|appeal a ticket|write a will|expunge my record|get custody|copyright my song|file for bankruptcy|fight an eviction]?
what is the [penalty for shoplifting|statute of limitations for fraud|difference between civil and criminal law|legal age to work|difference between murder and manslaughter|legal drinking age in Germany|difference between a felony and a misdemeanor|burden of proof]?
what are my rights [if I get arrested|as a tenant|if I am fired|at a traffic stop|as an employee|if the product is defective|under GDPR]?
someone [hit my car and drove off|copied my photos|broke our contract|slipped on my stairs|owes me money and won't pay|is spreading lies about me], can I sue?
can the police [search my car|enter without a warrant|take my phone|hold me overnight|lie to me]?
what does [pro bono|habeas corpus|mens rea|without prejudice|force majeure|power of attorney|tort|voir dire|amicus curiae|stare decisis] mean?
A [signs a contract with|sells a house to|hits|promises to pay|leases land to] B and B refuses to perform. What remedy does A have?
draft a [non-disclosure agreement|cease and desist letter|lease clause about pets|privacy policy|demand letter]""",
    "math": """what is # [+|-|*|x|/|plus|minus|times|divided by|to the power of] #?
# [+|-|*|x|/] #
#[+|-|*|x|/]#=?
calculate # [+|-|*|/] # [+|-|*] #
what's #% of #
how much is # percent of #?
solve [x + # = #|#x = #|#x + # = #|x^2 = #|x^2 - #x + # = 0|2x - y = #]
what is the square root of #?
is # [a prime number|divisible by #|even or odd|a perfect square]?
what is the [derivative|integral] of [x^2|x^#|sin(x)|e^x|ln(x)|#x^3 + #x|1/x|cos(#x)|tan x]?
if I have # [apples|dollars|cookies|marbles|books|pens] and [give away|lose|eat|buy] #, how many do I have [left|now]?
[Tom|Sara|Maria|Ben|A farmer|A shop] has # [apples|eggs|toys|stickers] and [gives|sells] # to a friend. How many are left?
a train travels # miles in # hours, what is its average speed in this word problem
what is the area of a [circle with radius #|rectangle # by #|triangle with base # and height #|square with side #]?
what is the [probability of rolling a # with a die|chance of getting two heads in a row|median of #, #, #|mean of # and #|LCM of # and #|GCD of # and #|factorial of #|next number: 2, 4, 8, 16|sum of the first # integers|value of pi to # digits|perimeter of a # by # rectangle]?
convert # [percent to a fraction|degrees to radians|as a roman numeral|in binary]
round # to the nearest [ten|hundred|whole number]
simplify [#/#|(x+#)(x-#)|sqrt(#)|#x + #x|log(#)]
how many [degrees are in a triangle|ways can you arrange # books|sides does a hexagon have|zeros are in a million|minutes are in # hours|seconds in a day]?
split a bill of $# between # people
can you add # and #
prove that [the square root of 2 is irrational|there are infinitely many primes|the sum of two even numbers is even]
what do you get if you multiply # by # and subtract #
double # is what
what is half of #""",
    "other": """[hi|hello|hey|good morning|good evening|yo|hi there|hey there|sup|howdy|hello there, friend]
[how are you|how's it going|what's up|who are you|what is your name|how old are you|are you a human|are you a robot|can you help me|do you like me|what can you do|thank you|thanks a lot|good night|goodbye|see you later|that's great|never mind|ok|yes please|no thanks|lol|are you there|where are you from|do you have feelings|who made you]
what's the weather [like today|tomorrow|in London|this weekend|going to be like in # days]?
will it rain [today|tomorrow|on Sunday]?
how do I [cook rice|bake bread|make pancakes|boil an egg|grill salmon|make pizza dough|roast a chicken|make guacamole|store fresh herbs|clean a cast iron pan|make a latte|thicken a sauce|cook a steak|make hummus]?
a recipe [for lasagna|with chicken and rice|for vegan brownies|using leftover bread|for two people|for tomato soup]
what can I [cook for dinner|make with eggs and potatoes|substitute for butter|serve with salmon|do this weekend|buy my dad for his birthday|wear to a wedding|watch on Netflix tonight|do in Paris in # days|name my dog]?
best [places to visit in Italy|time to go to Japan|beaches in Thailand|restaurants near me|hotels in Barcelona|movies of 2019|songs of the 80s|books for teenagers|phones under $#00|gifts for mom|video games for kids]
who won the [World Cup in 2018|Super Bowl last year|Oscar for best picture|Champions League|NBA finals|gold medal in the 100m|Eurovision in 2022]?
who [played Batman|sang Bohemian Rhapsody|wrote Harry Potter|is the lead singer of U2|painted the Mona Lisa|directed Titanic|plays Iron Man|voices Shrek|wrote Hamlet|is the host of Jeopardy]?
what is the capital of [France|Japan|Australia|Canada|Peru|Kenya|Spain|Norway|Mongolia|Brazil]?
what is the [longest river|highest mountain|largest country|smallest country|biggest desert|most populated city|deepest lake] in [the world|Africa|Europe|Asia|South America]?
[set an alarm for # am|play some music|turn off the lights|remind me to buy milk|call mom|what time is it|what day is it today|add eggs to my shopping list|send a text to Anna|how far is the airport|find a gas station|track my package|book a table for two|cancel my flight|what's my bank balance|transfer money to savings|translate hello to Spanish|spell necessary|flip a coin|roll a die|start a timer for # minutes|tell me a joke|sing me a song|tell me a story]
write a [poem about autumn|birthday message for my sister|wedding toast|short story about a dragon|song about the sea|thank-you note to my teacher|haiku|limerick about a cat|letter to Santa|caption for my beach photo|love letter|text to cancel dinner]
do I need a visa to [visit Japan|transit through Dubai|work as an au pair in Spain|fly via London]?
can I bring [food|a power bank|my dog|liquids|a knife] on [the plane|the train|a cruise]?
how do I [get from the airport to the city|plan a road trip|pack for a week|learn the guitar|tie a tie|iron a shirt|remove a wine stain|change a tire|plant tomatoes|train a puppy|clean the oven|beat level #|make friends in a new city|keep my plants alive|win at Monopoly|shuffle cards]?
what's your favorite [color|movie|food|song|animal|book|team]?
how many [players are on a soccer team|countries are in Africa|seasons of Friends are there|rings does Tom Brady have|people live in Tokyo|stars are on the US flag|cards in a deck]?
which team does [Messi|LeBron|Ronaldo|Tom Brady|Mbappe] play for?
what does the [prime minister do|UN security council do|senate vote on|NATO alliance mean for Europe]?
who is the [president of France|king of England|prime minister of India|mayor of London|secretary general of the UN]?
translate "[good morning|I love you|where is the train station|thank you very much]" into [French|German|Japanese|Italian]
proofread this email: hi team, the meeting [is moved to friday|was cancelled]
what language do they speak in [Brazil|Egypt|Belgium|Iran|Austria]?
give me a [fun fact|random fact|riddle|joke about cats|pick-up line|workout playlist|movie quote|random word]""",
    "philosophy": """what is the meaning of [life|existence|being a good person|truth|freedom]?
do we have free will or is everything determined?
is it [ever right|moral|wrong|ethical|ever justified] to [lie|steal to feed your family|kill one to save five|eat meat|break a promise|have children|clone people|pull the lever in the trolley problem|torture a terrorist]?
does god exist and can it be proven?
what did [Plato|Kant|Nietzsche|Socrates|Aristotle|Descartes|Sartre|Confucius|Hume|Buddha|Camus|Marcus Aurelius] [think about happiness|mean by truth|say about death|believe about the soul|teach|mean by god is dead|think about justice|say about virtue|write about suffering]?
how do I know I'm not [dreaming|a brain in a vat|in a simulation]?
what is [the golden rule|the categorical imperative|karma|nirvana|a paradox|a straw man argument|the difference between ethics and morals|a valid argument|original sin|the trinity in Christianity|a sound argument|cogito ergo sum|solipsism|the self]?
if a tree falls in the forest and nobody hears it, does it make a sound?
which fallacy is this: [everyone does it so it's fine|you're ugly so you're wrong|if we allow this, soon chaos follows|it's true because the book says so|either you're with us or against us]
are [numbers real|humans naturally good|animals moral persons|morals relative|machines able to think|beauty and truth the same]?
would a [perfect copy of me be me|world without suffering be good|machine that makes you happy be worth entering]?
what do [Buddhists|Hindus|Muslims|Stoics|existentialists|utilitarians|Taoists|Sikhs|Jews] believe about [the afterlife|suffering|god|the soul|duty|happiness|fate]?
is the argument "all men are mortal, Socrates is a man, so Socrates is mortal" valid?
why is there something rather than nothing?
can you recommend an easy introduction to [ethics|existentialism|stoicism|Plato|eastern philosophy]
what makes an action right or wrong?""",
    "physics": """why is [the sky blue|the ocean blue because of light|space dark|ice slippery|the moon visible by day|mars red|light faster than sound|glass transparent]?
how [fast does light travel|far away is the moon|hot is the sun|old is the universe|big is the Milky Way|fast does the earth spin|heavy is the earth|far can we see into space]?
what is the [speed of sound|mass of an electron|speed of light in water|acceleration due to gravity|temperature of the sun|charge of a proton|SI unit of force|boiling point of water at altitude|distance to the nearest star|closest planet to the sun|largest planet]?
what happens [inside a black hole|if you fall into a black hole|if the sun goes out|when matter meets antimatter|to time near the speed of light|if the moon disappears|when you drop a feather and a hammer on the moon]?
why do [objects fall at the same rate|planets orbit the sun|magnets attract|we have seasons|stars twinkle|things float|tides happen|astronauts float|metals conduct electricity|we see lightning before thunder|pendulums swing]?
a [ball|car|rock|block|bullet|cyclist] [is thrown upward at # m/s|accelerates from 0 to # km/h in # seconds|falls from # meters|of mass # kg moves at # m/s|slides down a # degree ramp]. [How high does it go|What is the acceleration|How long does it fall|What is its kinetic energy|What is its momentum|Find the force]?
how does [a rainbow form|a microwave heat food|a laser work|gravity bend light|a magnet work|an airplane stay up in terms of lift|GPS use relativity|static electricity work|a telescope work|nuclear fusion power the sun|a prism split light]?
can anything [go faster than light|escape a black hole|be colder than absolute zero]?
is [light a wave or a particle|time travel possible|Pluto a planet|the universe infinite|energy always conserved|there sound in space|the earth a perfect sphere]?
how much [force is needed to lift # kg|energy is in a photon of # nm|work is done moving # kg up # m|would I weigh on Mars|current flows through # ohms at # volts]?
what did [Einstein|Newton|Galileo|Hubble|Faraday|Bohr|Curie|Kepler] discover in physics?
what's the difference between [mass and weight|speed and velocity|heat and temperature|fission and fusion|a comet and an asteroid|AC and DC current|force and pressure]?""",
    "psychology": """why do I [procrastinate|overthink everything|forget names|feel anxious for no reason|dream|get jealous|bite my nails|feel lonely in a crowd|cry when I'm angry|sabotage myself|get nervous before speaking|always please people|feel guilty for resting]?
how do I [stop overthinking|deal with anxiety|get over a breakup emotionally|build self-confidence|break a bad habit|control my anger|cope with grief|become more motivated|be less shy|handle a panic attack|stop being jealous|remember things better|manage stress before exams|deal with a narcissist]?
why do people [lie|conform|fall in love|procrastinate|believe conspiracy theories|follow orders|obey authority|fear change|bully others|hoard things|gossip|blush]?
what is [a panic attack|gaslighting|imposter syndrome|emotional intelligence|the placebo effect|an inferiority complex|the subconscious|introversion|love bombing|codependency|an attachment style|selective attention|cognitive bias|positive reinforcement|IQ|a defense mechanism|social anxiety|burnout]?
what are the [signs of depression|stages of grief|symptoms of ADHD in adults|types of attachment|signs of a narcissist|effects of stress on memory|Big Five traits|signs of burnout|stages of child development|symptoms of PTSD]?
what did [Freud|Jung|Piaget|Skinner|Maslow|Pavlov|Bandura|Erikson|Milgram|Rogers] [discover|believe about childhood|say about dreams|mean by the unconscious|find in his experiment|contribute to psychology]?
my [friend|boyfriend|son|sister|boss|mother|coworker] [never talks about feelings|has mood swings|is afraid of crowds|lies all the time|is obsessed with cleaning|hears voices|gets angry quickly|seems depressed], why?
how does [memory work|the brain form habits|trauma affect children|sleep affect mood|color affect mood|social media affect self-esteem|therapy work|birth order shape personality|music affect emotions]?
are [introverts shy|people born evil|dreams meaningful|personality tests reliable|left-handed people more creative|men and women wired differently]?
is [intelligence inherited|it normal to talk to yourself|retail therapy a thing|multitasking a myth|laughter a coping mechanism]?
a child [cries whenever his mother leaves|is rewarded with candy for cleaning|hits other kids after watching a cartoon|fears dogs after being bitten]. Which theory explains this behavior?
what's the difference between [a psychologist and a psychiatrist|sadness and depression|fear and anxiety|a psychopath and a sociopath|classical and operant conditioning|negative reinforcement and punishment|empathy and sympathy]?""",
}

LEADS = [""] * 14 + ["", "", "", "", "", "", "", "hey, ", "hi! ", "quick question: ", "please tell me, ", "I was wondering, ", "my friend asked me: ", "can you tell me ", "um, ", "ok so ", "Question: ",
         "help: ", "my teacher asked: ", "just curious, ", "I need to know: ", "could you answer this? ", "sorry if dumb but ", "Hello, ", "for my homework: ", "Q: ", "serious question, "]
TAILS = [""] * 14 + ["", "", "", "", "", "", "", " thanks", " please", " Thanks!", " Keep it short.", " Explain step by step.", " in simple words", " (short answer)", " i forgot", " thx", " pls", " Answer in one sentence.",
         " I have to know by tomorrow.", " with an example", " lol", " asap", " Be brief.", " Give reasons."]
