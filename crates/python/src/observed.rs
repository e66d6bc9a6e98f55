//! `Observed`: an engine with its picture and the pages that show it.

use std::fs::File;
use std::io::{self, BufWriter};
use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;

use lineshaft_dashboard::{Dashboard, Server, Traced};
use lineshaft_engine::Engine;

/// An engine and, once somebody has asked for them, its picture and the server of its pages. When it
/// is dropped they end before it does.
pub struct Observed {
    // Fields are dropped in this order.
    server: OnceLock<Server>,
    dashboard: OnceLock<Dashboard>,
    engine: Engine,
}

impl Observed {
    pub fn new(engine: Engine) -> Observed {
        Observed {
            server: OnceLock::new(),
            dashboard: OnceLock::new(),
            engine,
        }
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The picture of the engine, which is kept from the first call on.
    pub fn dashboard(&self) -> io::Result<&Dashboard> {
        if let Some(dashboard) = self.dashboard.get() {
            return Ok(dashboard);
        }
        let dashboard = Dashboard::start(self.engine.reader())?;
        Ok(self.dashboard.get_or_init(|| dashboard))
    }

    /// The address of its pages, which are served from the first call on.
    pub fn url(&self, at: IpAddr, port: Option<u16>) -> io::Result<&str> {
        if let Some(server) = self.server.get() {
            return Ok(server.url());
        }
        let server = self.dashboard()?.serve(at, port)?;
        Ok(self.server.get_or_init(|| server).url())
    }

    /// Writes the run so far to a file.
    pub fn trace(&self, path: impl AsRef<Path>) -> io::Result<Traced> {
        let dashboard = self.dashboard()?;
        write(path.as_ref(), |file| dashboard.trace(file))
    }

    /// Writes the run so far to a page that needs no server.
    pub fn report(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let dashboard = self.dashboard()?;
        write(path.as_ref(), |file| dashboard.report(file))
    }

    /// Ends the engine. Pages that are open show how it ended.
    pub fn shut_down(&self) {
        self.engine.shut_down();
        if let (Some(dashboard), Some(server)) = (self.dashboard.get(), self.server.get()) {
            dashboard.refresh();
            server.stop();
        }
    }
}

/// Has a file written; an error names it.
fn write<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
) -> io::Result<T> {
    let written = File::create(path).and_then(|file| write(&mut BufWriter::new(file)));
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}
