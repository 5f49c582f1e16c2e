use proptest::prelude::*;

use super::*;

/// Checks the findings of a text: `[KIND|text]` marks each expected one.
fn check(marked: &str) {
    let mut text = String::new();
    let mut expect = Vec::new();
    let mut rest = marked;
    while let Some((before, after)) = rest.split_once('⟦') {
        text.push_str(before);
        let (kind, after) = after.split_once('|').unwrap();
        let (value, after) = after.split_once('⟧').unwrap();
        expect.push((kind.to_owned(), value.to_owned()));
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    let found: Vec<_> = RECOGNIZERS
        .find(&text)
        .into_iter()
        .map(|f| (f.kind.label().to_owned(), text[f.start..f.end].to_owned()))
        .collect();
    assert_eq!(found, expect, "{text}");
}

static RECOGNIZERS: std::sync::LazyLock<Recognizers> = std::sync::LazyLock::new(Recognizers::new);

#[test]
fn social_security_numbers() {
    check("My SSN is ⟦US_SSN|536-22-8726⟧, can you help?");
    check("ssn: ⟦US_SSN|536 22 8726⟧");
    check("{\"ssn\": \"⟦US_SSN|225189778⟧\"}");
    check("her social security number is ⟦US_SSN|499237954⟧.");
    check("it is ⟦US_SSN|078-05-1120⟧");
    check("the value 536 22 8726 means nothing");
    check("the number of parameters is 253615642");
    check("SSN 666-22-8726 and 900-11-2233 and 123-00-4567 were never issued");
    check("Case 666-80-3785 was closed");
    check("case 536-80-3785 was closed");
    check("part 1536-22-8726 and 536-22-87261");
}

#[test]
fn cards() {
    check("Use card ⟦CREDIT_CARD|4111 1111 1111 1111⟧ to pay");
    check("⟦CREDIT_CARD|4111-1111-1111-1111⟧");
    check("amex ⟦CREDIT_CARD|3782 822463 10005⟧, diners ⟦CREDIT_CARD|30569309025904⟧");
    check("⟦CREDIT_CARD|5555555555554444⟧,⟦CREDIT_CARD|4111111111111111⟧");
    check("paid with ⟦CREDIT_CARD|4111 1111 1111 1111⟧ 12/27");
    check("card 4111 1111 1111 1112 fails");
    check("Order number 4039833973456158 is missing");
    check("ISBN 9784295431480 and UPC 2494561261670");
    check("1700000000000 is a timestamp");
}

#[test]
fn ibans() {
    check("IBAN ⟦IBAN_CODE|DE89 3704 0044 0532 0130 00⟧, card");
    check("to ⟦IBAN_CODE|GB82WEST12345698765432⟧.");
    check("to ⟦IBAN_CODE|nl91 abna 0417 1643 00⟧ and more words");
    check("DE88370400440532013000 has a wrong check digit");
    check("XX82WEST12345698765432");
}

#[test]
fn addresses_of_machines_and_people() {
    check("write to ⟦EMAIL_ADDRESS|ann.o'neil+news@mail.example.co.uk⟧.");
    check("email='⟦EMAIL_ADDRESS|ann@example.org⟧'; user=⟦EMAIL_ADDRESS|bob@example.org⟧");
    check("⟦EMAIL_ADDRESS|jörg@müller.de⟧ @handle foo@bar npm@1.2.3");
    check("git@github.com:org/repo.git");
    check(
        "ping ⟦IP_ADDRESS|10.0.0.7⟧, ⟦IP_ADDRESS|192.168.0.1⟧/24 and http://⟦IP_ADDRESS|172.21.84.48⟧:8080",
    );
    check("version 1.2.3.4, v1.2.3.4, 1.2.3.4.5, 256.1.1.1, 1.2.3.4-rc1");
    check("Upgrade from 4.17.10.1 to something");
    check("127.0.0.1 and 0.0.0.0 and 255.255.255.0 are nobody's");
    check("from ⟦IP_ADDRESS|2001:db8::1⟧, ⟦IP_ADDRESS|fe80::a983:16dd:4917:fe37⟧: down");
    check("[⟦IP_ADDRESS|2a02:366e::1⟧]:443 and http://⟦IP_ADDRESS|fe80::33b2⟧:8080");
    check("MAC ae:a4:3f:c2:3e:15 at 12:34:56, std::vec, a::b, ::1");
}

#[test]
fn hosts() {
    check("Visit ⟦DOMAIN_NAME|williams.com⟧ or ⟦DOMAIN_NAME|https://www.kirby.info/⟧ now");
    check("host ⟦DOMAIN_NAME|irwin-clark.ai⟧ is down. ⟦DOMAIN_NAME|www.flores.com⟧");
    check("see ⟦DOMAIN_NAME|https://docs.rs⟧/regex/latest");
    check("e.g. main.rs, app.py, README.md, Node.js and asp.net; done.It works");
    check("console.info(x) and self.name and import java.io; java.io.IOException");
}

#[test]
fn phones() {
    check("call ⟦PHONE_NUMBER|(415) 555-0134⟧ or ⟦PHONE_NUMBER|415-555-0134⟧");
    check(
        "⟦PHONE_NUMBER|+49 30 26958791⟧, ⟦PHONE_NUMBER|+1-617-450-7596⟧, ⟦PHONE_NUMBER|+33 6 37 84 13 76⟧",
    );
    check("⟦PHONE_NUMBER|+81-3-8979-8026⟧ and ⟦PHONE_NUMBER|+55 11 90304-3045⟧");
    check("⟦PHONE_NUMBER|512-512-5911 ext. 9634⟧");
    check(
        "⟦PHONE_NUMBER|020 7794 9657⟧ or ⟦PHONE_NUMBER|07700 696355⟧ or ⟦PHONE_NUMBER|0804/6159736⟧",
    );
    check("name,phone\nAnn Lee,⟦PHONE_NUMBER|7028052538⟧\nBob Ray,⟦PHONE_NUMBER|2066189098⟧");
    check("Is ⟦PHONE_NUMBER|5126684743⟧ a scam number? It has 5126684743 parameters.");
    check("phone: ⟦PHONE_NUMBER|4157077135⟧, my number is ⟦PHONE_NUMBER|555-0134⟧");
    check("my phone is ⟦PHONE_NUMBER|1 (808) 214-1687⟧");
    check("Order 221-9379590-7213, ISBN 978-0-3322-2654-5, part 047-97001-34");
    check("The population is 5038103810, tracking 415-555-0134");
    check("$429,484.50 and 1.415.555.0134.1");
}

#[test]
fn dates_and_ages() {
    check("on ⟦DATE_TIME|2024-05-06⟧, ⟦DATE_TIME|04/12/1978⟧, ⟦DATE_TIME|16.08.1985⟧");
    check("born ⟦DATE_TIME|4 May 1981⟧ or ⟦DATE_TIME|March 17, 1993⟧");
    check("at ⟦DATE_TIME|1997-05-06T08:15:00Z⟧");
    check("1/2/3, 99/99/1999, 2024-13-01, 1.2.2024.5");
    check("I'm ⟦AGE|31⟧, she is ⟦AGE|96⟧ years old; the house is 50 years old");
    check("He is 10 minutes late, age 300");
}

#[test]
fn places_and_licences() {
    check("The zip code is ⟦ZIP_CODE|90985⟧. zip ⟦ZIP_CODE|L9X9T4⟧, postcode ⟦ZIP_CODE|SW1A 1AA⟧");
    check("went to ⟦ZIP_CODE|64963-9473⟧ instead");
    check("12345 apples, order 64963-9473");
    check("I live at ⟦STREET_ADDRESS|100 Main Street⟧ now");
    check("⟦STREET_ADDRESS|742 Evergreen Terrace, Springfield, IL 62704⟧");
    check("My driver's license number is ⟦US_DRIVER_LICENSE|F7085396⟧.");
    check("DL# ⟦US_DRIVER_LICENSE|X742-411-17-353-0⟧ exp");
    check("license ⟦US_DRIVER_LICENSE|91661111⟧ and card ⟦CREDIT_CARD|4111111111111111⟧");
    check("license plate 91661111, license key 91661111");
}

#[test]
fn harmless_texts_have_no_findings() {
    for text in [
        "",
        "request id 7add076a-9935-41d5-a3b3-f38c772c5cac returned a 500",
        "DOI 10.2943/acs.19036 cannot be found",
        "docker pull app:v14.1.21 and app:3.9.8-rc2",
        "RFC 525 describes this header; chapter 990, page 851, line 498",
        "Coordinates -69.99939, -33.02389 are in the sea",
        "SELECT count(*) FROM orders WHERE id = 417081252;",
        "sum([299, 82, 656]) and for i in range(366): print(i)",
        "set the background to #D013DC",
        "Convert £537,045.99 to yen. The total came to 459,150 before tax.",
        "git revert d0fdbb68b2ee gives a merge conflict",
        "Flight 987-29-3271 has 765 seats",
        "The serial is 25-2973-268 and the batch is 98-1378-076.",
        "Tracking 4502 7851 7747 0605 has not moved in a week.",
        "What is 2+2? The ratio is 3.14159265358979.",
    ] {
        check(text);
    }
}

fn check_invariants(text: &str) {
    let findings = RECOGNIZERS.find(text);
    let mut end = 0;
    for finding in &findings {
        assert!(
            finding.start >= end && finding.end > finding.start,
            "{finding:?}"
        );
        assert!(
            text.get(finding.start..finding.end).is_some(),
            "{finding:?}"
        );
        end = finding.end;
    }
}

proptest! {
    #[test]
    fn any_text_gives_valid_spans(text in any::<String>()) {
        check_invariants(&text);
    }

    #[test]
    fn number_soup_gives_valid_spans(
        text in "([0-9]{1,5}|[-+ .:/()@#é漢🙂]|ssn|card|phone|zip|DE89|license|a@b|\\.com|May){0,60}",
    ) {
        check_invariants(&text);
    }

    #[test]
    fn merging_keeps_spans_disjoint(
        text in "([0-9]{1,5}|[-+ .@é漢🙂]|ssn 536-22-8726|ann@example.org|Ann Smith){1,20}",
        cuts in proptest::collection::vec((0_usize..200, 1_usize..40, 0_usize..5), 0..12),
    ) {
        let boundaries: Vec<_> = text
            .char_indices()
            .map(|(index, _)| index)
            .chain([text.len()])
            .collect();
        let labels = ["PERSON", "US_SSN", "EMAIL_ADDRESS", "ZIP_CODE", "PHONE_NUMBER"];
        let model = cuts
            .into_iter()
            .map(|(start, len, label)| {
                let first = start % boundaries.len();
                let last = (first + len).min(boundaries.len() - 1);
                ModelSpan {
                    kind: labels[label].into(),
                    start: boundaries[first],
                    end: boundaries[last],
                    score: 0.9,
                }
            })
            .collect();
        let mut end = 0;
        for span in merge(&text, model, &RECOGNIZERS.find(&text)) {
            prop_assert!(span.start >= end && span.end > span.start);
            prop_assert!(text.get(span.start..span.end).is_some());
            prop_assert!((0.0..=1.0).contains(&span.score));
            end = span.end;
        }
    }
}

/// Merges one model span into the findings of a text.
fn merged(text: &str, kind: &str, value: &str) -> Vec<(String, String, PiiSource)> {
    let start = text.find(value).unwrap();
    let span = ModelSpan {
        kind: kind.into(),
        start,
        end: start + value.len(),
        score: 0.9,
    };
    merge(text, vec![span], &RECOGNIZERS.find(text))
        .into_iter()
        .map(|s| {
            (
                s.kind.to_string(),
                text[s.start..s.end].to_owned(),
                s.source,
            )
        })
        .collect()
}

#[test]
fn model_and_recognizer_become_one_span() {
    use PiiSource::{Both, Model, Recognizer};
    let check = |text, kind, value, expect: &[(&str, &str, PiiSource)]| {
        let expect: Vec<_> = expect
            .iter()
            .map(|(kind, value, source)| (kind.to_string(), value.to_string(), *source))
            .collect();
        assert_eq!(merged(text, kind, value), expect, "{text}");
    };
    check(
        "My SSN is 536-22-8726.",
        "US_SSN",
        "536-22",
        &[("US_SSN", "536-22-8726", Both)],
    );
    check(
        "at 100 Main Street, Apt 4, Springfield",
        "STREET_ADDRESS",
        "100 Main Street, Apt 4, Springfield",
        &[(
            "STREET_ADDRESS",
            "100 Main Street, Apt 4, Springfield",
            Both,
        )],
    );
    check(
        "card 4111 1111 1111 1112 fails",
        "CREDIT_CARD",
        "4111 1111 1111 1112",
        &[],
    );
    check("SSN 666-22-8726", "US_SSN", "666-22-8726", &[]);
    check(
        "to DE88370400440532013000",
        "IBAN_CODE",
        "DE88370400440532013000",
        &[],
    );
    check("at 999.1.1.1 there", "IP_ADDRESS", "999.1.1.1", &[]);
    check(
        "Ann Smith <ann@example.org> wrote",
        "PERSON",
        "Ann Smith <ann@example.org>",
        &[
            ("PERSON", "Ann Smith", Model),
            ("EMAIL_ADDRESS", "ann@example.org", Recognizer),
        ],
    );
    check(
        "call (415) 555-0134",
        "US_SSN",
        "(415) 555-0134",
        &[("PHONE_NUMBER", "(415) 555-0134", Recognizer)],
    );
    check(
        "lives at 1 Way, Austin, TX 78701 now",
        "STREET_ADDRESS",
        "1 Way, Austin, TX 78701",
        &[("STREET_ADDRESS", "1 Way, Austin, TX 78701", Model)],
    );
}
