//! What outputs of every kind have in common: addresses, TLS, credentials, templates.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use url::{Host, Url};

use crate::config::host;
use crate::config::model::TlsConfig;
use crate::config::names::quoted;
use crate::config::paths::{Base, path};
use crate::config::reader::{Obj, Text};
use crate::limits::BROKERS_MAX;

/// Bytes of user, password, token, client id and topic each: MQTT allows 65535, brokers and logs far less.
const TEXT_BYTES_MAX: usize = 1024;

/// Where a URL points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub host: String,
    pub port: u16,
    /// Without a slash at its end.
    pub path: String,
    pub tls: bool,
}

/// What URLs of one kind look like.
pub struct Scheme {
    /// Without and with TLS, with the port that stands for none.
    pub plain: (&'static str, u16),
    pub tls: (&'static str, u16),
    pub has_path: bool,
    pub allowed: &'static str,
}

pub fn read_url(output: &Obj<'_>, scheme: &Scheme) -> Option<Place> {
    let text = output.required_text("url", scheme.allowed)?;
    place_of(output, &text, scheme)
}

/// `url`, or `urls`, which all have TLS or none. `None`: that has been reported.
pub fn read_urls(output: &Obj<'_>, scheme: &Scheme) -> Option<Vec<Place>> {
    if output.get("urls").is_none() {
        return Some(vec![read_url(output, scheme)?]);
    }
    let span = output.span_of("urls");
    if output.get("url").is_some() {
        output.error(span, "url and urls together", "allowed: one of the two");
        return None;
    }
    let mut places: Vec<Place> = Vec::new();
    let elements = output.list("urls", scheme.allowed);
    if elements.is_empty() || elements.len() > BROKERS_MAX {
        output.error(span, format!("urls has {} elements", elements.len()), format!("allowed: 1 to {BROKERS_MAX}"));
        return None;
    }
    for element in elements {
        let Some(value) = element.as_text() else {
            output.error(
                element.span,
                "urls has an element that is not a string",
                format!("allowed: {}", scheme.allowed),
            );
            return None;
        };
        let place = place_of(output, &Text { value, span: element.span }, scheme)?;
        if places.iter().any(|other| other.tls != place.tls) {
            let help = "allowed: TLS for all of them, or for none";
            output.error(element.span, "urls has brokers with TLS and brokers without", help);
            return None;
        }
        if places.contains(&place) {
            output.error(element.span, format!("urls has {} twice", quoted(value)), "allowed: each broker once");
            return None;
        }
        places.push(place);
    }
    Some(places)
}

fn place_of(output: &Obj<'_>, text: &Text<'_>, scheme: &Scheme) -> Option<Place> {
    let fault = |message: String, help: &str| {
        output.error(text.span, message, help);
        None
    };
    let allowed = format!("allowed: {}", scheme.allowed);
    // The part before an @ may hold a password: such a URL is never repeated.
    let shown = if text.value.contains('@') { "the URL".to_owned() } else { format!("the URL {}", quoted(text.value)) };
    if text.value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return fault(format!("{shown} contains white space"), &allowed);
    }
    let url = match Url::parse(text.value) {
        Ok(url) => url,
        Err(error) => return fault(format!("{shown} cannot be read: {error}"), &allowed),
    };
    if !url.username().is_empty() || url.password().is_some() || text.value.contains('@') {
        return fault(
            "the URL contains a user".into(),
            "write user and password (or password_file) as keys of their own",
        );
    }
    let (tls, port) = match url.scheme() {
        name if name == scheme.plain.0 => (false, scheme.plain.1),
        name if name == scheme.tls.0 => (true, scheme.tls.1),
        name => return fault(format!("the URL's scheme {} is unknown", quoted(name)), &allowed),
    };
    let path = url.path().trim_end_matches('/');
    if !(path.is_empty() || scheme.has_path) || url.query().is_some() || url.fragment().is_some() {
        return fault(format!("{shown} has more text after the port"), &allowed);
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return fault(format!("{shown} has no host"), &allowed),
    };
    if let Some((wrong, help)) = host::fault(&host) {
        return fault(format!("the URL's host {} {wrong}", quoted(&host)), help);
    }
    let port = url.port().unwrap_or(port);
    if port == 0 {
        return fault(format!("{shown} has port 0"), &allowed);
    }
    Some(Place { host, port, path: path.to_owned(), tls })
}

/// The files of a connection to `url`; `tls` is how its URLs begin.
pub fn read_tls(output: &Obj<'_>, url: Option<&Place>, tls: &str, base: Base<'_>) -> Option<TlsConfig> {
    let ca = file(output, "ca", base);
    let cert = file(output, "cert", base);
    let key = file(output, "key", base);
    let written = |key: &str| output.get(key).is_some();
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if written(one) && !written(other) {
            let help = "a client certificate needs both: cert and key";
            output.error(output.span_of(one), format!("{one} without {other}"), help);
        }
    }
    match url {
        Some(Place { tls: true, .. }) => Some(TlsConfig { ca, cert, key }),
        Some(Place { tls: false, .. }) => {
            for key in ["ca", "cert", "key"].into_iter().filter(|key| written(key)) {
                let help = format!("write the url with {tls}, or remove the key");
                output.error(output.span_of(key), format!("{key} has no meaning without TLS"), help);
            }
            None
        }
        None => None,
    }
}

