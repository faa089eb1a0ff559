//! A client of plain sockets: bytes as a test wrote them go out, an answer comes back. Nothing is corrected on the way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::process::PATIENCE;

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, without its chunks.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of header `name`, or "".
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(held, _)| held == name).map_or("", |(_, value)| value)
    }

    /// All `cache-status` lines, joined to one list.
    pub fn cache_status(&self) -> String {
        let lines = self.headers.iter().filter(|(name, _)| name == "cache-status");
        lines.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The last member of `cache-status`: what the cache nearest to the client says, which is Envoy's.
    pub fn nearest_cache(&self) -> String {
        self.cache_status().rsplit(", ").next().unwrap_or_default().to_owned()
    }

    /// Was it answered by the filter, and not by a server's cache behind it?
    pub fn is_filters_hit(&self) -> bool {
        self.cache_status().contains("forebay; hit")
    }

    /// Was it answered from the cache that is nearest?
    pub fn is_hit(&self) -> bool {
        self.nearest_cache().contains("; hit")
    }

    /// The body as JSON; null when it is not.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// What a V2 error says, or "".
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// Names and values.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

/// A connection that is kept.
pub struct Connection<S = TcpStream> {
    reader: BufReader<S>,
}

/// A stream to a port of the loopback.
///
/// # Errors
/// Nothing listens there.
pub fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Connection {
    /// Connects to a port of the loopback.
    ///
    /// # Errors
    /// Nothing listens there.
    pub fn open(port: u16) -> std::io::Result<Self> {
        Ok(Self::over(connect(port)?))
    }
}

impl<S: Read + Write> Connection<S> {
    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The other side has closed.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }
}

impl<S: Read> Connection<S> {
    /// Over a stream that is there.
    pub fn over(stream: S) -> Self {
        Self { reader: BufReader::new(stream) }
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// The other side closed before its end, or it is no HTTP/1.1.
    pub fn read(&mut self) -> std::io::Result<Answer> {
        let broken = |what: &str| std::io::Error::other(what.to_owned());
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let mut answer = Answer { status: status.ok_or_else(|| broken(&line))?, ..Answer::default() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| broken(&line))?;
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if answer.header("transfer-encoding") == "chunked" {
            loop {
                let size = usize::from_str_radix(&self.line()?, 16).map_err(std::io::Error::other)?;
                let mut chunk = vec![0; size];
                self.reader.read_exact(&mut chunk)?;
                answer.body.extend(chunk);
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            answer.body.resize(answer.header("content-length").parse().unwrap_or(0), 0);
            self.reader.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        if self.reader.read_until(b'\n', &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

/// A request with a `content-length`, as bytes.
pub fn request(method: &str, path: &str, headers: Headers<'_>, body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", length.as_str())]].concat();
    [head(method, path, &headers).as_slice(), body].concat()
}

/// A `POST` with a `content-length`, as bytes.
pub fn post(path: &str, headers: Headers<'_>, body: &[u8]) -> Vec<u8> {
    request("POST", path, headers, body)
}

/// A `GET`, as bytes.
pub fn get(path: &str) -> Vec<u8> {
    head("GET", path, &[])
}

/// A request's head, as bytes.
pub fn head(method: &str, path: &str, headers: Headers<'_>) -> Vec<u8> {
    let mut lines = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        lines.extend([name, ": ", value, "\r\n"]);
    }
    (lines + "\r\n").into_bytes()
}

/// Sends one request on a connection of its own. Whoever answers early may close before all is sent; what it said is there all the
/// same.
///
/// # Errors
/// Nothing listens, or no whole answer comes.
pub fn send(port: u16, request: &[u8]) -> std::io::Result<Answer> {
    let mut connection = Connection::open(port)?;
    let written = connection.write(request);
    connection.read().map_err(|unread| written.err().unwrap_or(unread))
}

/// Sum of a counter over the labels of a program with that port of metrics, where the line begins so and names `with`.
///
/// # Errors
/// It does not answer.
pub fn metric(port: u16, start: &str, with: &str) -> std::io::Result<u64> {
    let text = send(port, &get("/metrics"))?.body;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| line.starts_with(start) && line.contains(with));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// A server that treats all that it reads so, until the process ends. Its port.
///
/// # Panics
/// There is no free port.
pub fn pretend(treat: impl Fn(&mut TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound port").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let treat = treat.clone();
            std::thread::spawn(move || {
                while stream.read(&mut [0; 4096]).is_ok_and(|size| size > 0) {
                    treat(&mut stream);
                }
            });
        }
    });
    port
}
