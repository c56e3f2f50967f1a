/// The project and the name in a function's address, `project/name@hash` or `project/name:tag`. The project is
/// empty where the address has none.
pub fn function_of(uri: &str) -> (&str, &str) {
    let (rest, last) = uri.rsplit_once('/').unwrap_or(("", uri));
    let name = last.split(['@', ':']).next().unwrap_or(last);
    (rest.rsplit('/').next().unwrap_or(rest), name)
}

/// Whether a function's address names the version of this hash.
pub fn is_version(uri: &str, hash: &str) -> bool {
    uri.rsplit_once('@').is_some_and(|(_, named)| named == hash)
}

#[cfg(test)]
mod tests {
    use super::{function_of, is_version};

    #[test]
    fn takes_an_address_apart() {
        assert_eq!(function_of("demo/train@0a1b"), ("demo", "train"));
        assert_eq!(function_of("demo/train:v2"), ("demo", "train"));
        assert_eq!(function_of("db://demo/train"), ("demo", "train"));
        assert_eq!(function_of("train"), ("", "train"));
        assert_eq!(function_of(""), ("", ""));
        assert!(is_version("demo/train@0a1b", "0a1b"));
        assert!(!is_version("demo/train@0a1b", "0a1") && !is_version("demo/train", "train"));
    }
}
