//! Examples of questions and feedback that come with the router, for signals that have no model
//! of their own. They are compared by embedding, which is a rough guess.

/// Questions whose answers state facts that can be looked up.
pub(super) const FACTS: [&str; 12] = [
    "What is the capital of Australia?",
    "When was the Eiffel Tower built?",
    "Who wrote Pride and Prejudice?",
    "How many people live in Canada?",
    "What year did the Berlin Wall fall?",
    "Which company makes the iPhone?",
    "What is the boiling point of ethanol?",
    "Who is the current president of France?",
    "What are the side effects of ibuprofen?",
    "How far is the moon from the earth?",
    "What does the law say about overtime pay?",
    "In which year was penicillin discovered?",
];

/// Requests whose answers cannot be looked up.
pub(super) const NO_FACTS: [&str; 12] = [
    "Write a poem about autumn.",
    "Tell me a funny story about a cat.",
    "Write a Python function that reverses a list.",
    "Translate this sentence into Spanish.",
    "Summarise the text below.",
    "Rewrite this paragraph in a friendlier tone.",
    "Give me ideas for a birthday party.",
    "Solve 3x + 5 = 20.",
    "What do you think I should do?",
    "Hello, how are you?",
    "Help me draft an email to my manager.",
    "Fix the bug in this code.",
];

/// The user does not understand.
pub(super) const NEED_CLARIFICATION: [&str; 8] = [
    "What do you mean by that?",
    "I don't understand, can you explain?",
    "Can you explain that in more detail?",
    "Could you clarify the second point?",
    "I'm confused by your answer.",
    "Can you put that in simpler words?",
    "Please elaborate.",
    "Can you give me an example of what you mean?",
];

/// The user is content.
pub(super) const SATISFIED: [&str; 8] = [
    "Thank you, that helps a lot.",
    "Great, that's exactly what I needed.",
    "Perfect, thanks!",
    "Awesome answer.",
    "That makes sense now.",
    "Good, it works.",
    "Yes, that is right.",
    "Thanks for your help.",
];

/// The user wants another answer.
pub(super) const WANT_DIFFERENT: [&str; 8] = [
    "Can you suggest something else?",
    "Give me another option.",
    "Try a different approach.",
    "I'd like an alternative.",
    "Show me other choices.",
    "Can you write it another way?",
    "Do you have any other ideas?",
    "I don't like this one, give me a different version.",
];

/// The user says that the answer is wrong.
pub(super) const WRONG_ANSWER: [&str; 8] = [
    "That's wrong.",
    "No, that is not correct.",
    "Your answer is incorrect.",
    "You made a mistake.",
    "This is not right, check again.",
    "That does not work, it gives an error.",
    "You got the numbers wrong.",
    "That's not what the documentation says.",
];

/// Questions that need several steps.
pub(super) const HARD: [&str; 10] = [
    "Prove that there are infinitely many prime numbers.",
    "Solve this problem step by step and justify each step.",
    "Compare the trade-offs of these architectures and recommend one.",
    "Analyse the root cause of this distributed deadlock.",
    "Derive the equations of motion of a double pendulum.",
    "Design a fault-tolerant payment system for millions of users.",
    "Write a research plan with hypotheses, methods and risks.",
    "Find the time complexity of this algorithm and optimise it.",
    "Evaluate the arguments for and against this policy in depth.",
    "Refactor this module to remove the race condition.",
];

/// Questions that one sentence answers.
pub(super) const EASY: [&str; 10] = [
    "Hello!",
    "What is the capital of France?",
    "Say thank you in German.",
    "Fix the spelling of this word.",
    "What does HTTP stand for?",
    "Summarise this in one sentence.",
    "What is 2 + 2?",
    "Who wrote Hamlet?",
    "Give me a synonym of happy.",
    "What day is it today?",
];
