//! Which server, database and schema: read from a URL, and named in errors without the password.

use std::{fmt, str::FromStr};

use runtime_core::{Error, Result, error::did_you_mean};
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};
use url::Url;

/// The schema of the tables, unless the URL names one.
const SCHEMA: &str = "runtimes";

/// The parameters that a URL may have.
const PARAMETERS: [&str; 13] = [
    "schema",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
];

/// Where the store is.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) options: PgConnectOptions,
    pub(super) schema: String,
}

impl Server {
    /// Reads a URL. What it leaves out comes from `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE`, `PGSSLMODE`
    /// and the file `~/.pgpass`, as with PostgreSQL's own programs.
    pub(super) fn parse(url: &str) -> Result<Self> {
        // The text of the error may quote the URL, and the URL may hold a password: neither is passed on.
        let mut url =
            Url::parse(&with_host(url)).map_err(|error| wrong(&format!("it is not a URL ({error})")))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(wrong(&format!("its scheme is {:?}", url.scheme())));
        }
        let mut schema = SCHEMA.to_owned();
        let parameters: Vec<(String, String)> =
            url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect();
        for (key, value) in &parameters {
            if !PARAMETERS.contains(&key.as_str()) && !key.starts_with("options[") {
                let guess = did_you_mean(key, PARAMETERS).map(|known| format!(" (did you mean `{known}`?)"));
                let what = format!("it has an unknown parameter `{key}`{}", guess.unwrap_or_default());
                return Err(wrong(&what).help(format!("the parameters are: {}", PARAMETERS.join(", "))));
            }
            if key == "schema" {
                schema = checked_schema(value)?;
            }
        }
        url.query_pairs_mut().clear().extend_pairs(parameters.iter().filter(|(key, _)| key != "schema"));
        let mode = parameters.iter().find(|(key, _)| key == "sslmode");
        if let Some((_, mode)) = mode {
            PgSslMode::from_str(mode).map_err(|_| {
                wrong(&format!("its sslmode is {mode:?}"))
                    .help("disable, allow, prefer, require, verify-ca or verify-full")
            })?;
        }
        let options = PgConnectOptions::from_url(&url)
            .map_err(|_| wrong("a part of it cannot be read"))?
            .application_name("runtimes")
            .options([("search_path", schema.as_str()), ("plan_cache_mode", "force_custom_plan")])
            .disable_statement_logging();
        Ok(Self { options, schema })
    }

    /// The channel on which changes are told.
    pub(super) fn channel(&self) -> String {
        format!("runtimes_{}", self.schema)
    }

    pub(super) fn database(&self) -> &str {
        self.options.get_database().unwrap_or(self.options.get_username())
    }

    pub(super) fn user(&self) -> &str {
        self.options.get_username()
    }

    /// The host and the port, or the folder of the socket.
    pub(super) fn address(&self) -> String {
        match self.options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => format!("{}:{}", self.options.get_host(), self.options.get_port()),
        }
    }
}

/// As errors name it; without the password.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL database {:?} at {}", self.database(), self.address())
    }
}

/// A user without a host, which PostgreSQL's own programs take, is no URL to others: where the host is a parameter, or
/// left out, any other stands for it.
fn with_host(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, port)) if port.is_empty() || port.starts_with(':') => {
            format!("{scheme}://{user}@localhost{port}{path}")
        }
        _ => url.to_owned(),
    }
}

fn checked_schema(name: &str) -> Result<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let good = name.bytes().all(plain) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !good || name.len() > 50 || name.starts_with("pg_") {
        return Err(wrong(&format!("{name:?} is no schema for tables"))
            .help("lower-case letters, digits and `_`, at most 50, not beginning with a digit or `pg_`"));
    }
    Ok(name.to_owned())
}

fn wrong(why: &str) -> Error {
    Error::invalid("store", format!("this is not the address of a PostgreSQL database: {why}"))
        .help(
            "write postgres://USER@HOST:PORT/DATABASE, or postgres:///DATABASE?host=/var/run/postgresql for a \
             socket; what is left out comes from PGHOST, PGUSER, PGPASSWORD, ~/.pgpass",
        )
        .operation("store.open")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_shown_without_its_password() {
        let server = Server::parse("postgres://me:s3cret@db.example:5433/ml?schema=team_a").unwrap();
        assert_eq!(server.to_string(), "PostgreSQL database \"ml\" at db.example:5433");
        assert_eq!((server.schema.as_str(), server.user()), ("team_a", "me"));
        assert!(server.options.get_options().unwrap().contains("search_path=team_a"));
        let socket = Server::parse("postgresql://me@/ml?host=/run/pg&port=5433").unwrap();
        assert_eq!((socket.address().as_str(), socket.schema.as_str()), ("/run/pg", "runtimes"));
        assert_eq!(Server::parse("postgres://me:s3cret@:77/ml").unwrap().address(), "localhost:77");
        assert_eq!(Server::parse("postgres:///ml?user=me&host=h").unwrap().user(), "me");
    }

    #[test]
    fn what_is_wrong_is_named_without_the_password() {
        let cases = [
            ("mysql://me:s3cret@h/d", "its scheme is \"mysql\""),
            ("postgres://me:s3cret@h:port/d", "invalid port number"),
            ("s3cret", "it is not a URL"),
            ("postgres://me:s3cret@h/d?shema=a", "did you mean `schema`?"),
            ("postgres://me:s3cret@h/d?sslmode=yes", "its sslmode is \"yes\""),
            ("postgres://me:s3cret@h/d?schema=Team", "\"Team\" is no schema"),
            ("postgres://me:s3cret@h/d?schema=a,b", "is no schema"),
        ];
        for (url, expected) in cases {
            let error = Server::parse(url).err().unwrap();
            let text = format!("{error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
            assert!(text.contains(expected) && !text.contains("s3cret"), "{url}: {text}");
        }
    }
}
