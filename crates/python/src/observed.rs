//! `Observed`: an engine with its picture and the pages that show it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
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

    /// The most memory of this process and its workers, in bytes, if there is a picture of them.
    pub fn most_memory(&self) -> Option<u64> {
        self.dashboard.get().map(Dashboard::most_memory)
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

/// Has a file written; an error names it. What was there before stays until the whole of it is written.
fn write<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
) -> io::Result<T> {
    let written = write_beside(path, write);
    written.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn write_beside<T>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
) -> io::Result<T> {
    let before = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        metadata => Some(metadata?),
    };
    if before.as_ref().is_some_and(|before| !before.is_file()) {
        // A terminal, or a pipe: it cannot be replaced.
        return write_to(File::create(path)?, write);
    }
    // Where a link leads to is replaced, not the link.
    let path = match before {
        Some(_) => path.canonicalize()?,
        None => path.to_owned(),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let beside = path.with_file_name(name);
    let written = File::create(&beside)
        .and_then(|file| {
            before.map_or(Ok(()), |before| file.set_permissions(before.permissions()))?;
            write_to(file, write)
        })
        .and_then(|written| fs::rename(&beside, &path).map(|()| written));
    if written.is_err() {
        // If that fails too, the first error says why.
        let _: io::Result<()> = fs::remove_file(&beside);
    }
    written
}

fn write_to<T>(
    file: File,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<T>,
) -> io::Result<T> {
    let mut file = BufWriter::new(file);
    let written = write(&mut file)?;
    file.flush().map(|()| written)
}
