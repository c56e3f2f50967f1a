/// The project and the name in a function's address, `project/name@hash` or `project/name:tag`. The project is
/// empty where the address has none.
pub fn function_of(uri: &str) -> (&str, &str) {
    let (rest, last) = uri.rsplit_once('/').unwrap_or(("", uri));
    let name = last.split(['@', ':']).next().unwrap_or(last);
    (rest.rsplit('/').next().unwrap_or(rest), name)
}

#[cfg(test)]
mod tests {
    use super::function_of;

    #[test]
    fn takes_an_address_apart() {
        assert_eq!(function_of("demo/train@0a1b"), ("demo", "train"));
        assert_eq!(function_of("demo/train:v2"), ("demo", "train"));
        assert_eq!(function_of("db://demo/train"), ("demo", "train"));
        assert_eq!(function_of("train"), ("", "train"));
        assert_eq!(function_of(""), ("", ""));
    }
}
