//! What a BME280 or BMP280 reads, made into °C, Pa and % by the factory's coefficients.
//!
//! Bosch BST-BME280-DS002: the coefficients in table 16, the formulas in double precision in appendix 8.1.

use crate::protocol::local_io::model::Bme280Value;

/// Bytes of the coefficients: 0x88 to 0xA1; with humidity also 0xE1 to 0xE7.
pub const COEFFICIENT_BYTES: usize = 26;
pub const HUMID_COEFFICIENT_BYTES: usize = 33;
/// The value of a measurement that was skipped, as after a reset (section 5.4.8, by the registers' reset states).
const SKIPPED_20_BITS: u32 = 0x80000;
const SKIPPED_16_BITS: u32 = 0x8000;

/// Of one chip.
struct Coefficients<'a>(&'a [u8]);

impl Coefficients<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn unsigned(&self, at: usize) -> f64 {
        f64::from(u16::from_le_bytes([self.byte(at), self.byte(at + 1)]))
    }

    fn signed(&self, at: usize) -> f64 {
        f64::from(i16::from_le_bytes([self.byte(at), self.byte(at + 1)]))
    }
}

/// The value; `None`: the chip has not measured it, or its coefficients are none.
pub fn value(which: Bme280Value, coefficients: &[u8], measured: &[u8]) -> Option<f64> {
    let humid = which == Bme280Value::Humidity;
    if coefficients.len() < if humid { HUMID_COEFFICIENT_BYTES } else { COEFFICIENT_BYTES } {
        return None;
    }
    let dig = Coefficients(coefficients);
    let raw = |at: usize| -> Option<u32> {
        let [high, middle, low] = *measured.get(at..)?.first_chunk::<3>()?;
        Some(u32::from(high) << 12 | u32::from(middle) << 4 | u32::from(low) >> 4)
    };
    let temperature = raw(3).filter(|raw| *raw != SKIPPED_20_BITS)?;
    let fine = fine_temperature(&dig, f64::from(temperature));
    match which {
        Bme280Value::Temperature => Some(fine / 5120.0),
        Bme280Value::Pressure => {
            let pressure = raw(0).filter(|raw| *raw != SKIPPED_20_BITS)?;
            pascals(&dig, fine, f64::from(pressure))
        }
        Bme280Value::Humidity => {
            let raw = u32::from(u16::from_be_bytes(*measured.get(6..)?.first_chunk()?));
            (raw != SKIPPED_16_BITS).then(|| percent(&dig, fine, f64::from(raw)))
        }
    }
}

/// `t_fine`, which the other values need.
fn fine_temperature(dig: &Coefficients<'_>, raw: f64) -> f64 {
    let (t1, t2, t3) = (dig.unsigned(0), dig.signed(2), dig.signed(4));
    let var1 = (raw / 16384.0 - t1 / 1024.0) * t2;
    let var2 = (raw / 131_072.0 - t1 / 8192.0).powi(2) * t3;
    // The sheet keeps it as an integer.
    (var1 + var2).trunc()
}

fn pascals(dig: &Coefficients<'_>, fine: f64, raw: f64) -> Option<f64> {
    let p1 = dig.unsigned(6);
    let p = |n: usize| dig.signed(4 + 2 * n);
    let mut var1 = fine / 2.0 - 64_000.0;
    let mut var2 = var1 * var1 * p(6) / 32_768.0;
    var2 += var1 * p(5) * 2.0;
    var2 = var2 / 4.0 + p(4) * 65_536.0;
    var1 = (p(3) * var1 * var1 / 524_288.0 + p(2) * var1) / 524_288.0;
    var1 = (1.0 + var1 / 32_768.0) * p1;
    if var1 == 0.0 {
        return None;
    }
    let pressure = (1_048_576.0 - raw - var2 / 4096.0) * 6250.0 / var1;
    let var1 = p(9) * pressure * pressure / 2_147_483_648.0;
    let var2 = pressure * p(8) / 32_768.0;
    Some(pressure + (var1 + var2 + p(7)) / 16.0)
}

