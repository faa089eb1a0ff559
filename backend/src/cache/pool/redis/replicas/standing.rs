//! What a server says of its replication (`INFO replication`) -> how it stands, and whether a replica has what its master had a moment ago.

use std::collections::HashMap;

use super::Address;
use crate::cache::pool::PoolError;

/// How a server stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) is_master: bool,
    /// The history of writes that it has, by name. Master and replicas have one; who becomes the master begins another.
    pub(super) history: String,
    /// How much of it, in bytes.
    pub(super) offset: u64,
    /// A replica hears its master.
    is_linked: bool,
    /// Of a master: where those that hear it listen.
    pub(super) replicas: Vec<Address>,
}

/// Why a replica may not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it does not say how it stands: {0}")]
    Silent(#[from] PoolError),
    #[error("it is no replica")]
    NoReplica,
    #[error("it does not hear its master")]
    Cut,
    #[error("it has what another master had")]
    Another,
    #[error("it lacks {0} bytes of what its master had a second ago")]
    Behind(u64),
}

impl Standing {
    /// Nothing of one that does not say it.
    pub(super) fn read(info: &str) -> Option<Self> {
        let fields: HashMap<&str, &str> = info.lines().filter_map(|line| line.split_once(':')).collect();
        let is_master = *fields.get("role")? == "master";
        let offset = if is_master { "master_repl_offset" } else { "slave_repl_offset" };
        let mut replicas: Vec<_> =
            info.lines().filter_map(|line| address(line.strip_prefix("slave")?)).collect();
        // One that came anew may be there twice: the master has not noticed yet that its former connection is dead.
        replicas.sort_unstable();
        replicas.dedup();
        Some(Self {
            is_master,
            history: (*fields.get("master_replid")?).to_owned(),
            offset: fields.get(offset)?.parse().ok()?,
            is_linked: fields.get("master_link_status").is_some_and(|status| *status == "up"),
            replicas,
        })
    }

    /// Whether a replica has so much of its master's history, which that had a moment ago.
    pub(super) fn has(&self, history: &str, offset: u64) -> Result<(), Unfit> {
        if self.is_master {
            Err(Unfit::NoReplica)
        } else if !self.is_linked {
            Err(Unfit::Cut)
        } else if self.history != history {
            Err(Unfit::Another)
        } else if self.offset < offset {
            Err(Unfit::Behind(offset - self.offset))
        } else {
            Ok(())
        }
    }
}

/// Of `0:ip=10.0.0.7,port=6379,state=online,offset=14,lag=0`.
fn address(line: &str) -> Option<Address> {
    let (number, fields) = line.split_once(':')?;
    number.parse::<u32>().ok()?;
    let field = |name: &str| fields.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    Some((field("ip")?.to_owned(), field("port")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &str = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
        slave0:ip=127.0.0.1,port=7392,state=online,offset=140,lag=0\r\n\
        slave1:ip=replica-1.cache,port=6380,state=wait_bgsave,offset=0,lag=0\r\n\
        slave2:ip=127.0.0.1,port=7392,state=online,offset=98,lag=31\r\n\
        master_replid:8933\r\nmaster_replid2:0000\r\nmaster_repl_offset:154\r\nsecond_repl_offset:-1\r\n";
    const REPLICA: &str = "# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_link_status:up\r\n\
        slave_read_repl_offset:150\r\nslave_repl_offset:140\r\nslave_priority:100\r\nslave_read_only:1\r\n\
        connected_slaves:0\r\nmaster_replid:8933\r\nmaster_repl_offset:140\r\n";

    #[test]
    fn a_master_names_its_replicas_and_what_it_has() {
        let standing = Standing::read(MASTER).unwrap();
        assert!(standing.is_master);
        assert_eq!((standing.history.as_str(), standing.offset), ("8933", 154));
        let replicas = [("127.0.0.1".to_owned(), 7392), ("replica-1.cache".to_owned(), 6380)];
        assert_eq!(standing.replicas, replicas);
        assert_eq!(Standing::read("role:master\r\n"), None, "a user may see less");
    }

    #[test]
    fn a_replica_is_fit_that_hears_its_master_and_has_what_that_had() {
        let has = |info: &str, offset| Standing::read(info).unwrap().has("8933", offset);
        assert!(has(REPLICA, 140).is_ok() && has(REPLICA, 14).is_ok());
        assert!(matches!(has(REPLICA, 154), Err(Unfit::Behind(14))));
        assert!(matches!(has(&REPLICA.replace("status:up", "status:down"), 14), Err(Unfit::Cut)));
        assert!(matches!(has(&REPLICA.replace("8933", "1111"), 14), Err(Unfit::Another)));
        assert!(matches!(has(MASTER, 14), Err(Unfit::NoReplica)));
    }
}
