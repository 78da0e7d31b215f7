//! How a device's text is encoded: bytes to UTF-8 and back. Nothing here allocates, and no bytes panic.

/// An encoding of the bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// UTF-8; what is none is read as Windows-1252, which holds ISO 8859-1's letters. Written as UTF-8.
    #[default]
    Unstated,
    /// What is none is no text.
    Utf8,
    /// What has a byte above 0x7F is no text.
    Ascii,
    /// ISO 8859-1: every byte is the character with its number.
    Latin1,
    /// Its five bytes without a character (81, 8D, 8F, 90, 9D) are read as U+FFFD.
    Windows1252,
}

/// What Windows-1252 has at 0x80 to 0x9F; the holes are the control characters of Latin-1.
pub const CP1252: [char; 32] = [
    '\u{20AC}', '\u{81}', '\u{201A}', '\u{192}', '\u{201E}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2C6}', '\u{2030}',
    '\u{160}', '\u{2039}', '\u{152}', '\u{8D}', '\u{17D}', '\u{8F}', '\u{90}', '\u{2018}', '\u{2019}', '\u{201C}',
    '\u{201D}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2DC}', '\u{2122}', '\u{161}', '\u{203A}', '\u{153}', '\u{9D}',
    '\u{17E}', '\u{178}',
];

impl Encoding {
    /// Bytes of UTF-8 that one byte of the device may become.
    pub const fn growth(self) -> u16 {
        match self {
            Encoding::Utf8 | Encoding::Ascii => 1,
            Encoding::Latin1 => 2,
            Encoding::Unstated | Encoding::Windows1252 => 3,
        }
    }

    /// As the tag files name it; as messages do where they name none.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Unstated | Encoding::Utf8 => "utf-8",
            Encoding::Ascii => "ascii",
            Encoding::Latin1 => "iso-8859-1",
            Encoding::Windows1252 => "windows-1252",
        }
    }

    /// The text of `bytes`, in `out` as UTF-8: how many bytes it has. It ends at the first NUL, and the spaces around it
    /// are padding. `None`: the bytes are no text of the encoding, or `out` is too short.
    pub fn decode(self, bytes: &[u8], out: &mut [u8]) -> Option<usize> {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let bytes = trim_spaces(bytes.get(..end)?);
        let as_utf8 = || std::str::from_utf8(bytes).is_ok();
        let is_as_it_is = match self {
            Encoding::Unstated => as_utf8(),
            Encoding::Utf8 => as_utf8().then_some(true)?,
            Encoding::Ascii => bytes.is_ascii().then_some(true)?,
            Encoding::Latin1 | Encoding::Windows1252 => bytes.is_ascii(),
        };
        if is_as_it_is {
            out.get_mut(..bytes.len())?.copy_from_slice(bytes);
            return Some(bytes.len());
        }
        // Memory that was never written: no text in any encoding.
        if self == Encoding::Unstated && bytes.iter().all(|byte| *byte == 0xFF) {
            return None;
        }
        let mut len = 0;
        for byte in bytes {
            let c = self.character(*byte);
            let room = out.get_mut(len..len + c.len_utf8())?;
            len += c.encode_utf8(room).len();
        }
        Some(len)
    }

    /// Of the encodings with one byte a character.
    fn character(self, byte: u8) -> char {
        match (self, byte) {
            (Encoding::Latin1, _) | (_, 0x00..=0x7F | 0xA0..=0xFF) => char::from(byte),
            (_, 0x81 | 0x8D | 0x8F | 0x90 | 0x9D) => char::REPLACEMENT_CHARACTER,
            (_, 0x80..=0x9F) => CP1252.get(usize::from(byte - 0x80)).copied().unwrap_or(char::REPLACEMENT_CHARACTER),
        }
    }

    /// The bytes of one character, in `out`: how many. `None`: the encoding has none for it.
    pub fn encode(self, c: char, out: &mut [u8; 4]) -> Option<usize> {
        match self {
            Encoding::Unstated | Encoding::Utf8 => Some(c.encode_utf8(out).len()),
            Encoding::Ascii => {
                *out.first_mut()? = u8::try_from(c).ok().filter(u8::is_ascii)?;
                Some(1)
            }
            Encoding::Latin1 | Encoding::Windows1252 => {
                let is_it = |byte: &u8| self.character(*byte) == c;
                let own = u8::try_from(c).ok().filter(is_it);
                *out.first_mut()? = own.or_else(|| (0x80..=0x9F).find(|byte| c != '\u{FFFD}' && is_it(byte)))?;
                Some(1)
            }
        }
    }
}

