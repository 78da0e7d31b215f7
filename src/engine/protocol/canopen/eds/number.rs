//! Numbers as data sheets write them (CiA 306, section 4.3.3).

/// Decimal, hexadecimal with 0x, octal with a leading 0 where the digits are octal; a negative number as its two's
/// complement.
pub fn number(text: &str) -> Option<u64> {
    let small = text.trim().to_ascii_lowercase();
    if let Some(digits) = small.strip_prefix("0x") {
        return parse_digits(digits, 16);
    }
    if let Some(digits) = small.strip_prefix('-') {
        return parse_digits(digits, 10).and_then(|n| i64::try_from(n).ok()).map(|n| (-n) as u64);
    }
    match small.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => parse_digits(digits, 8).or_else(|| parse_digits(digits, 10)),
        _ => parse_digits(&small, 10),
    }
}

fn parse_digits(digits: &str, radix: u32) -> Option<u64> {
    let all = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    if all { u64::from_str_radix(digits, radix).ok() } else { None }
}

/// A number that may be given as `$NODEID+0x180`, or the other way round.
pub fn of_node(text: &str, node: u8) -> Option<u64> {
    let small = text.to_ascii_lowercase();
    let mut sum = 0u64;
    for part in small.split('+').map(str::trim) {
        let part = if part == "$nodeid" { u64::from(node) } else { number(part)? };
        sum = sum.checked_add(part)?;
    }
    Some(sum)
}
