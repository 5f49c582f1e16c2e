//! The language of a text, by the trigrams of `whatlang`.

use whatlang::{Detector, Lang};

use crate::config::LanguageTest;

/// ISO 639-1 codes of the languages that can be told apart.
const CODES: [(&str, Lang); 68] = [
    ("af", Lang::Afr),
    ("am", Lang::Amh),
    ("ar", Lang::Ara),
    ("az", Lang::Aze),
    ("be", Lang::Bel),
    ("bg", Lang::Bul),
    ("bn", Lang::Ben),
    ("ca", Lang::Cat),
    ("cs", Lang::Ces),
    ("da", Lang::Dan),
    ("de", Lang::Deu),
    ("el", Lang::Ell),
    ("en", Lang::Eng),
    ("eo", Lang::Epo),
    ("es", Lang::Spa),
    ("et", Lang::Est),
    ("fa", Lang::Pes),
    ("fi", Lang::Fin),
    ("fr", Lang::Fra),
    ("gu", Lang::Guj),
    ("he", Lang::Heb),
    ("hi", Lang::Hin),
    ("hr", Lang::Hrv),
    ("hu", Lang::Hun),
    ("hy", Lang::Hye),
    ("id", Lang::Ind),
    ("it", Lang::Ita),
    ("ja", Lang::Jpn),
    ("jv", Lang::Jav),
    ("ka", Lang::Kat),
    ("km", Lang::Khm),
    ("kn", Lang::Kan),
    ("ko", Lang::Kor),
    ("la", Lang::Lat),
    ("lt", Lang::Lit),
    ("lv", Lang::Lav),
    ("mk", Lang::Mkd),
    ("ml", Lang::Mal),
    ("mr", Lang::Mar),
    ("my", Lang::Mya),
    ("nb", Lang::Nob),
    ("ne", Lang::Nep),
    ("nl", Lang::Nld),
    ("or", Lang::Ori),
    ("pa", Lang::Pan),
    ("pl", Lang::Pol),
    ("pt", Lang::Por),
    ("ro", Lang::Ron),
    ("ru", Lang::Rus),
    ("si", Lang::Sin),
    ("sk", Lang::Slk),
    ("sl", Lang::Slv),
    ("sn", Lang::Sna),
    ("sr", Lang::Srp),
    ("sv", Lang::Swe),
    ("ta", Lang::Tam),
    ("te", Lang::Tel),
    ("th", Lang::Tha),
    ("tk", Lang::Tuk),
    ("tl", Lang::Tgl),
    ("tr", Lang::Tur),
    ("uk", Lang::Ukr),
    ("ur", Lang::Urd),
    ("uz", Lang::Uzb),
    ("vi", Lang::Vie),
    ("yi", Lang::Yid),
    ("zh", Lang::Cmn),
    ("zu", Lang::Zul),
];

/// Characters that are looked at: more say nothing new about the language.
const LONGEST: usize = 2000;

/// Whether a code is one of a language that can be told apart.
pub(crate) fn is_known(code: &str) -> bool {
    lang(code).is_some()
}

fn lang(code: &str) -> Option<Lang> {
    let found = CODES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(code));
    found.map(|(_, lang)| *lang)
}

/// What a text is written in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detected {
    lang: Lang,
    confidence: f32,
}

/// The language of a text; `None` if it has no words.
pub(super) fn detect(text: &str) -> Option<Detected> {
    let end = text
        .char_indices()
        .nth(LONGEST)
        .map_or(text.len(), |(at, _)| at);
    let info = Detector::new().detect(&text[..end])?;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a confidence needs no more than seven digits"
    )]
    let confidence = info.confidence() as f32;
    Some(Detected {
        lang: info.lang(),
        confidence,
    })
}

/// The confidence that the text is in the rule's language, if it is.
pub(super) fn score(test: &LanguageTest, detected: Option<Detected>) -> Option<f32> {
    let detected = detected?;
    let same = lang(&test.code) == Some(detected.lang);
    (same && detected.confidence >= test.threshold).then_some(detected.confidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_languages_are_told_apart() {
        let check = |code: &str, text: &str| {
            let test = LanguageTest {
                code: code.to_owned(),
                threshold: 0.0,
            };
            assert!(
                score(&test, detect(text)).is_some(),
                "{code}: {:?}",
                detect(text)
            );
        };
        check(
            "en",
            "What is the best way to learn to play the guitar at home?",
        );
        check(
            "es",
            "¿Cuál es la mejor manera de aprender a tocar la guitarra en casa?",
        );
        check(
            "de",
            "Wie lernt man am besten zu Hause Gitarre spielen, ohne einen Lehrer?",
        );
        check(
            "fr",
            "Quelle est la meilleure façon d'apprendre la guitare à la maison ?",
        );
        check("zh", "在家学习弹吉他的最佳方法是什么？");
        check("ja", "家でギターを学ぶ一番いい方法は何ですか？");
        check("ru", "Как лучше всего научиться играть на гитаре дома?");
    }

    #[test]
    fn a_text_without_words_has_no_language() {
        assert!(detect("12345 !!!").is_none());
        assert!(detect("").is_none());
    }

    #[test]
    fn the_threshold_is_a_confidence() {
        let detected = Some(Detected {
            lang: Lang::Spa,
            confidence: 0.4,
        });
        let check = |code: &str, threshold: f32, want: Option<f32>| {
            let test = LanguageTest {
                code: code.into(),
                threshold,
            };
            assert_eq!(score(&test, detected), want);
        };
        check("es", 0.3, Some(0.4));
        check("ES", 0.4, Some(0.4));
        check("es", 0.5, None);
        check("en", 0.0, None);
    }
}