pub fn file(output: &Obj<'_>, key: &str, base: Base<'_>) -> Option<PathBuf> {
    let path = base.dir.join(path(output, key)?);
    // Only a warning: a configuration is often checked on another machine than the gateway.
    if base.look_at_files && !path.is_file() {
        output.warning(output.span_of(key), format!("{key}: there is no file {}", path.display()), "");
    }
    Some(path)
}

pub fn short_text<'c>(output: &Obj<'c>, key: &str) -> Option<Text<'c>> {
    let text = output.text(key, "a string")?;
    let length = text.value.len();
    if length == 0 || length > TEXT_BYTES_MAX || text.value.chars().any(char::is_control) {
        let help = format!("allowed: 1 to {TEXT_BYTES_MAX} bytes without control characters");
        output.error(text.span, format!("{key} has {length} bytes, or control characters"), help);
        return None;
    }
    Some(text)
}

pub fn read_password(output: &Obj<'_>, base: Base<'_>) -> Option<String> {
    let password = short_text(output, "password").map(|text| text.value.to_owned());
    let Some(path) = path(output, "password_file") else { return password };
    let span = output.span_of("password_file");
    if output.get("password").is_some() {
        output.error(span, "password and password_file together", "allowed: one of the two");
        return password;
    }
    match password_of(&base.dir.join(path)) {
        Ok(password) => Some(password),
        Err(message) => {
            let help = format!("allowed: a file with the password on one line, 1 to {TEXT_BYTES_MAX} bytes");
            output.error(span, format!("password_file {} {message}", quoted(path)), help);
            None
        }
    }
}

/// The one line of a password file.
fn password_of(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // A pipe or a device could keep the reader waiting for ever.
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("is not a file".into());
    }
    let mut bytes = Vec::new();
    let most = TEXT_BYTES_MAX as u64 + 3;
    File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    match line.len() {
        0 => Err("is empty".into()),
        length if length > TEXT_BYTES_MAX => Err(format!("has more than {TEXT_BYTES_MAX} bytes")),
        _ if line.chars().any(char::is_control) => Err("has more than one line, or control characters".into()),
        _ => Ok(line.to_owned()),
    }
}

/// A text with placeholders, all of which are known.
pub fn template<'c>(output: &Obj<'c>, key: &str, placeholders: &[&str]) -> Option<Text<'c>> {
    let text = short_text(output, key)?;
    if let Err((start, end)) = check_placeholders(text.value, placeholders) {
        let message = format!("{key} has the unknown placeholder {}", quoted(&text.value[start..end]));
        output.error(text.part(start, end), message, placeholders_allowed(placeholders));
    }
    Some(text)
}

pub fn placeholders_allowed(placeholders: &[&str]) -> String {
    let names: Vec<String> = placeholders.iter().map(|name| format!("{{{name}}}")).collect();
    format!("allowed: {}", names.join(", "))
}

/// The bytes of the first brace expression that is none of `placeholders`.
pub fn check_placeholders(topic: &str, placeholders: &[&str]) -> Result<(), (usize, usize)> {
    let mut at = 0;
    while let Some(found) = topic[at..].find(['{', '}']) {
        let start = at + found;
        let rest = &topic[start..];
        let end = match rest.find('}') {
            Some(close) if rest.starts_with('{') => start + close + 1,
            Some(_) => return Err((start, start + 1)),
            None => return Err((start, topic.len())),
        };
        if !placeholders.contains(&&topic[start + 1..end - 1]) {
            return Err((start, end));
        }
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check_placeholders;

    #[test]
    fn only_known_placeholders_pass() {
        let known = ["gateway", "group"];
        assert_eq!(check_placeholders("a/{gateway}/{group}", &known), Ok(()));
        assert_eq!(check_placeholders("a/{tag}", &known), Err((2, 7)));
        assert_eq!(check_placeholders("a/{é", &known), Err((2, 5)));
        assert_eq!(check_placeholders("a}/b", &known), Err((1, 2)));
        assert_eq!(check_placeholders("{{gateway}}", &known), Err((0, 10)));
    }
}
