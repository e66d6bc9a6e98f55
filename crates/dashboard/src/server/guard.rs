//! Who is answered, and what a browser may do with the answer.
//!
//! Only this machine can connect, or who has the token (`token`). But a browser on it runs pages of other origins, which may send
//! requests here, and one whose name was made to resolve to this address may read the answers too. So
//! the name that was asked for must be one of this machine, and requests that a browser says come from
//! elsewhere are refused. Those that change something must have a header that browsers let no page of
//! another origin send without asking here first, and that question is refused.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::token::Token;

/// What every answer says to the browser.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (HeaderName::from_static("x-frame-options"), "DENY"),
];

/// Requests that change something have it.
pub(crate) const ACTION: HeaderName = HeaderName::from_static("x-lineshaft-action");

pub(crate) async fn guard(
    State(token): State<Option<Arc<Token>>>,
    request: Request,
    next: Next,
) -> Response {
    // Whoever shows the token was told it with the address, and that has any name.
    let any_name = token.is_some();
    let refused = refusal(request.method(), request.headers(), any_name)
        .map(IntoResponse::into_response)
        .or_else(|| token.as_ref()?.refusal(&request));
    let mut response = match refused {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Why a request is not answered; None if it is.
fn refusal(
    method: &Method,
    headers: &HeaderMap,
    any_name: bool,
) -> Option<(StatusCode, &'static str)> {
    match *method {
        Method::GET | Method::HEAD => {}
        Method::POST if only(headers, &ACTION).is_some() => {}
        Method::POST => return Some((StatusCode::FORBIDDEN, "an action needs its header\n")),
        _ => return Some((StatusCode::METHOD_NOT_ALLOWED, "this is not done here\n")),
    }
    let Some(host) = only(headers, &header::HOST).filter(|host| any_name || is_loopback(host))
    else {
        return Some((StatusCode::FORBIDDEN, "ask for 127.0.0.1 or localhost\n"));
    };
    let elsewhere = Some((StatusCode::FORBIDDEN, "asked by a page of another origin\n"));
    if headers.contains_key(header::ORIGIN) {
        let origin = only(headers, &header::ORIGIN);
        let origin = origin.and_then(|origin| origin.strip_prefix("http://"));
        if !origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host)) {
            return elsewhere;
        }
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_link = headers
        .get("sec-fetch-mode")
        .is_some_and(|mode| mode == "navigate")
        && headers
            .get("sec-fetch-dest")
            .is_some_and(|dest| dest == "document");
    match site {
        None | Some(b"same-origin" | b"none") => None,
        // Somebody followed a link to here.
        Some(_) if is_link => None,
        Some(_) => elsewhere,
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether this is a name of this machine, with any port: a tunnel may have another one.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    let names = ["127.0.0.1", "localhost", "[::1]"];
    let is_name = names.iter().any(|own| name.eq_ignore_ascii_case(own));
    is_name && port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &Method, headers: &[(&'static str, &'static str)]) -> Option<u16> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        refusal(method, &map, false).map(|(status, _)| status.as_u16())
    }

    fn get(headers: &[(&'static str, &'static str)]) -> Option<u16> {
        status(&Method::GET, headers)
    }

    #[test]
    fn only_names_of_this_machine_are_answered_to() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8787",
            "localhost:1",
            "LocalHost:8787",
            "[::1]:80",
            "[::1]",
        ] {
            assert_eq!(get(&[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8787",
            "127.0.0.1.evil.example",
            "",
            "::1",
            "127.0.0.1:x",
            "localhost:80@evil",
        ] {
            assert_eq!(get(&[("host", host)]), Some(403), "{host}");
        }
        assert_eq!(get(&[]), Some(403));
        assert_eq!(
            get(&[("host", "localhost"), ("host", "localhost")]),
            Some(403)
        );
    }

    #[test]
    fn with_a_token_any_name_will_do_but_no_other_origin() {
        let status = |origin| {
            let mut map = HeaderMap::new();
            map.append("host", HeaderValue::from_static("build.example:8787"));
            map.append("origin", HeaderValue::from_static(origin));
            refusal(&Method::GET, &map, true).map(|(status, _)| status.as_u16())
        };
        assert_eq!(status("http://build.example:8787"), None);
        assert_eq!(status("http://evil.example:8787"), Some(403));
        let nameless = refusal(&Method::GET, &HeaderMap::new(), true);
        assert_eq!(nameless.map(|(status, _)| status.as_u16()), Some(403));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let host = ("host", "localhost:8787");
        assert_eq!(get(&[host, ("origin", "http://localhost:8787")]), None);
        let loud = ("host", "LOCALHOST:8787");
        assert_eq!(get(&[loud, ("origin", "http://localhost:8787")]), None);
        for origin in [
            "http://localhost:8888",
            "https://localhost:8787",
            "http://evil.example",
            "null",
        ] {
            assert_eq!(get(&[host, ("origin", origin)]), Some(403), "{origin}");
        }
        assert_eq!(get(&[host, ("sec-fetch-site", "same-origin")]), None);
        assert_eq!(get(&[host, ("sec-fetch-site", "cross-site")]), Some(403));
        assert_eq!(
            get(&[
                host,
                ("sec-fetch-site", "same-site"),
                ("sec-fetch-mode", "navigate")
            ]),
            Some(403)
        );
        let link = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(get(&link), None);
    }

    #[test]
    fn what_changes_something_needs_its_header_and_no_method_is_answered_that_has_no_use() {
        let host = ("host", "localhost");
        let action = ("x-lineshaft-action", "1");
        let post = |headers: &[(&'static str, &'static str)]| status(&Method::POST, headers);
        assert_eq!(post(&[host]), Some(403));
        assert_eq!(post(&[host, action]), None);
        assert_eq!(post(&[action]), Some(403));
        assert_eq!(post(&[host, action, ("origin", "http://localhost")]), None);
        assert_eq!(
            post(&[host, action, ("origin", "http://evil.example")]),
            Some(403)
        );
        assert_eq!(
            post(&[host, action, ("sec-fetch-site", "cross-site")]),
            Some(403)
        );
        for method in [
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::CONNECT,
        ] {
            assert_eq!(status(&method, &[host, action]), Some(405), "{method}");
        }
    }
}
