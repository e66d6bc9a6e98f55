//! The pages and a whole run in one file, to be opened without a server.

use std::io::{self, Write};

use crate::server::assets;
use crate::view::Record;

/// What the page may do: show what is in it.
const POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:";

/// Writes the report. Fails if this build has no pages.
pub(crate) fn write(record: &Record, to: &mut dyn Write) -> io::Result<()> {
    let Some(page) = assets::built() else {
        let why = "this build of Lineshaft has no pages: it was built where npm was missing";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    };
    // The page has its script and its style by their names, each in a tag of its own.
    let (head, rest) = page.split_once("</head>").expect("the page has a head");
    let head = without_files(head);
    let body = without_files(rest);
    let (body, end) = body.rsplit_once("</body>").expect("the page has a body");
    write!(
        to,
        "{head}<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<style>{}</style>\n</head>{body}\
         <script type=\"application/json\" id=\"record\">",
        assets::STYLE,
    )?;
    serde_json::to_writer(Escaped(&mut *to), record).map_err(io::Error::from)?;
    write!(
        to,
        "</script>\n<script type=\"module\">{}</script>\n</body>{end}",
        assets::SCRIPT.replace("</script", "<\\/script")
    )
}

/// The page without the tags that name its script and its style.
fn without_files(page: &str) -> String {
    let is_file = |line: &&str| !line.contains("app.js") && !line.contains("app.css");
    let lines = page.split_inclusive('\n').filter(is_file);
    lines.collect()
}

/// JSON in which nothing looks like a tag.
struct Escaped<'a>(&'a mut dyn Write);

impl Write for Escaped<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for (number, piece) in bytes.split(|byte| *byte == b'<').enumerate() {
            if number > 0 {
                self.0.write_all(b"\\u003c")?;
            }
            self.0.write_all(piece)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_tag_is_text() {
        let mut written = Vec::new();
        let name = "<listcomp></script><b";
        serde_json::to_writer(Escaped(&mut written), &name).expect("a vector takes everything");
        let text = String::from_utf8(written).expect("JSON is text");
        assert!(!text.contains('<'), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).expect("JSON"), name);
    }

    #[test]
    fn the_page_loses_its_files_and_nothing_else() {
        let page = "<head>\n<title>a</title>\n<script src=\"./app.js\"></script>\n<link href=\"./app.css\">\n";
        assert_eq!(without_files(page), "<head>\n<title>a</title>\n");
    }
}
