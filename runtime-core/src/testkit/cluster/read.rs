//! Lists, in pages where that is wanted.

use std::{collections::VecDeque, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;

use super::{
    call::{Answer, Call, item},
    object::Object,
    selector::Selector,
    status::Refusal,
};

/// So many lists can be in the middle of their pages.
const OPEN_LISTS: usize = 256;

impl Call<'_> {
    pub(super) fn list(&mut self) -> Result<Answer, Refusal> {
        let selector = Selector::of(self.request, &self.resource)?;
        let limit =
            usize::try_from(self.request.query.number("limit")?.unwrap_or_default()).unwrap_or(usize::MAX);
        if let Some(token) = self.request.query.get("continue") {
            return self.next_page(token, limit);
        }
        self.check_version()?;
        let objects = &self.world.tables[self.id].objects;
        let chosen: VecDeque<Arc<Object>> = match &self.request.namespace {
            Some(namespace) => objects
                .range((namespace.clone(), String::new())..)
                .take_while(|(key, _)| key.0 == *namespace)
                .filter(|(_, object)| selector.matches(object))
                .map(|(_, object)| object.clone())
                .collect(),
            None => objects.values().filter(|object| selector.matches(object)).cloned().collect(),
        };
        Ok(self.page(chosen, self.world.version, limit))
    }

    /// What is wanted cannot be newer than what there is.
    fn check_version(&self) -> Result<(), Refusal> {
        let wanted = self.request.query.number("resourceVersion")?.unwrap_or_default();
        let now = self.world.version;
        if wanted > now {
            let message = format!("Too large resource version: {wanted}, current: {now}");
            let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
            let mut refusal = Refusal::new(504, "Timeout", message).with_causes(vec![cause]);
            refusal.details.insert("retryAfterSeconds".to_owned(), 1.into());
            return Err(refusal);
        }
        let exact = self.request.query.get("resourceVersionMatch") == Some("Exact");
        if exact && wanted != now && wanted < self.world.tables[self.id].since {
            return Err(Refusal::expired("The resourceVersion for the provided list is too old."));
        }
        Ok(())
    }

    fn page(&mut self, mut objects: VecDeque<Arc<Object>>, version: u64, limit: usize) -> Answer {
        if limit == 0 || objects.len() <= limit {
            let objects: Vec<_> = objects.into();
            return Answer::Json(self.list_of(&objects, version, None));
        }
        let rest = objects.split_off(limit);
        let remaining = rest.len();
        let id = self.world.number();
        self.world.pages.push_back((id, version, rest));
        if self.world.pages.len() > OPEN_LISTS {
            self.world.pages.pop_front();
        }
        let token = BASE64_URL_SAFE_NO_PAD
            .encode(json!({"v": "meta.k8s.io/v1", "rv": version, "list": id}).to_string());
        let objects: Vec<_> = objects.into();
        Answer::Json(self.list_of(&objects, version, Some((&token, remaining))))
    }

    fn next_page(&mut self, token: &str, limit: usize) -> Result<Answer, Refusal> {
        let wrong = || Refusal::bad_request("invalid continue token: continue key is not valid");
        let text = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong())?;
        let token: serde_json::Value = serde_json::from_slice(&text).map_err(|_| wrong())?;
        let id = token["list"].as_u64().ok_or_else(wrong)?;
        let at = self.world.pages.iter().position(|page| page.0 == id).ok_or_else(|| {
            Refusal::expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new \
                 list without the continue parameter.",
            )
        })?;
        let (_, version, rest) = self.world.pages[at].clone();
        Ok(self.page(rest, version, limit))
    }

    /// A list as JSON text, put together from the texts of its objects.
    pub(super) fn list_of(
        &self,
        objects: &[Arc<Object>],
        version: u64,
        next: Option<(&str, usize)>,
    ) -> Bytes {
        let mut meta = json!({"resourceVersion": version.to_string()});
        if let Some((token, remaining)) = next {
            meta["continue"] = token.into();
            meta["remainingItemCount"] = remaining.into();
        }
        let (kind, version) = if self.request.metadata_only {
            ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned())
        } else {
            (format!("{}List", self.resource.kind), self.resource.api_version(&self.request.version))
        };
        let head = json!({"kind": kind, "apiVersion": version, "metadata": meta}).to_string();
        let mut text = BytesMut::with_capacity(head.len() + objects.len() * 2048);
        text.put_slice(head.trim_end_matches('}').as_bytes());
        // The metadata ends in a brace of its own.
        text.put_slice(b"},\"items\":[");
        for (at, object) in objects.iter().enumerate() {
            if at > 0 {
                text.put_u8(b',');
            }
            text.put_slice(&item(object, &self.resource, self.request));
        }
        text.put_slice(b"]}");
        text.freeze()
    }
}
