//! systemd's notification protocol (sd_notify(3), sd_watchdog_enabled(3)): ready, status, signs of life, stopping.

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// A status is one line for people.
const STATUS_BYTES_MAX: usize = 400;

/// The service manager, when one started us and listens.
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Between two signs of life: a quarter of what the manager waits for.
    period: Option<Duration>,
    last_sign: Option<Instant>,
    last_status: String,
}

/// What the manager said in the environment.
#[derive(Debug, Default)]
struct Told {
    socket: Option<OsString>,
    watchdog_us: Option<OsString>,
    watchdog_pid: Option<OsString>,
}

impl ServiceManager {
    /// The one that the environment names; says nothing to nobody when there is none.
    pub fn of_environment() -> ServiceManager {
        ServiceManager::new(&Told {
            socket: std::env::var_os("NOTIFY_SOCKET"),
            watchdog_us: std::env::var_os("WATCHDOG_USEC"),
            watchdog_pid: std::env::var_os("WATCHDOG_PID"),
        })
    }

    fn new(told: &Told) -> ServiceManager {
        let socket =
            told.socket.as_ref().filter(|name| !name.is_empty()).and_then(|name| match open(name.as_bytes()) {
                Ok(socket) => Some(socket),
                Err(error) => {
                    tracing::warn!("the service manager gets no status: NOTIFY_SOCKET={}: {error}", name.display());
                    None
                }
            });
        let number = |text: &Option<OsString>| text.as_ref()?.to_str()?.trim().parse::<u64>().ok();
        let for_us = told.watchdog_pid.is_none() || number(&told.watchdog_pid) == Some(u64::from(std::process::id()));
        let period = number(&told.watchdog_us).filter(|us| *us > 0 && for_us).map(|us| Duration::from_micros(us / 4));
        ServiceManager { socket, period, last_sign: None, last_status: String::new() }
    }

    /// How often a sign of life is wanted at least, if it is.
    #[cfg(test)]
    fn period(&self) -> Option<Duration> {
        self.period
    }

    /// The start is over.
    pub fn ready(&mut self) {
        self.send("READY=1");
    }

    /// All advance. To be called more often than twice in what the manager waits for.
    pub fn alive(&mut self) {
        let Some(period) = self.period else { return };
        if self.last_sign.is_none_or(|at| at.elapsed() >= period) {
            self.last_sign = Some(Instant::now());
            self.send("WATCHDOG=1");
        }
    }

    /// What `systemctl status` shows. The same text is told once.
    pub fn status(&mut self, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        let mut end = line.len().min(STATUS_BYTES_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        if self.last_status != line[..end] {
            self.last_status = line[..end].to_owned();
            self.send(&format!("STATUS={}", &line[..end]));
        }
    }

    /// The end has begun; signs of life are not wanted any more.
    pub fn stopping(&mut self) {
        self.send("STOPPING=1");
        self.period = None;
    }

    /// A message that can't be sent now is left out: a manager that does not read must hold nobody up.
    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket {
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

fn open(name: &[u8]) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor @name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(socket: &str, watchdog_us: Option<&str>, watchdog_pid: Option<u32>) -> Told {
        Told {
            socket: Some(socket.into()),
            watchdog_us: watchdog_us.map(Into::into),
            watchdog_pid: watchdog_pid.map(|pid| pid.to_string().into()),
        }
    }

    fn next(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 1024];
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let n = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }

    #[test]
    fn a_life_is_told_to_a_socket_with_a_path_and_to_an_abstract_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("fieldbeat-test-{}", std::process::id());
        let abstract_address = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, listener) in [
            (path.to_str().unwrap().to_owned(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{name}"), UnixDatagram::bind_addr(&abstract_address).unwrap()),
        ] {
            let mut manager = ServiceManager::new(&told(&socket, Some("4000000"), Some(std::process::id())));
            manager.ready();
            manager.status("10 of 10 links\nand more");
            manager.status("10 of 10 links");
            manager.alive();
            manager.alive();
            manager.stopping();
            manager.alive();
            let seen: Vec<String> = (0..4).map(|_| next(&listener)).collect();
            assert_eq!(seen, ["READY=1", "STATUS=10 of 10 links", "WATCHDOG=1", "STOPPING=1"]);
            listener.set_nonblocking(true).unwrap();
            assert!(listener.recv(&mut [0; 16]).is_err(), "more was told");
        }
    }

    #[test]
    fn signs_of_life_come_at_less_than_half_of_what_the_manager_waits_for() {
        let period = |us, pid| ServiceManager::new(&told("", us, pid)).period();
        assert_eq!(period(Some("10000000"), None), Some(Duration::from_millis(2500)));
        assert_eq!(period(Some("10000000"), Some(std::process::id())), Some(Duration::from_millis(2500)));
        assert_eq!(period(Some("10000000"), Some(1)), None, "another process is meant");
        for wrong in [None, Some("0"), Some(""), Some("-1"), Some("10s")] {
            assert_eq!(period(wrong, None), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_manager_that_is_not_there_or_does_not_read_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _silent = UnixDatagram::bind(&path).unwrap();
        for socket in ["/nowhere/at/all", "relative", "@", path.to_str().unwrap()] {
            let mut manager = ServiceManager::new(&told(socket, Some("4"), None));
            for turn in 0..5000 {
                manager.status(&format!("{turn}"));
                manager.alive();
            }
        }
    }

    #[test]
    fn a_long_status_is_cut_between_letters() {
        let mut manager = ServiceManager::new(&Told::default());
        manager.status(&format!("x{}", "µ".repeat(STATUS_BYTES_MAX)));
        assert_eq!(manager.last_status.len(), STATUS_BYTES_MAX - 1);
    }
}