fn trim_spaces(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b' '] = bytes {
        bytes = rest;
    }
    while let [b' ', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(encoding: Encoding, bytes: &[u8]) -> Option<String> {
        let mut out = [0; 256];
        let len = encoding.decode(bytes, &mut out)?;
        Some(std::str::from_utf8(&out[..len]).unwrap().to_owned())
    }

    fn written(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for c in text.chars() {
            let mut out = [0; 4];
            let len = encoding.encode(c, &mut out)?;
            bytes.extend(&out[..len]);
        }
        Some(bytes)
    }

    /// The bytes are those of Python's codecs: `"Kühlung 5 °C – €".encode("cp1252")` and so on.
    #[test]
    fn each_encoding_reads_its_own_bytes() {
        let cp1252 = b"K\xFChlung 5 \xB0C \x96 \x80";
        assert_eq!(read(Encoding::Windows1252, cp1252).as_deref(), Some("Kühlung 5 °C – €"));
        assert_eq!(read(Encoding::Unstated, cp1252).as_deref(), Some("Kühlung 5 °C – €"));
        assert_eq!(read(Encoding::Latin1, b"K\xFChlung \xB5").as_deref(), Some("Kühlung µ"));
        assert_eq!(read(Encoding::Unstated, "Kühlung – €".as_bytes()).as_deref(), Some("Kühlung – €"));
        assert_eq!(read(Encoding::Utf8, cp1252), None);
        assert_eq!(read(Encoding::Ascii, b"K\xFC"), None);
        assert_eq!(read(Encoding::Ascii, b"pump 3").as_deref(), Some("pump 3"));
        assert_eq!(read(Encoding::Windows1252, b"a\x81b").as_deref(), Some("a\u{FFFD}b"));
    }

    #[test]
    fn padding_is_no_part_of_a_text() {
        for padded in [&b"MX-42\0\0\0"[..], b"MX-42   ", b"  MX-42 \0 \0", b"MX-42\0rest"] {
            assert_eq!(read(Encoding::Unstated, padded).as_deref(), Some("MX-42"), "{padded:?}");
        }
        assert_eq!(read(Encoding::Unstated, b"\0\0").as_deref(), Some(""));
    }

    #[test]
    fn erased_memory_is_no_text() {
        assert_eq!(read(Encoding::Unstated, &[0xFF; 8]), None);
        assert_eq!(read(Encoding::Latin1, &[0xFF; 2]).as_deref(), Some("ÿÿ"), "whoever says so gets it");
    }

    #[test]
    fn a_character_that_the_encoding_lacks_is_not_written() {
        assert_eq!(written(Encoding::Latin1, "°"), Some(vec![0xB0]));
        assert_eq!(written(Encoding::Windows1252, "€ž"), Some(vec![0x80, 0x9E]));
        assert_eq!(written(Encoding::Unstated, "°"), Some(vec![0xC2, 0xB0]));
        for (encoding, text) in [
            (Encoding::Latin1, "€"),
            (Encoding::Windows1252, "日"),
            (Encoding::Windows1252, "\u{FFFD}"),
            (Encoding::Ascii, "ü"),
        ] {
            assert_eq!(written(encoding, text), None, "{encoding:?} {text}");
        }
    }

    const ALL: [Encoding; 5] =
        [Encoding::Unstated, Encoding::Utf8, Encoding::Ascii, Encoding::Latin1, Encoding::Windows1252];

    proptest! {
        #[test]
        fn any_bytes_are_a_text_within_the_growth_or_none(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for encoding in ALL {
                let mut out = vec![0; bytes.len() * usize::from(encoding.growth())];
                if let Some(len) = encoding.decode(&bytes, &mut out) {
                    prop_assert!(std::str::from_utf8(&out[..len]).is_ok());
                }
                let _ = encoding.decode(&bytes, &mut [0; 3]);
            }
        }

        #[test]
        fn what_was_written_is_read(text in "[!-~][ -~°ü€]{0,20}[!-~]") {
            for encoding in ALL {
                let Some(bytes) = written(encoding, &text) else { continue };
                let read = read(encoding, &bytes);
                prop_assert_eq!(read.as_deref(), Some(text.as_str()));
            }
        }
    }
}
