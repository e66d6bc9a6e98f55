//! The pages, as they were when this was built.

pub(crate) const SCRIPT: &str = include_str!(concat!(env!("OUT_DIR"), "/app.js"));
pub(crate) const STYLE: &str = include_str!(concat!(env!("OUT_DIR"), "/app.css"));
const PAGE: &str = include_str!(concat!(env!("OUT_DIR"), "/index.html"));

/// What a build without the pages shows.
const WITHOUT: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Lineshaft</title>
<h1>This build of Lineshaft has no pages</h1>
<p>It was built where npm was missing. <code>make demo</code> with Node.js 20 or later installed builds them in.</p>
<p>What there is without them: <a href=\"/metrics\">numbers for Prometheus</a>, and the trace that
<code>engine.trace(\"run.json\")</code> writes.</p>
</html>
";

pub(crate) fn page() -> &'static str {
    built().unwrap_or(WITHOUT)
}

/// The page, if this build has it.
pub(crate) fn built() -> Option<&'static str> {
    (!PAGE.is_empty()).then_some(PAGE)
}
