//! An image that is to be built, before it is.

use crate::naming::digits;

/// An image that is to be built for a function: what it is called, and what stands for all that it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name, with registry and tag.
    pub name: String,
    /// The image that it is built on, as the function or the settings name it.
    pub base: String,
    /// Digits that stand for all that it is made of, and for where it goes: the same content has the same ones.
    pub key: String,
    /// What the user should know: what of it may be another one tomorrow, by the same name.
    pub notes: Vec<String>,
}

impl Image {
    /// The digits that stand for these texts, in this order.
    pub fn key<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
        digits(parts, 20)
    }

    /// The uid of the run that builds it: the first one, or a later one where `number` others were in vain. Whoever else
    /// wants the same image at the same time comes to the same uid, and finds it taken.
    pub fn uid(&self, number: usize) -> String {
        digits([self.key.as_str(), number.to_string().as_str()], 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_built_by_the_same_run() {
        let image = |parts: [&str; 2]| Image {
            name: "r/f:1".to_owned(),
            base: String::new(),
            key: Image::key(parts),
            notes: Vec::new(),
        };
        let one = image(["ab", "c"]);
        assert_eq!(one, image(["ab", "c"]));
        assert_ne!(one.key, image(["a", "bc"]).key);
        assert_eq!((one.key.len(), one.uid(0).len()), (40, 32));
        assert_ne!(one.uid(0), one.uid(1));
        crate::naming::check_uid(&one.uid(0)).unwrap();
    }
}