fn percent(dig: &Coefficients<'_>, fine: f64, raw: f64) -> f64 {
    let h1 = f64::from(dig.byte(25));
    let h2 = dig.signed(26);
    let h3 = f64::from(dig.byte(28));
    // Twelve bits each, of which one byte is shared.
    let twelve = |high: u8, low: u8| f64::from(i32::from(high as i8) << 4 | i32::from(low));
    let h4 = twelve(dig.byte(29), dig.byte(30) & 0x0F);
    let h5 = twelve(dig.byte(31), dig.byte(30) >> 4);
    let h6 = f64::from(dig.byte(32) as i8);
    let t = fine - 76_800.0;
    let humidity = (raw - (h4 * 64.0 + h5 / 16_384.0 * t))
        * (h2 / 65_536.0 * (1.0 + h6 / 67_108_864.0 * t * (1.0 + h3 / 67_108_864.0 * t)));
    (humidity * (1.0 - h1 * humidity / 524_288.0)).clamp(0.0, 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(unsigned: &[i32]) -> Vec<u8> {
        unsigned.iter().flat_map(|n| (*n as u16).to_le_bytes()).collect()
    }

    fn raw(pressure: u32, temperature: u32, humidity: u32) -> Vec<u8> {
        let twenty = |n: u32| [(n >> 12) as u8, (n >> 4) as u8, (n << 4) as u8];
        [&twenty(pressure)[..], &twenty(temperature), &[(humidity >> 8) as u8, humidity as u8]].concat()
    }

    /// BST-BMP280-DS001, section 3.12: the worked example, 25.08 °C and 100653.27 Pa.
    #[test]
    fn temperature_and_pressure_are_those_of_the_data_sheets_example() {
        let dig = [27504, 26435, -1000, 36477, -10685, 3024, 2855, 140, -7, 15500, -14600, 6000, 0];
        let (dig, raw) = (bytes(&dig), raw(415_148, 519_888, 0));
        let t = value(Bme280Value::Temperature, &dig, &raw).unwrap();
        assert!((t - 25.08).abs() < 0.005, "{t}");
        let p = value(Bme280Value::Pressure, &dig, &raw).unwrap();
        assert!((p - 100_653.27).abs() < 0.3, "{p}");
    }

    /// Coefficients, registers 0xF7 to 0xFE, and what the Python package RPi.bme280 0.2.4 makes of them.
    const BY_ANOTHER_DRIVER: [(&str, &str, f64, f64, f64); 8] = [
        (
            "fb6ca76432005a8ad7d6a70b1b203c00faff6a26c3d90d10005057010013c0031e",
            "4851809122d082af",
            45.5017,
            113063.80,
            74.3179,
        ),
        (
            "e26f9963300059917ed8b70bba213c00f9ff6027a1d9db1000006b01001445ff1e",
            "482c808d1990855d",
            36.3822,
            105054.34,
            77.9773,
        ),
        (
            "ac6b2d6a3100d88da3d6c10beb203d00f9ffae25bed7c710003c8201141394031e",
            "4bea606daa507e83",
            2.6457,
            100077.88,
            73.2193,
        ),
        (
            "076efa6a30005f90e0d8020c7b223c00f9fff32543d7e51000505801001383021e",
            "483e006d23f08c8b",
            -1.1860,
            99325.82,
            82.5031,
        ),
        (
            "2c71d46934002f95dfd7ad0b29223900faff632592d90010003c5c010013eb011e",
            "49843088c1c06865",
            31.2049,
            100266.23,
            35.1741,
        ),
        (
            "5f6ed068330025957ed58c0b4f213b00f9ff712870d9321000007e010012a2021e",
            "5007808eaf306e90",
            42.3455,
            98269.01,
            58.1282,
        ),
        (
            "846c996432001e92bbd75e0bcc223e00f9ff992737d85b1100506d0114139bff1e",
            "5dfcd087cc4061bb",
            34.3137,
            88208.39,
            28.4153,
        ),
        (
            "816b5a6d3100e48a93d6570bd1213c00f9ff1c27c2d93f1000505d01051398031e",
            "62b470804970659c",
            28.4121,
            89295.96,
            31.7129,
        ),
    ];

    #[test]
    fn all_three_values_are_those_of_another_driver() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
        };
        for (dig, raw, celsius, pascals, percent) in BY_ANOTHER_DRIVER {
            let (dig, raw) = (hex(dig), hex(raw));
            let of = |which| value(which, &dig, &raw).unwrap();
            assert!((of(Bme280Value::Temperature) - celsius).abs() < 0.001, "{celsius}");
            assert!((of(Bme280Value::Pressure) - pascals).abs() < 0.2, "{pascals}: {}", of(Bme280Value::Pressure));
            assert!((of(Bme280Value::Humidity) - percent).abs() < 0.001, "{percent}");
        }
    }

    #[test]
    fn what_was_not_measured_is_no_value() {
        let dig = vec![1; HUMID_COEFFICIENT_BYTES];
        assert_eq!(value(Bme280Value::Temperature, &dig, &raw(1, SKIPPED_20_BITS, 1)), None);
        assert_eq!(value(Bme280Value::Humidity, &dig, &raw(1, 1, SKIPPED_16_BITS)), None);
        assert_eq!(value(Bme280Value::Pressure, &dig, &raw(SKIPPED_20_BITS, 1, 1)), None);
        assert_eq!(value(Bme280Value::Humidity, &dig[..26], &raw(1, 1, 1)), None);
        assert_eq!(value(Bme280Value::Humidity, &dig, &[0; 5]), None);
        assert_eq!(value(Bme280Value::Pressure, &[0; 26], &raw(1, 1, 1)), None, "a coefficient of zero");
    }
}
