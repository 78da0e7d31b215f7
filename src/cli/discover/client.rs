//! Holding registers of one device, read one request after the other (Modbus Application Protocol V1.1b3, section 6.3;
//! Modbus Messaging on TCP/IP V1.0b, section 3.1.3).

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use crate::limits::MODBUS_REGISTERS_MAX;
use crate::tag::exception_name;

/// A connection.
pub struct Client {
    stream: TcpStream,
    unit: u8,
    transaction: u16,
}

/// `HOST`, `HOST:PORT`, `[IPv6]:PORT`.
pub fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("{text:?} is not a device; allowed: HOST or HOST:PORT");
    let port = |port: &str| port.parse().map_err(|_| wrong());
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, ""))) => (host, 502),
        Some(Some((host, rest))) => (host, port(rest.strip_prefix(':').ok_or_else(wrong)?)?),
        Some(None) => return Err(wrong()),
        // An address of IPv6 has more than one colon, and no port then.
        None => match text.split_once(':') {
            Some((host, rest)) if !rest.contains(':') => (host, port(rest)?),
            _ => (text, 502),
        },
    };
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port)) }
}

impl Client {
    pub fn connect(host: &str, port: u16, unit: u8, timeout: Duration) -> Result<Client, String> {
        let at = |error: io::Error| format!("{host}:{port}: {error}");
        let mut failed = format!("{host}: no address");
        for address in (host, port).to_socket_addrs().map_err(at)? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(timeout)).and_then(|()| stream.set_nodelay(true)).map_err(at)?;
                    return Ok(Client { stream, unit, transaction: 0 });
                }
                Err(error) => failed = at(error),
            }
        }
        Err(failed)
    }

    /// Registers from an offset on.
    pub fn read(&mut self, first: u16, count: u16) -> Result<Vec<u16>, String> {
        debug_assert!((1..=MODBUS_REGISTERS_MAX).contains(&count));
        self.transaction = self.transaction.wrapping_add(1);
        let mut request = [0u8; 12];
        request[..2].copy_from_slice(&self.transaction.to_be_bytes());
        request[5] = 6;
        request[6] = self.unit;
        request[7] = 3;
        request[8..10].copy_from_slice(&first.to_be_bytes());
        request[10..].copy_from_slice(&count.to_be_bytes());
        let asked = || format!("{count} registers at {first}");
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("{}: no reply in time", asked()),
            _ => format!("{}: {error}", asked()),
        };
        self.stream.write_all(&request).map_err(failed)?;
        let mut header = [0u8; 8];
        self.stream.read_exact(&mut header).map_err(failed)?;
        let [high, low, _, _, length_high, length_low, unit, function] = header;
        let length = usize::from(u16::from_be_bytes([length_high, length_low]));
        let rest = length.checked_sub(2).filter(|rest| (1..=252).contains(rest));
        let foreign = u16::from_be_bytes([high, low]) != self.transaction || unit != self.unit;
        let (Some(rest), false) = (rest, foreign) else {
            return Err(format!("{}: a reply that matches no request", asked()));
        };
        let mut body = vec![0u8; rest];
        self.stream.read_exact(&mut body).map_err(failed)?;
        match (function, &body[..]) {
            (0x83, [code, ..]) => Err(format!("{}: exception {code}, {}", asked(), exception_name(*code))),
            (3, [bytes, values @ ..])
                if usize::from(*bytes) == values.len() && values.len() == 2 * usize::from(count) =>
            {
                Ok(values.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
            }
            _ => Err(format!("{}: a reply of another length or function", asked())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_device_is_named_by_host_and_port() {
        let of = |text: &str| host_and_port(text).ok();
        assert_eq!(of("inverter.local"), Some(("inverter.local".into(), 502)));
        assert_eq!(of("10.0.0.7:1502"), Some(("10.0.0.7".into(), 1502)));
        assert_eq!(of("[fe80::1]:503"), Some(("fe80::1".into(), 503)));
        assert_eq!(of("fe80::1"), Some(("fe80::1".into(), 502)));
        assert_eq!([of(""), of(":502"), of("a:port"), of("[::1"), of("a:70000")], [const { None }; 5]);
    }

    /// A device that answers one request with these bytes behind the transaction.
    fn answered(reply: &'static [u8]) -> Result<Vec<u16>, String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let device = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 12];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(request[2..], [0, 0, 0, 6, 1, 3, 0x9C, 0x40, 0, 2]);
            stream.write_all(&request[..2]).unwrap();
            stream.write_all(reply).unwrap();
        });
        let mut client = Client::connect("127.0.0.1", port, 1, Duration::from_secs(5)).unwrap();
        let read = client.read(40_000, 2);
        device.join().unwrap();
        read
    }

    #[test]
    fn registers_are_read_and_a_refusal_is_told() {
        assert_eq!(answered(&[0, 0, 0, 7, 1, 3, 4, 0x53, 0x75, 0x6E, 0x53]), Ok(vec![0x5375, 0x6E53]));
        let refused = answered(&[0, 0, 0, 3, 1, 0x83, 2]).unwrap_err();
        assert_eq!(refused, "2 registers at 40000: exception 2, illegal data address");
        for wrong in [
            &[0, 0, 0, 7, 2, 3, 4, 0, 0, 0, 0][..],
            &[0, 0, 0, 5, 1, 3, 2, 0, 0],
            &[0, 0, 0, 1, 1, 3],
            &[0, 0, 0xFF, 0xFF, 1, 3],
            &[0, 0, 0, 7, 1, 3, 3, 0, 0, 0, 0],
        ] {
            assert!(answered(wrong).is_err(), "{wrong:?}");
        }
    }
}
