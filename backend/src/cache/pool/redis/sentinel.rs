//! Sentinels: servers that agree on which Redis is the master. Their addresses and the master's name enter, from a URL; where each of them
//! says that the master is leaves, in the order in which they answer. One that is cut off from the others may name a master of before:
//! whether it is one, `server` asks the master itself.

use std::sync::Arc;

use ::redis::RedisConnectionInfo;
use futures_util::stream::FuturesUnordered;

use super::connection::{ConnectError, greet};
use super::listed::Listed;
use crate::cache::pool::dial::{Encrypts, Place};
use crate::settings::{Reach, SettingsError};

const DEFAULT_PORT: u16 = 26379;
const EXPECTED: &str = "expected redis+sentinel://[user:password@]host[:port][,host[:port]...]/master[/database], or \
                        rediss+sentinel:// for TLS";

/// Those that are asked, and whom for.
pub(super) struct Sentinels {
    places: Vec<Place>,
    master: String,
    /// What a sentinel is told that asks for a password: the master's, if there is one.
    greeting: RedisConnectionInfo,
}

impl Sentinels {
    /// By what follows the scheme. Beside them what the master is told at first.
    ///
    /// # Errors
    /// For what can never work; no password is shown.
    pub(super) fn of(
        reach: &Reach,
        rest: &str,
        encrypts: Option<&Arc<Encrypts>>,
    ) -> Result<(Self, RedisConnectionInfo), SettingsError> {
        let listed = Listed::read(reach, rest, DEFAULT_PORT, EXPECTED)?;
        let (master, database) = listed.path.split_once('/').unwrap_or((listed.path, ""));
        if master.is_empty() || !master.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return Err(listed.refused(&format!("{master:?} names no master")));
        }
        let greeting = listed.greeting(database)?;
        let places = listed.places(encrypts)?;
        let own = greeting.clone().set_db(0);
        Ok((Self { places, master: master.to_owned(), greeting: own }, greeting))
    }

    /// One of them.
    pub(super) fn place(&self) -> Option<&Place> {
        self.places.first()
    }

    /// Where each says that the master is.
    pub(super) fn ask(&self) -> FuturesUnordered<impl Future<Output = Result<Place, ConnectError>>> {
        self.places.iter().map(|place| self.ask_one(place)).collect()
    }

    async fn ask_one(&self, place: &Place) -> Result<Place, ConnectError> {
        let mut asked = self.ask_as(place, &RedisConnectionInfo::default()).await;
        if asked.as_ref().is_err_and(ConnectError::is_proof) && self.greeting.password().is_some() {
            asked = self.ask_as(place, &self.greeting).await;
        }
        let (host, port) = asked?.ok_or_else(|| ConnectError::UnknownMaster(self.master.clone()))?;
        let port = port.parse().map_err(|_| ConnectError::UnknownMaster(self.master.clone()))?;
        Ok(place.another(host, port)?)
    }

    async fn ask_as(
        &self,
        place: &Place,
        greeting: &RedisConnectionInfo,
    ) -> Result<Option<(String, String)>, ConnectError> {
        let mut connection = greet(greeting, place.dial().await?).await?;
        let mut ask = ::redis::cmd("SENTINEL");
        ask.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
        Ok(ask.query_async(&mut connection.commands).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Result<(Sentinels, RedisConnectionInfo), String> {
        let reach = Reach::by_url(&format!("redis+sentinel://{rest}"));
        Sentinels::of(&reach, rest, None).map_err(|error| error.to_string())
    }

    #[test]
    fn a_url_names_sentinels_their_master_and_what_that_is_told() {
        let (sentinels, greeting) = read("app:p%40ss@a,b:1,[::1]:2/mymaster/3").unwrap();
        let places: Vec<_> = sentinels.places.iter().map(|place| (place.host.as_str(), place.port)).collect();
        assert_eq!(places, [("a", 26379), ("b", 1), ("::1", 2)]);
        assert_eq!((sentinels.master.as_str(), greeting.db()), ("mymaster", 3));
        assert_eq!((greeting.username(), greeting.password()), (Some("app"), Some("p@ss")));
        assert_eq!(sentinels.greeting.db(), 0, "a sentinel has no databases");
        assert!(read("a/m").is_ok());
    }

    #[test]
    fn what_can_never_work_is_refused_and_no_password_shown() {
        for (rest, named) in [
            (":hidden@a", "names no master"),
            (":hidden@a/", "names no master"),
            (":hidden@/m", "is no server"),
            (":hidden@a,,b/m", "is no server"),
            (":hidden@a:99999/m", "is no server"),
            (":hidden@a/m/main", "database"),
        ] {
            let line = read(rest).err().unwrap();
            assert!(line.contains(named) && !line.contains("hidden"), "{rest}: {line}");
        }
    }
}
