//! What makes a number a card, an IBAN or a social security number: checksums and issuance rules.

/// Whether the digits satisfy the Luhn formula.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(*digit) * if place % 2 == 1 { 2 } else { 1 };
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether an issuer gives out numbers with this prefix and length.
pub(super) fn card_issued(digits: &[u8]) -> bool {
    let prefix = |len: usize| {
        digits
            .iter()
            .take(len)
            .fold(0_u32, |acc, digit| acc * 10 + u32::from(*digit))
    };
    let len = digits.len();
    match (prefix(1), prefix(2), prefix(3), prefix(4)) {
        (4, ..) => matches!(len, 13 | 16 | 19),
        (_, 51..=55, ..) | (.., 2221..=2720) => len == 16,
        (_, 34 | 37, ..) => len == 15,
        (_, 36 | 38 | 39, ..) | (_, _, 300..=305, _) => len == 14 || len == 16,
        (.., 3528..=3589) | (_, 62 | 65, ..) | (_, _, 644..=649, _) | (.., 6011) => {
            (16..=19).contains(&len)
        }
        (_, 50 | 56..=61 | 63 | 66..=69, ..) => (16..=19).contains(&len),
        _ => false,
    }
}

/// Whether the digits are a payment card number.
pub(super) fn is_card(digits: &[u8]) -> bool {
    card_issued(digits) && luhn(digits) && digits.iter().any(|digit| *digit != digits[0])
}

/// Whether the nine digits can be a social security number: no area 000, 666 or 900-999, no
/// group 00, no serial 0000. Numbers known from advertisements count: whoever types one means it.
pub(super) fn is_ssn(digits: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| {
        digits[range]
            .iter()
            .fold(0_u32, |acc, digit| acc * 10 + u32::from(*digit))
    };
    digits.len() == 9
        && !matches!(number(0..3), 0 | 666 | 900..)
        && number(3..5) != 0
        && number(5..9) != 0
}

/// Length of an IBAN of a country.
pub(super) fn iban_len(country: [u8; 2]) -> Option<usize> {
    IBAN_LENGTHS
        .iter()
        .find(|(code, _)| *code == country)
        .map(|(_, len)| *len)
}

/// Whether upper-case letters and digits are an IBAN: country, length and ISO 7064 mod 97.
pub(super) fn is_iban(compact: &[u8]) -> bool {
    let Some((head, body)) = compact.split_at_checked(4) else {
        return false;
    };
    if iban_len([head[0], head[1]]) != Some(compact.len()) {
        return false;
    }
    let mut remainder = 0_u32;
    for byte in body.iter().chain(head) {
        remainder = match byte {
            b'0'..=b'9' => remainder * 10 + u32::from(byte - b'0'),
            b'A'..=b'Z' => remainder * 100 + u32::from(byte - b'A') + 10,
            _ => return false,
        } % 97;
    }
    remainder == 1
}

/// The SWIFT registry, as of release 99.
const IBAN_LENGTHS: &[([u8; 2], usize)] = &[
    (*b"AD", 24),
    (*b"AE", 23),
    (*b"AL", 28),
    (*b"AT", 20),
    (*b"AZ", 28),
    (*b"BA", 20),
    (*b"BE", 16),
    (*b"BG", 22),
    (*b"BH", 22),
    (*b"BI", 27),
    (*b"BR", 29),
    (*b"BY", 28),
    (*b"CH", 21),
    (*b"CR", 22),
    (*b"CY", 28),
    (*b"CZ", 24),
    (*b"DE", 22),
    (*b"DJ", 27),
    (*b"DK", 18),
    (*b"DO", 28),
    (*b"EE", 20),
    (*b"EG", 29),
    (*b"ES", 24),
    (*b"FI", 18),
    (*b"FK", 18),
    (*b"FO", 18),
    (*b"FR", 27),
    (*b"GB", 22),
    (*b"GE", 22),
    (*b"GI", 23),
    (*b"GL", 18),
    (*b"GR", 27),
    (*b"GT", 28),
    (*b"HN", 28),
    (*b"HR", 21),
    (*b"HU", 28),
    (*b"IE", 22),
    (*b"IL", 23),
    (*b"IQ", 23),
    (*b"IS", 26),
    (*b"IT", 27),
    (*b"JO", 30),
    (*b"KW", 30),
    (*b"KZ", 20),
    (*b"LB", 28),
    (*b"LC", 32),
    (*b"LI", 21),
    (*b"LT", 20),
    (*b"LU", 20),
    (*b"LV", 21),
    (*b"LY", 25),
    (*b"MC", 27),
    (*b"MD", 24),
    (*b"ME", 22),
    (*b"MK", 19),
    (*b"MN", 20),
    (*b"MR", 27),
    (*b"MT", 31),
    (*b"MU", 30),
    (*b"NI", 28),
    (*b"NL", 18),
    (*b"NO", 15),
    (*b"OM", 23),
    (*b"PK", 24),
    (*b"PL", 28),
    (*b"PS", 29),
    (*b"PT", 25),
    (*b"QA", 29),
    (*b"RO", 24),
    (*b"RS", 22),
    (*b"RU", 33),
    (*b"SA", 24),
    (*b"SC", 31),
    (*b"SD", 18),
    (*b"SE", 24),
    (*b"SI", 19),
    (*b"SK", 24),
    (*b"SM", 27),
    (*b"SO", 23),
    (*b"ST", 25),
    (*b"SV", 28),
    (*b"TL", 23),
    (*b"TN", 24),
    (*b"TR", 26),
    (*b"UA", 29),
    (*b"VA", 22),
    (*b"VG", 24),
    (*b"XK", 20),
    (*b"YE", 30),
];

/// The ASCII digits of a text, as numbers.
pub(super) fn digits(text: &str) -> Vec<u8> {
    text.bytes()
        .filter(u8::is_ascii_digit)
        .map(|byte| byte - b'0')
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards() {
        let check = |text: &str, expect| assert_eq!(is_card(&digits(text)), expect, "{text}");
        check("4111111111111111", true);
        check("4111111111111112", false);
        check("378282246310005", true);
        check("30569309025904", true);
        check("6011111111111117", true);
        check("3530111333300000", true);
        check("5555555555554444", true);
        check("2223003122003222", true);
        check("0000000000000000", false);
        check("9999999999999995", false);
        check("978030640615", false);
    }

    #[test]
    fn social_security_numbers() {
        let check = |text: &str, expect| assert_eq!(is_ssn(&digits(text)), expect, "{text}");
        check("536-22-8726", true);
        check("000-22-8726", false);
        check("666-22-8726", false);
        check("900-22-8726", false);
        check("899-22-8726", true);
        check("536-00-8726", false);
        check("536-22-0000", false);
        check("536-22-872", false);
        // Known from advertisements, still somebody's.
        check("078-05-1120", true);
        check("219-09-9999", true);
        check("123-45-6789", true);
    }

    #[test]
    fn ibans() {
        let check = |text: &str, expect| assert_eq!(is_iban(text.as_bytes()), expect, "{text}");
        check("DE89370400440532013000", true);
        check("DE88370400440532013000", false);
        check("GB82WEST12345698765432", true);
        check("NO9386011117947", true);
        check("DE8937040044053201300", false);
        check("ZZ89370400440532013000", false);
        check("DE", false);
    }
}
