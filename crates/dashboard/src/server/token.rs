//! Who is answered at an address that others can reach: whoever shows the token.
//!
//! It is made when the server starts, and only the program's user is told it, in the address to open. Pages cannot
//! send a header with everything that they ask for, so opening that address leaves a cookie. Other clients send a header.

use std::io;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rustix::rand::{GetRandomFlags, getrandom};

/// Bytes that nobody guesses.
const BYTES: usize = 16;

/// What has to be shown to one server.
#[derive(Debug)]
pub(crate) struct Token {
    text: String,
    /// Cookies are of a host, not of a port: each server has one of its own.
    cookie: String,
}

impl Token {
    pub(crate) fn new(port: u16) -> io::Result<Token> {
        let mut bytes = [0; BYTES];
        let filled = getrandom(&mut bytes, GetRandomFlags::empty())?;
        // So few come in one piece.
        assert_eq!(filled, BYTES, "the whole token is random");
        Ok(Token {
            text: format!("{:032x}", u128::from_ne_bytes(bytes)),
            cookie: format!("lineshaft-{port}"),
        })
    }

    /// What an address ends with that brings it.
    pub(crate) fn query(&self) -> String {
        format!("/?token={}", self.text)
    }

    /// What is answered to a request that does not show it; None if it does.
    pub(crate) fn refusal(&self, request: &Request) -> Option<Response> {
        if self.is_shown(request.headers()) {
            return None;
        }
        let uri = request.uri();
        let brought = uri.query().and_then(|query| query.strip_prefix("token="));
        let is_page = request.method() == Method::GET && uri.path() == "/";
        if is_page && brought.is_some_and(|given| self.is(given)) {
            let kept = format!(
                "{}={}; Path=/; HttpOnly; SameSite=Lax",
                self.cookie, self.text
            );
            // The address without it is what the browser shows and remembers.
            let headers = [(header::SET_COOKIE, kept), (header::LOCATION, "/".into())];
            return Some((StatusCode::SEE_OTHER, headers).into_response());
        }
        let how = [(header::WWW_AUTHENTICATE, "Bearer")];
        let why = "open the whole address that the program was told, with its token\n";
        Some((StatusCode::UNAUTHORIZED, how, why).into_response())
    }

    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let texts = |name| {
            let values = headers.get_all(name).into_iter();
            values.filter_map(|value| value.to_str().ok())
        };
        let mut cookies = texts(header::COOKIE)
            .flat_map(|all| all.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='));
        let mut bearers =
            texts(header::AUTHORIZATION).filter_map(|value| value.strip_prefix("Bearer "));
        cookies.any(|(name, value)| name == self.cookie && self.is(value))
            || bearers.any(|given| self.is(given))
    }

    /// Takes equally long wherever the difference is.
    fn is(&self, given: &str) -> bool {
        let pairs = given.bytes().zip(self.text.bytes());
        let different = pairs.fold(0, |different, (one, other)| different | (one ^ other));
        given.len() == self.text.len() && different == 0
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn status(token: &Token, method: Method, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).expect("a request");
        token
            .refusal(&request)
            .map(|response| response.status().as_u16())
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let [one, other] = [8787, 8787].map(|port| Token::new(port).expect("random").text);
        assert_eq!(one.len(), 2 * BYTES);
        assert_ne!(one, other);
    }

    #[test]
    fn the_whole_token_has_to_be_shown_by_its_cookie_or_its_header() {
        let token = Token::new(8787).expect("random");
        let text = token.text.clone();
        let of = |headers: &[(&str, &str)]| status(&token, Method::GET, "/api/run", headers);
        let (right, bearer) = (format!("lineshaft-8787={text}"), format!("Bearer {text}"));
        assert_eq!(of(&[("cookie", &right)]), None);
        assert_eq!(of(&[("cookie", &format!("a=b; {right}; c"))]), None);
        assert_eq!(of(&[("authorization", &bearer)]), None);
        for wrong in [
            format!("lineshaft-8788={text}"),
            format!("lineshaft-8787={}", &text[1..]),
            format!("lineshaft-8787={text}0"),
            "lineshaft-8787=".to_owned(),
            text.clone(),
        ] {
            assert_eq!(of(&[("cookie", &wrong)]), Some(401), "{wrong}");
        }
        for wrong in [&text, "Bearer ", &bearer[..bearer.len() - 1], "Basic x"] {
            assert_eq!(of(&[("authorization", wrong)]), Some(401), "{wrong}");
        }
        assert_eq!(of(&[]), Some(401));
    }

    #[test]
    fn only_the_page_itself_is_opened_by_an_address_with_the_token() {
        let token = Token::new(8787).expect("random");
        let query = token.query();
        assert_eq!(status(&token, Method::GET, &query, &[]), Some(303));
        assert_eq!(status(&token, Method::POST, &query, &[]), Some(401));
        assert_eq!(
            status(&token, Method::GET, &format!("{query}0"), &[]),
            Some(401)
        );
        let elsewhere = format!("/api/run{}", &query[1..]);
        assert_eq!(status(&token, Method::GET, &elsewhere, &[]), Some(401));
    }
}
